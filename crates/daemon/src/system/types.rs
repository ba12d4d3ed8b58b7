//! What both systems give the rest of the daemon.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use kleene_model::{NetworkId, Protocol, Refusal};

/// Why the system does not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// It has nothing to do it with.
    #[error("Unsupported on FreeBSD: {0}")]
    #[cfg_attr(target_os = "linux", allow(dead_code, reason = "everything is there on Linux"))]
    Never(&'static str),
    /// It could, and this version does not do it yet.
    #[error("Unsupported on Linux yet: {0}")]
    #[cfg_attr(target_os = "freebsd", allow(dead_code, reason = "everything is there on FreeBSD"))]
    NotYet(&'static str),
    /// It was tried: why it failed, in one line.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// As an answer of the API, which says what was asked for.
    pub(crate) fn refusal(self, asked: &str) -> Refusal {
        let what = format!("{asked}: {self}");
        match self {
            Self::NotYet(_) | Self::Never(_) => Refusal::Unsupported { what },
            Self::Failed(_) => Refusal::Host { what },
        }
    }
}

impl From<String> for Error {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

impl From<Error> for String {
    fn from(err: Error) -> Self {
        err.to_string()
    }
}

/// An image whose files are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageMade {
    /// The dataset that holds it; empty where there is none.
    pub(crate) dataset: String,
    /// What it is called after the host's release, where it was made of that.
    pub(crate) release: Option<String>,
}

/// What a rule of the policy has decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counted {
    /// The network whose rule it is; `None` for one of the host.
    pub(crate) network: Option<NetworkId>,
    /// Its number in the policy and what it is about.
    pub(crate) rule: String,
    /// What became of them.
    pub(crate) fate: Fate,
    /// How many packets.
    pub(crate) packets: u64,
    /// What they were long, in bytes.
    pub(crate) bytes: u64,
}

/// What became of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They were let through.
    Passed,
    /// They were not, and who sent them was told.
    Refused,
    /// They were not, and nobody was told.
    Dropped,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
        })
    }
}

/// A flow to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Its source, an address of who sends it.
    pub(crate) source: IpAddr,
    /// Where it goes to.
    pub(crate) to: SocketAddr,
    /// TCP: a connection, which is closed at once. UDP: an empty datagram.
    pub(crate) protocol: Protocol,
}

/// What came back of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(target_os = "freebsd", allow(dead_code, reason = "no flow is sent there"))]
pub(crate) enum Heard {
    /// A connection, or a datagram.
    Answer,
    /// A refusal, of the policy or of who was asked.
    Refusal,
    /// Nothing.
    Nothing,
    /// Nothing was sent: no route leads there.
    NoRoute,
}

/// What became of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// What came back.
    pub(crate) heard: Heard,
    /// Whether the host let it pass, as far as the host sees it; `None` when it
    /// cannot tell.
    pub(crate) tracked: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_system_lacks_is_said_by_name_and_is_no_failure_of_the_host() {
        let refusal = Error::NotYet("images").refusal("creating an image");
        assert!(matches!(&refusal, Refusal::Unsupported { what }
            if what == "creating an image: Unsupported on Linux yet: images"));
        let refusal = Error::Never("views").refusal("looking");
        assert!(matches!(&refusal, Refusal::Unsupported { what }
            if what == "looking: Unsupported on FreeBSD: views"));
        let refusal = Error::Failed("no memory".to_owned()).refusal("looking");
        assert!(matches!(&refusal, Refusal::Host { what } if what == "looking: no memory"));
    }
}
