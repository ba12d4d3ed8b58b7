//! Published ports: the grammar of a request, and what it means.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::api::{PublishedPortConfig, UnpublishConfig};
use crate::name::LinkName;
use crate::refusal::Refusal;

/// A protocol whose ports can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::Tcp, Self::Udp];

    /// Its number in an IP header (IANA protocol numbers).
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// The one of that number; `None` for a protocol without ports, or another.
    #[must_use]
    pub fn of_number(number: u8) -> Option<Self> {
        Self::BOTH.into_iter().find(|protocol| protocol.number() == number)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One port or several in a row, the last included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last; the same for one port.
    pub last: u16,
}

impl Ports {
    /// Whether a port is among them.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// Whether some port is among both.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Those that are not among others: what is below, and what is above.
    pub fn without(self, others: Self) -> impl Iterator<Item = Self> {
        let below = others.first.checked_sub(1).map(|last| last.min(self.last));
        let above = others.last.checked_add(1).map(|first| first.max(self.first));
        let below = below.map(|last| Self { first: self.first, last });
        let above = above.map(|first| Self { first, last: self.last });
        below.into_iter().chain(above).filter(|left| left.first <= left.last)
    }

    /// Reads `N` or `A:B`.
    ///
    /// # Errors
    /// [`Refusal::InvalidPort`], [`Refusal::InvalidPublishing`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let (first, last) = text.split_once(':').unwrap_or((text, text));
        let ports = Self { first: port(first)?, last: port(last)? };
        if ports.first > ports.last { Err(Refusal::InvalidPublishing) } else { Ok(ports) }
    }

    /// How many there are.
    #[must_use]
    pub fn count(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}:{last}"),
        }
    }
}

/// The interfaces on which a port is published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listed {
    /// `[]`: that of the host's default route, whichever that is.
    Uplink,
    /// These.
    These(BTreeSet<LinkName>),
}

/// A port of a container that is published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Where.
    pub on: Listed,
    /// Its protocol.
    pub protocol: Protocol,
    /// The host's ports.
    pub host: Ports,
    /// The container's: as many as the host's, or one for all of them.
    pub container: Ports,
}

impl PublishedPort {
    /// Reads a published port of a request.
    ///
    /// # Errors
    /// [`Refusal::InvalidPort`], [`Refusal::InvalidPublishing`],
    /// [`Refusal::InvalidInterface`].
    pub fn parse(config: &PublishedPortConfig) -> Result<Self, Refusal> {
        let PublishedPortConfig { interfaces, host_port, container_port, protocol } = config;
        let protocol = match protocol.as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(Refusal::InvalidPublishing),
        };
        let host = Ports::parse(host_port)?;
        let container = match container_port.strip_suffix(":*") {
            None => Ports::parse(container_port)?,
            Some(first) => {
                let first = port(first)?;
                let last = u32::from(first) + host.count() - 1;
                Ports { first, last: u16::try_from(last).map_err(|_| Refusal::InvalidPort)? }
            }
        };
        if container.count() != 1 && container.count() != host.count() {
            return Err(Refusal::InvalidPublishing);
        }
        let names = interfaces.iter().map(|name| LinkName::parse(name));
        let names = names.collect::<Result<BTreeSet<_>, _>>()?;
        let on = if names.is_empty() { Listed::Uplink } else { Listed::These(names) };
        Ok(Self { on, protocol, host, container })
    }

    /// Reads which published ports are meant: protocol, ports of the host, and
    /// interfaces where they were said.
    ///
    /// # Errors
    /// [`Refusal::InvalidPort`], [`Refusal::InvalidPublishing`],
    /// [`Refusal::InvalidInterface`].
    pub fn parse_meant(
        config: &UnpublishConfig,
    ) -> Result<(Protocol, Ports, Option<Listed>), Refusal> {
        let UnpublishConfig { interfaces, host_port, protocol } = config;
        let as_published = Self::parse(&PublishedPortConfig {
            interfaces: interfaces.clone().unwrap_or_default(),
            host_port: host_port.clone(),
            container_port: "1".to_owned(),
            protocol: protocol.clone(),
        })?;
        let on = interfaces.as_ref().map(|_| as_published.on);
        Ok((as_published.protocol, as_published.host, on))
    }

    /// The container's port that a port of the host leads to.
    #[must_use]
    pub fn inner(&self, host: u16) -> Option<u16> {
        if !self.host.contains(host) {
            return None;
        }
        match self.container {
            Ports { first, last } if first == last => Some(first),
            Ports { first, .. } => first.checked_add(host - self.host.first),
        }
    }
}

/// A number without a sign.
fn port(text: &str) -> Result<u16, Refusal> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::InvalidPublishing);
    }
    match text.parse() {
        Ok(0) => {
            let why = "port 0 asks for any port, and cannot be published".to_owned();
            Err(Refusal::InvalidRequest { why })
        }
        Err(_) => Err(Refusal::InvalidPort),
        Ok(port) => Ok(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(host: &str, container: &str) -> Result<(Ports, Ports), String> {
        let config = PublishedPortConfig {
            interfaces: Vec::new(),
            host_port: host.to_owned(),
            container_port: container.to_owned(),
            protocol: "tcp".to_owned(),
        };
        let port = PublishedPort::parse(&config).map_err(|refused| refused.to_string())?;
        Ok((port.host, port.container))
    }

    fn row(first: u16, last: u16) -> Ports {
        Ports { first, last }
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(read("8080", "80"), Ok((row(8080, 8080), row(80, 80))));
        assert_eq!(read("8000:8010", "9000:9010"), Ok((row(8000, 8010), row(9000, 9010))));
        assert_eq!(read("8000:8010", "9000:*"), Ok((row(8000, 8010), row(9000, 9010))));
        assert_eq!(read("8000:8010", "80"), Ok((row(8000, 8010), row(80, 80))));
        assert_eq!(read("1:65535", "1:*"), Ok((row(1, 65535), row(1, 65535))));
        assert_eq!(read("8080", "80:*"), Ok((row(8080, 8080), row(80, 80))));
    }

    #[test]
    fn wrong_forms_are_refused_with_the_words_of_0_1_1() {
        let value = "invalid port value (should be in the range 0 - 65535)";
        let zero = "invalid request: port 0 asks for any port, and cannot be published";
        let form = "could not decode port publishing specification";
        for (host, container, why) in [
            ("65536", "80", value),
            ("8080", "99999999999999999999", value),
            ("0", "80", zero),
            ("8080", "0", zero),
            ("65535", "80:81", form),
            ("60000:60010", "65530:*", value),
            ("", "80", form),
            ("80", "", form),
            ("-1", "80", form),
            ("+1", "80", form),
            ("80", "*", form),
            ("80:*", "80", form),
            ("80:", "80", form),
            (":80", "80", form),
            ("90:80", "90:80", form),
            ("80:90", "80:85", form),
            ("80", "80:90", form),
            ("http", "80", form),
            ("80:90:100", "80", form),
            ("8080", "80:**", form),
            (" 80", "80", form),
            ("٨٠", "80", form),
        ] {
            assert_eq!(read(host, container), Err(why.to_owned()), "{host} {container}");
        }
    }

    #[test]
    fn what_is_left_of_a_range() {
        let left = |ports: Ports, hole| ports.without(hole).collect::<Vec<_>>();
        assert_eq!(left(row(5, 9), row(1, 4)), [row(5, 9)]);
        assert_eq!(left(row(5, 9), row(10, 12)), [row(5, 9)]);
        assert_eq!(left(row(5, 9), row(1, 5)), [row(6, 9)]);
        assert_eq!(left(row(5, 9), row(9, 9)), [row(5, 8)]);
        assert_eq!(left(row(5, 9), row(6, 7)), [row(5, 5), row(8, 9)]);
        assert_eq!(left(row(5, 9), row(5, 9)), []);
        assert_eq!(left(row(0, 65535), row(0, 65535)), []);
    }

    #[test]
    fn ranges_keep_their_offsets() {
        let port = |container| PublishedPort {
            on: Listed::Uplink,
            protocol: Protocol::Udp,
            host: row(8000, 8010),
            container,
        };
        assert_eq!(port(row(9000, 9010)).inner(8003), Some(9003));
        assert_eq!(port(row(53, 53)).inner(8003), Some(53));
        assert_eq!(port(row(53, 53)).inner(8011), None);
    }

    #[test]
    fn names_of_interfaces_are_checked() {
        let config = |name: &str| PublishedPortConfig {
            interfaces: vec![name.to_owned()],
            host_port: "1".to_owned(),
            container_port: "1".to_owned(),
            protocol: "tcp".to_owned(),
        };
        assert!(PublishedPort::parse(&config("eth0")).is_ok());
        assert!(PublishedPort::parse(&config("a/b")).is_err());
        let other = PublishedPortConfig { protocol: "sctp".to_owned(), ..config("eth0") };
        assert_eq!(PublishedPort::parse(&other), Err(Refusal::InvalidPublishing));
    }
}
