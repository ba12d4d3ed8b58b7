//! Both golden lives, from the first command until nothing is left.

use kleene_engine::fake::{Kernel, Kind, Rig, Work};
use kleene_engine::{Command, Event, Job, Outcome, view};
use kleene_model::{Driver, ExecutionState, LinkName, RunState};

pub(crate) fn link(name: &str) -> LinkName {
    LinkName::parse(name).expect(name)
}

/// A host with a NIC and a default route, as real ones have.
pub(crate) fn with_nic(rig: &Rig) -> Kernel {
    rig.host.kernel(add_nic);
    rig.host.snapshot()
}

pub(crate) fn add_nic(kernel: &mut Kernel) {
    let nic = link("eth0");
    kernel.add_stranger(&nic, Kind::Other, None).expect("a free name");
    kernel.add_address(&nic, "192.168.1.5/24".parse().expect("net")).expect("added");
    kernel.set_up(&nic, true).expect("up");
    let default = "0.0.0.0/0".parse().expect("net");
    kernel.routes.push(kleene_engine::actual::HostRoute { destination: default, link: Some(nic) });
}

fn jobs(rig: &Rig) -> Vec<String> {
    let name =
        |job: &Job| format!("{job:?}").split([' ', '(']).next().unwrap_or_default().to_owned();
    rig.supervisors.jobs().map(name).collect()
}

fn job(rig: &mut Rig) {
    assert!(matches!(rig.supervisors.available().as_slice(), [Work::Job(0)]));
    rig.step(0);
}

fn event(rig: &mut Rig) -> Event {
    let event = rig.supervisors.take_event(0).expect("an event");
    rig.event(event.clone());
    event
}

#[test]
fn a_network_lives_and_leaves_nothing() {
    let mut rig = Rig::new();
    let before = with_nic(&rig);
    let id = rig.network("web", "10.4.6.0/24");
    assert_eq!(
        rig.host.take_applied(),
        [
            "hold the rules of kleene0",
            "meet 10.4.6.0/24 as 10.4.6.1",
            "take eth0 for the way out (IPv4)",
            "leave by eth0 as 192.168.1.5",
            &format!("make bridge kleene0 ({})", rig.host.snapshot().links[&link("kleene0")].mac),
            "add address 10.4.6.1/24 to kleene0",
            "bring kleene0 up",
        ]
    );
    rig.check();
    assert_eq!(rig.ok(Command::NetworkRemove { network: "web".into() }), Outcome::Id(id));
    assert_eq!(
        rig.host.take_applied(),
        [
            "remove interface kleene0",
            "undo: hold the rules of kleene0",
            "undo: meet 10.4.6.0/24 as 10.4.6.1",
            "undo: take eth0 for the way out (IPv4)",
            "undo: leave by eth0 as 192.168.1.5",
            "forget the flows that left as 192.168.1.5",
        ]
    );
    assert_eq!(rig.host.snapshot(), before);
    assert!(rig.store.snapshot().is_empty());
    rig.check();
}

#[test]
fn a_vnet_container_lives_and_leaves_nothing() {
    let mut rig = Rig::new();
    let before = with_nic(&rig);
    rig.network("web", "10.4.6.0/24");
    let container = rig.container("site");
    rig.connect("site", "web");
    let networks_only = rig.host.snapshot();
    let exec = rig.exec("site", &["serve"]);
    rig.host.take_applied();

    let token = rig.send(Rig::start_command(exec));
    assert_eq!(jobs(&rig), ["Prepare"]);
    job(&mut rig);
    assert!(matches!(event(&mut rig), Event::Prepared { .. }));
    let mac = rig.state().endpoints_of(container).next().expect("connected").container_mac();
    assert_eq!(
        rig.host.take_applied(),
        [
            "set eth0/inet/forwarding to 1",
            format!("bring the loopback of container {container} up").as_str(),
            "guard address 10.4.6.2",
            "let 10.4.6.2 out of epair0a",
            "admit source 10.4.6.2 from kleene0",
            &format!("let only {mac} out of epair0a"),
            &format!("make cable epair0a, its end epair0b in container {container}"),
            "plug epair0a into kleene0",
            "bring epair0a up",
            &format!("add address 10.4.6.2/24 to epair0b of container {container}"),
            &format!("bring epair0b of container {container} up"),
            &format!("set the IPv4 default route of container {container} to 10.4.6.1 on epair0b"),
        ]
    );
    assert_eq!(jobs(&rig), ["Launch"]);
    job(&mut rig);
    assert!(matches!(event(&mut rig), Event::Launched { .. }));
    assert_eq!(jobs(&rig), ["StartExec"]);
    assert!(!rig.is_answered(token));
    job(&mut rig);
    assert!(matches!(event(&mut rig), Event::ExecStarted { .. }));
    assert_eq!(rig.answer(token), Ok(Outcome::Id(exec.to_string())));
    rig.check();
    let shown = view::container_inspect(&rig.state(), "site").expect("it is there");
    assert_eq!(shown.container_endpoints[0].epair.as_deref(), Some("epair0"));
    assert!(shown.container.running);

    rig.supervisors.exit(container, exec, 7);
    let exited = event(&mut rig);
    assert!(matches!(exited, Event::ExecExited { code: 7, last: true, .. }), "{exited:?}");
    assert!(matches!(event(&mut rig), Event::Ended { .. }));
    rig.settle();
    let state = rig.state();
    assert_eq!(
        state.execution(exec).map(|e| e.state),
        Some(ExecutionState::Exited { code: 7, last: true })
    );
    assert_eq!(state.container(container).map(|c| (c.run, c.pid)), Some((RunState::Stopped, None)));
    assert_eq!(rig.host.snapshot(), networks_only, "something of the container is left");
    rig.check();

    rig.ok(Command::ContainerRemove { container: "site".into() });
    assert_eq!(rig.supervisors.discarded, [container]);
    rig.ok(Command::NetworkRemove { network: "web".into() });
    assert_eq!(rig.host.snapshot(), before);
    assert!(rig.store.snapshot().is_empty());
    rig.check();
}

#[test]
fn a_host_container_needs_no_change_of_the_kernel() {
    let mut rig = Rig::new();
    let before = with_nic(&rig);
    let container = rig.container_of("tool", Driver::Host);
    let exec = rig.run("tool", &["exit", "7"]);
    let state = rig.state();
    let ended = state.execution(exec).map(|e| e.state);
    assert_eq!(ended, Some(ExecutionState::Exited { code: 7, last: true }));
    assert_eq!(state.container(container).map(|c| c.run), Some(RunState::Stopped));
    assert_eq!(rig.host.take_applied(), [] as [&str; 0]);
    assert_eq!(rig.host.snapshot(), before);
    rig.check();
}

#[test]
fn the_command_gets_every_default_filled_in() {
    let mut rig = Rig::new();
    let mut config = Rig::container_config("tool", Driver::Host);
    config.env = Some(vec!["A=1".into(), "B=2".into()]);
    config.cmd = Some(vec!["serve".into()]);
    config.user = Some("www".into());
    rig.ok(Command::ContainerCreate(config));
    let first = rig.run("tool", &[]);
    let Outcome::Id(second) = rig.ok(Command::ExecCreate(kleene_model::api::ExecConfig {
        container_id: "tool".into(),
        cmd: vec!["id".into(), "-u".into()],
        env: vec!["B=3".into()],
        user: "nobody".into(),
        workdir: "/tmp".into(),
        tty: true,
    })) else {
        panic!("no id")
    };
    rig.ok(Rig::start_command(kleene_model::ExecId::parse(&second).expect("id")));
    let [one, two] = rig.supervisors.started.as_slice() else { panic!("two were started") };
    assert_eq!((one.exec, one.tty), (first, false));
    assert_eq!(
        (one.argv.join(" "), one.user.as_str(), one.workdir.as_str()),
        ("serve".into(), "www", "/")
    );
    assert!(one.env.contains(&"B=2".to_owned()) && one.env.iter().any(|e| e.starts_with("PATH=")));
    assert_eq!(
        (two.argv.join(" "), two.user.as_str(), two.workdir.as_str(), two.tty),
        ("id -u".into(), "nobody", "/tmp", true)
    );
    assert!(two.env.contains(&"B=3".to_owned()) && two.env.contains(&"A=1".to_owned()));
    rig.check();
}

#[test]
fn two_networks_give_two_cables_and_one_default_route_of_each_family() {
    let mut rig = Rig::new();
    rig.network("first", "10.4.6.0/24");
    let mut dual = Rig::bridge_config("second", "10.4.7.0/24");
    dual.subnet6 = "fd00:7::/64".into();
    rig.ok(Command::NetworkCreate(dual));
    let container = rig.container("site");
    rig.connect("site", "first");
    let mut config = Rig::endpoint_config("site", "second", "<auto>");
    config.ip_address6 = "<auto>".into();
    rig.ok(Command::NetworkConnect(config));
    rig.run("site", &["serve"]);
    rig.check();
    let kernel = rig.host.snapshot();
    let inside = &kernel.namespaces[&container];
    assert_eq!(inside.links.len(), 2);
    let route = |family| inside.defaults.get(&family).map(|(_, via)| via.to_string());
    assert_eq!(route(kleene_model::Family::V4).as_deref(), Some("10.4.6.1"));
    assert_eq!(route(kleene_model::Family::V6).as_deref(), Some("fd00:7::1"));
}
