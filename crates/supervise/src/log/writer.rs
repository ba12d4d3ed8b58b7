//! Keeping output.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
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
    /// A writer that continues after the files that are there.
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
        if self.file.is_none() && !self.open_next() {
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
