//! The program as a socket: it serves, and asks, in whatever stack it is started in.
//!
//! What it prints has the form of the tool `sk` of the recordings (FreeBSD 13.2), so
//! that those and a run can be compared line by line:
//!
//! ```text
//! from 10.2.3.1:16916: A1 saw 10.2.3.1:16916 at 10.2.3.1:81
//! connect: ECONNREFUSED
//! from 192.0.2.2:61588: no answer in 1 s
//! ```

mod client;
mod server;
mod words;

use std::io::{self, BufRead as _, Write as _};
use std::net::IpAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

pub use client::{Held, ask};
pub use server::serve;
pub use words::Heard;

/// How long an answer may take: a packet that nobody drops comes back within
/// milliseconds, on a slow machine as well.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// What carries a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// A connection.
    Tcp,
    /// Single packets.
    Udp,
}

impl Protocol {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Tcp, Self::Udp];

    /// As the probe's command line has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// An address, with the number of its interface where it is one of that link alone
/// (`fe80::1%4`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// The interface's number; 0 for all but link-local addresses.
    pub scope: u32,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ip, scope) = text.split_once('%').unwrap_or((text, "0"));
        let ip = ip.parse().map_err(|_| format!("'{text}' is no address"))?;
        let scope = scope.parse().map_err(|_| format!("'{text}': no number of an interface"))?;
        Ok(Self { ip, scope })
    }
}

impl Address {
    fn with_port(self, port: u16) -> std::net::SocketAddr {
        match self.ip {
            IpAddr::V4(ip) => (ip, port).into(),
            IpAddr::V6(ip) => std::net::SocketAddrV6::new(ip, port, 0, self.scope).into(),
        }
    }
}

/// What the probe is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Answers on these addresses and ports, over TCP and UDP, until it is ended.
    Serve {
        /// What it calls itself.
        name: String,
        /// On each of the addresses.
        ports: Vec<u16>,
        /// Where it listens.
        addresses: Vec<Address>,
    },
    /// Asks once.
    Ask {
        /// Over what.
        protocol: Protocol,
        /// Whom.
        to: Address,
        /// On which port.
        port: u16,
        /// From which address, where it is not the kernel's choice.
        source: Option<Address>,
    },
    /// Keeps one flow open, and sends each line of its input over it.
    Hold {
        /// Over what.
        protocol: Protocol,
        /// To whom.
        to: Address,
        /// On which port.
        port: u16,
    },
    /// Does nothing until it is ended.
    Wait,
}

impl Order {
    /// Reads what follows `--probe` on the command line.
    ///
    /// # Errors
    /// What cannot be understood.
    pub fn parse(words: &[&str]) -> Result<Self, String> {
        let port = |text: &str| text.parse::<u16>().map_err(|_| format!("'{text}' is no port"));
        let protocol = |text: &str| {
            let known = Protocol::BOTH.into_iter().find(|known| known.name() == text);
            known.ok_or_else(|| format!("'{text}' is neither tcp nor udp"))
        };
        match *words {
            ["serve", name, ports, ref addresses @ ..] if !addresses.is_empty() => {
                let ports = ports.split(',').map(port).collect::<Result<_, _>>()?;
                let addresses = addresses.iter().map(|text| text.parse());
                let addresses = addresses.collect::<Result<_, _>>()?;
                Ok(Self::Serve { name: name.to_owned(), ports, addresses })
            }
            ["hold", kind, to, at] => {
                Ok(Self::Hold { protocol: protocol(kind)?, to: to.parse()?, port: port(at)? })
            }
            [kind, to, at, ref source @ ..] if source.len() <= 1 => Ok(Self::Ask {
                protocol: protocol(kind)?,
                to: to.parse()?,
                port: port(at)?,
                source: source.first().map(|text| text.parse()).transpose()?,
            }),
            ["wait"] => Ok(Self::Wait),
            _ => Err("use: serve NAME PORT,… ADDRESS… | tcp|udp ADDRESS PORT [SOURCE] | \
                      hold tcp|udp ADDRESS PORT | wait"
                .to_owned()),
        }
    }
}

/// Does what the probe is told. The status is 0 when it was answered.
pub fn run(words: &[&str]) -> ExitCode {
    let say = |line: &str| {
        let mut out = io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush())
    };
    let done = match Order::parse(words) {
        Err(why) => {
            drop(writeln!(io::stderr(), "{why}"));
            return ExitCode::from(2);
        }
        Ok(Order::Serve { name, ports, addresses }) => serve(&name, &ports, &addresses, &say),
        Ok(Order::Ask { protocol, to, port, source }) => {
            let heard = ask(protocol, to, port, source, PATIENCE);
            say(&heard.to_string()).map(|()| heard.is_answer())
        }
        Ok(Order::Hold { protocol, to, port }) => hold(protocol, to, port, &say),
        Ok(Order::Wait) => loop {
            std::thread::park();
        },
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

fn hold(
    protocol: Protocol,
    to: Address,
    port: u16,
    say: &dyn Fn(&str) -> io::Result<()>,
) -> io::Result<bool> {
    let (mut held, heard) = match Held::open(protocol, to, port, PATIENCE) {
        Ok(opened) => opened,
        Err(heard) => return say(&heard.to_string()).map(|()| false),
    };
    say(&heard.to_string())?;
    for line in io::stdin().lock().lines() {
        say(&held.send(&line?).to_string())?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
