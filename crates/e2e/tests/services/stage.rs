//! The host on which a service is tried: networks, neighbours, a reader who
//! types the page's lines, and what has been found out.

use crate::common::LIMIT;
use crate::common::net::{Place, addresses_of, known_outside};
use crate::page::{self, Step};
use kleene_e2e::{Netns, Output, Run, World, poll, target_dir};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

pub(crate) const PAGE: &str = include_str!("../../../../docs/services.md");

/// The containers that ask.
pub(crate) const NEAR: &str = "near";
pub(crate) const WIRED: &str = "wired";

/// From where a service is asked.
pub(crate) const EVERYWHERE: [Place<'_>; 4] =
    [Place::Outside, Place::Host, Place::In(NEAR), Place::In(WIRED)];

/// An answer takes no longer, whatever else the machine has to do.
const ANSWER: Duration = Duration::from_secs(20);

/// The driver of the container with the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Driver {
    Ipnet,
    Vnet,
}

impl Driver {
    /// Its column of the table.
    pub(crate) fn column(self) -> usize {
        match self {
            Self::Ipnet => 1,
            Self::Vnet => 2,
        }
    }

    pub(crate) fn network(self) -> &'static str {
        match self {
            Self::Ipnet => "lan",
            Self::Vnet => "web",
        }
    }

    /// How `klee run` is told, with the network.
    pub(crate) fn how(self) -> &'static str {
        match self {
            Self::Ipnet => "-n lan",
            Self::Vnet => "-l vnet -n web",
        }
    }

    /// What the page says for `ipnet`, for this driver: as it tells its reader.
    fn said(self, text: &str) -> String {
        match self {
            Self::Ipnet => text.to_owned(),
            Self::Vnet => text
                .replace(Self::Ipnet.how(), self.how())
                .replace("192.0.2.7", "10.4.6.7")
                .replace("2001:db8:1:0:1::", "fd00:4:6::"),
        }
    }
}

/// One service with one driver.
pub(crate) struct Stage<'a> {
    pub(crate) world: &'a World,
    pub(crate) driver: Driver,
    asked: usize,
    failed: usize,
    /// What did not work, as the table says it.
    except: Vec<String>,
    why: String,
}

impl<'a> Stage<'a> {
    /// The ground of the page, and an outside that knows the way.
    pub(crate) fn new(world: &'a World, driver: Driver) -> Self {
        world.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "srv", "/srv"]).ok();
        let stage =
            Self { world, driver, asked: 0, failed: 0, except: Vec::new(), why: String::new() };
        stage.type_all(page::section(PAGE, "The ground"));
        match driver {
            Driver::Ipnet => known_outside(world, &["10.4.6.0/24", "fd00:4:6::/64"]),
            Driver::Vnet => stage.type_all(page::section(PAGE, "The same with `vnet`")),
        }
        known_outside(world, &["10.4.7.0/24", "fd00:4:7::/64"]);
        stage
    }

    /// Starts the containers that ask: one of each driver.
    pub(crate) fn neighbours(&self, mounts: &[&str]) {
        let mounts: String = mounts.iter().map(|mount| here(&format!("-m {mount} "))).collect();
        let neighbours = [(NEAR, Driver::Ipnet.how(), 10_000), (WIRED, Driver::Vnet.how(), 20_000)];
        for (name, how, ports) in neighbours {
            // What they serve in their turn.
            let open = [(8080, "tcp"), (53, "tcp"), (53, "udp")]
                .map(|(port, protocol)| format!("-p {}:{port}/{protocol}", ports + port));
            let open = open.join(" ");
            let line =
                format!("klee run -d {how} {open} --name {name} {mounts} host-usr sleep 1000");
            self.type_in(Place::Host, &line).ok();
        }
    }

    pub(crate) fn make_dir(&self, path: &str) {
        self.world.run(["mkdir", "-p", path]).ok();
    }

    /// The addresses of a container in the driver's network.
    pub(crate) fn addresses(&self, container: &str) -> [String; 2] {
        addresses_of(self.world, container, self.driver.network())
    }

    /// A shell's line, on a host with `klee`.
    pub(crate) fn type_in(&self, place: Place<'_>, line: &str) -> Output {
        let klee = target_dir().unwrap().join("klee");
        let host = |net: Netns<'_>| {
            let line =
                format!("klee() {{ {} \"$@\"; }}\nsudo() {{ \"$@\"; }}\n{line}", klee.display());
            net.run_with(&Run::new(["sh", "-c", &line]))
        };
        match place {
            Place::Host => host(self.world.inside()),
            Place::Outside => host(self.world.outside()),
            Place::In(_) => place.run(self.world, &["sh", "-c", line]),
        }
    }

    /// Follows a section, for the driver.
    pub(crate) fn follow(&self, section: &str) {
        self.type_all(&here(&self.driver.said(page::section(PAGE, section))));
    }

    /// Writes the files and types the lines.
    fn type_all(&self, text: &str) {
        for (path, content) in files(text) {
            self.make_dir(&Path::new(&path).parent().unwrap().to_string_lossy());
            self.world.write(path, content);
        }
        let steps = page::steps(text);
        assert!(!steps.is_empty(), "{text}");
        for step in steps {
            self.step(&step);
        }
    }

    fn step(&self, step: &Step) {
        let place = if step.outside { Place::Outside } else { Place::Host };
        let asks = step.outside || step.looks() || step.command.starts_with("klee exec");
        let mut last = None;
        poll(if asks { LIMIT } else { Duration::ZERO }, || {
            let output = &*last.insert(self.type_in(place, &step.command));
            (output.status == Some(0) && step.agrees(&output.stdout()).is_ok()).then_some(())
        });
        let output = last.unwrap_or_else(|| self.type_in(place, &step.command));
        step.agrees(&output.ok().stdout()).unwrap_or_else(|why| panic!("{why}\n{output}"));
    }

    /// Asks from everywhere, over both families, with a line in which `ADDR` is
    /// the service's address and `HOST` the same as URLs have it.
    pub(crate) fn everywhere(&mut self, container: &str, line: &str, expected: &str) {
        let addresses = self.addresses(container);
        for place in EVERYWHERE {
            let from = match place {
                Place::Outside => "the outside",
                Place::Host => "the host",
                Place::In(NEAR) => "an `ipnet` container",
                Place::In(_) => "a `vnet` container",
            };
            let what = format!("{from} gets no answer");
            self.ask(place, &addresses, line, expected, &what);
        }
    }

    /// The same in one place and about any addresses, all in one go. `otherwise`
    /// is what the table says of it.
    pub(crate) fn ask(
        &mut self,
        place: Place<'_>,
        to: &[String],
        line: &str,
        expected: &str,
        otherwise: &str,
    ) {
        let asked = |to: &String| format!("({})\ncode=$?; echo; echo --- $code\n", about(line, to));
        let lines: String = to.iter().map(asked).collect();
        let fine = |heard: &str| heard.contains(expected) && heard.ends_with("\n--- 0");
        let mut heard = Vec::new();
        poll(ANSWER, || {
            let output = self.type_in(place, &format!("exec 2>&1\n{lines}"));
            heard = answers(&output.stdout());
            (heard.len() == to.len() && heard.iter().all(|heard| fine(heard))).then_some(())
        });
        heard.resize(to.len(), String::new());
        for (to, heard) in to.iter().zip(heard) {
            let family = if to.contains(':') { "IPv6" } else { "IPv4" };
            let otherwise = format!("{otherwise} over {family}");
            self.holds(fine(&heard), &otherwise, &format!("{place:?} {to}: {heard}"));
        }
    }

    /// Notes what the table says when something does not hold.
    pub(crate) fn holds(&mut self, fine: bool, otherwise: &str, seen: &str) {
        self.asked += 1;
        if !fine {
            self.failed += 1;
            if !self.except.iter().any(|known| known == otherwise) {
                self.except.push(otherwise.to_owned());
            }
            writeln!(self.why, "{otherwise}: {seen}").unwrap();
        }
    }

    /// The cell of the table, and what led to it.
    pub(crate) fn end(self) -> (String, String) {
        assert!(self.asked >= 8, "only {} checks", self.asked);
        let cell = match self.except.as_slice() {
            [] => "works".to_owned(),
            _ if self.failed == self.asked => "does not".to_owned(),
            some => format!("works, except that {}", some.join(", and ")),
        };
        (cell, format!("{} checks\n{}", self.asked, self.why))
    }
}

/// What was said about each address, its exit code behind it.
fn answers(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in text.lines() {
        let last = all.last_mut().unwrap();
        last.push('\n');
        last.push_str(line);
        if line.starts_with("--- ") {
            all.push(String::new());
        }
    }
    all.pop();
    all
}

/// `line` about one address.
pub(crate) fn about(line: &str, addr: &str) -> String {
    let host = if addr.contains(':') { format!("[{addr}]") } else { addr.to_owned() };
    line.replace("ADDR", addr).replace("HOST", &host)
}

/// The text with the versions of PostgreSQL and Java that this machine has.
pub(crate) fn here(text: &str) -> String {
    let mut text = text.to_owned();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let versions = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    if let Some(version) = versions.max() {
        text = text.replace("/postgresql/15/", &format!("/postgresql/{version}/"));
    }
    // /usr/lib/jvm/java-17-openjdk-amd64/bin/java
    let java = std::fs::canonicalize("/usr/bin/java").unwrap_or_default();
    let mut parts = java.iter().filter_map(|part| part.to_str());
    if let Some((version, _)) = parts.find_map(|part| part.split_once("-openjdk")) {
        text = text.replace("java-17-openjdk", &format!("{version}-openjdk"));
    }
    text
}

/// Files that a section has its reader write: their names stand before them.
fn files(text: &str) -> Vec<(String, &str)> {
    let blocks = text.split("\n`/srv/").skip(1);
    let files = blocks.map(|block| {
        let (name, rest) = block.split_once("`:\n\n```text\n").expect("a file");
        (format!("/srv/{name}"), rest.split("```").next().unwrap())
    });
    files.collect()
}
