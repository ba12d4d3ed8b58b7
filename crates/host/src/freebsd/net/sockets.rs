//! Who holds ports: what `sockstat` and `ps` print.

use std::collections::BTreeMap;
use std::net::IpAddr;

use kleene_engine::host::Listener;
use kleene_model::{Ports, Protocol};
use serde::Deserialize;

use super::error::{NetError, unreadable};
use crate::freebsd::run::{Call, Tool, Tools};

/// A socket that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its address; `None` on the wildcard.
    pub addr: Option<IpAddr>,
    /// Its port.
    pub port: u16,
    /// The process that holds it.
    pub pid: u32,
    /// The name of its program.
    pub command: String,
}

/// The sockets of the host's programs, those of jails excepted, that hold any of
/// these ports.
///
/// # Errors
/// [`NetError`].
pub(super) fn listeners(
    tools: &dyn Tools,
    protocol: Protocol,
    ports: &[Ports],
) -> Result<Vec<Listener>, NetError> {
    let list: Vec<String> = ports.iter().map(range).collect();
    let (protocol, list) = (protocol.to_string(), list.join(","));
    let call = Call::new(Tool::Sockstat, ["-46l", "-P", &protocol, "-p", &list]);
    let on_host = of_host(tools, sockets(&tools.run(&call)?.stdout)?)?;
    Ok(on_host.into_iter().map(Socket::listener).collect())
}

/// The sockets of the host's programs that are on every address, and their protocol.
///
/// # Errors
/// [`NetError`].
pub fn wildcards(tools: &dyn Tools) -> Result<Vec<(Protocol, Listener)>, NetError> {
    let all = sockets(&tools.run(&Call::new(Tool::Sockstat, ["-46l"]))?.stdout)?;
    let all = all.into_iter().filter(|socket| socket.addr.is_none()).collect();
    let on_host = of_host(tools, all)?.into_iter();
    Ok(on_host.map(|socket| (socket.protocol, socket.listener())).collect())
}

/// Those of them that are of no jail.
fn of_host(tools: &dyn Tools, mut sockets: Vec<Socket>) -> Result<Vec<Socket>, NetError> {
    if sockets.is_empty() {
        return Ok(sockets);
    }
    let pids: Vec<String> = sockets.iter().map(|socket| socket.pid.to_string()).collect();
    let call = Call::new(Tool::Ps, ["--libxo", "json", "-o", "pid,jid", "-p", &pids.join(",")]);
    // Those that have ended since are not listed: with none left it says 1.
    let jails = jails(&tools.call(&call)?.stdout)?;
    sockets.retain(|socket| jails.get(&socket.pid) == Some(&0));
    Ok(sockets)
}

impl Socket {
    fn listener(self) -> Listener {
        let Self { protocol: _, addr, port, pid, command } = self;
        Listener { addr, port, holder: format!("{command} (pid {pid})") }
    }
}

fn range(ports: &Ports) -> String {
    match ports.count() {
        1 => ports.first.to_string(),
        _ => format!("{}-{}", ports.first, ports.last),
    }
}

/// Reads what sockstat prints of sockets that listen. It has no other form than
/// columns (FreeBSD 13.2), so they are counted from the right: a program's name may
/// have blanks.
///
/// # Errors
/// [`NetError::Unreadable`].
pub fn sockets(printed: &str) -> Result<Vec<Socket>, NetError> {
    let mut lines = printed.lines();
    let heading = lines.next().unwrap_or_default();
    if !heading.starts_with("USER") {
        return Err(unreadable("sockstat", heading));
    }
    let read = lines.map(|line| socket(line).ok_or_else(|| unreadable("sockstat", line)));
    let read: Vec<Option<Socket>> = read.collect::<Result<_, _>>()?;
    Ok(read.into_iter().flatten().collect())
}

/// One of another protocol is `Some(None)`, one that cannot be read `None`.
fn socket(line: &str) -> Option<Option<Socket>> {
    let mut words = line.split_whitespace().rev();
    let (_foreign, local, protocol, _fd) =
        (words.next()?, words.next()?, words.next()?, words.next()?);
    let of = |of: &Protocol| protocol.starts_with(&of.to_string());
    let protocol = Protocol::BOTH.into_iter().find(of);
    // A socket that no process holds any more has a `?` there.
    let pid = words.next()?.parse().unwrap_or(0);
    let mut program: Vec<&str> = words.collect();
    program.pop()?;
    program.reverse();
    let (addr, port) = local.rsplit_once(':')?;
    let addr = match addr.split_once('%').map_or(addr, |(addr, _)| addr) {
        "*" => None,
        addr => Some(addr.parse().ok()?),
    };
    let (port, command) = (port.parse(), program.join(" "));
    // A raw socket has no port.
    let Some(protocol) = protocol else { return Some(None) };
    Some(Some(Socket { protocol, addr, port: port.ok()?, pid, command }))
}

#[derive(Deserialize)]
struct Printed {
    #[serde(rename = "process-information")]
    information: Information,
}

#[derive(Deserialize)]
struct Information {
    #[serde(default)]
    process: Vec<Process>,
}

#[derive(Deserialize)]
struct Process {
    pid: String,
    #[serde(rename = "jail-id")]
    jid: String,
}

/// The jail of each process, 0 on the host, of those that ps prints.
///
/// # Errors
/// [`NetError::Unreadable`].
pub fn jails(printed: &str) -> Result<BTreeMap<u32, u32>, NetError> {
    let printed: Printed =
        serde_json::from_str(printed).map_err(|err| unreadable("ps", &err.to_string()))?;
    let number = |text: &str| text.trim().parse().map_err(|_| unreadable("ps", text));
    let processes = printed.information.process.iter();
    processes.map(|process| Ok((number(&process.pid)?, number(&process.jid)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_sockets_are_read() {
        let printed = "\
USER     COMMAND    PID   FD PROTO  LOCAL ADDRESS         FOREIGN ADDRESS      
root     sk         823   3  tcp46  *:101                 *:*
root     my daemon  821   3  tcp6   fd00:2:3::1:100       *:*
www      nginx      819   3  tcp4   10.2.3.1:100          *:*
?        ?          ?     ?  tcp4   *:80                  *:*
root     dhclient   17    5  raw4   *:*                   *:*
";
        let read = sockets(printed).expect("reads");
        let shown: Vec<String> = read
            .iter()
            .map(|s| {
                format!("{:?} {} {} {}", s.addr.map(|a| a.to_string()), s.port, s.pid, s.command)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "None 101 823 sk",
                "Some(\"fd00:2:3::1\") 100 821 my daemon",
                "Some(\"10.2.3.1\") 100 819 nginx",
                "None 80 0 ?",
            ]
        );
        for bad in ["", "sockstat: nope", "USER COMMAND\nroot sk 1 3 tcp4 x:1 *:*", "USER\nroot"] {
            assert!(sockets(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn processes_have_their_jails() {
        let printed = r#"{"process-information": {"process": [{"pid":"52","jail-id":"1"}, {"pid":"54","jail-id":"0"}]}}"#;
        assert_eq!(jails(printed).expect("reads"), BTreeMap::from([(52, 1), (54, 0)]));
        assert!(jails("").is_err() && jails(&printed.replace("\"1\"", "\"x\"")).is_err());
    }
}
