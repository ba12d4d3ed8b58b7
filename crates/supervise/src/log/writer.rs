//! Keeping output.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::PathBuf,
};

use super::{MAX_PIECE, file_name, file_number, format_line, rfc3339};
use crate::proto::LogLimits;

/// Appends output to a log directory. Never fails towards the caller: what
/// cannot be written is counted, and the container runs on.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    limits: LogLimits,
    file: Option<File>,
    number: u64,
    size: u64,
    dropped: u64,
}

impl Writer {
    /// A writer that continues where the one before it stopped: in the newest
    /// file while that is not full, so that many short lives do not rotate away
    /// what the limits would keep.
    #[must_use]
    pub fn new(dir: PathBuf, limits: LogLimits) -> Self {
        Self { dir, limits, file: None, number: 0, size: 0, dropped: 0 }
    }

    /// Keeps a piece of an execution's output, cut at its newlines.
    pub fn write(&mut self, exec: &str, data: &[u8], now_us: u64) {
        let time = rfc3339(now_us);
        let mut lines = Vec::with_capacity(data.len() + 64);
        for line in data.split_inclusive(|byte| *byte == b'\n') {
            let (content, full) = match line.split_last() {
                Some((b'\n', content)) => (content, true),
                _ => (line, false),
            };
            let mut rest = content;
            while rest.len() > MAX_PIECE {
                let (piece, tail) = rest.split_at(MAX_PIECE);
                format_line(&mut lines, &time, exec, false, piece);
                rest = tail;
            }
            format_line(&mut lines, &time, exec, full, rest);
        }
        if !self.append(&lines) {
            self.dropped += data.len() as u64;
        }
    }

    /// How many bytes of output were dropped since this was last asked.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    fn append(&mut self, lines: &[u8]) -> bool {
        if self.size >= self.limits.max_bytes {
            self.file = None;
        }
        if self.file.is_none() && !self.open_newest() && !self.open_next() {
            return false;
        }
        let Some(file) = &mut self.file else { return false };
        if file.write_all(lines).is_ok() {
            self.size += lines.len() as u64;
            return true;
        }
        // A full disk may have taken a part: whole lines only.
        let _ = file.set_len(self.size);
        false
    }

    /// Continues the newest file, unless it is full, or ends in a torn line:
    /// what follows that in one file would be lost with it.
    fn open_newest(&mut self) -> bool {
        let Some(number) = self.numbers().last().copied().filter(|last| *last > self.number) else {
            return false;
        };
        let path = self.dir.join(file_name(number));
        let Ok(file) = OpenOptions::new().append(true).read(true).open(path) else { return false };
        let size = file.metadata().map_or(u64::MAX, |found| found.len());
        if size >= self.limits.max_bytes || !ends_whole(&file, size) {
            return false;
        }
        (self.file, self.number, self.size) = (Some(file), number, size);
        true
    }

    fn open_next(&mut self) -> bool {
        let mut numbers = self.numbers();
        let last = numbers.last().copied().unwrap_or(0).max(self.number);
        let path = self.dir.join(file_name(last + 1));
        let Ok(file) = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
        else {
            return false;
        };
        numbers.push(last + 1);
        let keep = usize::try_from(self.limits.files.max(1)).unwrap_or(usize::MAX);
        for number in numbers.iter().rev().skip(keep) {
            // One that stays is tried again at the next rotation.
            let _ = fs::remove_file(self.dir.join(file_name(*number)));
        }
        (self.file, self.number, self.size) = (Some(file), last + 1, 0);
        true
    }

    fn numbers(&self) -> Vec<u64> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let mut numbers: Vec<u64> =
            entries.filter_map(|entry| file_number(entry.ok()?.file_name().to_str()?)).collect();
        numbers.sort_unstable();
        numbers
    }
}

/// Whether the last line of a file is a whole one.
fn ends_whole(file: &File, size: u64) -> bool {
    let mut last = [0];
    size.checked_sub(1).is_none_or(|at| file.read_exact_at(&mut last, at).is_ok() && last == *b"\n")
}
