//! Jails: how they come and go.

use std::{fs, process::Command};

use kleene_supervise::{
    client, exits,
    proto::{ExitRecord, FailureKind, FromSupervisor, Phase, RootFs, SetupFailure, ToSupervisor},
};

use crate::{
    FOREVER,
    common::{Got, Link, until},
    failure, hello,
    world::JailWorld,
};

#[test]
fn an_exit_code_arrives_and_nothing_is_left() {
    let mut world = JailWorld::running();
    let mut attached = world.attach("e1");
    world.sh("e1", "echo hello; echo oops >&2; exit 7");
    assert!(world.control.started("e1") > 1);
    assert_eq!(world.control.exit_of("e1"), (7, true));
    assert_eq!(attached.output(), (b"hello\noops\n".to_vec(), 7, true));
    assert!(matches!(attached.next(), Got::End));
    world.control.ended();
    assert!(matches!(world.control.next(), Got::End));
    world.assert_gone();
    let kept = exits::read(&fs::read(world.dir.join("run/exits")).unwrap());
    assert!(
        matches!(
            kept[..],
            [
                ExitRecord::Exec { seq: 1, code: 7, last: true, .. },
                ExitRecord::Ended { seq: 2, .. },
            ]
        ),
        "{kept:?}"
    );
    let root = world.dir.join("root");
    assert_eq!(
        world.calls(),
        [
            format!(
                "jail -c name=NAME path={} persist",
                root.display().to_string().replace(&world.name, "NAME")
            ),
            "jexec NAME sh -c echo hello; echo oops >&2; exit 7".to_owned(),
            "ps -x -o stat -J NAME".to_owned(),
            "pkill -KILL -j NAME .".to_owned(),
            "ps -x -o stat -J NAME".to_owned(),
            "jail -r NAME".to_owned(),
            "jls -j NAME jid".to_owned(),
        ]
    );
}

#[test]
fn a_stop_ends_after_its_grace_although_the_daemon_has_gone() {
    let mut world = JailWorld::running();
    let mut attached = world.attach("e");
    world.sh("e", "trap 'echo heard' TERM; echo ready; while :; do sleep 0.05; done");
    attached.output_with("ready\n");
    world.control.send(&ToSupervisor::Stop { signal: 15, grace_ms: 400 });
    attached.output_with("heard\n");
    world.control = Link::new(client::connect(&world.dir.join("run")).unwrap());
    let (_, code, last) = attached.output();
    assert_eq!((code, last), (137, true));
    world.assert_gone();
    // Killed before: jail(8) would have waited for it.
    let calls = world.calls();
    assert!(!calls.contains(&"jail waits".to_owned()), "{calls:?}");
    assert!(calls.contains(&"pkill -KILL -j NAME .".to_owned()), "{calls:?}");
}

#[test]
fn a_stop_that_is_heard_needs_no_kill() {
    let mut world = JailWorld::running();
    let mut attached = world.attach("e");
    world.sh("e", "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.01; done");
    attached.output_with("ready\n");
    world.control.send(&ToSupervisor::Stop { signal: 15, grace_ms: 60_000 });
    assert_eq!(attached.output(), (b"bye\n".to_vec(), 9, true));
    world.control.ended();
    world.assert_gone();
}

#[test]
fn a_kill_takes_background_processes_along() {
    let mut world = JailWorld::running();
    world.sh("a", "sh -c \"trap '' TERM HUP; while :; do sleep 1000; done\" & exit 2");
    assert_eq!(world.control.exit_of("a"), (2, false));
    world.sh("b", FOREVER);
    world.control.started("b");
    world.control.send(&ToSupervisor::Kill {});
    assert_eq!(world.control.exit_of("b"), (137, true));
    world.control.ended();
    world.assert_gone();
    assert!(!world.calls().contains(&"jail waits".to_owned()));
}

#[test]
fn a_jail_of_that_name_is_somebody_elses() {
    let mut world = JailWorld::spawned();
    let file = world.dir.join("state/jails").join(&world.name);
    fs::write(&file, "/another\n").unwrap();
    world.control.send(&ToSupervisor::Setup(world.setup()));
    let message = world.setup_failure();
    let expected = format!(
        "make the jail {0}: jail -c ended with status 1: jail: jail \"{0}\" already exists",
        world.name
    );
    assert_eq!(message, expected);
    assert_eq!(fs::read_to_string(&file).unwrap(), "/another\n");
    assert_eq!(world.calls().len(), 1, "{:?}", world.calls());
    // The allowed twin: the same once that one has gone.
    fs::remove_file(&file).unwrap();
    world.control.send(&ToSupervisor::Setup(world.setup()));
    world.launch();
    world.sh("e", "exit 1");
    assert_eq!(world.control.exit_of("e"), (1, true));
    world.control.ended();
    world.assert_gone();
}

#[test]
fn a_jail_that_cannot_be_made_is_undone() {
    let mut world = JailWorld::spawned();
    // It fails with a jail that stands, and a process in it.
    let setup = world.setup_with(&["exec.start=sleep 1000 & false", "vnet"]);
    world.plug(&[("epair4a", "epair4b")]);
    world.control.send(&ToSupervisor::Setup(setup));
    let message = world.setup_failure();
    assert!(message.contains("jail -c ended with status 1"), "{message}");
    assert!(message.contains("jail: sleep 1000 & false: failed"), "{message}");
    assert!(!world.jail_exists());
    assert_eq!(world.processes(), 0);
    assert!(world.calls().contains(&"ifconfig epair4a destroy".to_owned()));
    assert!(world.came_back().is_empty());
    // It says so itself, too.
    world.let_fail("jail-c", "jail: vnet jails not supported");
    world.control.send(&ToSupervisor::Setup(world.setup()));
    assert!(world.setup_failure().contains("jail: vnet jails not supported"));
    world.mend("jail-c");
    world.control.send(&ToSupervisor::Setup(world.setup()));
    world.launch();
    world.control.send(&ToSupervisor::Kill {});
    world.control.ended();
    world.assert_gone();
}

#[test]
fn what_is_no_jails_setup_is_refused() {
    let mut world = JailWorld::spawned();
    let overlay = RootFs::Overlay {
        lower: vec![],
        upper: "/u".into(),
        work: "/w".into(),
        merged: "/m".into(),
    };
    let mut unnamed = world.setup();
    unnamed.container = "another".into();
    let none = kleene_supervise::proto::Setup { jail: None, ..world.setup() };
    let nowhere = RootFs::Dir { path: world.dir.join("nowhere") };
    let cases = [
        (none, SetupFailure::Other, "no parameters of a jail"),
        (unnamed, SetupFailure::Other, "do not name it another"),
        (
            kleene_supervise::proto::Setup { rootfs: overlay, ..world.setup() },
            SetupFailure::OverlayUnsupported,
            "no overlays",
        ),
        (
            kleene_supervise::proto::Setup { rootfs: nowhere, ..world.setup() },
            SetupFailure::Other,
            "No such file",
        ),
    ];
    for (setup, expected, text) in cases {
        world.control.send(&ToSupervisor::Setup(setup));
        let (kind, message) = world.control.wait(|message| match message {
            FromSupervisor::SetupFailed { kind, message, .. } => Some((*kind, message.clone())),
            _ => None,
        });
        assert!(kind == expected && message.contains(text), "{kind:?} {message}");
    }
    assert_eq!(world.calls(), Vec::<String>::new());
    world.control.send(&ToSupervisor::Setup(world.setup()));
    world.launch();
    world.control.send(&ToSupervisor::Kill {});
    world.control.ended();
    world.assert_gone();
}

#[test]
fn tools_that_are_not_there_are_named() {
    let mut world = JailWorld::spawned();
    let hide = |world: &JailWorld, tool: &str| {
        let dir = world.dir.join("tools");
        fs::rename(dir.join(tool), dir.join(format!("{tool}.hidden"))).unwrap();
    };
    hide(&world, "jail");
    world.control.send(&ToSupervisor::Setup(world.setup()));
    let message = world.setup_failure();
    assert!(message.contains("cannot start jail -c: No such file"), "{message}");
    fs::rename(world.dir.join("tools/jail.hidden"), world.dir.join("tools/jail")).unwrap();
    world.control.send(&ToSupervisor::Setup(world.setup()));
    world.launch();
    hide(&world, "jexec");
    world.sh("e", "true");
    let (kind, message) = failure(&mut world.control, "e");
    assert_eq!(kind, FailureKind::Other);
    assert!(message.contains("/tools/jexec: No such file"), "{message}");
    world.control.ended();
    world.assert_gone();
}

#[test]
fn a_jail_goes_although_tools_fail_on_the_way() {
    for fails in ["ps-x", "pkill-KILL", "jls-j"] {
        let mut world = JailWorld::running();
        world.let_fail(fails, "out of luck");
        world.sh("e", "exit 6");
        assert_eq!(world.control.exit_of("e"), (6, true), "{fails}");
        world.control.ended();
        world.assert_gone_but_noted();
        // Of the others the end is known all the same.
        let noted = world.stderr();
        let expected = "ps -x ended with status 1: out of luck\n";
        assert!(
            if fails == "ps-x" { noted.ends_with(expected) } else { noted.is_empty() },
            "{noted}"
        );
    }
}

#[test]
fn a_jail_that_does_not_go_is_said() {
    let mut world = JailWorld::running();
    world.let_fail("jail-r", "jail: jail_remove: Operation not permitted");
    world.sh("e", "exit 6");
    assert_eq!(world.control.exit_of("e"), (6, true));
    world.control.ended();
    until("the supervisor's end", || world.child.try_wait().unwrap().is_some());
    let expected = format!(
        "kleene-supervise: cannot remove the jail {}: jail -r ended with status 1: jail: \
         jail_remove: Operation not permitted\n",
        world.name
    );
    assert_eq!(world.stderr(), expected);
    assert!(world.jail_exists());
}

#[test]
fn cables_are_destroyed_before_the_jail_is_removed() {
    let mut world = JailWorld::spawned();
    world.control.send(&ToSupervisor::Setup(world.setup_with(&["vnet"])));
    // One was renamed inside; what is no host's end of a cable stays.
    let cables = [("epair4a", "epair4b"), ("epair17a", "em0"), ("epair5b", "em1"), ("lo7", "em2")];
    world.plug(&cables);
    world.launch();
    world.sh("e", "exit 0");
    world.control.ended();
    world.assert_gone();
    assert_eq!(world.came_back(), ["em1", "em2"]);
    let calls = world.calls();
    let ends = calls.iter().position(|call| call.starts_with("pkill")).unwrap();
    let expected = [
        "pkill -KILL -j NAME .",
        "ifconfig -g kNAME_",
        "ifconfig epair17a destroy",
        "ifconfig epair4a destroy",
        "pkill -KILL -j NAME .",
        "ps -x -o stat -J NAME",
        "jail -r NAME",
        "jls -j NAME jid",
    ];
    assert_eq!(calls[ends..], expected);
}

#[test]
fn cables_that_the_daemon_has_destroyed_are_no_error() {
    for listed in [&[("epair4a", "epair4b")][..], &[]] {
        let mut world = JailWorld::spawned();
        world.control.send(&ToSupervisor::Setup(world.setup_with(&["vnet"])));
        world.plug(listed);
        // Gone, but for the name in the group.
        fs::write(world.dir.join("state/vnet").join(&world.name), "").unwrap();
        world.launch();
        world.sh("e", "exit 0");
        world.control.ended();
        world.assert_gone();
        let tried = world.calls().contains(&"ifconfig epair4a destroy".to_owned());
        assert_eq!(tried, !listed.is_empty());
    }
}

#[test]
fn a_jail_stays_while_a_cable_of_it_does() {
    for (fails, call) in [("ifconfig-g", "-g"), ("ifconfigepair4a", "epair4a")] {
        let mut world = JailWorld::spawned();
        world.control.send(&ToSupervisor::Setup(world.setup_with(&["vnet"])));
        world.plug(&[("epair4a", "em0")]);
        world.let_fail(fails, "ifconfig: out of luck");
        world.launch();
        world.sh("e", FOREVER);
        world.control.started("e");
        world.control.send(&ToSupervisor::Kill {});
        world.control.ended();
        until("the supervisor's end", || world.child.try_wait().unwrap().is_some());
        let expected = format!(
            "kleene-supervise: cannot remove the jail {}: ifconfig {call} ended with status 1: \
             ifconfig: out of luck\n",
            world.name
        );
        assert_eq!(world.stderr(), expected);
        // The host did not get it, and nothing can use it.
        assert!(world.jail_exists() && world.came_back().is_empty());
        assert_eq!(world.processes(), 0);
    }
}

#[test]
fn processes_that_a_kill_has_missed_are_killed_again() {
    let mut world = JailWorld::spawned();
    let stubborn = "sh -c \"trap '' TERM; while :; do sleep 1000; done\" & exit 3";
    world.control.send(&ToSupervisor::Setup(world.setup_that_runs(&[stubborn], &[])));
    world.let_miss(5);
    launch_fails(&mut world);
    world.assert_gone();
    let calls = world.calls();
    let kills = calls.iter().filter(|call| call.starts_with("pkill")).count();
    assert!((6..20).contains(&kills), "{calls:?}");
    assert!(!calls.contains(&"jail waits".to_owned()), "{calls:?}");
}

#[test]
fn processes_that_every_kill_has_missed_are_said() {
    let mut world = JailWorld::spawned();
    let setup = world.setup_that_runs(&["sleep 1000 & exit 3"], &[]);
    world.control.send(&ToSupervisor::Setup(setup));
    world.let_miss(1000);
    launch_fails(&mut world);
    world.assert_gone_but_noted();
    let noted = "kleene-supervise: processes of NAME are left after 20 kills: 1\n";
    assert_eq!(world.stderr().replace(&world.name, "NAME"), noted);
    let kills = world.calls().iter().filter(|call| call.starts_with("pkill")).count();
    assert_eq!(kills, 20);
}

/// Once a set-up was asked for.
fn launch_fails(world: &mut JailWorld) {
    assert!(matches!(world.control.next(), Got::Message(FromSupervisor::Ready { .. })));
    world.control.send(&ToSupervisor::Launch {});
    world
        .control
        .wait(|message| matches!(message, FromSupervisor::LaunchFailed { .. }).then_some(()));
    world.control.ended();
}

#[test]
fn a_jail_that_others_remove_is_an_end() {
    let mut world = JailWorld::running();
    world.sh("e", "exec sleep 1000");
    world.control.started("e");
    until("the command", || world.processes() == 1);
    let removed =
        Command::new(world.dir.join("tools/jail")).args(["-r", &world.name]).status().unwrap();
    assert!(removed.success());
    assert_eq!(world.control.exit_of("e"), (143, true));
    world.control.ended();
    world.assert_gone();
}

#[test]
fn a_supervisor_without_a_daemon_before_the_launch_removes_the_jail() {
    let mut world = JailWorld::spawned();
    world.control.send(&ToSupervisor::Setup(world.setup()));
    assert!(matches!(world.control.next(), Got::Message(FromSupervisor::Ready { .. })));
    assert!(world.jail_exists());
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    world.control = Link::new(ours);
    world.assert_gone();
}

#[test]
fn a_jail_that_is_being_made_goes_as_soon_as_it_stands() {
    let mut world = JailWorld::spawned();
    let go = world.dir.join("go");
    let wait = format!("exec.start=until [ -e {} ]; do sleep 0.01; done", go.display());
    world.control.send(&ToSupervisor::Setup(world.setup_with(&[&wait])));
    until("the jail", || world.jail_exists() && world.processes() > 0);
    world.control.send(&ToSupervisor::Setup(world.setup()));
    let refused = world.control.wait(|message| match message {
        FromSupervisor::Error { message } => Some(message.clone()),
        _ => None,
    });
    assert!(refused.contains("New"), "{refused}");
    world.control.send(&ToSupervisor::Kill {});
    until("the end that waits", || hello(&world).0.phase == Phase::Ending);
    assert!(world.jail_exists());
    fs::write(&go, "").unwrap();
    world.control.ended();
    world.assert_gone();
}

#[test]
fn commands_of_the_launch_come_first_and_count() {
    let mut world = JailWorld::spawned();
    let made = world.dir.join("made");
    let first = format!("echo $HOME $USER$SECRET >{}", made.display());
    let setup = world.setup_that_runs(&[&first, "sleep 1000 & exit 0"], &[]);
    world.control.send(&ToSupervisor::Setup(setup));
    world.launch();
    assert_eq!(fs::read_to_string(&made).unwrap(), "/ root\n");
    world.sh("e", "exit 2");
    // What they left in the background runs.
    assert_eq!(world.control.exit_of("e"), (2, false));
    world.control.send(&ToSupervisor::Kill {});
    world.control.ended();
    world.assert_gone();
}

#[test]
fn a_launch_that_fails_is_undone() {
    let mut world = JailWorld::spawned();
    let setup = world.setup_that_runs(&["sleep 1000 & echo no luck; exit 3", "exit 0"], &[]);
    world.control.send(&ToSupervisor::Setup(setup));
    assert!(matches!(world.control.next(), Got::Message(FromSupervisor::Ready { .. })));
    world.control.send(&ToSupervisor::Launch {});
    world.sh("e", "true");
    let message = world.control.wait(|message| match message {
        FromSupervisor::LaunchFailed { message, .. } => Some(message.clone()),
        FromSupervisor::Launched { .. } => panic!("it was launched"),
        _ => None,
    });
    assert_eq!(message, format!("jexec {} ended with status 3: no luck", world.name));
    assert_eq!(failure(&mut world.control, "e").0, FailureKind::NotRunning);
    world.control.ended();
    world.assert_gone();
    let kept = exits::read(&fs::read(world.dir.join("run/exits")).unwrap());
    assert!(matches!(
        kept[..],
        [ExitRecord::LaunchFailed { seq: 1, .. }, ExitRecord::Ended { seq: 2, .. }]
    ));
}

#[test]
fn a_stop_runs_its_commands_before_its_signal() {
    let mut world = JailWorld::spawned();
    let said = world.dir.join("said");
    let says = |word: &str| format!("echo {word} >>{}", said.display());
    let setup = world.setup_that_runs(&[], &[&says("one"), "exit 1", &says("two")]);
    world.control.send(&ToSupervisor::Setup(setup));
    world.launch();
    let mut attached = world.attach("e");
    let script =
        format!("trap '{}; exit 5' TERM; echo up; while :; do sleep 0.01; done", says("TERM"));
    world.sh("e", &script);
    attached.output_with("up\n");
    world.control.send(&ToSupervisor::Stop { signal: 15, grace_ms: 60_000 });
    assert_eq!(attached.output().1, 5);
    world.control.ended();
    world.assert_gone_but_noted();
    assert_eq!(fs::read_to_string(&said).unwrap(), "one\ntwo\nTERM\n");
    let noted = "kleene-supervise: a command of the stop failed: jexec NAME ended with status 1\n";
    assert_eq!(world.stderr().replace(&world.name, "NAME"), noted);
}

#[test]
fn a_stop_whose_commands_do_not_end_has_its_grace() {
    let mut world = JailWorld::spawned();
    let setup = world.setup_that_runs(&[], &["sleep 1000"]);
    world.control.send(&ToSupervisor::Setup(setup));
    world.launch();
    world.sh("e", FOREVER);
    world.control.started("e");
    world.control.send(&ToSupervisor::Stop { signal: 15, grace_ms: 300 });
    assert_eq!(world.control.exit_of("e"), (137, true));
    world.control.ended();
    world.assert_gone_but_noted();
    assert!(world.stderr().contains("did not end in time"), "{}", world.stderr());
}

#[test]
fn an_end_is_told_although_a_stop_is_at_work() {
    let mut world = JailWorld::spawned();
    let go = world.dir.join("go");
    let stop = format!("until [ -e {} ]; do sleep 0.01; done", go.display());
    let setup = world.setup_that_runs(&[], &[&stop]);
    world.control.send(&ToSupervisor::Setup(setup));
    world.launch();
    for id in ["first", "second"] {
        world.sh(id, "exec sleep 1000");
        world.control.started(id);
    }
    world.control.send(&ToSupervisor::Stop { signal: 15, grace_ms: 60_000 });
    until("the stop", || world.calls().iter().any(|call| call.contains("until")));
    let exec = Some("second".to_owned());
    world.control.send(&ToSupervisor::Signal { exec, signo: 9, all: false });
    assert_eq!(world.control.exit_of("second"), (137, false));
    fs::write(&go, "").unwrap();
    assert_eq!(world.control.exit_of("first"), (143, true));
    world.control.ended();
    world.assert_gone();
}
