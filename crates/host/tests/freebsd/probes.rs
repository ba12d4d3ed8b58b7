//! Commands of the recordings that need real packets or time, and what they print.

/// Whether a command only tries the network, so that its output is known by its form.
pub(crate) fn is_probe(words: &[String]) -> bool {
    let words = match words {
        [jexec, _, rest @ ..] if jexec == "jexec" => rest,
        words => words,
    };
    let Some(program) = words.first() else { return false };
    ["sk", "ping", "ping6", "/sbin/ping"].contains(&program.as_str())
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
