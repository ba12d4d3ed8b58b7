//! Commands of the recordings that need real packets or time, and what they print.

use kleene_host::freebsd::run::{Call, Tool, Tools as _};
use kleene_host::freebsd::simulated::Simulated;

/// Whether a command only tries the network, so that its output is known by its form.
pub(crate) fn is_probe(words: &[String]) -> bool {
    let words = match words {
        [jexec, _, rest @ ..] if jexec == "jexec" => rest,
        words => words,
    };
    let Some(program) = words.first() else { return false };
    ["sk", "ping", "ping6", "/sbin/ping"].contains(&program.as_str())
}

/// The addresses of a family that a jail is limited to; `None` is no limit.
fn limits(host: &Simulated, jail: &str, six: bool) -> Option<Vec<String>> {
    let (mode, list) = if six { ("ip6", "ip6.addr") } else { ("ip4", "ip4.addr") };
    let call = Call::new(Tool::Jls, ["-n", "-j", jail, "vnet", mode, list]);
    let told = host.run(&call).expect("a jail").stdout;
    let words: Vec<&str> = told.split_whitespace().collect();
    let [vnet, mode, list] = words.as_slice() else { return None };
    if *vnet == "vnet=new" || mode.ends_with("=inherit") {
        return None;
    }
    let (_, list) = list.split_once('=').unwrap_or_default();
    Some(list.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect())
}

/// Has the simulated host listen as `sk serve PROTOCOL NAME ADDRESS PORT` does: a jail
/// with one address gets that for the wildcard, and the first one for localhost; none
/// without an address.
pub(crate) fn serve(host: &Simulated, jail: Option<&str>, words: &[String]) {
    let [_, _, protocol, _, addr, port] = words else { return };
    let six = addr.contains(':') || addr.starts_with("*6") || addr == "*46";
    let limited = jail.and_then(|jail| limits(host, jail, six));
    let local = match (addr.as_str(), limited.as_deref()) {
        (_, Some([])) => return,
        ("*" | "*6", Some([only])) => only,
        ("127.0.0.1" | "::1", Some([first, ..])) => first,
        ("*" | "*6" | "*46", _) => "*",
        (addr, _) => addr,
    };
    let family = match (addr.as_str(), six) {
        ("*46", _) => "46",
        (_, true) => "6",
        (_, false) => "4",
    };
    let (protocol, local) = (format!("{protocol}{family}"), format!("{local}:{port}"));
    // One and the same is in use already.
    if !host.listens(jail, &protocol, &local) {
        host.listen(jail, "sk", &protocol, &local);
    }
}

/// Whether a line was printed by a probe.
pub(crate) fn printed(line: &str) -> bool {
    let starts = [
        "from 1",
        "from [",
        "connect: ",
        "send",
        "recv: ",
        "socket: ",
        "bad address ",
        "PING",
        "64 bytes ",
        "--- ",
        "round-trip ",
        "ping: ",
        "ping6: ",
        "16 bytes ",
        "bind ",
        "raw packet",
        "raw send",
        "sink ",
        "sent with",
        "nothing came",
    ];
    starts.iter().any(|start| line.starts_with(start))
        || line.contains(" bind ") && line.contains(": E")
        || line.contains(" listening ")
        || line.contains(" packets transmitted")
}
