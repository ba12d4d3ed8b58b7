//! One connection to the supervisor: frames in, a bounded queue of frames out.

use std::{
    collections::VecDeque,
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use kleene_supervise::{
    fdpass,
    proto::{Decoder, Frame, FrameError, FrameKind, FromSupervisor, encode, encode_frame},
};

/// How much output waits for an attached client before its execution is held
/// back.
const QUEUE: usize = 256 << 10;

/// A client that takes nothing for this long no longer holds back anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// A daemon that lets this much pile up is stuck, and cut off.
const CONTROL_QUEUE: usize = 8 << 20;

/// What a connection is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Its first message will tell.
    Undecided,
    /// The daemon's.
    Control,
    /// Attached to the execution of that id.
    Attachment(String),
}

struct Chunk {
    bytes: Vec<u8>,
    fd: Option<OwnedFd>,
}

/// A connection.
pub(crate) struct Conn {
    pub(crate) id: u64,
    pub(crate) role: Role,
    pub(crate) stream: UnixStream,
    decoder: Decoder,
    chunks: VecDeque<Chunk>,
    /// How much of the first chunk is sent.
    sent: usize,
    queued: usize,
    /// Since when the client has taken nothing, while something is there.
    waiting_since: Option<Instant>,
    lossy: bool,
    lost: u64,
    /// To be closed once everything is sent.
    pub(crate) closing: bool,
    /// To be removed.
    pub(crate) dead: bool,
}

impl Conn {
    pub(crate) fn new(id: u64, stream: UnixStream, role: Role) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            id,
            role,
            stream,
            decoder: Decoder::new(),
            chunks: VecDeque::new(),
            sent: 0,
            queued: 0,
            waiting_since: None,
            lossy: false,
            lost: 0,
            closing: false,
            dead: false,
        })
    }

    /// Reads what is there into the decoder; `false` at the end.
    pub(crate) fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 << 10];
        match (&self.stream).read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.decoder.push(&buffer[..count]);
                true
            }
            Err(error) => {
                matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
            }
        }
    }

    /// The next whole frame that was read.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        self.decoder.next_frame()
    }

    /// Queues a message, with a descriptor if one goes along.
    pub(crate) fn say(&mut self, message: &FromSupervisor, fd: Option<OwnedFd>) {
        // What we say is ours and small, except for a state with thousands of
        // executions, which does not fit: then the peer learns that much.
        let bytes = encode(message).or_else(|error| {
            encode(&FromSupervisor::Error { message: format!("cannot answer: {error}") })
        });
        if let Ok(bytes) = bytes {
            self.push(bytes, fd);
        }
        if self.queued > CONTROL_QUEUE {
            self.dead = true;
        }
    }

    /// Queues an execution's output, or counts it as lost.
    pub(crate) fn output(&mut self, data: &[u8]) {
        if self.lossy && self.queued + data.len() > QUEUE {
            self.lost += data.len() as u64;
        } else if let Ok(bytes) = encode_frame(FrameKind::Output, data) {
            self.push(bytes, None);
        }
    }

    /// Whether output must wait for this client.
    pub(crate) fn holds_back(&self) -> bool {
        !self.lossy && !self.dead && self.queued >= QUEUE
    }

    /// When this client's patience ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting_since.filter(|_| !self.lossy).map(|since| since + PATIENCE)
    }

    /// Lets the container go on without a client that has stopped reading.
    pub(crate) fn check_patience(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.lossy = true;
        }
    }

    /// Whether there is something to send.
    pub(crate) fn has_output(&self) -> bool {
        !self.chunks.is_empty()
    }

    fn push(&mut self, bytes: Vec<u8>, fd: Option<OwnedFd>) {
        self.queued += bytes.len();
        self.waiting_since.get_or_insert_with(Instant::now);
        self.chunks.push_back(Chunk { bytes, fd });
    }

    /// Sends what the client takes now.
    pub(crate) fn flush(&mut self) {
        while let Some(chunk) = self.chunks.front_mut() {
            let fds: Vec<_> = chunk.fd.iter().map(|fd| fd.as_fd()).collect();
            let sent = fdpass::send(&self.stream, &chunk.bytes[self.sent..], &fds, false);
            match sent {
                Ok(count) => {
                    chunk.fd = None;
                    self.sent += count;
                    self.queued -= count;
                    self.waiting_since = (self.queued > 0).then(Instant::now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.dead = true;
                    return;
                }
            }
            if self.sent == chunk.bytes.len() {
                self.chunks.pop_front();
                self.sent = 0;
            }
            self.tell_lost();
        }
        // One burst must not keep its memory for the rest of the days.
        self.chunks.shrink_to(8);
        if self.closing {
            self.dead = true;
        }
    }

    /// The one note about what is missing goes where it is missing.
    fn tell_lost(&mut self) {
        if self.lossy && self.queued <= QUEUE / 2 {
            self.lossy = false;
            let bytes = std::mem::take(&mut self.lost);
            if bytes > 0 {
                self.say(&FromSupervisor::Lost { bytes }, None);
            }
        }
    }

    /// Before the last message: whatever is lost is told first.
    pub(crate) fn finish(&mut self, message: &FromSupervisor) {
        let bytes = std::mem::take(&mut self.lost);
        if bytes > 0 {
            self.say(&FromSupervisor::Lost { bytes }, None);
        }
        self.say(message, None);
        self.closing = true;
    }
}
