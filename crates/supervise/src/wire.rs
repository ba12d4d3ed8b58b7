//! What supervisor and holder say to each other: datagrams of a few bytes on a
//! `SOCK_SEQPACKET` pair. The body of an execution request, which may be
//! large, travels in a memory file whose descriptor comes along.
//!
//! The holder trusts the supervisor; the supervisor trusts nothing the holder
//! says, so decoding is total on both sides.

use crate::proto::{FailureKind, Terminal};

/// No datagram is larger; longer failure messages are cut.
pub const MAX_DATAGRAM: usize = 1024;

/// To the holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToHolder {
    /// Start what the first descriptor describes; without a terminal,
    /// standard input and output are the second and third.
    Exec {
        /// The supervisor's number for it.
        key: u32,
        /// On a terminal of this size.
        tty: Option<Terminal>,
    },
    /// Send a signal to an execution's first process, or (`None`) to all.
    Signal {
        /// Which execution.
        key: Option<u32>,
        /// The signal's number.
        signo: i32,
    },
}

/// From the holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromHolder {
    /// It runs; the kernel adds who it is.
    Hello,
    /// A command runs; with a terminal its master comes along.
    Started {
        /// Which execution.
        key: u32,
        /// The process's number inside.
        pid: i32,
    },
    /// A command did not start.
    Failed {
        /// Which execution.
        key: u32,
        /// Why, for programs.
        kind: FailureKind,
        /// Why, for people.
        message: String,
    },
    /// A command's first process has ended.
    Exited {
        /// Which execution.
        key: u32,
        /// The code, or 128 + signal.
        code: i32,
        /// Nothing is left in the container.
        last: bool,
    },
}

/// What an execution request's memory file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecBody {
    /// Program and arguments.
    pub argv: Vec<Vec<u8>>,
    /// `NAME=value` each.
    pub env: Vec<Vec<u8>>,
    /// Working directory.
    pub cwd: Vec<u8>,
    /// See [`crate::users`].
    pub user: Vec<u8>,
}

impl ToHolder {
    /// The datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        match self {
            Self::Exec { key, tty } => {
                out.push(1);
                out.extend_from_slice(&key.to_le_bytes());
                if let Some(Terminal { rows, cols }) = tty {
                    out.extend_from_slice(&rows.to_le_bytes());
                    out.extend_from_slice(&cols.to_le_bytes());
                }
            }
            Self::Signal { key, signo } => {
                out.push(2);
                out.extend_from_slice(&signo.to_le_bytes());
                if let Some(key) = key {
                    out.extend_from_slice(&key.to_le_bytes());
                }
            }
        }
        out
    }

    /// The message in a datagram, `None` when it is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        match bytes.array::<1>()? {
            [1] => {
                let key = bytes.u32()?;
                let tty = match bytes.0 {
                    [] => None,
                    _ => Some(Terminal { rows: bytes.u16()?, cols: bytes.u16()? }),
                };
                Some(Self::Exec { key, tty })
            }
            [2] => {
                let signo = bytes.i32()?;
                let key = if bytes.0.is_empty() { None } else { Some(bytes.u32()?) };
                Some(Self::Signal { key, signo })
            }
            _ => None,
        }
    }
}

impl FromHolder {
    /// The datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        match self {
            Self::Hello => out.push(1),
            Self::Started { key, pid } => {
                out.push(2);
                out.extend_from_slice(&key.to_le_bytes());
                out.extend_from_slice(&pid.to_le_bytes());
            }
            Self::Failed { key, kind, message } => {
                out.push(3);
                out.extend_from_slice(&key.to_le_bytes());
                out.push(kind_to_byte(*kind));
                out.extend(message.bytes().take(MAX_DATAGRAM - 16));
            }
            Self::Exited { key, code, last } => {
                out.push(4);
                out.extend_from_slice(&key.to_le_bytes());
                out.extend_from_slice(&code.to_le_bytes());
                out.push(u8::from(*last));
            }
        }
        out
    }

    /// The message in a datagram, `None` when it is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        match bytes.array::<1>()? {
            [1] => Some(Self::Hello),
            [2] => Some(Self::Started { key: bytes.u32()?, pid: bytes.i32()? }),
            [3] => {
                let key = bytes.u32()?;
                let [kind] = bytes.array::<1>()?;
                let message = String::from_utf8_lossy(bytes.0).into_owned();
                Some(Self::Failed { key, kind: kind_from_byte(kind), message })
            }
            [4] => {
                let (key, code) = (bytes.u32()?, bytes.i32()?);
                let [last] = bytes.array::<1>()?;
                Some(Self::Exited { key, code, last: last != 0 })
            }
            _ => None,
        }
    }
}

impl ExecBody {
    /// The bytes of the memory file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for list in [&self.argv, &self.env] {
            put_length(&mut out, list.len());
            for item in list {
                put_bytes(&mut out, item);
            }
        }
        put_bytes(&mut out, &self.cwd);
        put_bytes(&mut out, &self.user);
        out
    }

    /// The request in a memory file's bytes, `None` when it is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        Some(Self {
            argv: bytes.list()?,
            env: bytes.list()?,
            cwd: bytes.bytes()?,
            user: bytes.bytes()?,
        })
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    // Bodies come from frames, which are far below 4 GiB.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn kind_to_byte(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::NotFound => 1,
        FailureKind::NotExecutable => 2,
        FailureKind::NoSuchUser => 3,
        FailureKind::NoSuchDir => 4,
        FailureKind::NotRunning => 5,
        FailureKind::Other | FailureKind::Unknown => 0,
    }
}

fn kind_from_byte(byte: u8) -> FailureKind {
    match byte {
        1 => FailureKind::NotFound,
        2 => FailureKind::NotExecutable,
        3 => FailureKind::NoSuchUser,
        4 => FailureKind::NoSuchDir,
        5 => FailureKind::NotRunning,
        _ => FailureKind::Other,
    }
}

/// A cursor over bytes that may end anywhere.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head.to_vec())
    }

    fn list(&mut self) -> Option<Vec<Vec<u8>>> {
        // Not `with_capacity`: the number is only believed item by item.
        let length = self.u32()?;
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(self.bytes()?);
        }
        Some(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back() {
        let tty = Some(Terminal { rows: 24, cols: 80 });
        for message in [
            ToHolder::Exec { key: 7, tty },
            ToHolder::Exec { key: 8, tty: None },
            ToHolder::Signal { key: None, signo: 15 },
            ToHolder::Signal { key: Some(3), signo: 9 },
        ] {
            assert_eq!(ToHolder::decode(&message.encode()), Some(message));
        }
        for message in [
            FromHolder::Hello,
            FromHolder::Started { key: 1, pid: 2 },
            FromHolder::Failed { key: 1, kind: FailureKind::NotFound, message: "no".into() },
            FromHolder::Exited { key: 1, code: 137, last: true },
        ] {
            assert_eq!(FromHolder::decode(&message.encode()), Some(message));
        }
        let body = ExecBody {
            argv: vec![b"sh".to_vec(), vec![0xff]],
            env: vec![],
            cwd: b"/".to_vec(),
            user: vec![],
        };
        assert_eq!(ExecBody::decode(&body.encode()), Some(body));
    }

    #[test]
    fn anything_cut_short_or_wild_is_none_and_no_panic() {
        let whole = ExecBody { argv: vec![b"sh".to_vec()], ..ExecBody::default() }.encode();
        for end in 0..whole.len() {
            assert_eq!(ExecBody::decode(&whole[..end]), None);
        }
        assert_eq!(ExecBody::decode(&[0xff; 64]), None);
        for byte in 0..=255u8 {
            let _ = ToHolder::decode(&[byte; 5]);
            let _ = FromHolder::decode(&[byte; 9]);
        }
        assert_eq!(FromHolder::decode(&[]), None);
    }
}
