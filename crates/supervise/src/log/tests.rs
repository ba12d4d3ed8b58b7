use std::{fs, path::PathBuf};

use super::*;
use crate::proto::LogLimits;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kleene-log-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn content(entries: &[OwnedEntry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend_from_slice(&entry.data);
        if entry.full {
            bytes.push(b'\n');
        }
    }
    bytes
}

fn read_all(reader: &Reader, cursor: &mut Cursor) -> Vec<OwnedEntry> {
    let mut all = Vec::new();
    loop {
        let some = reader.read(cursor, 0).unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

#[test]
fn lines_are_taken_apart() {
    let entry = parse_line(b"2025-01-01T00:00:00.000000Z a1 F hello  \xff world").unwrap();
    assert_eq!((entry.exec, entry.full, entry.data), ("a1", true, b"hello  \xff world".as_slice()));
    assert_eq!(parse_line(b"t a P ").unwrap().data, b"");
    for bad in [&b""[..], b"t", b"t a", b"t a F", b"t a X y", b" a F x", b"\xff a F x"] {
        assert_eq!(parse_line(bad), Err(LineError), "{bad:?}");
    }
}

#[test]
fn output_comes_back_byte_for_byte() {
    let dir = Dir::new("bytes");
    let mut writer = Writer::new(dir.0.clone(), LogLimits::default());
    let mut written = Vec::new();
    let long = vec![b'x'; 3 * MAX_PIECE + 5];
    for piece in [&b"one\ntwo"[..], b" more\n", b"\n\n", b"\xff\x00\r\n", &long, b"\nend"] {
        writer.write("a", piece, 1);
        written.extend_from_slice(piece);
    }
    let reader = Reader::new(dir.0.clone());
    let mut cursor = Cursor::default();
    assert_eq!(content(&read_all(&reader, &mut cursor)), written);
    assert_eq!(cursor, reader.end().unwrap());
    writer.write("a", b"later\n", 2);
    assert_eq!(content(&read_all(&reader, &mut cursor)), b"later\n");
    assert_eq!(writer.take_dropped(), 0);
}

#[test]
fn files_are_rotated_and_followed() {
    let dir = Dir::new("rotate");
    let mut writer = Writer::new(dir.0.clone(), LogLimits { max_bytes: 100, files: 3 });
    let reader = Reader::new(dir.0.clone());
    let mut follower = Cursor::default();
    let mut followed = Vec::new();
    for number in 0..40 {
        writer.write("a", format!("{number}\n").as_bytes(), 1);
        followed.extend(read_all(&reader, &mut follower));
    }
    let expected: String = (0..40).map(|number| format!("{number}\n")).collect();
    assert_eq!(content(&followed), expected.as_bytes());
    assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 3);
    let kept = content(&read_all(&reader, &mut Cursor::default()));
    assert!(expected.as_bytes().ends_with(&kept) && kept.len() < expected.len());
    // A writer that starts anew loses nothing to those that follow.
    let mut second = Writer::new(dir.0.clone(), LogLimits::default());
    second.write("b", b"again\n", 1);
    assert_eq!(content(&read_all(&reader, &mut follower)), b"again\n");
}

#[test]
fn many_short_lives_keep_what_the_limits_allow() {
    let dir = Dir::new("lives");
    let limits = LogLimits { max_bytes: 1000, files: 3 };
    let reader = Reader::new(dir.0.clone());
    let (mut follower, mut followed, mut expected) = (Cursor::default(), Vec::new(), String::new());
    for life in 0..20 {
        let line = format!("life {life}\n");
        Writer::new(dir.0.clone(), limits).write("a", line.as_bytes(), 1);
        expected += &line;
        followed.extend(read_all(&reader, &mut follower));
    }
    assert_eq!(content(&read_all(&reader, &mut Cursor::default())), expected.as_bytes());
    assert_eq!(content(&followed), expected.as_bytes());
    // The limits hold all the same.
    for _ in 0..200 {
        Writer::new(dir.0.clone(), limits).write("a", b"more\n", 1);
    }
    let sizes: Vec<u64> = fs::read_dir(&dir.0)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .collect();
    assert!(sizes.len() == 3 && sizes.iter().all(|size| *size < 1100), "{sizes:?}");
}

#[test]
fn a_torn_line_takes_nothing_with_it() {
    let dir = Dir::new("torn-end");
    fs::write(dir.0.join("00000001.log"), b"t a F one\nt a F tor").unwrap();
    Writer::new(dir.0.clone(), LogLimits::default()).write("a", b"two\n", 1);
    let all = read_all(&Reader::new(dir.0.clone()), &mut Cursor::default());
    assert_eq!(content(&all), b"one\ntwo\n");
}

/// What is read from the last `lines` lines on, up to the end.
fn tail(reader: &Reader, lines: usize) -> Vec<u8> {
    let end = reader.end().unwrap();
    let mut cursor = reader.tail(end, lines).unwrap();
    let mut all = Vec::new();
    loop {
        let some = reader.read_before(&mut cursor, end, 0).unwrap();
        if some.is_empty() {
            return content(&all);
        }
        all.extend(some);
    }
}

#[test]
fn the_last_lines_are_found_from_behind() {
    let dir = Dir::new("tail");
    let mut writer = Writer::new(dir.0.clone(), LogLimits { max_bytes: 50_000, files: 100 });
    let reader = Reader::new(dir.0.clone());
    assert_eq!(tail(&reader, 0), b"");
    assert_eq!(tail(&reader, 5), b"");
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for number in 0..300_usize {
        // Some in pieces, and many files.
        let length = if number.is_multiple_of(50) { 3 * MAX_PIECE } else { number * 7 };
        lines.push([vec![b'x'; length], format!(" {number}\n").into_bytes()].concat());
        writer.write("a", &lines[number], 1);
    }
    assert!(fs::read_dir(&dir.0).unwrap().count() > 5);
    for count in [0, 1, 2, 49, 50, 51, 299, 300, 301, usize::MAX] {
        let expected = lines[lines.len().saturating_sub(count)..].concat();
        assert!(tail(&reader, count) == expected, "the last {count}");
    }
    // What has no newline yet is a line, too.
    let end = reader.end().unwrap();
    writer.write("a", b"prompt", 1);
    writer.write("a", b"> ", 1);
    assert_eq!(tail(&reader, 0), b"");
    assert_eq!(tail(&reader, 1), b"prompt> ");
    assert_eq!(tail(&reader, 2), [&lines[299], &b"prompt> "[..]].concat());
    // What comes behind the end does not count.
    let mut cursor = reader.tail(end, 1).unwrap();
    assert_eq!(content(&reader.read_before(&mut cursor, end, 0).unwrap()), lines[299]);
    assert_eq!(reader.read_before(&mut cursor, end, 0).unwrap(), []);
    assert_eq!(content(&reader.read(&mut cursor, 0).unwrap()), b"prompt> ");
}

#[test]
fn noise_does_not_hide_the_last_lines() {
    let dir = Dir::new("tail-noise");
    let noise = vec![b'n'; 40 * MAX_PIECE];
    let bytes = [&b"t a F one\nt a F two\n"[..], &noise, b"\nt a F three\nt a F tor"].concat();
    fs::write(dir.0.join("00000001.log"), bytes).unwrap();
    let reader = Reader::new(dir.0.clone());
    assert_eq!(tail(&reader, 1), b"three\n");
    assert_eq!(tail(&reader, 2), b"two\nthree\n");
    assert_eq!(tail(&reader, 9), b"one\ntwo\nthree\n");
}

#[test]
fn what_cannot_be_kept_is_counted_and_torn_lines_are_passed_over() {
    let dir = Dir::new("torn");
    let mut writer = Writer::new(dir.0.join("absent"), LogLimits::default());
    writer.write("a", b"gone\n", 1);
    assert_eq!(writer.take_dropped(), 5);
    assert_eq!(writer.take_dropped(), 0);

    let reader = Reader::new(dir.0.clone());
    let mut cursor = Cursor::default();
    fs::write(dir.0.join("00000001.log"), b"t a F one\nt a F tor").unwrap();
    assert_eq!(content(&read_all(&reader, &mut cursor)), b"one\n");
    fs::write(dir.0.join("00000002.log"), b"noise\nt a F two\n").unwrap();
    assert_eq!(content(&read_all(&reader, &mut cursor)), b"two\n");
    assert!(read_all(&Reader::new(dir.0.join("none")), &mut Cursor::default()).is_empty());
}
