//! Attempts at what containers need, each in namespaces that are gone at
//! once. The kernel may load a module for an attempt, as it would for the
//! thing itself.

use std::io;

use netlink_sys::Socket;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use rustix::thread::UnshareFlags;

use super::net::can_forget_flows;
use super::nft::Replies;
use super::sys::fs::in_own_namespaces;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE_EXCLUSIVE: u16 = 0x400 | 0x200;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
/// `NFT_MSG_GETGEN` of subsystem nf_tables: the number of its ruleset.
const NFT_GETGEN: u16 = 10 << 8 | 16;

/// Whether links of this kind can be made.
///
/// # Errors
/// What the kernel says; `EOPNOTSUPP` when it has no such kind.
pub(crate) fn link(kind: &str) -> io::Result<()> {
    let mut body = vec![0; 16];
    body.extend(attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, kind.as_bytes())));
    in_own_namespaces(UnshareFlags::NEWNET, || {
        ask(NETLINK_ROUTE, RTM_NEWLINK, REQUEST | ACK | CREATE_EXCLUSIVE, &body)
    })
}

/// Whether there is nf_tables.
///
/// # Errors
/// What the kernel says.
pub(crate) fn nf_tables() -> io::Result<()> {
    in_own_namespaces(UnshareFlags::NEWNET, || ask(NETLINK_NETFILTER, NFT_GETGEN, REQUEST, &[0; 4]))
}

/// Whether there is what makes answers over UDP come from the address asked.
///
/// # Errors
/// What the kernel says.
pub(crate) fn replies() -> io::Result<()> {
    in_own_namespaces(UnshareFlags::NEWNET, || {
        let made = Replies::open().and_then(|mut table| table.put());
        made.map_err(|err| io::Error::other(kleene_engine::host::chain(&err)))
    })
}

/// Whether flows that were let through can be forgotten.
///
/// # Errors
/// What the kernel says.
pub(crate) fn flows() -> io::Result<()> {
    in_own_namespaces(UnshareFlags::NEWNET, || {
        can_forget_flows().map_err(|err| io::Error::other(kleene_engine::host::chain(&err)))
    })
}

/// Whether namespaces of these kinds can be made.
///
/// # Errors
/// What the kernel says.
pub(crate) fn namespaces(kinds: UnshareFlags) -> io::Result<()> {
    in_own_namespaces(kinds, || Ok(()))
}

/// A netlink attribute: length, kind, value, padding to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Sends one request and reads the kernel's answer.
fn ask(protocol: isize, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    let length = u32::try_from(16 + body.len()).map_err(io::Error::other)?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Sequence number and sender: the kernel fills in what it needs.
    message.extend([0; 8]);
    message.extend(body);
    socket.send(&message, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    outcome(&answer)
}

/// What an answer says: an error message carries a negated errno, zero for an
/// acknowledgement; anything else is the thing that was asked for.
fn outcome(answer: &[u8]) -> io::Result<()> {
    let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "a cut netlink message");
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).ok_or_else(short)?;
    if u16::from_ne_bytes(kind) != NLMSG_ERROR {
        return Ok(());
    }
    let code = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).ok_or_else(short)?;
    match i32::from_ne_bytes(code) {
        0 => Ok(()),
        negated => Err(io::Error::from_raw_os_error(negated.saturating_neg())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::testing::is_root;

    #[test]
    fn answers_are_read_and_cut_ones_refused() {
        let message = |kind: u16, code: i32| {
            let mut bytes = vec![0; 20];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes[16..20].copy_from_slice(&code.to_ne_bytes());
            bytes
        };
        assert!(outcome(&message(NLMSG_ERROR, 0)).is_ok());
        assert!(outcome(&message(RTM_NEWLINK, 7)).is_ok());
        let refused = outcome(&message(NLMSG_ERROR, -libc::EPERM)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
        assert!(outcome(&message(NLMSG_ERROR, i32::MIN)).is_err());
        for cut in 0..18 {
            assert!(outcome(&message(NLMSG_ERROR, 0)[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn links_are_tried_where_nobody_sees_them() {
        if !is_root("links_are_tried_where_nobody_sees_them") {
            return;
        }
        let links = || std::fs::read_to_string("/proc/net/dev").unwrap().lines().count();
        let before = links();
        link("bridge").unwrap();
        link("veth").unwrap();
        let error = link("no-such-kind").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
        nf_tables().unwrap();
        assert_eq!(links(), before);
    }
}
