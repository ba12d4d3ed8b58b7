//! What became of a question, as a line and back.

use std::fmt;
use std::net::SocketAddr;

use rustix::io::Errno;

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Somebody answered.
    Answer {
        /// The own address and port.
        from: SocketAddr,
        /// Who, and what it saw.
        text: String,
    },
    /// Nobody did in time.
    Silence,
    /// The system refused a step.
    Refused {
        /// `bind`, `connect`, `send`, `recv` or `socket`.
        step: &'static str,
        /// The error's name.
        errno: String,
    },
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { from, text } => write!(f, "from {from}: {text}"),
            Self::Silence => f.write_str("no answer in 1 s"),
            Self::Refused { step, errno } => write!(f, "{step}: {errno}"),
        }
    }
}

const STEPS: [&str; 5] = ["socket", "bind", "connect", "send", "recv"];

impl Heard {
    /// Whether somebody answered.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Answer { .. })
    }

    /// Who answered.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Answer { text, .. } => text.split(' ').next(),
            Self::Silence | Self::Refused { .. } => None,
        }
    }

    /// Whom the one who answered saw.
    #[must_use]
    pub fn seen(&self) -> Option<SocketAddr> {
        match self {
            Self::Answer { text, .. } => text.split(' ').nth(2)?.parse().ok(),
            Self::Silence | Self::Refused { .. } => None,
        }
    }

    pub(super) fn refused(step: &'static str, errno: Errno) -> Self {
        match errno {
            Errno::AGAIN | Errno::TIMEDOUT => Self::Silence,
            errno => Self::Refused { step, errno: errno_name(errno) },
        }
    }

    /// Reads a line that the probe has printed.
    ///
    /// # Errors
    /// The line, where it is none of the probe's.
    pub fn parse(line: &str) -> Result<Self, String> {
        let strange = || format!("'{line}' is not what the probe says");
        if line.ends_with("no answer in 1 s") {
            return Ok(Self::Silence);
        }
        if let Some((from, text)) = line.strip_prefix("from ").and_then(|it| it.split_once(": ")) {
            let from = from.parse().map_err(|_| strange())?;
            return Ok(Self::Answer { from, text: text.to_owned() });
        }
        let (step, errno) = line.split_once(": ").ok_or_else(strange)?;
        let step = STEPS.into_iter().find(|known| *known == step).ok_or_else(strange)?;
        Ok(Self::Refused { step, errno: errno.to_owned() })
    }
}

fn errno_name(errno: Errno) -> String {
    let known = [
        (Errno::PERM, "EPERM"),
        (Errno::ACCESS, "EACCES"),
        (Errno::INVAL, "EINVAL"),
        (Errno::PIPE, "EPIPE"),
        (Errno::ADDRINUSE, "EADDRINUSE"),
        (Errno::ADDRNOTAVAIL, "EADDRNOTAVAIL"),
        (Errno::NETUNREACH, "ENETUNREACH"),
        (Errno::NETDOWN, "ENETDOWN"),
        (Errno::HOSTUNREACH, "EHOSTUNREACH"),
        (Errno::HOSTDOWN, "EHOSTDOWN"),
        (Errno::CONNREFUSED, "ECONNREFUSED"),
        (Errno::CONNRESET, "ECONNRESET"),
        (Errno::CONNABORTED, "ECONNABORTED"),
        (Errno::PROTONOSUPPORT, "EPROTONOSUPPORT"),
        (Errno::AFNOSUPPORT, "EAFNOSUPPORT"),
    ];
    let name = known.iter().find(|(number, _)| *number == errno).map(|(_, name)| *name);
    name.map_or_else(|| format!("E{}", errno.raw_os_error()), str::to_owned)
}
