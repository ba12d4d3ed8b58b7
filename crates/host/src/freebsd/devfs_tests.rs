use proptest::prelude::*;

use super::*;
use crate::freebsd::testing::Scripted;

/// The ruleset of the recordings of FreeBSD 13.2, as `devfs rule show` prints it.
const RECORDED: &str = "\
100 hide
200 path null unhide
300 path zero unhide
400 path random unhide
500 path urandom unhide
600 path pts* unhide
700 path fd* unhide
800 path std* unhide
";

/// The `/dev` of a FreeBSD 13.2 without a ruleset, as recorded.
const DEVICES: &str = "acpi apm apmctl atkbd0 audit auditpipe bpf bpf0 bpsm0 console consolectl \
    crypto ctty cuau0 cuau0.init cuau0.lock devctl devctl2 devstat fd fido full geom.ctl hpet0 \
    input io kbd0 kbd1 kbdmux0 klog kmem mdctl mem null pci pf pfil psm0 random reroot stderr \
    stdin stdout sysmouse ttyu0 ttyu0.init ttyu0.lock ttyv0 ttyv1 ttyva ttyvb ufssuspend uinput \
    urandom vtbd0 vtbd0p1 vtbd0p2 vtbd1 zero";

fn printed() -> String {
    let lines = rules().into_iter().enumerate();
    lines.map(|(at, rule)| format!("{} {rule}\n", (at + 1) * 100)).collect()
}

fn defining(mut script: Scripted, number: u16) -> Scripted {
    for rule in rules() {
        let quoted = rule.replace("fd/*", "'fd/*'").replace("pts/*", "'pts/*'");
        script = script.expect(&format!("devfs rule -s {number} add {quoted}"));
    }
    script
}

#[test]
fn a_missing_one_is_defined_and_read_again() {
    let tools = Scripted::new().expect("devfs rule -s 48300 show");
    let tools = defining(tools, 48300).says("devfs rule -s 48300 show", &printed());
    assert_eq!(ensure(&tools).expect("defined"), Ruleset::Own(48300));
    // The next time it is there.
    let tools = Scripted::new().says("devfs rule -s 48300 show", &printed());
    assert_eq!(ensure(&tools).expect("there"), Ruleset::Own(48300));
}

#[test]
fn the_number_of_somebody_else_is_passed_over() {
    let half = "100 hide\n200 path null unhide\n";
    let tools = Scripted::new()
        .says("devfs rule -s 48300 show", RECORDED)
        .says("devfs rule -s 48301 show", half)
        .expect("devfs rule -s 48302 show");
    let tools = defining(tools, 48302).says("devfs rule -s 48302 show", &printed());
    assert_eq!(ensure(&tools).expect("defined"), Ruleset::Own(48302));
    // None is left.
    let tools = NUMBERS.fold(Scripted::new(), |tools, number| {
        tools.says(&format!("devfs rule -s {number} show"), RECORDED)
    });
    let err = ensure(&tools).expect_err("all are taken").to_string();
    assert_eq!(err, "the rulesets 48300 to 48363 of device files are all in use by others");
}

#[test]
fn one_that_hides_nothing_is_never_used() {
    let show = "devfs rule -s 48300 show";
    // What became of it meanwhile: emptied, or with a rule more.
    for other in [String::new(), format!("{}1600 path pf unhide\n", printed())] {
        let tools = Scripted::new().says(show, &other);
        let err = verify(&tools, Ruleset::Own(48300)).expect_err("changed").to_string();
        assert!(err.contains("48300") && err.contains("not as it was defined"), "{err}");
    }
    let tools = Scripted::new().says(show, &printed());
    verify(&tools, Ruleset::Own(48300)).expect("as it was defined");
    // Of users' own only one is refused that nobody has defined, as the recorded 4.
    let tools =
        Scripted::new().expect("devfs rule -s 4 show").says("devfs rule -s 11 show", RECORDED);
    let err = verify(&tools, Ruleset::Given(4)).expect_err("undefined").to_string();
    assert!(err.contains("no ruleset 4"), "{err}");
    verify(&tools, Ruleset::Given(11)).expect("defined");
}

#[test]
fn a_refusal_names_the_ruleset() {
    let words = "devfs rule: ioctl DEVFSIO_RADD: Operation not permitted\n";
    let tools = Scripted::new()
        .expect("devfs rule -s 48300 show")
        .refuses("devfs rule -s 48300 add hide", words);
    let err = ensure(&tools).expect_err("refused");
    assert_eq!(err.to_string(), "cannot define the ruleset 48300 of device files");
    let said = std::error::Error::source(&err).expect("a reason").to_string();
    assert!(said.contains("Operation not permitted"), "{said}");
}

/// fnmatch(3) with `FNM_PATHNAME`, for patterns that have no more than `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => {
            let star = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            star.is_some_and(|star| !star.contains('/'))
        }
    }
}

/// Whether rules, applied in their order, show a device.
fn shows(rules: &[String], name: &str) -> bool {
    rules.iter().fold(true, |shown, rule| match &rule.split(' ').collect::<Vec<_>>()[..] {
        ["hide"] => false,
        ["path", pattern, "unhide"] if matches(pattern, name) => true,
        ["path", _, "unhide"] => shown,
        other => panic!("{other:?}"),
    })
}

#[test]
fn the_model_of_rules_agrees_with_the_recording() {
    let shown: Vec<&str> =
        DEVICES.split_whitespace().filter(|name| shows(&parse(RECORDED), name)).collect();
    assert_eq!(shown, ["fd", "null", "random", "stderr", "stdin", "stdout", "urandom", "zero"]);
}

#[test]
fn no_device_of_the_host_is_shown() {
    let shown: Vec<&str> =
        DEVICES.split_whitespace().filter(|name| shows(&rules(), name)).collect();
    let expected = ["fd", "full", "null", "random", "stderr", "stdin", "stdout", "urandom", "zero"];
    assert_eq!(shown, expected);
    for hidden in [
        "pf",
        "bpf",
        "bpf0",
        "bpf17",
        "mem",
        "kmem",
        "io",
        "pci",
        "zfs",
        "ada0",
        "ada0p2",
        "da0",
        "da1s1a",
        "nvd0",
        "nda0",
        "nvme0",
        "md0",
        "cd0",
        "vtbd0",
        "klog",
        "devctl",
        "console",
        "ttyu0",
        "ttyv0",
        "tap0",
        "tun0",
        "gpt/root",
        "ufs/x",
        "zvol/pool/x",
        "fd/3/x",
        "ptmx0",
    ] {
        assert!(!shows(&rules(), hidden), "{hidden}");
    }
    for shown in ["null", "fd/0", "fd/63", "pts/0", "pts/17", "ptmx", "tty"] {
        assert!(shows(&rules(), shown), "{shown}");
    }
}

proptest! {
    #[test]
    fn only_the_names_that_stand_there_are_shown(name in "[a-z]{1,6}[0-9]{0,2}(/[a-z0-9]{1,4})?") {
        let plain = SHOWN.contains(&&*name) || name.starts_with("fd/") || name.starts_with("pts/");
        prop_assert_eq!(shows(&rules(), &name), plain);
    }

    #[test]
    fn any_text_can_be_read(text in "\\PC*") {
        for rule in parse(&text) {
            prop_assert!(!rule.is_empty());
        }
    }
}
