//! `-p [INTERFACE:]HOST[:CONTAINER][/tcp|udp]`.
//!
//! Ports stay text here: `N`, a range `A-B` (the daemon writes `A:B`), or whatever
//! else; which of them are good is the daemon's to say.

use kleene_model::api::PublishedPortConfig;

/// A port that cannot be read, in the words of 0.1.1.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not decode port to publish: {0}")]
pub(crate) struct PortError(String);

/// Reads one published port.
pub(crate) fn parse(text: &str) -> Result<PublishedPortConfig, PortError> {
    let wrong = || PortError(text.to_owned());
    let (ports, protocol) = match text.split_once('/') {
        None => (text, "tcp"),
        Some((ports, protocol @ ("tcp" | "udp"))) => (ports, protocol),
        Some(_) => return Err(wrong()),
    };
    let parts: Vec<&str> = ports.split(':').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(wrong());
    }
    let (interfaces, host, container) = match parts[..] {
        [port] => (Vec::new(), port, port),
        [host, container] => (Vec::new(), host, container),
        [interface, host, container] => (vec![interface.to_owned()], host, container),
        _ => return Err(wrong()),
    };
    Ok(PublishedPortConfig {
        interfaces,
        host_port: host.replace('-', ":"),
        container_port: container.replace('-', ":"),
        protocol: protocol.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let read = |text: &str| {
            let port = parse(text).unwrap();
            (port.interfaces.join(","), port.host_port, port.container_port, port.protocol)
        };
        let owned = |a: &str, b: &str, c: &str, d: &str| {
            (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned())
        };
        assert_eq!(read("8080"), owned("", "8080", "8080", "tcp"));
        assert_eq!(read("8080:80/udp"), owned("", "8080", "80", "udp"));
        assert_eq!(read("8000-8010:80"), owned("", "8000:8010", "80", "tcp"));
        assert_eq!(read("8000-8010/udp"), owned("", "8000:8010", "8000:8010", "udp"));
        assert_eq!(read("em0:8080:80"), owned("em0", "8080", "80", "tcp"));
    }

    #[test]
    fn wrong_forms_are_refused_whole() {
        for text in ["", "80/icmp", "80/tcp/udp", "a:b:c:d", ":80", "80:", "em0::80"] {
            let why = parse(text).unwrap_err().to_string();
            assert_eq!(why, format!("could not decode port to publish: {text}"));
        }
    }
}
