//! What texts are made of, and what pf could not read.

use std::fmt;
use std::net::IpAddr;

use kleene_model::{LinkName, NetworkId, NetworkType};

use super::{Anchor, GROUP, GROUP_CABLES, GROUP_NETWORKS};

/// Why there is no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PfError {
    /// The name has characters that a rule cannot hold.
    #[error(
        "unsupported: pf cannot hold the interface name {:?} (letters, digits, '.', '_' and '-' only)",
        .0.as_str()
    )]
    Interface(LinkName),
    /// The name is that of a group of interfaces, and a rule would be about all
    /// of them.
    #[error("unsupported: pf takes the interface name {0} for a group of interfaces")]
    Group(LinkName),
    /// A port is published at an address that is no standing endpoint's.
    #[error("ports are published at {0}, which is no address of an endpoint")]
    NoEndpoint(IpAddr),
    /// A port is published at a `vnet` container's address on a network that is
    /// no bridge.
    #[error("ports are published at {addr} of a vnet container, on a network of type {kind}")]
    NoBridge {
        /// The address.
        addr: IpAddr,
        /// The network's type.
        kind: NetworkType,
    },
    /// An endpoint is in a network that the policy does not have.
    #[error("the policy has no network {0}")]
    NoNetwork(NetworkId),
}

/// Groups in which the system itself puts interfaces: `all` has every one, and
/// those that are cloned have the name of their kind (FreeBSD 13.2). A group and
/// an interface look the same to a rule.
const SYSTEM_GROUPS: [&str; 23] = [
    "all", "bridge", "carp", "disc", "edsc", "enc", "epair", "faith", "fwip", "gif", "gre",
    "ipsec", "lagg", "lo", "ng", "pflog", "pfsync", "stf", "tap", "tun", "vlan", "vxlan", "wg",
];

/// Whether rules can name an interface.
///
/// # Errors
/// [`PfError::Interface`], [`PfError::Group`].
pub fn check_link(name: &LinkName) -> Result<(), PfError> {
    // In quotes pf reads a backslash, the quote and the end of the line, so far
    // more could be held; nobody needs it, and every other reader of rules would
    // have to agree.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let text = name.as_str();
    if !text.bytes().all(plain) {
        return Err(PfError::Interface(name.clone()));
    }
    let ours = [GROUP, GROUP_NETWORKS, GROUP_CABLES];
    if ours.contains(&text) || SYSTEM_GROUPS.contains(&text) {
        return Err(PfError::Group(name.clone()));
    }
    Ok(())
}

/// An interface's name as rules have it. In quotes, as pf then takes no name for
/// a word of its grammar: an interface may be called `out` or `any`.
pub(super) fn link(name: &LinkName) -> Result<String, PfError> {
    check_link(name)?;
    Ok(format!("\"{name}\""))
}

/// One item, or several in braces.
pub(super) fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.as_slice() {
        [one] => one.clone(),
        several => format!("{{ {} }}", several.join(" ")),
    }
}

/// The rules of an anchor while they are written.
#[derive(Debug, Default)]
pub(super) struct Text {
    translation: String,
    filter: String,
}

impl Text {
    /// Adds a line about addresses: `nat` or `rdr`.
    pub(super) fn translate(&mut self, line: fmt::Arguments<'_>) {
        push(&mut self.translation, line);
    }

    /// Adds a line about passing: `pass` or `block`.
    pub(super) fn filter(&mut self, line: fmt::Arguments<'_>) {
        push(&mut self.filter, line);
    }

    /// The anchor of this text, `name` below `kleene/`.
    pub(super) fn anchor(self, name: fmt::Arguments<'_>) -> Anchor {
        let Self { translation, filter } = self;
        Anchor { name: format!("kleene/{name}"), text: translation + &filter }
    }
}

fn push(text: &mut String, line: fmt::Arguments<'_>) {
    text.push_str(&line.to_string());
    text.push('\n');
}
