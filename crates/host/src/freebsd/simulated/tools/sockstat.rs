//! sockstat(1): who listens.

use crate::freebsd::simulated::session::{Done, Session, unknown};
use crate::freebsd::simulated::state::Socket;

const USAGE: &str = "usage: sockstat [-46CciLlnqSsUuvw] [-j jid] [-p ports] [-P protocols]";

/// Whether a list of ports and ranges has a port.
fn covers(list: &str, port: Option<u16>) -> bool {
    list.split(',').any(|item| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let range = first.parse().ok().zip(last.parse().ok());
        range.zip(port).is_some_and(|((first, last), port)| (first..=last).contains(&port))
    })
}

/// Runs sockstat.
pub(crate) fn sockstat(s: &mut Session<'_>, args: &[&str]) -> Done {
    let (mut four, mut six, mut quiet) = (false, false, false);
    let (mut jail, mut ports, mut protocols) = (None, None, None);
    let mut rest = args.iter().copied();
    while let Some(word) = rest.next() {
        match word {
            "-j" => jail = rest.next(),
            "-p" => ports = rest.next(),
            "-P" => protocols = rest.next(),
            word if word.starts_with("--") => {
                s.warn("sockstat: illegal option -- -");
                return s.refuse(USAGE);
            }
            word => {
                let Some(letters) = word.strip_prefix('-') else { return unknown(word) };
                for letter in letters.chars() {
                    match letter {
                        '4' => four = true,
                        '6' => six = true,
                        // Everybody here listens.
                        'l' | 'n' => {}
                        'q' => quiet = true,
                        letter => return unknown(letter),
                    }
                }
            }
        }
    }
    let jid = match jail {
        None => None,
        Some(name) => match s.state.jail(name).map(|jail| jail.jid) {
            Some(jid) => Some(jid),
            None => return s.refuse(format_args!("sockstat: jail \"{name}\" not found")),
        },
    };
    let is_in = |list: Option<&str>, one: &str| {
        list.is_none_or(|list| list.split(',').any(|item| item == one))
    };
    let confined = s.confined().map(|jail| jail.jid);
    let vnet = s.vnet();
    let wanted = |socket: &&Socket| {
        let of =
            socket.jail.map_or(crate::freebsd::simulated::state::HOST, |jid| s.state.vnet_of(jid));
        let own = confined.is_none_or(|jid| socket.jail == Some(jid));
        // A jail that is asked for by name is asked in its own stack.
        let here = jid.is_some() || of == vnet;
        // A socket of IPv6 that takes IPv4 as well is `tcp46`.
        let protocol = socket.protocol.trim_end_matches(['4', '6']);
        let family = &socket.protocol[protocol.len()..];
        let port = socket.local.rsplit(':').next().and_then(|port| port.parse().ok());
        own && here
            && (four && family.contains('4') || six && family.contains('6'))
            && jid.is_none_or(|jid| socket.jail == Some(jid))
            && ports.is_none_or(|ports| covers(ports, port))
            && is_in(protocols, protocol)
    };
    let sockets: Vec<Socket> = s.state.sockets.iter().filter(wanted).cloned().collect();
    if !quiet {
        s.say("USER     COMMAND    PID   FD PROTO  LOCAL ADDRESS         FOREIGN ADDRESS      ");
    }
    for one in sockets {
        s.say(format_args!(
            "{:8} {:10.10} {:<5} 3  {:6} {:21} *:*",
            "root", one.command, one.pid, one.protocol, one.local
        ));
    }
    Ok(())
}
