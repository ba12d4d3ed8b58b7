//! What of the system must be as before when the program has ended.

use std::collections::BTreeMap;

use kleene_host::freebsd::run::Tool;

use super::report::Done;
use super::seen;
use super::trial::Trial;

/// The kernel's variables that Kleene changes while it needs them.
pub const SYSCTLS: [&str; 5] = [
    "net.inet.ip.forwarding",
    "net.inet6.ip6.forwarding",
    "net.link.bridge.pfil_member",
    "net.link.bridge.pfil_local_phys",
    "net.link.bridge.pfil_bridge",
];

/// The subject of rulesets of device files.
pub const RULESETS: &str = "devfs rulesets";

/// What was seen: subjects, and what belongs to each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State(BTreeMap<&'static str, Vec<String>>);

impl State {
    /// Looks at everything.
    ///
    /// # Errors
    /// When a tool does not answer.
    pub fn look(trial: &Trial) -> Done<Self> {
        let mut state = BTreeMap::new();
        let words = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        state.insert("interfaces", words(trial.done(Tool::Ifconfig, &["-l"])?));
        let jails = trial.done(Tool::Jls, &["--libxo", "json", "-v"])?;
        let jails = seen::jails(&jails).unwrap_or_default();
        state.insert("jails", jails.into_iter().map(|jail| jail.name).collect());
        state.insert("mounts", seen::mounted(&trial.done(Tool::Mount, &["-p"])?));
        let sets = trial.done(Tool::Devfs, &["rule", "showsets"])?;
        state.insert(RULESETS, words(sets));
        let mut values = Vec::new();
        for name in SYSCTLS {
            // Those of bridges are there when if_bridge is loaded.
            let answer = trial.tool(Tool::Sysctl, &["-n", name])?;
            if answer.status == 0 {
                values.push(format!("{name}={}", answer.stdout.trim()));
            }
        }
        state.insert("sysctls", values);
        let routes = trial.done(Tool::Netstat, &["--libxo", "json", "-rn"])?;
        let routes = seen::default_routes(&routes).unwrap_or_default();
        state.insert("default routes", routes.into_iter().flatten().collect());
        let info = trial.tool(Tool::Pfctl, &["-s", "info"])?;
        if info.status == 0 {
            let on = info.stdout.lines().any(|line| line.starts_with("Status: Enabled"));
            state.insert("pf", vec![if on { "enabled" } else { "disabled" }.to_owned()]);
            let list = |args: &[&str]| -> Done<Vec<String>> {
                Ok(seen::names(&trial.done(Tool::Pfctl, args)?).into_iter().collect())
            };
            state.insert("pf tables", list(&["-s", "Tables"])?);
            state.insert("pf anchors", list(&["-s", "Anchors", "-v"])?);
            state.insert("pf rules", list(&["-s", "rules"])?);
            state.insert("pf translation", list(&["-s", "nat"])?);
        }
        Ok(Self(state))
    }

    /// What belongs to a subject.
    #[must_use]
    pub fn of(&self, subject: &str) -> &[String] {
        self.0.get(subject).map(Vec::as_slice).unwrap_or_default()
    }

    /// What is otherwise now, one line each: what is no trace first.
    #[must_use]
    pub fn differences(&self, now: &Self) -> Differences {
        let mut found = Differences::default();
        let subjects = self.0.keys().chain(now.0.keys().filter(|key| !self.0.contains_key(*key)));
        for subject in subjects {
            let (was, is) = (self.of(subject), now.of(subject));
            let more = is.iter().filter(|one| !was.contains(one)).map(|one| (one, "is new"));
            let less = was.iter().filter(|one| !is.contains(one)).map(|one| (one, "is gone"));
            for (one, how) in more.chain(less) {
                let line = format!("{subject}: {one} {how}");
                let known = match *subject {
                    // One that ever named a table never leaves the list (FreeBSD 13.2).
                    "pf anchors" => one.starts_with("kleene"),
                    // They came with a module, which ifconfig has loaded.
                    "sysctls" => !was.iter().any(|line| name(line) == name(one)),
                    _ => false,
                };
                if known { &mut found.known } else { &mut found.traces }.push(line);
            }
        }
        found
    }
}

/// The name of a setting.
fn name(line: &str) -> &str {
    line.split('=').next().unwrap_or(line)
}

/// What is otherwise than before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// What must not be.
    pub traces: Vec<String>,
    /// What cannot be helped.
    pub known: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(of: &[(&'static str, &[&str])]) -> State {
        let list = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        State(of.iter().map(|(subject, all)| (*subject, list(all))).collect())
    }

    #[test]
    fn what_is_new_or_gone_is_named_and_empty_anchors_are_known() {
        let before = state(&[("interfaces", &["lo0", "em0"]), ("sysctls", &["a=0"])]);
        assert_eq!(before.differences(&before), Differences::default());
        let after = state(&[
            ("interfaces", &["lo0", "epair3a"]),
            ("sysctls", &["a=1", "b=0"]),
            ("pf anchors", &["kleene", "other"]),
        ]);
        let Differences { traces, known } = before.differences(&after);
        assert_eq!(
            traces,
            [
                "interfaces: epair3a is new",
                "interfaces: em0 is gone",
                "sysctls: a=1 is new",
                "sysctls: a=0 is gone",
                "pf anchors: other is new",
            ]
        );
        assert_eq!(known, ["sysctls: b=0 is new", "pf anchors: kleene is new"]);
    }
}
