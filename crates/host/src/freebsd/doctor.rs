//! What this host lacks, and what follows.
//!
//! Nothing is changed to find out: the tools of the base system are asked.

use std::path::{Path, PathBuf};

use kleene_engine::host::{Promise, chain};

use super::net::interfaces::interfaces;
use super::net::sockets;
use super::pf::{Leave, MAIN, Unsupported};
use super::run::{Answer, Call, Tool, Tools};
use crate::doctor::{Finding, Level, program, root, socket, space};

/// The release on which the behaviour of the tools was recorded
/// (`kern.osreldate` of FreeBSD 13.2).
const RECORDED: u32 = 1_302_001;

/// What to look at.
#[derive(Clone, Copy, Debug)]
pub struct DoctorInput<'a> {
    /// The engine's root directory (`kleene_root`); it need not exist.
    pub root_dir: &'a Path,
    /// Where the engine's own programs are expected.
    pub programs_dir: &'a Path,
    /// Paths of unix sockets to be made.
    pub sockets: &'a [PathBuf],
}

/// Looks at everything, in an order that puts causes before what they cause.
#[must_use]
pub fn checks(tools: &dyn Tools, input: &DoctorInput<'_>) -> Vec<Finding> {
    let mut findings = vec![root()];
    findings.extend(missing_tools());
    findings.extend([release(tools), vimage(tools), loopback(tools)]);
    findings.extend(filter(tools));
    findings.extend([forwarding(tools), wildcards(tools), limits(), space(input.root_dir)]);
    findings.push(program(input.programs_dir, ("supervise", "kleene-supervise")));
    findings.extend(input.sockets.iter().map(|path| socket(path)));
    findings
}

/// The tools of the base system that are not there. ZFS is not needed, nor is what
/// makes images of archives.
fn missing_tools() -> Vec<Finding> {
    let spare = [Tool::Zfs, Tool::Fetch, Tool::Tar];
    let needed = Tool::ALL.iter().filter(|tool| !spare.contains(tool));
    let missing = needed.filter(|tool| !Path::new(tool.path()).is_file());
    let said = missing.map(|tool| {
        let what = format!("there is no {}", tool.path());
        let then = ["nothing that needs it can be done", "install the base system whole"];
        Finding::bad("tools", Level::Fail, what, then)
    });
    let said: Vec<Finding> = said.collect();
    match said.is_empty() {
        true => vec![Finding::ok("tools", "the tools of the base system are there")],
        false => said,
    }
}

/// A variable of the kernel, or why there is none.
fn setting(tools: &dyn Tools, name: &str) -> Result<String, String> {
    let answer = tools.run(&Call::new(Tool::Sysctl, ["-n", name])).map_err(|err| chain(&err))?;
    Ok(answer.stdout.trim().to_owned())
}

fn release(tools: &dyn Tools) -> Finding {
    let id = "release";
    match setting(tools, "kern.osreldate").map(|text| (text.parse::<u32>(), text)) {
        Ok((Ok(date), _)) if date / 1000 == RECORDED / 1000 => {
            Finding::ok(id, "FreeBSD 13.2, whose tools are known")
        }
        Ok((Ok(date), _)) => {
            let what = format!("kern.osreldate is {date}; the tools of {RECORDED} are known");
            let then = ["what they print may differ, and is refused then", "try it, and report"];
            Finding::bad(id, Level::Warn, what, then)
        }
        Ok((Err(_), text)) => unknown(id, &format!("kern.osreldate is '{text}'")),
        Err(why) => unknown(id, &why),
    }
}

fn unknown(id: &'static str, why: &str) -> Finding {
    let then = ["nothing can be said about it", "see whether kleened runs as root on FreeBSD"];
    Finding::bad(id, Level::Warn, format!("cannot find out: {why}"), then)
}

fn vimage(tools: &dyn Tools) -> Finding {
    match setting(tools, "kern.features.vimage") {
        Ok(value) if value == "1" => Finding::ok("vimage", "jails can have stacks of their own"),
        Err(why) if !why.contains("unknown oid") => unknown("vimage", &why),
        Ok(_) | Err(_) => {
            let then = [
                "containers with the driver vnet cannot be made",
                "use a kernel with 'options VIMAGE', as GENERIC is",
            ];
            Finding::bad("vimage", Level::Fail, "the kernel has no VIMAGE", then)
        }
    }
}

fn loopback(tools: &dyn Tools) -> Finding {
    let call = Call::new(Tool::Ifconfig, ["-f", "inet:cidr,inet6:cidr", "lo0"]);
    let read = |answer: Answer| match interfaces(&answer.stdout).as_deref() {
        Ok([lo0]) => Ok(lo0.up),
        Ok(_) => Err(format!("'{call}' does not show one interface")),
        Err(err) => Err(chain(err)),
    };
    match tools.run(&call).map_err(|err| chain(&err)).and_then(read) {
        Ok(true) => Finding::ok("lo0", "lo0 is up"),
        Ok(false) => {
            let then = [
                "networks of type loopback cannot be made: the first would take ::1",
                "bring it up with 'ifconfig lo0 up'",
            ];
            Finding::bad("lo0", Level::Fail, "lo0 is down", then)
        }
        Err(why) => unknown("lo0", &why),
    }
}

/// What pf's administrator has done of what Kleene needs.
fn filter(tools: &dyn Tools) -> Vec<Finding> {
    let leave = match Leave::read(tools) {
        Ok(leave) => leave,
        Err(err) => return vec![unknown("pf", &chain(&err))],
    };
    let promises = [Promise::Translate, Promise::Publish, Promise::Apart(None)];
    let hindered: Vec<String> =
        promises.iter().filter_map(|promise| leave.hindrance(promise)).collect();
    let mut findings = Vec::new();
    match hindered.first().and_then(|text| text.split_once(": ")) {
        None => findings.push(Finding::ok("pf", "pf asks Kleene's rules")),
        Some((_, what)) => {
            let of = hindered.iter().filter_map(|text| Some(text.split_once(": ")?.0));
            let of: Vec<&str> = of.collect();
            let consequence = format!("refused: {}", of.join("; "));
            let lines = format!(
                "/etc/pf.conf needs these lines, translation before filter lines, and no 'set \
                 skip' on lo:\n{MAIN}"
            );
            findings.push(Finding::bad("pf", Level::Warn, what, [&consequence, lines.trim_end()]));
        }
    }
    for rule in &leave.before {
        let what = format!("a quick rule of pf comes before Kleene's: '{rule}'");
        let then = [
            "what it matches is decided by it, whatever networks and published ports say",
            "move it behind 'anchor \"kleene\"' in /etc/pf.conf",
        ];
        findings.push(Finding::bad("pf-quick", Level::Warn, what, then));
    }
    findings
}

fn forwarding(tools: &dyn Tools) -> Finding {
    let id = "forwarding";
    let of = |name| setting(tools, name);
    let (v4, v6) = match (of("net.inet.ip.forwarding"), of("net.inet6.ip6.forwarding")) {
        (Ok(v4), Ok(v6)) => (v4, v6),
        (Err(why), _) | (_, Err(why)) => return unknown(id, &why),
    };
    let what = format!(
        "net.inet.ip.forwarding is {v4}, net.inet6.ip6.forwarding {v6}: switched on while \
         containers need it, and put back"
    );
    Finding::ok(id, what)
}

/// Services of the host that answer on every address: on those of containers, too.
fn wildcards(tools: &dyn Tools) -> Finding {
    let id = "wildcard-services";
    let listeners = match sockets::wildcards(tools) {
        Ok(listeners) => listeners,
        Err(err) => return unknown(id, &chain(&err)),
    };
    let named =
        listeners.iter().map(|(protocol, l)| format!("{} on {}/{protocol}", l.holder, l.port));
    let found: Vec<String> = named.collect();
    if found.is_empty() {
        return Finding::ok(id, "no service of the host is on the wildcard");
    }
    let what = format!("services of the host are on the wildcard: {}", found.join(", "));
    let consequence = Unsupported::HostAsContainer.to_string();
    let remedy = "bind them to the host's own addresses";
    Finding::bad(id, Level::Warn, what, [&consequence, remedy])
}

/// What pf cannot hold on any host.
fn limits() -> Finding {
    let texts: Vec<String> = Unsupported::ALL.iter().map(ToString::to_string).collect();
    Finding::ok("pf-limits", format!("not held on FreeBSD: {}", texts.join("; ")))
}
