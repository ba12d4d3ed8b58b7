//! What a program says of itself: the few fields of an ELF file (System V ABI, chapters
//! 4 and 5; the notes of FreeBSD's `sys/elf_common.h`) that say where it runs.

use anyhow::{Context as _, Result, bail, ensure};
use std::fmt;

const MACHINE_AMD64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_VERNEED: u64 = 0x6fff_fffe;
/// `NT_FREEBSD_ABI_TAG`: the `__FreeBSD_version` that it was built for.
const ABI_TAG: u32 = 1;
/// More entries than any program has: a file that says so is broken.
const MANY: usize = 10_000;

/// What a program says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// `EI_OSABI`: 9 is FreeBSD, 0 says nothing, and the note tells.
    pub(super) osabi: u8,
    /// `__FreeBSD_version` of its note, if it has one.
    pub(super) freebsd: Option<u32>,
    /// The program that loads it.
    pub(super) interpreter: Option<String>,
    /// The libraries that it needs.
    pub(super) libraries: Vec<String>,
    /// The versions of their symbols that it needs, sorted.
    pub(super) versions: Vec<String>,
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let os = match (self.osabi, self.freebsd) {
            (_, Some(version)) => format!("FreeBSD {version} (by its note)"),
            (9, None) => "FreeBSD (by its header)".to_owned(),
            (other, None) => format!("OS ABI {other}"),
        };
        let interpreter = self.interpreter.as_deref().unwrap_or("none");
        let (libraries, versions) = (self.libraries.join(" "), self.versions.join(" "));
        write!(
            f,
            "ELF 64-bit x86-64, {os}, interpreter {interpreter}, needs {libraries}, symbols of {versions}"
        )
    }
}

/// One program header.
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

struct Elf<'a> {
    bytes: &'a [u8],
    segments: Vec<Segment>,
}

/// Reads a program.
///
/// # Errors
/// When it is no 64-bit ELF program for amd64, or is cut off.
pub(super) fn facts(bytes: &[u8]) -> Result<Facts> {
    ensure!(bytes.starts_with(b"\x7fELF\x02\x01"), "no 64-bit little-endian ELF file");
    let machine = number::<2>(bytes, 18)?;
    ensure!(machine == u64::from(MACHINE_AMD64), "for machine {machine}, not amd64");
    let (start, size) = (number::<8>(bytes, 32)?, number::<2>(bytes, 54)?);
    let count = number::<2>(bytes, 56)?;
    let segment = |index| -> Result<Segment> {
        let at = start + index * size;
        Ok(Segment {
            kind: u32::try_from(number::<4>(bytes, at)?)?,
            offset: number::<8>(bytes, at + 8)?,
            address: number::<8>(bytes, at + 16)?,
            size: number::<8>(bytes, at + 32)?,
        })
    };
    let segments = (0..count).map(segment).collect::<Result<Vec<_>>>()?;
    let elf = Elf { bytes, segments };
    let interpreter = elf.of(PT_INTERP).map(|s| elf.text(s.offset)).next().transpose()?;
    let (libraries, versions) = elf.dynamic()?;
    let osabi = *bytes.get(7).context("cut off")?;
    Ok(Facts { osabi, freebsd: elf.abi_note()?, interpreter, libraries, versions })
}

impl Elf<'_> {
    fn of(&self, kind: u32) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(move |segment| segment.kind == kind)
    }

    /// Where something is in the file that will be at an address.
    fn offset(&self, address: u64) -> Result<u64> {
        let holds = |s: &&Segment| address.checked_sub(s.address).is_some_and(|in_| in_ < s.size);
        let segment = self.of(PT_LOAD).find(holds).context("an address in no segment")?;
        Ok(segment.offset + (address - segment.address))
    }

    /// A text that ends with a zero byte.
    fn text(&self, at: u64) -> Result<String> {
        let rest = self.bytes.get(usize::try_from(at)?..).context("a text is cut off")?;
        let end = rest.iter().position(|byte| *byte == 0).context("a text does not end")?;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    fn abi_note(&self) -> Result<Option<u32>> {
        for segment in self.of(PT_NOTE) {
            let (mut at, end) = (segment.offset, segment.offset + segment.size);
            while at + 12 <= end {
                let (name, value) =
                    (number::<4>(self.bytes, at)?, number::<4>(self.bytes, at + 4)?);
                let kind = number::<4>(self.bytes, at + 8)?;
                let content = at + 12 + name.next_multiple_of(4);
                if kind == u64::from(ABI_TAG) && value == 4 && self.text(at + 12)? == "FreeBSD" {
                    return Ok(Some(u32::try_from(number::<4>(self.bytes, content)?)?));
                }
                at = content + value.next_multiple_of(4);
            }
        }
        Ok(None)
    }

    /// The libraries that it needs, and the versions of their symbols.
    fn dynamic(&self) -> Result<(Vec<String>, Vec<String>)> {
        let Some(dynamic) = self.of(PT_DYNAMIC).next() else { return Ok(Default::default()) };
        let entry = |index| -> Result<(u64, u64)> {
            let at = dynamic.offset + index * 16;
            Ok((number::<8>(self.bytes, at)?, number::<8>(self.bytes, at + 8)?))
        };
        let entries = (0..dynamic.size / 16).map(entry).collect::<Result<Vec<_>>>()?;
        let value = |tag| entries.iter().find(|entry| entry.0 == tag).map(|entry| entry.1);
        let strings = self.offset(value(DT_STRTAB).context("no table of strings")?)?;
        let needed = entries.iter().filter(|entry| entry.0 == DT_NEEDED);
        let libraries = needed.map(|entry| self.text(strings + entry.1));
        let versions = match value(DT_VERNEED) {
            Some(address) => self.versions(self.offset(address)?, strings)?,
            None => Vec::new(),
        };
        Ok((libraries.collect::<Result<_>>()?, versions))
    }

    /// Walks the list of libraries (`Elf64_Verneed`), and that of each one's versions
    /// (`Elf64_Vernaux`).
    fn versions(&self, first: u64, strings: u64) -> Result<Vec<String>> {
        let (mut found, mut file) = (Vec::new(), first);
        loop {
            let mut version = file + number::<4>(self.bytes, file + 8)?;
            loop {
                found.push(self.text(strings + number::<4>(self.bytes, version + 8)?)?);
                if found.len() > MANY {
                    bail!("its list of versions has no end");
                }
                match number::<4>(self.bytes, version + 12)? {
                    0 => break,
                    next => version += next,
                }
            }
            match number::<4>(self.bytes, file + 12)? {
                0 => break,
                next => file += next,
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }
}

/// A number of `N` bytes, the lowest first.
fn number<const N: usize>(bytes: &[u8], at: u64) -> Result<u64> {
    let start = usize::try_from(at)?;
    let read = bytes.get(start..).and_then(|rest| rest.first_chunk::<N>());
    let read = read.with_context(|| format!("cut off at byte {at}"))?;
    Ok(read.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
#[path = "elf_tests.rs"]
mod tests;
