//! The exits file: what happened while the daemon was away.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use kleene_supervise::{exits, proto::ExitRecord};

/// Exits that were not acknowledged, in memory and on disk.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    records: Vec<ExitRecord>,
    last: u64,
}

impl Journal {
    /// An empty journal in the run directory.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { path: dir.join(exits::FILE), records: Vec::new(), last: 0 }
    }

    /// The next record's position.
    pub(crate) fn next_seq(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Adds a record. A disk that is full does not stop anything: a daemon
    /// that is there is told anyway.
    pub(crate) fn add(&mut self, record: ExitRecord) -> io::Result<()> {
        let line = exits::line(&record)?;
        self.records.push(record);
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).open(&self.path)?.write_all(&line)
    }

    /// Forgets records up to a position.
    pub(crate) fn acknowledge(&mut self, seq: u64) -> io::Result<()> {
        self.records.retain(|record| record.seq() > seq);
        let mut text = Vec::new();
        for record in &self.records {
            text.extend(exits::line(record)?);
        }
        // By way of a second file: a crash leaves the old or the new one.
        let new = self.path.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, &self.path)
    }

    /// What was not acknowledged.
    pub(crate) fn records(&self) -> &[ExitRecord] {
        &self.records
    }
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
