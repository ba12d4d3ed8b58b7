//! Why the kernel could not be asked or changed.

use std::io;
use std::time::Duration;

use kleene_engine::host::HostError;
use kleene_model::{ContainerId, LinkName};
use rustix::io::Errno;

use crate::linux::nft::NftError;

/// The kernel refused one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelError {
    errno: Errno,
    words: Option<String>,
}

impl KernelError {
    pub(super) fn new(errno: i32, words: Option<String>) -> Self {
        Self { errno: Errno::from_raw_os_error(errno), words }
    }

    /// The error's number.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// What the kernel said besides the number, where it did.
    #[must_use]
    pub fn words(&self) -> Option<&str> {
        self.words.as_deref()
    }
}

impl std::fmt::Display for KernelError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.words {
            Some(words) => write!(f, "{} ({})", words.trim_end_matches('.'), self.errno),
            None => write!(f, "{}", self.errno),
        }
    }
}

impl std::error::Error for KernelError {}

/// Why a look at the kernel's network, or a change of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The kernel refused a request.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A netlink socket could not be opened or used.
    #[error("cannot {what}")]
    Socket {
        /// `send to the kernel`.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel sent something that is no netlink message.
    #[error("the kernel's answer cannot be read: {0}")]
    Malformed(&'static str),
    /// No answer came in time.
    #[error("the kernel did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// A list changed under our hands as often as it was read.
    #[error("the list changed each of the {0} times it was read")]
    Restless(u32),
    /// There is no such link.
    #[error("there is no interface {0}")]
    NoLink(LinkName),
    /// There is a link of that name already, ours or not: never taken over.
    #[error("an interface {0} exists already")]
    NameTaken(LinkName),
    /// All indexes that were tried for a new link were taken.
    #[error("no free interface index was found")]
    NoIndex,
    /// The link no longer carries the mark that it was seen with.
    #[error("{link} is not ours any more: {}", found_mark(.found.as_deref()))]
    Foreign {
        /// The link.
        link: LinkName,
        /// The alias that it carries now.
        found: Option<String>,
    },
    /// The container's network namespace was not handed over, or is gone.
    #[error("the network namespace of container {0} is not known")]
    NoNamespace(ContainerId),
    /// A container's network namespace could not be entered.
    #[error("cannot enter the network namespace")]
    Enter(#[source] io::Error),
    /// A view cannot show what it should.
    #[error("the view is not up to date")]
    View(#[source] Box<HostError>),
    /// IPv6 packets cannot be let through one interface alone.
    #[error(
        "unsupported: IPv6 addresses of containers on networks of this type need the setting force_forwarding (Linux 6.17)"
    )]
    NoForceForwarding,
    /// Containers have stacks of their own here.
    #[error("unsupported on Linux: containers on the host's own stack")]
    SharedStack,
    /// The rules that guard containers' addresses could not be changed.
    #[error("cannot change the nftables rules")]
    Rules(#[source] Box<NftError>),
    /// Somebody else has set the address.
    #[error("the host has the address {0} on that interface already")]
    AddressTaken(std::net::IpAddr),
    /// The kernel did not give an address up to be led elsewhere.
    #[error("the kernel keeps the address {0} to itself")]
    Claimed(std::net::IpAddr),
    /// A setting below `/proc/sys/net` could not be read or written.
    #[error("cannot read or write {path}")]
    Setting {
        /// The file.
        path: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

fn found_mark(found: Option<&str>) -> String {
    match found {
        Some(alias) => format!("it carries {alias:?}"),
        None => "it carries no mark".to_owned(),
    }
}

impl NetError {
    /// The kernel's error number, where the kernel refused.
    pub(in crate::linux) fn errno(&self) -> Option<Errno> {
        match self {
            Self::Kernel(kernel) => Some(kernel.errno()),
            _ => None,
        }
    }
}

/// Names what was attempted on the host.
pub(in crate::linux) fn host(what: &str) -> impl FnOnce(NetError) -> HostError + use<'_> {
    move |source| HostError { what: what.to_owned(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_the_kernels_words_once() {
        let plain = KernelError::new(17, None).to_string();
        assert!(plain.contains("File exists"), "{plain}");
        let told = KernelError::new(22, Some("Nexthop has invalid gateway.".to_owned()));
        assert!(told.to_string().starts_with("Nexthop has invalid gateway ("), "{told}");
        let link = LinkName::parse("epair1a").expect("name");
        let none = NetError::Foreign { link: link.clone(), found: None };
        assert_eq!(none.to_string(), "epair1a is not ours any more: it carries no mark");
        let other = NetError::Foreign { link, found: Some("my uplink".to_owned()) };
        assert!(other.to_string().ends_with("it carries \"my uplink\""), "{other}");
    }
}
