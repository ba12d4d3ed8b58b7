//! A synchronous socket to netfilter.

use std::time::Instant;

use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;
use rustix::net::sockopt;

use super::super::net::channel::{Channel, place};
use super::super::net::wire::{frames, kind};
use super::super::net::{KernelError, NetError};
use super::message::{Message, Step, transaction};

/// How often something is tried again that was disturbed.
pub(super) const TRIES: u32 = 16;
/// Netfilter's header in front of every message's attributes.
const HEADER: usize = 4;

/// A synchronous socket to netfilter. It belongs to the network namespace in
/// which it was opened, wherever it is used.
#[derive(Debug)]
pub(super) struct Socket {
    channel: Channel,
    sequence: u32,
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
        let channel = Channel::open(NETLINK_NETFILTER)?;
        let longest = sockopt::socket_send_buffer_size(&channel).map_err(|errno| {
            NetError::Socket { what: "ask how much may be sent", source: errno.into() }
        })? / 2;
        Ok(Self { channel, sequence: 0, longest })
    }

    pub(super) fn port(&self) -> u32 {
        self.channel.port()
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
        let deadline = self.send(&transaction(messages, first)).map_err(as_whole)?;

        // The last message is always answered, and last; those before it when they
        // are refused. The first refusal is what matters.
        let mut refused: Option<(usize, KernelError)> = None;
        let mut answered = messages.is_empty();
        while !answered {
            let datagram = self.channel.receive(deadline).map_err(as_whole)?;
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
                        answered |= place + 1 == messages.len();
                        let earlier = refused.as_ref().is_none_or(|(first, _)| place < *first);
                        if let Err(error) = verdict
                            && earlier
                        {
                            refused = Some((place, error));
                        }
                    }
                }
            }
        }
        match refused {
            Some((place, source)) => {
                let step = messages.get(place).map_or(Step::Transaction, |message| message.step);
                Err(Failure { step, source: source.into() })
            }
            None => Ok(()),
        }
    }

    /// Asks several questions whose answers belong together: of one moment, between
    /// two transactions.
    ///
    /// # Errors
    /// What `look` says, and [`NetError::Restless`] when nothing comes to rest.
    pub(super) fn at_one_moment<T>(
        &mut self,
        mut look: impl FnMut(&mut Self) -> Result<T, NetError>,
    ) -> Result<T, NetError> {
        for _ in 0..TRIES {
            match self.undisturbed(&mut look) {
                Err(error) if is_disturbed(&error) => {}
                outcome => return outcome,
            }
        }
        Err(NetError::Restless(TRIES))
    }

    fn undisturbed<T>(
        &mut self,
        look: &mut impl FnMut(&mut Self) -> Result<T, NetError>,
    ) -> Result<T, NetError> {
        // The kernel counts a generation up before it is the one that is listed, and
        // makes it that bit by bit. Who counted it up has finished after this.
        let before = self.ask(&Message::generation())?;
        self.wait_for_others()?;
        let seen = look(self)?;
        let after = self.ask(&Message::generation())?;
        if before == after { Ok(seen) } else { Err(NetError::Restless(1)) }
    }

    /// Waits until transactions that have begun are done: an empty one takes its turn
    /// behind them, inside of this call, and changes and tells nothing.
    fn wait_for_others(&mut self) -> Result<(), NetError> {
        let first = self.sequence.wrapping_add(1);
        self.sequence = first.wrapping_add(1);
        self.send(&transaction(&[], first)).map(drop)
    }

    /// Asks; the attributes of each answer.
    ///
    /// # Errors
    /// [`NetError::Restless`] when a transaction came in between.
    pub(super) fn ask(&mut self, message: &Message) -> Result<Vec<Vec<u8>>, NetError> {
        let (answers, whole) = self.ask_roughly(message)?;
        if whole { Ok(answers) } else { Err(NetError::Restless(1)) }
    }

    /// Asks; the attributes of each answer, and whether they are of one moment.
    pub(super) fn ask_roughly(
        &mut self,
        message: &Message,
    ) -> Result<(Vec<Vec<u8>>, bool), NetError> {
        self.sequence = self.sequence.wrapping_add(1);
        let first = self.sequence;
        let deadline = self.send(&message.alone(first))?;
        let (mut answers, mut whole) = (Vec::new(), true);
        loop {
            for frame in frames(self.channel.receive(deadline)?) {
                let frame = frame?;
                if place(&frame, first) != Some(0) {
                    continue;
                }
                whole &= !frame.interrupted();
                if matches!(frame.kind, kind::DONE | kind::ERROR) {
                    frame.verdict()??;
                    return Ok((answers, whole));
                }
                if frame.kind == message.answer() {
                    answers.push(frame.payload.get(HEADER..).unwrap_or_default().to_vec());
                }
            }
        }
    }

    fn send(&mut self, datagram: &[u8]) -> Result<Instant, NetError> {
        if datagram.len() > self.longest {
            // The kernel allows twice as much, for its own needs. Where it does
            // not, sending says so.
            let _ = sockopt::set_socket_send_buffer_size_force(&self.channel, datagram.len());
            self.longest = datagram.len();
        }
        self.channel.send(datagram)
    }
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
