//! The kernel's mounts, as `mount -p` lists them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// One mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// What is mounted: a directory, a device, or a word.
    pub source: PathBuf,
    /// Where.
    pub target: PathBuf,
    /// Its kind: `nullfs`, `devfs`, `tmpfs`, `zfs`, …
    pub kind: String,
}

/// Reads what `mount -p` prints, in the order in which it was mounted: source,
/// target, kind, options and two numbers, divided by blanks (FreeBSD 13.2).
///
/// `mount` prints blanks in paths as they are, so a line is read from its end: the
/// target is the one word before the kind, which is right for all targets that have
/// no blank. Ours have none. Lines of another form say nothing.
#[must_use]
pub fn parse(bytes: &[u8]) -> Vec<Mounted> {
    bytes.split(|byte| *byte == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Mounted> {
    let (rest, pass) = last(line)?;
    let (rest, frequency) = last(rest)?;
    let is_number = |word: &[u8]| word.iter().all(u8::is_ascii_digit);
    if !is_number(pass) || !is_number(frequency) {
        return None;
    }
    let (rest, _options) = last(rest)?;
    let (rest, kind) = last(rest)?;
    let (rest, target) = last(rest)?;
    let source = rest.trim_ascii();
    let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
    if source.is_empty() || !target.starts_with(b"/") {
        return None;
    }
    let kind = std::str::from_utf8(kind).ok()?.to_owned();
    Some(Mounted { source: path(source), target: path(target), kind })
}

/// What comes before the last word, and that word.
fn last(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_end();
    let start = text.iter().rposition(u8::is_ascii_whitespace).map_or(0, |at| at + 1);
    let (rest, word) = text.split_at(start);
    (!word.is_empty()).then_some((rest, word))
}

/// The targets strictly below a root, in the order in which they can be unmounted:
/// the deepest first, of one target the latest first.
#[must_use]
pub fn below(mounted: &[Mounted], root: &Path) -> Vec<PathBuf> {
    let inside = mounted.iter().map(|mount| &mount.target);
    let inside = inside.filter(|target| target.starts_with(root) && *target != root);
    let mut targets: Vec<PathBuf> = inside.rev().cloned().collect();
    targets.sort_by_key(|target| std::cmp::Reverse(target.components().count()));
    targets
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// FreeBSD 13.2.
    const RECORDED: &str = "\
/dev/vtbd0p2\t\t/\t\t\tufs\trw\t\t1 1
devfs\t\t\t/dev\t\t\tdevfs\trw\t\t0 0
tmpfs\t\t\t/tmp\t\t\ttmpfs\trw\t\t0 0
/\t\t\t/jr\t\t\tnullfs\tro\t\t0 0
devfs\t\t\t/jr/dev\t\t\tdevfs\trw\t\t0 0
devfs\t\t\t/tmp/m/dev\t\tdevfs\trw\t\t0 0
";

    #[test]
    fn a_recorded_list_is_read() {
        let mounted = parse(RECORDED.as_bytes());
        let shown: Vec<String> = mounted
            .iter()
            .map(|m| format!("{} {} {}", m.source.display(), m.target.display(), m.kind))
            .collect();
        assert_eq!(
            shown,
            [
                "/dev/vtbd0p2 / ufs",
                "devfs /dev devfs",
                "tmpfs /tmp tmpfs",
                "/ /jr nullfs",
                "devfs /jr/dev devfs",
                "devfs /tmp/m/dev devfs"
            ]
        );
        assert_eq!(below(&mounted, Path::new("/jr")), [Path::new("/jr/dev")]);
        // Not what only begins with the same letters.
        assert!(below(&mounted, Path::new("/t")).is_empty());
    }

    #[test]
    fn sources_have_blanks_and_other_lines_say_nothing() {
        let text = "/my disk/a b  /jr/a\tnullfs ro,nosuid 0 0\nhalf a line\n/ /x nullfs ro 0 x\n\n";
        let [only] = &parse(text.as_bytes())[..] else { panic!("one line says something") };
        assert_eq!((&*only.source, &*only.target), (Path::new("/my disk/a b"), Path::new("/jr/a")));
    }

    #[test]
    fn the_deepest_and_latest_come_first() {
        let of = |source: &str, target: &str| Mounted {
            source: source.into(),
            target: target.into(),
            kind: "nullfs".to_owned(),
        };
        let mounted =
            [of("1", "/r/a"), of("2", "/r/a/b"), of("3", "/r/c"), of("4", "/r/a"), of("5", "/r")];
        let order = below(&mounted, Path::new("/r"));
        assert_eq!(order, ["/r/a/b", "/r/a", "/r/c", "/r/a"].map(PathBuf::from));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for mount in parse(&bytes) {
                prop_assert!(mount.target.is_absolute());
            }
        }

        #[test]
        fn what_is_printed_is_read(
            mounts in proptest::collection::vec(("[a-z/]{1,30}( [a-z/]{1,10})?", "/[!-~]{0,40}"), 0..5)
        ) {
            // As mount(8) pads them.
            let pad = |text: &str| match text.len() {
                0..8 => "\t\t\t",
                8..16 => "\t\t",
                16..24 => "\t",
                _ => " ",
            };
            let text: String = mounts
                .iter()
                .map(|(s, t)| format!("{s}{}{t}{}nullfs\tro\t\t0 0\n", pad(s), pad(t)))
                .collect();
            let read = parse(text.as_bytes());
            prop_assert_eq!(read.len(), mounts.len());
            for (mount, (source, target)) in read.iter().zip(&mounts) {
                prop_assert_eq!(mount.source.to_str(), Some(&**source));
                prop_assert_eq!(mount.target.to_str(), Some(&**target));
            }
        }
    }
}
