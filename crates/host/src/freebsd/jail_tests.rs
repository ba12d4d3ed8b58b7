use proptest::prelude::*;

use super::*;
use crate::freebsd::run::Tools as _;
use crate::freebsd::testing::Scripted;

fn id() -> ContainerId {
    ContainerId::parse("0a1b2c3d4e5f").expect("an id")
}

fn parameters(list: &[&str]) -> Parameters {
    Parameters::parse(list).expect("parameters")
}

fn request<'a>(driver: Driver, parameters: &'a Parameters) -> Request<'a> {
    let root = Path::new("/var/lib/kleene/containers/0a1b2c3d4e5f/rootfs");
    let ruleset = Ruleset::Own(48300);
    Request { id: id(), root, hostname: None, driver, ruleset, parameters }
}

fn typed(driver: Driver, list: &[&str]) -> String {
    let parameters = parameters(list);
    create(&request(driver, &parameters)).expect("a call").to_string()
}

const BEFORE: &str = "jail -c name=0a1b2c3d4e5f \
    path=/var/lib/kleene/containers/0a1b2c3d4e5f/rootfs";
const AFTER: &str = "mount.devfs=false devfs_ruleset=48300";

#[test]
fn every_driver_has_its_parameters() {
    for (driver, words) in [
        (Driver::Host, "ip4=inherit ip6=inherit"),
        (Driver::Disabled, "ip4=disable ip6=disable"),
        (Driver::Ipnet, "ip4=disable ip6=disable"),
        (Driver::Vnet, "vnet"),
    ] {
        let expected = format!(
            "{BEFORE} host.hostname=0a1b2c3d4e5f {words} persist enforce_statfs=2 \
             children.max=0 {AFTER}"
        );
        assert_eq!(typed(driver, &[]), expected);
        // Raw sockets only when they are asked for, of every driver.
        let asked = format!("{expected} allow.raw_sockets");
        assert_eq!(typed(driver, &["allow.raw_sockets"]), asked);
        let tools = Scripted::new().expect(&expected);
        let none = parameters(&[]);
        tools.run(&create(&request(driver, &none)).expect("a call")).expect("a listed form");
    }
}

#[test]
fn what_the_user_says_stands_in_place_of_a_default() {
    let given = ["host.hostname=web", "children.max=3", "enforce_statfs=1", "allow.mount"];
    let expected = format!(
        "{BEFORE} ip4=inherit ip6=inherit persist {AFTER} host.hostname=web children.max=3 \
         enforce_statfs=1 allow.mount"
    );
    assert_eq!(typed(Driver::Host, &given), expected);
    let inherited = typed(Driver::Vnet, &["host=inherit"]);
    assert!(inherited.starts_with(&format!("{BEFORE} vnet persist")), "{inherited}");
    // Commands go as one word each, and have the time that they need.
    let parameters = parameters(&["exec.prestart=/bin/echo 'a b'", "exec.stop=/bin/false"]);
    let call = create(&request(Driver::Vnet, &parameters)).expect("a call");
    assert_eq!(call.args.last().map(String::as_str), Some("exec.prestart=/bin/echo 'a b'"));
    assert_eq!(call.deadline, COMMANDS_DEADLINE);
    // Device files are ours to mount, whatever was said of them.
    let off = typed(Driver::Host, &["mount.devfs", "devfs_ruleset=11"]);
    assert!(off.ends_with(AFTER) && off.matches("devfs").count() == 2, "{off}");
}

#[test]
fn names_and_roots_that_are_none_are_refused() {
    let none = parameters(&[]);
    let long = "x".repeat(256);
    for bad in ["", "a b", "a\nb", &long] {
        let request = Request { hostname: Some(bad), ..request(Driver::Host, &none) };
        assert!(create(&request).expect_err(bad).to_string().contains("host name"));
    }
    let request = |root| Request { root, hostname: Some("web"), ..request(Driver::Host, &none) };
    for bad in ["", "relative", "/a\nb"] {
        let err = create(&request(Path::new(bad))).expect_err(bad).to_string();
        assert!(err.starts_with("cannot make a jail of"), "{err}");
    }
    let call = create(&request(Path::new("/a b"))).expect("a call");
    assert_eq!(call.args[2..4], ["path=/a b", "host.hostname=web"]);
}

#[test]
fn a_running_jail_is_changed_in_what_the_kernel_keeps() {
    let given = ["allow.noraw_sockets", "exec.start=/bin/true", "mount.fdescfs", "securelevel=2"];
    let call = change(id(), &parameters(&given)).expect("a call");
    assert_eq!(call.to_string(), "jail -m name=0a1b2c3d4e5f allow.noraw_sockets securelevel=2");
    let tools = Scripted::new().expect(&call.to_string());
    tools.run(&call).expect("a listed form");
    assert_eq!(change(id(), &parameters(&["exec.start=/bin/true", "mount.devfs"])), None);
}

#[test]
fn what_jail_forgets_is_told_at_the_end() {
    let none = remove(id(), &parameters(&["allow.mount"]));
    assert_eq!(none.to_string(), "jail -r 0a1b2c3d4e5f");
    assert!(none.stdin.is_empty());
    let given = parameters(&[
        "exec.stop=/bin/sh -c 'echo \\ $HOME'",
        "exec.stop=/bin/false",
        "exec.poststop=/sbin/ifconfig x down",
        "stop.timeout=0",
        "exec.start=/bin/true",
    ]);
    let call = remove(id(), &given);
    let tools = Scripted::new().expect("jail -f - -r 0a1b2c3d4e5f");
    tools.run(&call).expect("a listed form");
    assert_eq!(
        tools.inputs(),
        ["0a1b2c3d4e5f {\n    exec.stop = '/bin/sh -c \\'echo \\\\ $HOME\\'';\n    \
          exec.stop += '/bin/false';\n    exec.poststop = '/sbin/ifconfig x down';\n    \
          stop.timeout = '0';\n}\n"]
    );
}

/// Reads a quoted text as jail(8) does (its lexer, FreeBSD 13), and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut chars = text.strip_prefix('\'')?.char_indices();
    let mut read = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return Some((read, &text[at + 2..])),
            '\\' => read.push(chars.next()?.1),
            c => read.push(c),
        }
    }
    None
}

proptest! {
    #[test]
    fn no_value_gets_out_of_its_quotes(value in "[^\\pC]*|[ '\"\\\\;{}$#/*a]*") {
        let quoted = format!("{}; rest", quote(&value));
        prop_assert_eq!(unquote(&quoted), Some((value, "; rest")));
    }
}
