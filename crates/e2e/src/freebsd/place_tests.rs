use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use kleene_host::freebsd::run::{Answer, ToolError, Tools};

use super::*;
use crate::freebsd::recorder::Recorder;
use crate::freebsd::trial::Paths;

/// What of a FreeBSD the place of a run changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Kernel {
    /// Interfaces of the host.
    links: BTreeSet<String>,
    /// Jails, and the interface that each has.
    jails: BTreeMap<String, String>,
    /// Families that have a default route.
    routes: BTreeSet<String>,
    pf_on: bool,
    rules: String,
    tables: BTreeSet<String>,
}

/// One whose nth change is refused.
struct Fake {
    kernel: Mutex<Kernel>,
    /// How many changes are done before one is refused.
    left: Mutex<Option<usize>>,
    changes: Mutex<usize>,
}

impl Fake {
    fn new(kernel: Kernel, left: Option<usize>) -> Arc<Self> {
        let (kernel, left) = (Mutex::new(kernel), Mutex::new(left));
        Arc::new(Self { kernel, left, changes: Mutex::new(0) })
    }

    fn now(&self) -> Kernel {
        self.kernel.lock().expect("nobody panicked").clone()
    }

    fn changes(&self) -> usize {
        *self.changes.lock().expect("nobody panicked")
    }

    /// Whether a change is done; the one that is refused is the only one.
    fn permits(&self) -> bool {
        *self.changes.lock().expect("nobody panicked") += 1;
        let mut left = self.left.lock().expect("nobody panicked");
        match *left {
            Some(0) => {
                *left = None;
                false
            }
            Some(more) => {
                *left = Some(more - 1);
                true
            }
            None => true,
        }
    }
}

fn said(status: i32, text: impl Into<String>) -> Answer {
    let text = text.into();
    let (stdout, stderr) = if status == 0 { (text, String::new()) } else { (String::new(), text) };
    Answer { status, stdout, stderr }
}

/// The pair of an end: `epair0` of `epair0a`.
fn pair(end: &str) -> &str {
    end.trim_end_matches(['a', 'b'])
}

impl Tools for Fake {
    fn call(&self, call: &Call) -> Result<Answer, ToolError> {
        let args: Vec<&str> = call.args.iter().map(String::as_str).collect();
        let kernel = self.kernel.lock().expect("nobody panicked").clone();
        if let Some(answer) = asked(&kernel, call.tool, &args) {
            return Ok(answer);
        }
        if !self.permits() {
            return Ok(said(1, "refused for the test"));
        }
        let mut kernel = self.kernel.lock().expect("nobody panicked");
        Ok(changed(&mut kernel, call, &args))
    }
}

fn asked(kernel: &Kernel, tool: Tool, args: &[&str]) -> Option<Answer> {
    let list = |names: &BTreeSet<String>, mark| {
        names.iter().map(|name| format!("{name}{mark}")).collect::<String>()
    };
    let split = |translation: bool| {
        let lines = kernel.rules.lines();
        let of = lines.filter(|line| !line.is_empty() && line.contains("-anchor") == translation);
        of.map(|line| format!("{line} all\n")).collect::<String>()
    };
    Some(match (tool, args) {
        (Tool::Kldstat, _) | (Tool::Devfs, ["rule", "showsets"]) => said(0, ""),
        (Tool::Ifconfig, ["-l"]) => said(0, list(&kernel.links, " ")),
        (Tool::Mount, ["-p"]) => said(0, "/dev/vtbd0p2\t/\tufs\trw\t1 1\n"),
        (Tool::Sysctl, ["-n", "kern.features.vimage"]) => said(0, "1\n"),
        (Tool::Sysctl, ["-n", _]) => said(0, "0\n"),
        (Tool::Sysctl, names) if !names.iter().any(|name| name.contains('=')) => {
            said(0, names.iter().map(|name| format!("{name}: 0\n")).collect::<String>())
        }
        (Tool::Jls, ["-j", name]) => said(i32::from(!kernel.jails.contains_key(*name)), ""),
        (Tool::Jls, _) => {
            let one = |name| format!("{{\"name\":\"{name}\",\"path\":\"/\"}}");
            let all: Vec<String> = kernel.jails.keys().map(one).collect();
            said(0, format!("{{\"jail-information\": {{\"jail\": [{}]}}}}", all.join(",")))
        }
        (Tool::Netstat, _) => said(0, routes(kernel)),
        (Tool::Pfctl, ["-s", "info"]) => {
            said(0, if kernel.pf_on { "Status: Enabled\n" } else { "Status: Disabled\n" })
        }
        (Tool::Pfctl, ["-s", "Tables"]) => said(0, list(&kernel.tables, "\n")),
        (Tool::Pfctl, ["-s", "Anchors", "-v"]) => said(0, ""),
        (Tool::Pfctl, ["-s", "rules"]) => said(0, split(false)),
        (Tool::Pfctl, ["-s", "nat"]) => said(0, split(true)),
        _ => return None,
    })
}

fn routes(kernel: &Kernel) -> String {
    let family = |family: &str, name: &str| {
        let default = "{\"destination\":\"default\",\"interface-name\":\"epair0a\"}";
        let entry = if kernel.routes.contains(family) { default } else { "" };
        format!("{{\"address-family\":\"{name}\", \"rt-entry\": [{entry}]}}")
    };
    let (v4, v6) = (family("-inet", "Internet"), family("-inet6", "Internet6"));
    format!(
        "{{\"statistics\": {{\"route-information\": {{\"route-table\": {{\"rt-family\": \
         [{v4}, {v6}]}}}}}}}}"
    )
}

fn changed(kernel: &mut Kernel, call: &Call, args: &[&str]) -> Answer {
    match (call.tool, args) {
        (Tool::Ifconfig, ["epair", "create"]) => {
            let free = (0..).find(|n| !kernel.links.contains(&format!("epair{n}a"))).unwrap_or(0);
            kernel.links.extend(["a", "b"].map(|end| format!("epair{free}{end}")));
            said(0, format!("epair{free}a\n"))
        }
        (Tool::Ifconfig, [name, "destroy"]) if kernel.links.contains(*name) => {
            kernel.links.retain(|link| pair(link) != pair(name));
            kernel.jails.values_mut().filter(|own| pair(own) == pair(name)).for_each(String::clear);
            said(0, "")
        }
        (Tool::Ifconfig, [name, "-vnet", jail]) => {
            let own = kernel.jails.get_mut(*jail).map(std::mem::take);
            kernel.links.extend(own.filter(|own| own == name));
            said(0, "")
        }
        (Tool::Ifconfig, [name, ..]) if kernel.links.contains(*name) => said(0, ""),
        (Tool::Jail, ["-c", ..]) => {
            let of = |key| args.iter().find_map(|word| word.strip_prefix(key)).unwrap_or_default();
            kernel.links.remove(of("vnet.interface="));
            kernel.jails.insert(of("name=").to_owned(), of("vnet.interface=").to_owned());
            said(0, "")
        }
        (Tool::Jail, ["-r", name]) => match kernel.jails.remove(*name) {
            Some(own) => {
                kernel.links.extend((!own.is_empty()).then_some(own));
                said(0, "")
            }
            None => said(1, "not found"),
        },
        (Tool::Jexec, [jail, ..]) => said(i32::from(!kernel.jails.contains_key(*jail)), ""),
        (Tool::Pkill, _) => said(1, ""),
        (Tool::Route, ["-n", "add", family, ..]) => {
            kernel.routes.insert((*family).to_owned());
            said(0, "")
        }
        (Tool::Route, ["-n", "delete", family, ..]) => {
            said(i32::from(!kernel.routes.remove(*family)), "")
        }
        (Tool::Pfctl, ["-f", "-"]) => {
            kernel.rules = String::from_utf8_lossy(&call.stdin).into_owned();
            said(0, "")
        }
        (Tool::Pfctl, ["-e" | "-d"]) => {
            kernel.pf_on = args == ["-e"];
            said(0, "")
        }
        (Tool::Pfctl, ["-F", "states"]) => said(0, ""),
        (Tool::Pfctl, ["-t", table, "-T", "kill"]) => {
            said(i32::from(!kernel.tables.remove(*table)), "")
        }
        _ => said(1, format!("the fake FreeBSD does not know '{call}'")),
    }
}

/// A system with one NIC, and programs that only run.
fn trial(dir: &Path, fake: &Arc<Fake>) -> Trial {
    for (name, script) in [
        ("kleened", "case \"$*\" in *purge*) exit 0;; esac; exec tail -f /dev/null"),
        ("klee", "exit 0"),
        ("freebsd-accept", "exit 0"),
    ] {
        let path = dir.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        let rights = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, rights).expect("executable");
    }
    let [kleened, klee, own] = ["kleened", "klee", "freebsd-accept"].map(|name| dir.join(name));
    let paths = Paths { dir: dir.join("run"), kleened, klee, own };
    Trial::new(paths, fake.clone(), Arc::new(Recorder::default()), Arc::default())
}

fn found() -> Kernel {
    Kernel { links: ["lo0".to_owned(), "em0".to_owned()].into(), ..Kernel::default() }
}

#[test]
fn a_place_that_was_made_is_left_as_it_was_found() {
    for (pf_on, rules, routes) in
        [(false, "", [].into()), (true, MAIN, ["-inet".to_owned(), "-inet6".to_owned()].into())]
    {
        let before = Kernel { pf_on, rules: rules.to_owned(), routes, ..found() };
        let fake = Fake::new(before.clone(), None);
        let dir = tempfile::tempdir().expect("a directory");
        let mut trial = trial(dir.path(), &fake);
        let mut place = Place::default();
        place.prepare(&mut trial, false).expect("made");
        let made = fake.now();
        assert_eq!((made.rules.as_str(), made.pf_on, made.jails.len()), (MAIN, true, 2));
        assert_eq!(made.routes.len(), 2);
        assert!(dir.path().join("run/config.yaml").exists());
        // What a daemon leaves is removed, too, and what a check did not get to remove.
        let tables = ["kleene_all", "kl_accept_empty"].map(str::to_owned);
        fake.kernel.lock().expect("nobody panicked").tables.extend(tables);
        let host = trial.cable().expect("a pair");
        trial.jail_behind(&host, BEHIND).expect("a jail");
        let left = place.leave(&mut trial);
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(fake.now(), before);
        assert!(!dir.path().join("run").exists());
    }
}

#[test]
fn whatever_is_refused_while_it_is_made_everything_goes_again() {
    let before = found();
    let steps = {
        let fake = Fake::new(before.clone(), None);
        let dir = tempfile::tempdir().expect("a directory");
        let mut trial = trial(dir.path(), &fake);
        let mut place = Place::default();
        place.prepare(&mut trial, false).expect("made");
        let steps = fake.changes();
        drop(place.leave(&mut trial));
        steps
    };
    assert!(steps > 20, "{steps}");
    for step in 0..steps {
        let fake = Fake::new(before.clone(), Some(step));
        let dir = tempfile::tempdir().expect("a directory");
        let mut trial = trial(dir.path(), &fake);
        let mut place = Place::default();
        let why = place.prepare(&mut trial, false).expect_err("refused");
        assert!(why.contains("refused for the test"), "step {step}: {why}");
        drop(place.leave(&mut trial));
        assert_eq!(fake.now(), before, "step {step}: {why}");
    }
}

#[test]
fn rules_tables_and_jails_of_others_are_left_alone() {
    let foreign = Kernel { pf_on: true, rules: "block drop all\n".to_owned(), ..found() };
    let tables = Kernel { tables: ["kleene_all".to_owned()].into(), ..found() };
    let jails = Kernel { jails: [(OUTSIDES[0].jail.to_owned(), String::new())].into(), ..found() };
    for (before, words) in
        [(foreign, "--replace-pf"), (tables, "kleened purge"), (jails, "another run")]
    {
        let fake = Fake::new(before.clone(), None);
        let dir = tempfile::tempdir().expect("a directory");
        let mut trial = trial(dir.path(), &fake);
        let mut place = Place::default();
        let why = place.prepare(&mut trial, false).expect_err("refused");
        assert!(why.contains(words), "{why}");
        let left = place.leave(&mut trial);
        assert!(left.is_empty(), "{left:?}");
        assert_eq!((fake.now(), fake.changes()), (before, 0));
    }
}
