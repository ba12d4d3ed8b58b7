//! Whether pf asks our rules at all: what its administrator has to do, and has done.

use kleene_engine::host::Promise;
use kleene_model::LinkName;

use super::MAIN;
use super::filter::FilterError;
use super::stand::{NO_PF, pfctl};
use crate::freebsd::run::Tools;

/// What keeps pf from asking our rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leave {
    /// pf is not in the kernel.
    pub absent: bool,
    /// It is switched off.
    pub off: bool,
    /// Lines of [`MAIN`] that the main ruleset does not have.
    pub missing: Vec<String>,
    /// `quick` rules before the anchor: what they match is decided by them.
    pub before: Vec<String>,
    /// Interfaces that are not filtered (`set skip`).
    pub skipped: Vec<LinkName>,
}

impl Leave {
    /// Asks pf.
    ///
    /// # Errors
    /// [`FilterError`].
    pub fn read(tools: &dyn Tools) -> Result<Self, FilterError> {
        let info = match tools.run(&pfctl(["-s", "info"])) {
            Err(err) if err.says(NO_PF) => return Ok(Self { absent: true, ..Self::default() }),
            info => info?.stdout,
        };
        let rules = tools.run(&pfctl(["-s", "rules"]))?.stdout;
        let nat = tools.run(&pfctl(["-s", "nat"]))?.stdout;
        let interfaces = tools.run(&pfctl(["-vs", "Interfaces"]))?.stdout;
        Ok(Self::of(&info, &rules, &nat, &interfaces))
    }

    /// The same from what pf has printed: its status, the rules and the translations
    /// of the main ruleset, and the interfaces.
    #[must_use]
    pub fn of(info: &str, rules: &str, nat: &str, interfaces: &str) -> Self {
        // It adds that the line is about everything.
        let asks = |printed: &str, line: &str| {
            let mut printed = printed.lines().map(str::trim);
            printed.any(|is| is == line || is.strip_suffix(" all") == Some(line))
        };
        let missing = MAIN.lines().filter(|line| !asks(rules, line) && !asks(nat, line));
        let ours = MAIN.lines().last().unwrap_or_default();
        let before = rules.lines().map(str::trim).take_while(|line| !line.starts_with(ours));
        let quick = before.filter(|line| line.split_whitespace().any(|word| word == "quick"));
        Self {
            absent: false,
            off: !info.lines().any(|line| line.starts_with("Status: Enabled")),
            missing: missing.map(str::to_owned).collect(),
            before: quick.map(str::to_owned).collect(),
            skipped: skipped(interfaces),
        }
    }

    /// What keeps a promise from being kept, and what to do about it.
    #[must_use]
    pub fn hindrance(&self, promise: &Promise) -> Option<String> {
        let what = match promise {
            Promise::Apart(_) => "networks that are internal or without icc",
            Promise::Translate => "networks with nat",
            Promise::Publish => "published ports",
        };
        if self.absent {
            return Some(format!(
                "{what}: pf is not in the kernel; load it with 'kldload pf', and for every boot \
                 with pf_enable=\"YES\" in /etc/rc.conf"
            ));
        }
        if self.off {
            return Some(format!("{what}: pf is switched off; switch it on with 'pfctl -e'"));
        }
        if !self.missing.is_empty() {
            let lines: Vec<String> = self.missing.iter().map(|line| format!("'{line}'")).collect();
            return Some(format!(
                "{what}: pf does not ask Kleene's rules; add to /etc/pf.conf, translation before \
                 filter lines: {}; then load it with 'pfctl -f /etc/pf.conf'",
                lines.join(", ")
            ));
        }
        let lo0 = |link: &&LinkName| link.as_str() == "lo0";
        let skipped = match promise {
            Promise::Translate => None,
            Promise::Publish => self.skipped.iter().find(lo0),
            // A group that is skipped marks whatever is made in it later.
            Promise::Apart(own) => self.skipped.iter().find(|link| {
                let name = link.as_str();
                let ours = ["bridge", "epair"].contains(&name) || name.starts_with("kleene");
                lo0(link) || ours || own.as_ref() == Some(link)
            }),
        };
        skipped.map(|link| {
            format!(
                "{what}: pf filters nothing on {link}, by 'set skip' in /etc/pf.conf; remove that, \
                 then load it anew with 'pfctl -F all -f /etc/pf.conf', as nothing else takes the \
                 mark off"
            )
        })
    }
}

/// The interfaces that are skipped, of those that pf has printed.
fn skipped(interfaces: &str) -> Vec<LinkName> {
    let marked = interfaces.lines().filter_map(|line| line.trim().strip_suffix("(skip)"));
    marked.filter_map(|name| LinkName::parse(name.trim()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: &str = "Status: Enabled for 0 days 00:00:01           Debug: Urgent\n";
    const RULES: &str = "anchor \"kleene\" all\n";
    const NAT: &str = "nat-anchor \"kleene\" all\nrdr-anchor \"kleene\" all\n";
    const INTERFACES: &str = "all\nepair9a\nkleene\nkleene0\nlo\nlo0\n";

    fn all() -> [Promise; 3] {
        [Promise::Apart(None), Promise::Translate, Promise::Publish]
    }

    fn refused(leave: &Leave) -> Vec<String> {
        all().iter().filter_map(|promise| leave.hindrance(promise)).collect()
    }

    #[test]
    fn with_all_lines_nothing_is_in_the_way() {
        let leave = Leave::of(ON, RULES, NAT, INTERFACES);
        assert_eq!((refused(&leave), leave.before), (Vec::new(), Vec::new()));
    }

    #[test]
    fn each_line_that_is_missing_is_named() {
        for line in MAIN.lines() {
            let without = |text: &str| {
                let lines = text.lines().filter(|is| !is.starts_with(line));
                lines.map(|is| format!("{is}\n")).collect::<String>()
            };
            let leave = Leave::of(ON, &without(RULES), &without(NAT), INTERFACES);
            let texts = refused(&leave);
            assert_eq!(texts.len(), 3, "{line}");
            assert!(texts.iter().all(|text| text.contains(&format!("'{line}'"))), "{texts:?}");
        }
        // That of another name is another's.
        let leave = Leave::of(ON, "anchor \"kleene2\" all\n", NAT, INTERFACES);
        assert_eq!(leave.missing, ["anchor \"kleene\""]);
    }

    #[test]
    fn pf_that_is_off_or_absent_holds_nothing() {
        let off = "Status: Disabled                              Debug: Urgent\n";
        let off = Leave::of(off, RULES, NAT, INTERFACES);
        assert!(refused(&off).iter().all(|text| text.contains("'pfctl -e'")));
        let absent = Leave { absent: true, ..Leave::default() };
        let texts = refused(&absent);
        assert_eq!(texts.len(), 3);
        assert!(texts.iter().all(|text| text.contains("'kldload pf'")));
    }

    #[test]
    fn what_is_skipped_keeps_nobody_apart() {
        let skipped = |name: &str| {
            let marked = INTERFACES.replace(&format!("{name}\n"), &format!("{name} (skip)\n"));
            Leave::of(ON, RULES, NAT, &marked)
        };
        let lo0 = skipped("lo0");
        let hindered = |leave: &Leave, promise| leave.hindrance(&promise).is_some();
        assert!(hindered(&lo0, Promise::Publish) && hindered(&lo0, Promise::Apart(None)));
        // What leaves does not pass there.
        assert!(!hindered(&lo0, Promise::Translate));
        let custom = LinkName::parse("epair9a").expect("a name");
        let nic = skipped("epair9a");
        assert!(hindered(&nic, Promise::Apart(Some(custom))));
        assert!(!hindered(&nic, Promise::Apart(None)) && !hindered(&nic, Promise::Publish));
    }

    #[test]
    fn quick_rules_before_ours_are_known() {
        let rules = format!("block drop all\npass quick on em0 all\n{RULES}block quick all\n");
        let leave = Leave::of(ON, &rules, NAT, INTERFACES);
        assert_eq!(leave.before, ["pass quick on em0 all"]);
    }
}
