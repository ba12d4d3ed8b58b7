//! A synchronous socket to netfilter.

use std::io;
use std::time::{Duration, Instant};

use netlink_sys::SocketAddr;
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv, sockopt};

use super::super::net::wire::{Frame, frames, kind};
use super::super::net::{KernelError, NetError};
use super::message::{Message, Step, transaction};

/// The kernel answers at once, but others' transactions go first.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often something is tried again that was disturbed.
pub(super) const TRIES: u32 = 16;
/// The kernel fills at most half of it with a part of a list.
const BUFFER: usize = 64 * 1024;
/// Netfilter's header in front of every message's attributes.
const HEADER: usize = 4;

/// A synchronous socket to netfilter. It belongs to the network namespace in
/// which it was opened, wherever it is used.
#[derive(Debug)]
pub(super) struct Socket {
    socket: netlink_sys::Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
    /// The longest datagram that the kernel is known to take from us.
    longest: usize,
}

/// What failed, and why.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) step: Step,
    pub(super) source: NetError,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub(super) fn open() -> Result<Self, NetError> {
        let open = || -> io::Result<(netlink_sys::Socket, u32)> {
            let mut socket = netlink_sys::Socket::new(NETLINK_NETFILTER)?;
            let port = socket.bind_auto()?.port_number();
            // Nobody but the kernel can send to a connected socket.
            socket.connect(&SocketAddr::new(0, 0))?;
            socket.set_ext_ack(true)?;
            // A refusal would carry the refused message, elements and all.
            socket.set_cap_ack(true)?;
            Ok((socket, port))
        };
        let failed = |source| NetError::Socket { what: "open a netfilter socket", source };
        let (socket, port) = open().map_err(failed)?;
        let longest = sockopt::socket_send_buffer_size(&socket).map_err(|e| failed(e.into()))? / 2;
        Ok(Self { socket, port, sequence: 0, buffer: vec![0; BUFFER], longest })
    }

    pub(super) fn port(&self) -> u32 {
        self.port
    }

    /// Carries all messages out, or none. To be done twice must be the same as
    /// once: it is tried again when the kernel's answer was lost.
    pub(super) fn transact(&mut self, messages: &[Message]) -> Result<(), Failure> {
        for _ in 1..TRIES {
            match self.transact_once(messages) {
                Err(Failure { source, .. }) if is_disturbed(&source) => {}
                outcome => return outcome,
            }
        }
        self.transact_once(messages)
    }

    fn transact_once(&mut self, messages: &[Message]) -> Result<(), Failure> {
        let as_whole = |source| Failure { step: Step::Transaction, source };
        let first = self.sequence.wrapping_add(1);
        // One more for the beginning; the end is never answered.
        let numbers = u32::try_from(messages.len() + 2).unwrap_or(u32::MAX);
        self.sequence = self.sequence.wrapping_add(numbers);
        self.send(&transaction(messages, first)).map_err(as_whole)?;

        let deadline = Instant::now() + PATIENCE;
        let mut verdicts: Vec<Option<Result<(), KernelError>>> = vec![None; messages.len()];
        while verdicts.iter().any(Option::is_none) {
            let datagram = self.receive(deadline).map_err(as_whole)?;
            for frame in frames(datagram) {
                let frame = frame.map_err(|error| as_whole(error.into()))?;
                let Some(place) = place(&frame, first) else { continue };
                let verdict = frame.verdict().map_err(|error| as_whole(error.into()))?;
                match (place.checked_sub(1), verdict) {
                    // The beginning is answered when all of it failed, and then
                    // perhaps alone.
                    (None, Err(refused)) => return Err(as_whole(refused.into())),
                    (None, Ok(())) => {}
                    (Some(place), verdict) => {
                        if let Some(slot) = verdicts.get_mut(place) {
                            *slot = Some(verdict);
                        }
                    }
                }
            }
        }
        for (message, verdict) in messages.iter().zip(verdicts) {
            if let Some(Err(refused)) = verdict {
                return Err(Failure { step: message.step, source: refused.into() });
            }
        }
        Ok(())
    }

    /// Asks; the attributes of each answer.
    pub(super) fn ask(&mut self, message: &Message) -> Result<Vec<Vec<u8>>, NetError> {
        self.sequence = self.sequence.wrapping_add(1);
        let first = self.sequence;
        self.send(&message.alone(first))?;
        let deadline = Instant::now() + PATIENCE;
        let (mut answers, mut whole) = (Vec::new(), true);
        loop {
            for frame in frames(self.receive(deadline)?) {
                let frame = frame?;
                if place(&frame, first) != Some(0) {
                    continue;
                }
                whole &= !frame.interrupted();
                if matches!(frame.kind, kind::DONE | kind::ERROR) {
                    frame.verdict()??;
                    return if whole { Ok(answers) } else { Err(NetError::Restless(1)) };
                }
                if frame.kind == message.answer() {
                    answers.push(frame.payload.get(HEADER..).unwrap_or_default().to_vec());
                }
            }
        }
    }

    fn send(&mut self, datagram: &[u8]) -> Result<(), NetError> {
        let failed = |source| NetError::Socket { what: "send to netfilter", source };
        if datagram.len() > self.longest {
            // The kernel allows twice as much, for its own needs. Where it does
            // not, sending says so.
            let _ = sockopt::set_socket_send_buffer_size_force(&self.socket, datagram.len());
            self.longest = datagram.len();
        }
        let sent = loop {
            match self.socket.send(datagram, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => break sent.map_err(failed)?,
            }
        };
        if sent == datagram.len() { Ok(()) } else { Err(failed(io::ErrorKind::WriteZero.into())) }
    }

    /// The next datagram, waited for until the deadline.
    fn receive(&mut self, deadline: Instant) -> Result<&[u8], NetError> {
        let failed = |errno: Errno| NetError::Socket {
            what: "read netfilter's answer",
            source: errno.into(),
        };
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let length = loop {
            match recv(&self.socket, self.buffer.as_mut_slice(), flags) {
                Ok((_, length)) => break length,
                Err(Errno::AGAIN) => self.wait(deadline)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        };
        self.buffer.get(..length).ok_or(NetError::Malformed("a datagram does not fit"))
    }

    fn wait(&self, deadline: Instant) -> Result<(), NetError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(NetError::Silent(PATIENCE));
        }
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => {
                Err(NetError::Socket { what: "wait for netfilter's answer", source: errno.into() })
            }
        }
    }
}

/// Which message of a datagram another answers. Those of earlier datagrams,
/// given up at their deadline, are far out of the range.
fn place(frame: &Frame<'_>, first: u32) -> Option<usize> {
    usize::try_from(frame.sequence.wrapping_sub(first)).ok()
}

/// Whether something failed because of something else that happened at the
/// same time: an answer found no room, a signal came, a list changed.
pub(super) fn is_disturbed(error: &NetError) -> bool {
    match error {
        NetError::Socket { source, .. } => Errno::from_io_error(source) == Some(Errno::NOBUFS),
        NetError::Kernel(refused) => refused.errno() == Errno::INTR,
        NetError::Restless(_) => true,
        _ => false,
    }
}
