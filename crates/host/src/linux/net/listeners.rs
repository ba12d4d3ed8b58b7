//! Who of the host's programs holds a port (`NETLINK_SOCK_DIAG`).

use std::net::IpAddr;

use kleene_engine::host::Listener;
use kleene_model::{Ports, Protocol};

use super::channel::{Channel, place};
use super::error::NetError;
use super::wire::{frames, kind};

/// The kernel's number of this part of netlink.
const SOCK_DIAG: isize = 4;
const BY_FAMILY: u16 = 20;

/// The sockets that wait on any of these ports for whoever asks.
pub(super) fn on(protocol: Protocol, ports: &[Ports]) -> Result<Vec<Listener>, NetError> {
    let mut channel = Channel::open(SOCK_DIAG)?;
    let mut found = Vec::new();
    for (sequence, family) in [(1, 2_u8), (2, 10)] {
        let deadline = channel.send(&request(sequence, family, protocol))?;
        'answers: loop {
            for frame in frames(channel.receive(deadline)?) {
                let frame = frame?;
                if place(&frame, sequence) != Some(0) {
                    continue;
                }
                if matches!(frame.kind, kind::DONE | kind::ERROR) {
                    frame.verdict()??;
                    break 'answers;
                }
                let wanted = |held: &Held| ports.iter().any(|ports| ports.contains(held.port));
                found.extend(read(frame.payload).filter(wanted));
            }
        }
    }
    Ok(found.into_iter().map(named).collect())
}

/// `struct inet_diag_req_v2` behind a header.
fn request(sequence: u32, family: u8, protocol: Protocol) -> Vec<u8> {
    const LIST: u16 = 0x301;
    // TCP that listens; UDP that is not connected to anybody.
    let states: u32 = match protocol {
        Protocol::Tcp => 1 << 10,
        Protocol::Udp => 1 << 7,
    };
    let mut request = 72_u32.to_ne_bytes().to_vec();
    request.extend(BY_FAMILY.to_ne_bytes());
    request.extend(LIST.to_ne_bytes());
    request.extend(sequence.to_ne_bytes());
    request.extend([0; 4]);
    request.extend([family, protocol.number(), 0, 0]);
    request.extend(states.to_ne_bytes());
    request.resize(72, 0);
    request
}

/// A socket that holds a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    addr: Option<IpAddr>,
    port: u16,
    inode: u32,
}

/// `struct inet_diag_msg`; `None` when it is cut short.
fn read(message: &[u8]) -> Option<Held> {
    let family = *message.first()?;
    let port = u16::from_be_bytes(message.get(4..6)?.try_into().ok()?);
    let addr: IpAddr = match family {
        2 => <[u8; 4]>::try_from(message.get(8..12)?).ok()?.into(),
        10 => <[u8; 16]>::try_from(message.get(8..24)?).ok()?.into(),
        _ => return None,
    };
    let inode = u32::from_ne_bytes(message.get(68..72)?.try_into().ok()?);
    Some(Held { addr: Some(addr).filter(|addr| !addr.is_unspecified()), port, inode })
}

/// Looks for the program whose socket it is, in all that this one may see.
fn named(held: Held) -> Listener {
    let Held { addr, port, inode } = held;
    let holder = program(inode).unwrap_or_else(|| "a program of the host".to_owned());
    let on = addr.map_or_else(|| "all addresses".to_owned(), |addr| addr.to_string());
    Listener { addr, port, holder: format!("{holder} on {on}") }
}

fn program(inode: u32) -> Option<String> {
    let wanted = format!("socket:[{inode}]");
    let numbered = std::fs::read_dir("/proc").ok()?.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.parse::<u32>().ok()
    });
    numbered.into_iter().find_map(|pid| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let mut links = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.any(|link| link.as_os_str() == wanted.as_str()).then(|| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("{} (pid {pid})", name.trim())
        })
    })
}

/// Reads bytes as if the kernel had sent them.
pub(super) fn read_anything(bytes: &[u8]) -> bool {
    read(bytes).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_is_no_socket() {
        let mut message = vec![0; 72];
        message[0] = 2;
        message[4..6].copy_from_slice(&8080_u16.to_be_bytes());
        let held = Held { addr: None, port: 8080, inode: 0 };
        assert_eq!(read(&message), Some(held));
        message[8..12].copy_from_slice(&[127, 0, 0, 1]);
        assert_eq!(read(&message).map(|held| held.addr), Some(Some([127, 0, 0, 1].into())));
        for cut in 0..72 {
            assert_eq!(read(&message[..cut]), None, "{cut}");
        }
        message[0] = 1;
        assert_eq!(read(&message), None);
    }

    #[test]
    fn a_socket_of_this_program_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("an address").port();
        let found = on(Protocol::Tcp, &[Ports { first: port, last: port }]).expect("asked");
        let [one] = &found[..] else { panic!("{found:?}") };
        assert_eq!((one.addr, one.port), (Some([127, 0, 0, 1].into()), port));
        assert!(one.holder.contains(&format!("pid {}", std::process::id())), "{one:?}");
        drop(socket);
        let gone = on(Protocol::Tcp, &[Ports { first: port, last: port }]).expect("asked");
        assert_eq!(gone, []);
    }
}
