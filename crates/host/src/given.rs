//! Files that the engine gives a container, on every system: written anew at each
//! start, until the container changes them. A copy of what was given last, outside the
//! container's reach, tells the two apart.

use std::net::IpAddr;
use std::path::Path;

/// A file larger than this is the container's own doing, in bytes.
pub(crate) const MAX: u64 = 1 << 20;

/// What a name in the container's root stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    File(Vec<u8>),
    /// Removed or replaced by the container: its own business.
    Other,
}

/// What is to be done with a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is as it should be.
    Same,
    Write,
    /// The container has changed it.
    Leave,
}

/// What is to be done with a file that should have this content; `record` is the copy
/// of what was given last.
pub(crate) fn turn(found: &Found, content: &[u8], record: &Path) -> Turn {
    match found {
        Found::File(now) if now == content => Turn::Same,
        Found::File(now) if std::fs::read(record).is_ok_and(|last| last == *now) => Turn::Write,
        // What a power loss leaves of a file.
        Found::File(now) if now.is_empty() => Turn::Write,
        // A copied root comes with the skeleton's files and has no record yet.
        Found::File(_) if !record.exists() => Turn::Write,
        Found::File(_) | Found::Other => Turn::Leave,
        Found::Nothing => Turn::Write,
    }
}

/// The text of `/etc/hosts`: `skeleton`, and the names, first the host name, for each of
/// the container's own addresses. Where it has none of its own they stand for
/// `loopback`, so that they can be looked up at all.
pub(crate) fn hosts(
    skeleton: &str,
    names: [Option<&str>; 3],
    own: &[IpAddr],
    loopback: &str,
) -> String {
    let mut said: Vec<&str> = Vec::new();
    for name in names.into_iter().flatten() {
        if !said.contains(&name) {
            said.push(name);
        }
    }
    let names = said.join(" ");
    let mut text = skeleton.to_owned();
    for address in own {
        text.push_str(&format!("{address}\t{names}\n"));
    }
    if own.is_empty() {
        text.push_str(&format!("{loopback}\t{names}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_stands_once_for_each_address() {
        let own: [IpAddr; 2] =
            ["10.0.0.2".parse().expect("an address"), "fd00::2".parse().expect("an address")];
        let text = hosts("first\n", [Some("web"), Some("web"), Some("id")], &own, "127.0.0.1");
        assert_eq!(text, "first\n10.0.0.2\tweb id\nfd00::2\tweb id\n");
        let text = hosts("", [Some("id"), None, Some("id")], &[], "127.0.0.1");
        assert_eq!(text, "127.0.0.1\tid\n");
    }

    #[test]
    fn what_the_container_has_changed_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let record = dir.path().join("hosts");
        let turn = |found: Found| turn(&found, b"new", &record);
        let file = |content: &str| Found::File(content.as_bytes().to_vec());
        // Never given yet.
        assert_eq!(turn(file("skeleton")), Turn::Write);
        assert_eq!((turn(Found::Nothing), turn(Found::Other)), (Turn::Write, Turn::Leave));
        std::fs::write(&record, "last").expect("a record");
        assert_eq!((turn(file("last")), turn(file(""))), (Turn::Write, Turn::Write));
        assert_eq!((turn(file("own")), turn(file("new"))), (Turn::Leave, Turn::Same));
        assert_eq!((turn(Found::Nothing), turn(Found::Other)), (Turn::Write, Turn::Leave));
    }
}
