//! Kept output: numbered files of lines
//! `<RFC 3339 time> <execution> <F|P> <bytes>`, where `F` ends a line of the
//! output and `P` does not (a prompt, or a piece of a very long line). The
//! bytes are what was written, whatever they are, except the newline.

mod reader;
mod time;
mod writer;

pub use reader::{Cursor, OwnedEntry, Reader};
pub use time::rfc3339;
pub use writer::Writer;

/// The most bytes of output one line carries.
pub const MAX_PIECE: usize = 16 << 10;

/// One line, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When, RFC 3339 with microseconds, UTC.
    pub time: &'a str,
    /// Which execution wrote it.
    pub exec: &'a str,
    /// Whether a newline followed.
    pub full: bool,
    /// What it wrote.
    pub data: &'a [u8],
}

/// Bytes that are no line of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a line of a container's log")]
pub struct LineError;

/// Takes a line (without its newline) apart.
///
/// # Errors
///
/// When it does not have the four fields.
pub fn parse_line(line: &[u8]) -> Result<Entry<'_>, LineError> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let mut text = || fields.next().and_then(|field| std::str::from_utf8(field).ok());
    let (time, exec, mark) = (text(), text(), text());
    let (Some(time), Some(exec), Some(mark), Some(data)) = (time, exec, mark, fields.next()) else {
        return Err(LineError);
    };
    let full = match mark {
        "F" => true,
        "P" => false,
        _ => return Err(LineError),
    };
    if time.is_empty() || exec.is_empty() {
        return Err(LineError);
    }
    Ok(Entry { time, exec, full, data })
}

/// Appends one line, newline included.
fn format_line(out: &mut Vec<u8>, time: &str, exec: &str, full: bool, data: &[u8]) {
    out.extend_from_slice(time.as_bytes());
    out.push(b' ');
    out.extend_from_slice(exec.as_bytes());
    out.extend_from_slice(if full { b" F " } else { b" P " });
    out.extend_from_slice(data);
    out.push(b'\n');
}

/// The number in a log file's name.
fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    if digits.len() < 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

fn file_name(number: u64) -> String {
    format!("{number:08}.log")
}

#[cfg(test)]
mod tests;
