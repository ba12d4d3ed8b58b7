//! Archives of base systems: fetched and unpacked by fetch(1) and tar(1).
//!
//! What an archive holds is hostile, as whoever serves it may be. `tar` keeps it
//! below the directory that it is told: without `-P` it takes the slash off absolute
//! paths, and refuses what has `..` in its path or would be written through a link
//! (tar(1), SECURITY, and `-P`). An mtree(5) file is an archive to it, too; what that
//! names in `contents=` is not read from the host unless `mtree:checkfs` is said, in
//! the environment for example, of which tools get none of ours. Nothing here follows
//! a link of an archive afterwards. There is no checksum, as there was none in 0.1.1:
//! `https` is what vouches for it.
//!
//! What is told to tools: [`VECTORS`]; from the manual pages fetch(1) and tar(1),
//! untried on FreeBSD. What is said here of hostile archives, of names and of the order
//! of options was tried with bsdtar 3.6.2 on Linux; fetch was not. No proxy is used.

use std::fmt;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags};

use super::datasets::LONG;
use super::release::shown;
use super::run::{Call, Tool, ToolError, Tools};
use super::storage::{StorageError, during};
use super::within::kind_at;

/// The forms of all that is told to tools here; `{…}` is a place for a text.
pub const VECTORS: &[&str] =
    &["fetch -q -o {file} {url}", "tar -x -p -f {file} -C {directory} --no-fflags"];

/// What fetch(1) can read.
const SCHEMES: [&str; 4] = ["http", "https", "ftp", "file"];

/// Directories one of which is at the top of any root (hier(7)).
const TOP: [&str; 4] = ["bin", "etc", "sbin", "usr"];

/// Where an archive is. A password in it is seen by all who may list processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(String);

/// A text that is no address of an archive.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid url '{url}': give one that begins with http://, https://, ftp:// or file:// and has no blanks, such as file:///root/base.txz"
)]
pub struct InvalidUrl {
    url: String,
}

impl Url {
    /// Checks an address: `http`, `https`, `ftp` or `file`, then `://` and more, all of
    /// it ASCII that can be seen. So it is never an option of fetch(1).
    ///
    /// # Errors
    /// [`InvalidUrl`].
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let known = |scheme: &str| SCHEMES.iter().any(|one| one.eq_ignore_ascii_case(scheme));
        let parts = text.split_once("://");
        let valid = parts.is_some_and(|(scheme, rest)| known(scheme) && !rest.is_empty())
            && text.bytes().all(|byte| byte.is_ascii_graphic())
            && text.len() <= 2000;
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidUrl { url: shown(text) }) }
    }

    /// One that is made of checked words.
    pub(super) fn of_release(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why there is no root from an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is not to be had.
    #[error("cannot fetch {url}")]
    Fetch {
        /// Where it is.
        url: Url,
        /// What fetch said.
        #[source]
        source: ToolError,
    },
    /// It is no archive, or has what is refused.
    #[error("cannot unpack what {url} gave")]
    Unpack {
        /// Where it is.
        url: Url,
        /// What tar said.
        #[source]
        source: ToolError,
    },
    /// It is something else.
    #[error(
        "what {url} gave is no root of a system, {why}: give an archive as base.txz is, with its directories at the top"
    )]
    NoRoot {
        /// Where it is.
        url: Url,
        /// What it is instead.
        why: &'static str,
    },
    /// A directory or file.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Fetches an archive into a new file.
///
/// Not with `-a`: an address that is not there would be tried until the deadline. The
/// end of the other side is noticed after 120 s of silence (`HTTP_TIMEOUT`), and a
/// file that is too short is an error of fetch's own.
pub(super) fn fetch(tools: &dyn Tools, url: &Url, file: &Path) -> Result<(), ArchiveError> {
    let call = Call::new(Tool::Fetch, ["-q", "-o", &text(file), &url.0]).within(LONG);
    let fail = |source| ArchiveError::Fetch { url: url.clone(), source };
    tools.run(&call).map(drop).map_err(fail)
}

/// Unpacks an archive into a directory that is there and empty, and looks whether it
/// is a root.
///
/// - `-p`: modes and setuid bits as they are in it.
/// - `--no-fflags`, after `-p`, which would turn them on: base.txz marks files as
///   unchangeable (`schg`), which would keep an image from being removed.
/// - Users by their names as the host has them, and by number where it has none: what
///   is made from an mtree(5) file has names only, and would be root's by number.
pub(super) fn unpack(
    tools: &dyn Tools,
    url: &Url,
    file: &Path,
    dir: &Path,
) -> Result<(), ArchiveError> {
    let words = ["-x", "-p", "-f", &text(file), "-C", &text(dir), "--no-fflags"];
    let call = Call::new(Tool::Tar, words).within(LONG);
    let fail = |source| ArchiveError::Unpack { url: url.clone(), source };
    tools.run(&call).map_err(fail)?;
    match stranger(dir)? {
        None => Ok(()),
        Some(why) => Err(ArchiveError::NoRoot { url: url.clone(), why }),
    }
}

/// Why a directory is no root of a system: it has to have one of the directories that
/// such have at the top. Whether anything runs in it, nobody can tell without that.
fn stranger(dir: &Path) -> Result<Option<&'static str>, StorageError> {
    let fail = || during("look at", dir);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(dir, flags, Mode::empty()).map_err(fail())?;
    for name in TOP {
        if kind_at(root.as_fd(), name.as_ref()).map_err(fail())? == Some(FileType::Directory) {
            return Ok(None);
        }
    }
    let entries = Dir::read_from(&root).map_err(fail())?;
    for entry in entries {
        let entry = entry.map_err(fail())?;
        if ![&b"."[..], b".."].contains(&entry.file_name().to_bytes()) {
            return Ok(Some("it has neither bin, etc, sbin nor usr"));
        }
    }
    Ok(Some("it is empty"))
}

/// A path of ours, which is text.
fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_what_fetch_reads() {
        for good in [
            "https://download.freebsd.org/releases/amd64/13.2-RELEASE/base.txz",
            "http://[2001:db8::1]:8080/a%20b?c=d&e#f",
            "FTP://host/x",
            "file:///base.txz",
        ] {
            assert_eq!(Url::parse(good).expect(good).to_string(), good);
        }
        for bad in [
            "",
            "-o/etc/rc.conf",
            "--ca-cert=x://y",
            "-q://x",
            "base.txz",
            "/base.txz",
            "sftp://host/x",
            "https:/host/x",
            "https://",
            "://host",
            "https://host/a b",
            "https://host/a\n",
            "https://host/\u{1b}[2J",
            "https://host/ä",
            " https://host/",
        ] {
            let text = Url::parse(bad).expect_err(bad).to_string();
            assert!(text.starts_with("invalid url '"), "{text}");
            assert!(!text.contains(char::is_control), "{text}");
        }
        assert!(Url::parse(&format!("file://{}", "a".repeat(3000))).is_err());
    }

    #[test]
    fn a_root_has_directories_that_are_none_of_its_links() {
        let why = |names: &[&str]| {
            let dir = tempfile::tempdir().expect("a directory");
            for name in names {
                std::fs::create_dir_all(dir.path().join(name)).expect("a directory");
            }
            std::os::unix::fs::symlink("/", dir.path().join("bin")).expect("a link");
            stranger(dir.path()).expect("read")
        };
        assert_eq!(why(&["usr"]), None);
        assert_eq!(why(&["base-13.2/bin"]), Some("it has neither bin, etc, sbin nor usr"));
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(stranger(dir.path()).expect("read"), Some("it is empty"));
        // A link in its own place is not followed.
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/", &link).expect("a link");
        assert!(stranger(&link).is_err());
    }
}
