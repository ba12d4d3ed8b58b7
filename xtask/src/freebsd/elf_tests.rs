use super::*;

/// Addresses are offsets and this more.
const BASE: u64 = 0x20_0000;

fn put(bytes: &mut Vec<u8>, fields: &[(u64, usize)]) {
    for (value, length) in fields {
        bytes.extend(&value.to_le_bytes()[..*length]);
    }
}

/// A program that needs `libc.so.7` with symbols of two versions.
fn program() -> Vec<u8> {
    let strings = b"\0libc.so.7\0FBSD_1.0\0FBSD_1.6\0";
    let (interp, note, text) = (64 + 4 * 56, 64 + 4 * 56 + 24, 64 + 4 * 56 + 24 + 24);
    let (needs, dynamic) = (text + 32, text + 32 + 48);
    let end = dynamic + 4 * 16;
    let mut bytes = b"\x7fELF\x02\x01\x01\x00".to_vec();
    bytes.resize(16, 0);
    put(&mut bytes, &[(2, 2), (62, 2), (1, 4), (0, 8), (64, 8), (0, 8), (0, 4)]);
    put(&mut bytes, &[(64, 2), (56, 2), (4, 2), (0, 2), (0, 2), (0, 2)]);
    for (kind, offset, size) in
        [(PT_LOAD, 0, end), (PT_INTERP, interp, 21), (PT_NOTE, note, 24), (PT_DYNAMIC, dynamic, 64)]
    {
        let address = offset + BASE;
        put(&mut bytes, &[(kind.into(), 4), (4, 4), (offset, 8), (address, 8), (address, 8)]);
        put(&mut bytes, &[(size, 8), (size, 8), (1, 8)]);
    }
    bytes.extend(b"/libexec/ld-elf.so.1\0\0\0\0");
    put(&mut bytes, &[(8, 4), (4, 4), (1, 4)]);
    bytes.extend(b"FreeBSD\0");
    put(&mut bytes, &[(1_302_001, 4)]);
    bytes.extend(strings);
    bytes.resize(usize::try_from(needs).unwrap(), 0);
    put(&mut bytes, &[(1, 2), (2, 2), (1, 4), (16, 4), (0, 4)]);
    put(&mut bytes, &[(0, 4), (0, 2), (2, 2), (20, 4), (16, 4)]);
    put(&mut bytes, &[(0, 4), (0, 2), (3, 2), (11, 4), (0, 4)]);
    for (tag, value) in
        [(DT_NEEDED, 1), (DT_STRTAB, text + BASE), (DT_VERNEED, needs + BASE), (0, 0)]
    {
        put(&mut bytes, &[(tag, 8), (value, 8)]);
    }
    bytes
}

#[test]
fn a_program_says_where_it_runs() {
    let facts = facts(&program()).unwrap();
    assert_eq!(facts.interpreter.as_deref(), Some("/libexec/ld-elf.so.1"));
    assert_eq!((facts.osabi, facts.freebsd), (0, Some(1_302_001)));
    assert_eq!(facts.libraries, ["libc.so.7"]);
    assert_eq!(facts.versions, ["FBSD_1.0", "FBSD_1.6"]);
    assert_eq!(
        facts.to_string(),
        "ELF 64-bit x86-64, FreeBSD 1302001 (by its note), interpreter /libexec/ld-elf.so.1, \
         needs libc.so.7, symbols of FBSD_1.0 FBSD_1.6"
    );
}

#[test]
fn what_is_no_program_is_refused_and_nothing_panics() {
    let whole = program();
    for length in 0..whole.len() {
        // What is cut off behind all that is read may still be read.
        let _ = facts(&whole[..length]);
    }
    assert!(facts(&whole[..200]).is_err());
    assert!(facts(b"#!/bin/sh\n").is_err());
    let mut other = whole.clone();
    other[18] = 183;
    assert!(facts(&other).unwrap_err().to_string().contains("machine 183"));
    // A list of versions that leads to itself.
    let mut endless = whole;
    let last = endless.len() - 64 - 16 + 12;
    endless[last..last + 4].copy_from_slice(&(-16_i32).to_le_bytes());
    assert!(facts(&endless).is_err());
}

#[test]
fn this_very_program_is_read_and_is_none_of_freebsd() {
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let facts = facts(&own).unwrap();
    assert_eq!(facts.freebsd, None);
    assert!(facts.libraries.iter().any(|library| library.starts_with("libc")), "{facts}");
}
