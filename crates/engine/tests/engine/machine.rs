//! Random commands, failures, deaths and orders of completion over four
//! networks and six containers.

use kleene_engine::Command;
use kleene_engine::fake::{Rig, Times};
use kleene_model::{ContainerId, Driver, NetworkType};
use proptest::prelude::*;

use crate::lives::{add_nic, link};

#[derive(Debug, Clone)]
enum Op {
    NetworkCreate(u8),
    NetworkRemove(u8),
    NetworkPrune,
    ContainerCreate(u8),
    ContainerRemove(u8),
    Connect(u8, u8, bool),
    Disconnect(u8, u8),
    Run(u8, u8),
    Stop(u8),
    /// Something a process does by itself.
    Process(u8, u8),
    Step(u8),
    Settle,
    Refuse(u8),
    Die,
    Reboot,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let net = || 0..4_u8;
    let box_ = || 0..6_u8;
    let op = prop_oneof![
        2 => net().prop_map(Op::NetworkCreate),
        2 => net().prop_map(Op::NetworkRemove),
        1 => Just(Op::NetworkPrune),
        4 => box_().prop_map(Op::ContainerCreate),
        1 => box_().prop_map(Op::ContainerRemove),
        6 => (box_(), net(), any::<bool>()).prop_map(|(c, n, six)| Op::Connect(c, n, six)),
        2 => (box_(), net()).prop_map(|(c, n)| Op::Disconnect(c, n)),
        8 => (box_(), any::<u8>()).prop_map(|(c, what)| Op::Run(c, what)),
        3 => box_().prop_map(Op::Stop),
        4 => (box_(), any::<u8>()).prop_map(|(c, what)| Op::Process(c, what)),
        24 => any::<u8>().prop_map(Op::Step),
        2 => Just(Op::Settle),
        1 => (1..8_u8).prop_map(Op::Refuse),
        1 => Just(Op::Die),
        1 => Just(Op::Reboot),
    ];
    prop::collection::vec(op, 10..90)
}

fn network(n: u8) -> String {
    format!("net{n}")
}

fn container(c: u8) -> String {
    format!("box{c}")
}

const PROGRAMS: [&[&str]; 8] = [
    &["serve"],
    &["serve"],
    &["exit", "0"],
    &["exit", "7"],
    &["early", "3"],
    &["leave", "0"],
    &["missing"],
    &["vanish"],
];

fn id_of(rig: &Rig, c: u8) -> Option<ContainerId> {
    rig.state().container_named(&container(c)).map(|found| found.id)
}

fn act(rig: &mut Rig, op: Op, refused: &mut bool) {
    match op {
        Op::NetworkCreate(n) => {
            let mut config = Rig::bridge_config(&network(n), &format!("10.{n}.0.0/29"));
            config.subnet6 = format!("fd00:{n}::/64");
            match n {
                1 => config.kind = NetworkType::Loopback,
                2 => {
                    config.kind = NetworkType::Custom;
                    config.interface = "eth0".into();
                }
                _ => {}
            }
            rig.send(Command::NetworkCreate(config));
        }
        Op::NetworkRemove(n) => {
            rig.send(Command::NetworkRemove { network: network(n) });
        }
        Op::NetworkPrune => {
            rig.send(Command::NetworkPrune);
        }
        Op::ContainerCreate(c) => {
            let driver = match c {
                0 | 1 => Driver::Vnet,
                2 | 3 => Driver::Ipnet,
                4 => Driver::Host,
                _ => Driver::Disabled,
            };
            rig.send(Command::ContainerCreate(Rig::container_config(&container(c), driver)));
        }
        Op::ContainerRemove(c) => {
            rig.send(Command::ContainerRemove { container: container(c) });
        }
        Op::Connect(c, n, six) => {
            let mut config = Rig::endpoint_config(&container(c), &network(n), "<auto>");
            config.ip_address6 = if six { "<auto>".into() } else { String::new() };
            rig.send(Command::NetworkConnect(config));
        }
        Op::Disconnect(c, n) => {
            let (network, container) = (network(n), container(c));
            rig.send(Command::NetworkDisconnect { network, container });
        }
        Op::Run(c, what) => {
            if id_of(rig, c).is_some() {
                let argv = PROGRAMS[usize::from(what) % PROGRAMS.len()];
                let exec = rig.exec_now(&container(c), argv);
                rig.send(Rig::start_command(exec));
            }
        }
        Op::Stop(c) => {
            rig.send(Command::ContainerStop { container: container(c), grace_ms: 3000 });
        }
        Op::Process(c, what) => process(rig, c, what),
        Op::Step(choice) => drop(rig.step(usize::from(choice))),
        Op::Settle => {
            rig.settle();
            healed(rig, refused);
        }
        Op::Refuse(n) => {
            rig.host.fail_at(usize::from(n), Times::Once);
            *refused = true;
        }
        Op::Die => {
            rig.host.clear_faults();
            rig.restart(true);
        }
        Op::Reboot => {
            rig.host.clear_faults();
            rig.reboot(&[link("eth0")]);
            rig.restart(false);
            assert_eq!(rig.start_failure, None);
        }
    }
}

fn process(rig: &mut Rig, c: u8, what: u8) {
    let Some(id) = id_of(rig, c) else { return };
    let running = rig.supervisors.running(id);
    let some = running.get(usize::from(what) % running.len().max(1)).copied();
    match (what % 4, some) {
        (0, Some(exec)) => rig.supervisors.leave(id, exec, 1),
        (1, Some(exec)) => rig.supervisors.exit(id, exec, i32::from(what)),
        (2, _) => rig.supervisors.leftovers_end(id),
        _ if what == 255 => rig.supervisors.end(id),
        _ => {}
    }
}

/// A kernel that refused may owe something until the next start; everything
/// else holds at once.
fn healed(rig: &mut Rig, refused: &mut bool) {
    if std::mem::take(refused) {
        rig.host.clear_faults();
        rig.restart(true);
        assert_eq!(rig.start_failure, None);
        rig.settle();
    }
    rig.check();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 384,
        failure_persistence: None,
        max_shrink_iters: 4000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_the_kernel_is_as_desired(ops in ops()) {
        let mut rig = Rig::over(|host| host.kernel(add_nic));
        let strangers = rig.host.strangers();
        let mut refused = false;
        for op in ops {
            act(&mut rig, op, &mut refused);
        }
        rig.settle();
        healed(&mut rig, &mut refused);
        prop_assert_eq!(rig.host.strangers(), strangers.clone());
        // And all of it can be taken away again.
        for c in 0..6 {
            drop(rig.ask(Command::ContainerStop { container: container(c), grace_ms: 0 }));
        }
        rig.ok(Command::ContainerPrune);
        rig.ok(Command::NetworkPrune);
        rig.check();
        prop_assert_eq!(rig.host.snapshot(), strangers);
        prop_assert!(rig.store.snapshot().is_empty());
    }
}
