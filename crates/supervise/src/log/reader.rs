//! Reading kept output, from the beginning or from where one stopped.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::{MAX_PIECE, file_name, file_number, parse_line};

/// A place in a log. The default is the oldest entry kept. A place whose file
/// was rotated away continues at the oldest file that is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor {
    file: u64,
    offset: u64,
}

/// One line, on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedEntry {
    /// When, RFC 3339 with microseconds, UTC.
    pub time: String,
    /// Which execution wrote it.
    pub exec: String,
    /// Whether a newline followed.
    pub full: bool,
    /// What it wrote.
    pub data: Vec<u8>,
}

/// Reads a log directory, while it is written or after.
#[derive(Clone, Debug)]
pub struct Reader {
    dir: PathBuf,
}

impl Reader {
    /// A reader of that directory.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The place behind everything that is there now.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub fn end(&self) -> io::Result<Cursor> {
        let Some(file) = self.numbers()?.pop() else { return Ok(Cursor::default()) };
        let offset = fs::metadata(self.dir.join(file_name(file)))?.len();
        Ok(Cursor { file, offset })
    }

    /// The next entries, about `max_bytes` of them; empty when there are none
    /// now. Call again after a change (or a while) to follow.
    ///
    /// # Errors
    ///
    /// When directory or file cannot be read. A directory that does not exist
    /// (yet) is an empty log.
    pub fn read(&self, cursor: &mut Cursor, max_bytes: usize) -> io::Result<Vec<OwnedEntry>> {
        let end = Cursor { file: u64::MAX, offset: u64::MAX };
        self.read_before(cursor, end, max_bytes)
    }

    /// The same, but nothing that begins at or after `end`.
    ///
    /// # Errors
    ///
    /// As [`Reader::read`].
    pub fn read_before(
        &self,
        cursor: &mut Cursor,
        end: Cursor,
        max_bytes: usize,
    ) -> io::Result<Vec<OwnedEntry>> {
        let most = max_bytes.max(2 * MAX_PIECE);
        loop {
            let numbers = self.numbers()?;
            let Some(&file) = numbers.iter().find(|number| **number >= cursor.file) else {
                return Ok(Vec::new());
            };
            if file != cursor.file {
                *cursor = Cursor { file, offset: 0 };
            }
            if *cursor >= end {
                return Ok(Vec::new());
            }
            let left = if file == end.file { end.offset - cursor.offset } else { u64::MAX };
            let window = usize::try_from(left).map_or(most, |left| left.min(most));
            let Some(bytes) = self.window(*cursor, window)? else { continue };
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            if whole > 0 {
                cursor.offset += whole as u64;
                let entries = entries(&bytes[..whole]);
                if entries.is_empty() {
                    continue;
                }
                return Ok(entries);
            }
            if bytes.len() == most {
                // No line is that long: noise, which is passed over.
                cursor.offset += window as u64;
            } else if numbers.iter().any(|number| *number > file) {
                // The writer has gone on: what is left here is a torn line.
                *cursor = Cursor { file: file + 1, offset: 0 };
            } else {
                return Ok(Vec::new());
            }
        }
    }

    /// The place at which the last `lines` lines before `end` begin. An output
    /// that does not end with a newline ends with a line all the same, as for
    /// tail(1). Reads no more than it has to, and keeps none of it.
    ///
    /// # Errors
    ///
    /// As [`Reader::read`].
    pub fn tail(&self, end: Cursor, lines: usize) -> io::Result<Cursor> {
        let mut begun = 0;
        let mut last = None;
        for file in self.numbers()?.into_iter().rev().filter(|number| *number <= end.file) {
            let mut upto = if file == end.file { end.offset } else { u64::MAX };
            while let Some((from, bytes)) = self.window_before(file, upto)? {
                upto = from;
                let mut offset = from + bytes.len() as u64;
                for line in bytes.split_inclusive(|byte| *byte == b'\n').rev() {
                    let behind = Cursor { file, offset };
                    offset -= line.len() as u64;
                    let Some((b'\n', line)) = line.split_last() else { continue };
                    let Ok(entry) = parse_line(line) else { continue };
                    if (entry.full || last.is_none()) && begun == lines {
                        return Ok(behind);
                    }
                    begun += usize::from(entry.full || last.is_none());
                    last = Some(behind);
                }
            }
        }
        Ok(if lines == 0 { end } else { Cursor::default() })
    }

    /// Whole lines of a file that end at `upto` at the latest, and where they
    /// begin; `None` at the file's beginning.
    fn window_before(&self, file: u64, upto: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
        const WINDOW: u64 = 4 * MAX_PIECE as u64;
        let path = self.dir.join(file_name(file));
        let upto = match fs::metadata(path) {
            Ok(found) => upto.min(found.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let from = upto.saturating_sub(WINDOW);
        if upto == 0 {
            return Ok(None);
        }
        let window = usize::try_from(upto - from).unwrap_or(usize::MAX);
        let Some(bytes) = self.window(Cursor { file, offset: from }, window)? else {
            return Ok(None);
        };
        if from == 0 {
            return Ok(Some((0, bytes)));
        }
        // The window begins amid a line, which belongs to the next one. Where
        // it holds no beginning there is no line, but noise to be passed over.
        let begin = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |first| first + 1);
        let begin = if begin < bytes.len() { begin } else { 0 };
        Ok(Some((from + begin as u64, bytes[begin..].to_vec())))
    }

    /// The bytes at a place, `None` when its file has just been rotated away.
    fn window(&self, cursor: Cursor, window: usize) -> io::Result<Option<Vec<u8>>> {
        let mut file = match File::open(self.dir.join(file_name(cursor.file))) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(cursor.offset))?;
        let mut bytes = Vec::new();
        file.take(window as u64).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn numbers(&self) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut numbers = Vec::new();
        for entry in entries {
            numbers.extend(entry?.file_name().to_str().and_then(file_number));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

fn entries(bytes: &[u8]) -> Vec<OwnedEntry> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| parse_line(line).ok())
        .map(|entry| OwnedEntry {
            time: entry.time.to_owned(),
            exec: entry.exec.to_owned(),
            full: entry.full,
            data: entry.data.to_vec(),
        })
        .collect()
}
