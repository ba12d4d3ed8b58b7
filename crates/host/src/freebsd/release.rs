//! The release that this host runs, and where the archive of its base system is.
//!
//! The kernel tells both words that an address is made of; they are believed only as
//! far as they have the form that releases have. `kern.osrelease` and `hw.machine` are
//! from sysctl(8) and uname(1), not recorded; nothing was ever fetched from here.

use std::fmt;

use super::archive::Url;
use super::run::{Call, Tool, ToolError, Tools};

/// Where FreeBSD keeps its releases and snapshots.
const SERVER: &str = "https://download.freebsd.org";

/// Whether releases or snapshots have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Branch {
    Release,
    Stable,
}

/// A release of FreeBSD for an architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Without the number of its patch.
    version: String,
    architecture: String,
    branch: Branch,
}

/// Why the host's release cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The kernel is not asked.
    #[error("cannot tell the version of FreeBSD")]
    Tool(#[from] ToolError),
    /// No archive is known to be of this version (the text of Kleene 0.1.1, and what
    /// helps).
    #[error("could not deduce url from FreeBSD version {version}: name one with method 'fetch'")]
    Version {
        /// What the kernel says.
        version: String,
    },
    /// No archive is known to be for this architecture.
    #[error(
        "could not deduce url from the architecture {architecture}: name one with method 'fetch'"
    )]
    Architecture {
        /// What the kernel says.
        architecture: String,
    },
}

impl Release {
    /// The release of this host, as its kernel tells it.
    ///
    /// # Errors
    /// What sysctl says; a version or architecture of another form than
    /// [`Release::parse`] knows.
    pub fn of_host(tools: &dyn Tools) -> Result<Self, ReleaseError> {
        let ask = |name: &str| tools.run(&Call::new(Tool::Sysctl, ["-n", name]));
        let (version, architecture) = (ask("kern.osrelease")?, ask("hw.machine")?);
        let line = |text: &str| text.strip_suffix('\n').unwrap_or(text).to_owned();
        Self::parse(&line(&version.stdout), &line(&architecture.stdout))
    }

    /// Reads a version as `uname -r` shows it, `13.2-RELEASE-p1` or `14.1-STABLE`, and
    /// an architecture as `uname -m` does.
    ///
    /// # Errors
    /// Versions of other forms, such as `15.0-CURRENT`, of which the server keeps no
    /// archive under a name that could be told.
    pub fn parse(version: &str, architecture: &str) -> Result<Self, ReleaseError> {
        let known = || {
            let (number, rest) = version.split_once('-')?;
            let (major, minor) = number.split_once('.')?;
            let (branch, word) = match rest.split_once("-p") {
                _ if rest == "STABLE" => (Branch::Stable, rest),
                _ if rest == "RELEASE" => (Branch::Release, rest),
                Some(("RELEASE", patch)) if is_number(patch) => (Branch::Release, "RELEASE"),
                _ => return None,
            };
            (is_number(major) && is_number(minor)).then(|| (branch, format!("{number}-{word}")))
        };
        let Some((branch, version)) = known() else {
            return Err(ReleaseError::Version { version: shown(version) });
        };
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if !(1..=16).contains(&architecture.len()) || !architecture.bytes().all(is_word) {
            return Err(ReleaseError::Architecture { architecture: shown(architecture) });
        }
        Ok(Self { version, architecture: architecture.to_owned(), branch })
    }

    /// Where the archive of its base system is. That of a release is without the
    /// patches that came later.
    #[must_use]
    pub fn url(&self) -> Url {
        let dir = match self.branch {
            Branch::Release => "releases",
            Branch::Stable => "snapshots",
        };
        Url::of_release(format!("{SERVER}/{dir}/{}/{}/base.txz", self.architecture, self.version))
    }

    /// The name of an image of it (`autotag` of the API); its tag is `latest`. Without
    /// the number of the host's patch, which the archive does not have.
    #[must_use]
    pub fn nametag(&self) -> String {
        format!("FreeBSD-{}", self.version)
    }
}

/// As 0.1.1 tells of it: `FreeBSD-13.2-RELEASE amd64`.
impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.nametag(), self.architecture)
    }
}

fn is_number(text: &str) -> bool {
    (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A text that is not believed, as far as a message needs it.
pub(crate) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(100).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{}{more}", cut.escape_debug())
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;
