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
        let window = max_bytes.max(2 * MAX_PIECE);
        loop {
            let numbers = self.numbers()?;
            let Some(&file) = numbers.iter().find(|number| **number >= cursor.file) else {
                return Ok(Vec::new());
            };
            if file != cursor.file {
                *cursor = Cursor { file, offset: 0 };
            }
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
            if bytes.len() == window {
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
