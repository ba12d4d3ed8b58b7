use super::*;
use crate::freebsd::run::{Call, Tool, Tools as _};
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
    call(&describe(&request(driver, &parameters)).expect("a jail")).to_string()
}

/// As its supervisor says it.
fn call(jail: &Jail) -> Call {
    let params = jail.params.iter().map(String::as_str);
    Call::new(Tool::Jail, ["-c"].into_iter().chain(params).chain(["persist"]))
}

const BEFORE: &str = "jail -c path=/var/lib/kleene/containers/0a1b2c3d4e5f/rootfs \
    name=0a1b2c3d4e5f";
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
            "{BEFORE} host.hostname=0a1b2c3d4e5f {words} enforce_statfs=2 children.max=0 \
             {AFTER} persist"
        );
        assert_eq!(typed(driver, &[]), expected);
        // Raw sockets only when they are asked for, of every driver.
        let asked = expected.replace(AFTER, &format!("{AFTER} allow.raw_sockets"));
        assert_eq!(typed(driver, &["allow.raw_sockets"]), asked);
        let tools = Scripted::new().expect(&expected);
        let none = parameters(&[]);
        let jail = describe(&request(driver, &none)).expect("a jail");
        tools.run(&call(&jail)).expect("a listed form");
    }
}

#[test]
fn what_the_user_says_stands_in_place_of_a_default() {
    let given = ["host.hostname=web", "children.max=3", "enforce_statfs=1", "allow.mount"];
    let expected = format!(
        "{BEFORE} ip4=inherit ip6=inherit {AFTER} host.hostname=web children.max=3 \
         enforce_statfs=1 allow.mount persist"
    );
    assert_eq!(typed(Driver::Host, &given), expected);
    let inherited = typed(Driver::Vnet, &["host=inherit"]);
    assert!(inherited.starts_with(&format!("{BEFORE} vnet enforce_statfs")), "{inherited}");
    // Commands of the host's go as one word each; those in the jail go apart.
    let parameters = parameters(&[
        "exec.prestart=/bin/echo 'a b'",
        "exec.start=/bin/sh /etc/rc",
        "exec.stop=/bin/sh /etc/rc.shutdown",
    ]);
    let jail = describe(&request(Driver::Vnet, &parameters)).expect("a jail");
    assert_eq!(jail.params.last().map(String::as_str), Some("exec.prestart=/bin/echo 'a b'"));
    assert_eq!(jail.start, ["/bin/sh /etc/rc"]);
    assert_eq!(jail.stop, ["/bin/sh /etc/rc.shutdown"]);
    // Device files are ours to mount, whatever was said of them.
    let off = typed(Driver::Host, &["mount.devfs", "devfs_ruleset=11"]);
    assert!(
        off.contains(&format!("{AFTER} persist")) && off.matches("devfs").count() == 2,
        "{off}"
    );
}

#[test]
fn names_and_roots_that_are_none_are_refused() {
    let none = parameters(&[]);
    let long = "x".repeat(256);
    for bad in ["", "a b", "a\nb", &long] {
        let request = Request { hostname: Some(bad), ..request(Driver::Host, &none) };
        assert!(describe(&request).expect_err(bad).to_string().contains("host name"));
    }
    let request = |root| Request { root, hostname: Some("web"), ..request(Driver::Host, &none) };
    for bad in ["", "relative", "/a\nb"] {
        let err = describe(&request(Path::new(bad))).expect_err(bad).to_string();
        assert!(err.starts_with("cannot make a jail of"), "{err}");
    }
    let jail = describe(&request(Path::new("/a b"))).expect("a jail");
    assert_eq!(jail.params[0], "path=/a b");
    assert_eq!(jail.params[2], "host.hostname=web");
}
