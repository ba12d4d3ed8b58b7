//! Throw-away hosts with as many published ports as wanted.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use kleene_e2e::{Run, WORLD4, World};

use crate::linux::traffic::{self, PORT};

/// The first port that is published by containers that are only there. None of the
/// host's own sockets is at it or behind it.
pub(super) const FIRST: u16 = 20_000;
/// How long one measurement of traffic lasts, in milliseconds, and how many there are of
/// each side in a round: short and many, so that what else the machine does meets all sides
/// alike.
pub(super) const TURN: &str = "125";
pub(super) const TURNS: usize = 4;
/// How many of them one container publishes.
const EACH: usize = 1000;
/// Whether the kernel shows frames between ports of a bridge to the rules of IP, too: each
/// host has one of its own, where the machine has the module `br_netfilter`.
pub(super) const FRAMES: &str = "net.bridge.bridge-nf-call-iptables";
/// Many ports take their time, and are not measured here.
pub(super) const LIMIT: Duration = Duration::from_secs(120);

/// A host with the daemon and a bridge network. The daemon goes on until the host ends.
pub(super) fn host() -> Result<World, String> {
    let world = traffic::open()?;
    show_frames(&world, false)?;
    drop(world.start_kleened("log_level: info\n"));
    let create = ["network", "create", "-t", "bridge", "--subnet", "10.2.0.0/16", "web"];
    world.klee(create).ok();
    Ok(world)
}

/// Sets it in a throw-away host.
pub(super) fn show_frames(world: &World, shown: bool) -> Result<(), String> {
    let wanted = if shown { "1" } else { "0" };
    match world.sysctl(FRAMES) {
        Some(value) if value != wanted => {
            let path = format!("/proc/sys/{}", FRAMES.replace('.', "/"));
            world.run(["sh", "-c", &format!("echo {wanted} >{path}")]).ok();
        }
        None if shown => return Err(format!("{FRAMES} is not there any more")),
        _ => {}
    }
    Ok(())
}

/// Starts a container of the network `web`, with its command at the end.
pub(super) fn start(world: &World, name: &str, options: &[String], command: &[&str]) {
    let head = ["run", "-d", "-l", "vnet", "-n", "web", "--name", name].map(str::to_owned);
    let tail = ["host-usr"].iter().chain(command).map(|word| (*word).to_owned());
    let words = head.into_iter().chain(options.iter().cloned()).chain(tail);
    world.klee(words).ok();
}

/// Publishes so many ports, one by one, by containers that are only there.
pub(super) fn fill(world: &World, count: u16) -> Result<(), String> {
    let ports: Vec<u16> = range(count)?.collect();
    for (number, chunk) in ports.chunks(EACH).enumerate() {
        let publish = chunk.iter().flat_map(|port| ["-p".to_owned(), format!("{port}:{PORT}")]);
        let options: Vec<String> = publish.collect();
        start(world, &format!("filler-{number}"), &options, &["sleep", "1000000"]);
    }
    let there = published(world);
    match ports.iter().find(|port| !there.contains(port)) {
        Some(port) => Err(format!("port {port} is published, and the kernel leads it nowhere")),
        None => Ok(()),
    }
}

/// So many ports.
pub(super) fn range(count: u16) -> Result<Range<u16>, String> {
    let end = FIRST.checked_add(count).ok_or_else(|| format!("{count} ports are too many"))?;
    Ok(FIRST..end)
}

/// The tcp ports that the kernel leads to containers.
pub(super) fn published(world: &World) -> BTreeSet<u16> {
    let list = Run::new(["nft", "list", "ruleset"]).limit(LIMIT);
    led(&world.run_with(&list).ok().stdout(), PORT)
}

/// The tcp ports that lead to the port `to` of anybody.
fn led(ruleset: &str, to: &str) -> BTreeSet<u16> {
    let port = |element: &str| {
        let (port, rest) = element.split_once(" : ")?;
        let (_, target) = rest.split_once(" . ")?;
        let digits = target.split(|c: char| !c.is_ascii_digit()).next()?;
        (digits == to).then(|| port.parse::<u16>().ok())?
    };
    ruleset.split("tcp . ").filter_map(port).collect()
}

/// Connections of somebody outside to a port of the host, for each second.
pub(super) fn connections(world: &World, port: u16) -> Result<f64, String> {
    let program = traffic::this_program()?;
    let port = port.to_string();
    let output = world.outside().run([&program, "probe", "connect", WORLD4, &port, TURN]);
    let rate = traffic::per_second(&output.stdout());
    rate.ok_or_else(|| format!("{WORLD4}:{port} from outside: {output}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_led_where_an_element_says_so() {
        let ruleset = "map lead4 { elements = { tcp . 80 : 10.2.0.2 . 7000,
            tcp . 81 : 10.2.0.2 . 7000 } }
            set own { elements = { tcp . 80, tcp . 9 } }
            map far { elements = { tcp . 80 : 10.2.0.2 . 7000, tcp . 82 : 10.2.0.2 . 70 } }";
        assert_eq!(led(ruleset, "7000"), BTreeSet::from([80, 81]));
        assert!(led("", "7000").is_empty());
    }

    #[test]
    fn more_ports_than_there_are_is_said() {
        assert!(range(40_000).is_ok_and(|ports| ports.len() == 40_000));
        assert!(range(50_000).is_err());
    }
}
