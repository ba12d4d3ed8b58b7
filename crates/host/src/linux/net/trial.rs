//! Sends a flow and hears what becomes of it.
//!
//! A refusal looks the same whoever refuses: the policy, or who was asked. So the
//! kernel's tracking of flows is heard, too: it tells of a flow that is new when its
//! first packet has passed everything on the host, and not before.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use kleene_engine::host::HostError;
use kleene_model::{ContainerId, Protocol};
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, getsockname, recv,
    send, socket_with, sockopt,
};

use super::Namespaces;
use super::error::{self, NetError};
use super::listen::Listener;
use super::namespaces::enter;
use super::wire::frames;
use crate::linux::nft::attributes::values;

/// A flow to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// Its source, an address of who sends it.
    pub source: IpAddr,
    /// Where it goes to.
    pub to: SocketAddr,
    /// TCP: a connection, which is closed at once. UDP: an empty datagram.
    pub protocol: Protocol,
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A connection, or a datagram.
    Answer,
    /// A refusal, of the policy or of who was asked.
    Refusal,
    /// Nothing within a second.
    Nothing,
    /// Nothing was sent: no route leads there.
    NoRoute,
}

/// What became of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// What came back.
    pub heard: Heard,
    /// Whether the host let it pass, as far as the host sees it: what goes from port
    /// to port of a bridge it does not. `None` when more flows began than could be
    /// heard.
    pub tracked: Option<bool>,
}

/// How long an answer is waited for: before TCP asks again.
const LIMIT: Duration = Duration::from_millis(900);
/// Room for some ten thousand new flows.
const ROOM: usize = 8 * 1024 * 1024;
const BUFFER: usize = 64 * 1024;
/// The group that is told of new flows (`NFNLGRP_CONNTRACK_NEW`): a bit.
const NEW: u32 = 1;

/// Sends a flow from the host, the calling thread's network namespace; `None` when
/// its source is not there.
///
/// # Errors
/// When the kernel gives no socket, or does not send.
pub fn from_host(trial: &Trial) -> Result<Option<Outcome>, HostError> {
    run(trial, || speak(trial)).map_err(error::host("send a flow"))
}

/// Sends a flow from a container on the calling thread's host; `None` when its source
/// is not there.
///
/// # Errors
/// When the container's namespace is not known, or the kernel gives no socket, or
/// does not send.
pub fn from_container(
    namespaces: &Namespaces,
    container: ContainerId,
    trial: &Trial,
) -> Result<Option<Outcome>, HostError> {
    let sent = || {
        let netns = namespaces.get(container)?;
        run(trial, || enter(netns.as_fd(), || speak(trial)))
    };
    sent().map_err(error::host("send a flow"))
}

fn run(
    trial: &Trial,
    speak: impl FnOnce() -> Result<Option<(SocketAddr, Heard)>, NetError>,
) -> Result<Option<Outcome>, NetError> {
    let mut listener = Listener::open(NETLINK_NETFILTER, NEW)?;
    listener.hold(ROOM);
    let Some((from, heard)) = speak()? else { return Ok(None) };
    let flow = Flow { from, to: trial.to, protocol: trial.protocol.number() };
    let (mut found, mut lost, mut buffer) = (false, false, vec![0; BUFFER]);
    // Who is told is told before the answer came. A drain takes so many at once.
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut read = 0_u32;
        listener.drain(&mut buffer, |datagram| {
            read += 1;
            match datagram {
                Some(datagram) => found |= flows(datagram).any(|seen| seen == flow),
                None => lost = true,
            }
        })?;
        if found || read == 0 || Instant::now() > deadline {
            break;
        }
    }
    let tracked = if found { Some(true) } else { (!lost).then_some(false) };
    Ok(Some(Outcome { heard, tracked }))
}

/// Sends, and waits for what comes back; which end it was sent from. `None` when the
/// source is not there.
fn speak(trial: &Trial) -> Result<Option<(SocketAddr, Heard)>, NetError> {
    let failed = |what| move |errno: Errno| NetError::Socket { what, source: errno.into() };
    let family = match trial.to {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let kind = match trial.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, kind, flags, None).map_err(failed("open a socket"))?;
    match bind(&socket, &SocketAddr::new(trial.source, 0)) {
        Err(Errno::ADDRNOTAVAIL) => return Ok(None),
        bound => bound.map_err(failed("take the source"))?,
    }
    let connected = connect(&socket, &trial.to);
    let own = getsockname(&socket).map_err(failed("ask for the source"))?;
    let from = SocketAddr::try_from(own).map_err(failed("ask for the source"))?;
    let begun = match (connected, trial.protocol) {
        (Ok(()), Protocol::Udp) => send(&socket, &[], SendFlags::empty()).map(drop),
        (begun, _) => begun,
    };
    match begun {
        Ok(()) if trial.protocol == Protocol::Tcp => return Ok(Some((from, Heard::Answer))),
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => {
            let heard = heard(errno).map_err(failed("send"))?;
            return Ok(Some((from, heard)));
        }
    }
    let event = if trial.protocol == Protocol::Tcp { PollFlags::OUT } else { PollFlags::IN };
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match poll(&mut [PollFd::new(&socket, event)], Some(&timeout)) {
            Ok(0) => return Ok(Some((from, Heard::Nothing))),
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed("wait for an answer")(errno)),
        }
    }
    let answer = match trial.protocol {
        Protocol::Tcp => sockopt::socket_error(&socket).and_then(|answer| answer),
        Protocol::Udp => recv(&socket, &mut [0; 1][..], RecvFlags::empty()).map(drop),
    };
    let heard = match answer {
        Ok(()) => Heard::Answer,
        Err(errno) => heard(errno).map_err(failed("hear the answer"))?,
    };
    Ok(Some((from, heard)))
}

/// What an error of a socket tells of who else there is.
fn heard(errno: Errno) -> Result<Heard, Errno> {
    match errno {
        // A reset, or no such port; and what ICMP and ICMPv6 call prohibited.
        Errno::CONNREFUSED | Errno::CONNRESET | Errno::HOSTUNREACH | Errno::ACCESS => {
            Ok(Heard::Refusal)
        }
        Errno::NETUNREACH => Ok(Heard::NoRoute),
        // What is dropped on its way out may be told at once.
        Errno::PERM | Errno::TIMEDOUT => Ok(Heard::Nothing),
        other => Err(other),
    }
}

/// A flow as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Flow {
    from: SocketAddr,
    to: SocketAddr,
    protocol: u8,
}

/// The flows that a datagram tells of (`nfnetlink_conntrack.h`).
fn flows(datagram: &[u8]) -> impl Iterator<Item = Flow> {
    const NEW_FLOW: u16 = 1 << 8;
    const HEADER: usize = 4;
    let told = frames(datagram).filter_map(Result::ok).filter(|frame| frame.kind == NEW_FLOW);
    told.filter_map(|frame| one(frame.payload.get(HEADER..)?))
}

fn one(told: &[u8]) -> Option<Flow> {
    const ASKED: u16 = 1;
    const ADDRESSES: u16 = 1;
    const REST: u16 = 2;
    let asked = values(told, ASKED).next()?;
    let addresses = values(asked, ADDRESSES).next()?;
    let rest = values(asked, REST).next()?;
    let address = |v4, v6| {
        let four = values(addresses, v4).next().and_then(|ip| <[u8; 4]>::try_from(ip).ok());
        let six = || values(addresses, v6).next().and_then(|ip| <[u8; 16]>::try_from(ip).ok());
        four.map(IpAddr::from).or_else(|| six().map(IpAddr::from))
    };
    let port = |kind| {
        let value = values(rest, kind).next()?;
        <[u8; 2]>::try_from(value).ok().map(u16::from_be_bytes)
    };
    Some(Flow {
        from: SocketAddr::new(address(1, 3)?, port(2)?),
        to: SocketAddr::new(address(2, 4)?, port(3)?),
        protocol: *values(rest, 1).next()?.first()?,
    })
}

/// Reads bytes as if the kernel had told them. Called by the fuzzer.
#[doc(hidden)]
#[must_use]
pub fn read_anything(bytes: &[u8]) -> usize {
    flows(bytes).count() + usize::from(one(bytes).is_some())
}
