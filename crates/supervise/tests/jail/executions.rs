//! Commands: what they get, how they end, who hears of it.

use std::{fs, process::Command};

use kleene_supervise::{
    log::{Cursor, Reader},
    proto::{ExecSpec, ExitRecord, FailureKind, FromSupervisor, Phase, ToSupervisor},
};

use crate::{
    FOREVER,
    common::{sh, tty, until},
    failure, hello,
    world::JailWorld,
};

#[test]
fn signals_become_exit_codes() {
    let mut world = JailWorld::running();
    world.sh("first", FOREVER);
    world.control.started("first");
    for (id, signo) in [("a", 15), ("b", 9), ("c", 10)] {
        world.sh(id, "exec sleep 1000");
        world.control.started(id);
        // jexec has become the command.
        until("the command", || world.processes() >= 2);
        let exec = Some(id.to_owned());
        world.control.send(&ToSupervisor::Signal { exec, signo, all: false });
        assert_eq!(world.control.exit_of(id), (128 + signo, false));
    }
    world.control.send(&ToSupervisor::Kill {});
    assert_eq!(world.control.exit_of("first"), (137, true));
    world.control.ended();
    world.assert_gone();
}

#[test]
fn a_signal_for_all_reaches_all() {
    let mut world = JailWorld::running();
    let mut attached = world.attach("e");
    world.sh(
        "e",
        "(trap 'echo child; exit 0' USR1; echo up; while :; do sleep 0.01; done) & \
                   trap 'wait; echo parent; exit 4' USR1; while :; do sleep 0.01; done",
    );
    attached.output_with("up\n");
    let usr1 = rustix::process::Signal::USR1.as_raw();
    world.control.send(&ToSupervisor::Signal { exec: None, signo: usr1, all: true });
    let (bytes, code, last) = attached.output();
    let text = String::from_utf8_lossy(&bytes);
    // A shell may say what became of its sleep.
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("User")).collect();
    assert_eq!(lines, ["child", "parent"]);
    assert_eq!((code, last), (4, true));
    world.control.ended();
    world.assert_gone();
}

#[test]
fn many_executions_at_once() {
    let mut world = JailWorld::running();
    world.sh("main", FOREVER);
    world.control.started("main");
    for number in 0..30 {
        world.sh(&format!("e{number}"), &format!("echo {number}; exit {number}"));
    }
    let mut left: Vec<String> = (0..30).map(|number| format!("e{number}")).collect();
    while !left.is_empty() {
        let (id, code) = world.control.wait(|message| match message {
            FromSupervisor::Exit(ExitRecord::Exec { exec, code, last, .. }) => {
                assert!(!last);
                Some((exec.clone(), *code))
            }
            _ => None,
        });
        assert_eq!(id, format!("e{code}"));
        left.retain(|other| *other != id);
    }
    world.control.send(&ToSupervisor::Kill {});
    world.control.ended();
    world.assert_gone();
}

#[test]
fn input_arrives_and_ends() {
    let mut world = JailWorld::running();
    let mut attached = world.attach("e");
    world.control.send(&ToSupervisor::Exec(ExecSpec { stdin: true, ..sh("e", "cat; echo end") }));
    attached.input(b"some words\n");
    attached.output_with("some words\n");
    attached.send(&ToSupervisor::InputEnd {});
    assert_eq!(attached.output(), (b"end\n".to_vec(), 0, true));
    world.control.ended();
    world.assert_gone();
}

#[test]
fn a_background_process_keeps_the_container_and_holds_nobody_up() {
    let mut world = JailWorld::running();
    let mut attached = world.attach("e");
    // The background process holds the output pipe.
    world.sh(
        "e",
        "(trap 'echo late; exit 0' TERM; while :; do sleep 0.01; done) & echo now; exit 4",
    );
    assert_eq!(attached.output(), (b"now\n".to_vec(), 4, false));
    assert_eq!(world.control.exit_of("e"), (4, false));
    world.sh("e2", "exit 3");
    assert_eq!(world.control.exit_of("e2"), (3, false));
    assert!(world.jail_exists());
    // Nobody looks while it is our child: its end is told.
    assert!(world.calls().iter().all(|call| !call.starts_with("ps")), "{:?}", world.calls());
    world.control.send(&ToSupervisor::Stop { signal: 15, grace_ms: 15_000 });
    world.control.ended();
    world.assert_gone();
    let kept = Reader::new(world.dir.join("log")).read(&mut Cursor::default(), 0).unwrap();
    assert_eq!(kept.last().unwrap().data, b"late");
}

#[test]
fn what_others_run_in_the_jail_keeps_the_container() {
    let mut world = JailWorld::running();
    // An administrator's, not ours: it is nobody's that we could wait for.
    let mut foreign = Command::new(world.dir.join("tools/jexec"))
        .args([&world.name, "sleep", "1000"])
        .spawn()
        .unwrap();
    until("the foreign process", || world.processes() == 1);
    world.sh("e", "exit 5");
    assert_eq!(world.control.exit_of("e"), (5, false));
    let looks = |world: &JailWorld| world.calls().iter().filter(|c| c.starts_with("ps")).count();
    until("a second look", || looks(&world) >= 2);
    assert!(world.jail_exists());
    foreign.kill().unwrap();
    foreign.wait().unwrap();
    world.control.ended();
    world.assert_gone();
}

#[test]
fn a_count_that_a_command_has_overtaken_is_not_believed() {
    let mut world = JailWorld::running();
    let hold = world.dir.join("state/hold");
    fs::write(&hold, "").unwrap();
    world.sh("one", "exit 1");
    let counts = |world: &JailWorld| world.calls().iter().filter(|c| c.starts_with("ps")).count();
    until("the count", || counts(&world) == 1);
    // The count is done, but not told; nothing was there.
    world.sh("two", "sleep 1000 & exit 2");
    until("what the second leaves", || {
        world.calls().iter().any(|call| call.contains("exit 2")) && world.processes() == 1
    });
    fs::remove_file(&hold).unwrap();
    assert_eq!(world.control.exit_of("one"), (1, false));
    assert_eq!(world.control.exit_of("two"), (2, false));
    world.control.send(&ToSupervisor::Kill {});
    world.control.ended();
    world.assert_gone();
}

#[test]
fn a_terminal_has_a_size_and_is_the_commands_own() {
    let mut world = JailWorld::running();
    let mut attached = world.attach("t");
    let script = "trap 'stty size; exit 3' WINCH; stty size; echo $TERM; read line </dev/tty; \
                  echo got $line; while :; do sleep 0.01; done";
    world.control.send(&ToSupervisor::Exec(tty("t", script, 33, 101)));
    let text = attached.output_with("xterm\r\n");
    assert!(text.starts_with("33 101\r\n"), "{text:?}");
    attached.input(b"hi\r");
    attached.output_with("got hi\r\n");
    attached.send(&ToSupervisor::Resize { exec: "t".into(), rows: 40, cols: 120 });
    let (bytes, code, _) = attached.output();
    assert_eq!((String::from_utf8_lossy(&bytes).as_ref(), code), ("40 120\r\n", 3));
    world.control.ended();
    world.assert_gone();
}

#[test]
fn a_key_interrupts_what_runs_on_a_terminal() {
    let mut world = JailWorld::running();
    let mut attached = world.attach("t");
    world.control.send(&ToSupervisor::Exec(tty("t", "echo up; exec sleep 1000", 24, 80)));
    attached.output_with("up\r\n");
    attached.input(&[3]);
    assert_eq!(attached.output().1, 130);
    world.control.ended();
    world.assert_gone();
}

#[test]
fn commands_get_three_descriptors_and_a_clean_environment() {
    let mut world = JailWorld::running();
    let mut attached = world.attach("e");
    let spec = ExecSpec {
        argv: [
            "sh",
            "-c",
            "ls /proc/self/fd | tr '\\n' ' '; grep -E 'Sig(Blk|Ign)' /proc/self/status; pwd; env",
        ]
        .map(str::to_owned)
        .into(),
        env: vec!["A=1".into()],
        ..sh("e", "")
    };
    world.control.send(&ToSupervisor::Exec(spec));
    let text = String::from_utf8(attached.output().0).unwrap();
    // The fourth is the directory that is listed.
    let rest = text
        .strip_prefix("0 1 2 3 SigBlk:\t0000000000000000\n")
        .unwrap_or_else(|| panic!("{text}"));
    let (ignored, env) = rest.split_once("\n/\n").unwrap();
    // Those above the lower 31 belong to this system's library.
    let ignored = u64::from_str_radix(ignored.strip_prefix("SigIgn:\t").unwrap(), 16).unwrap();
    assert_eq!(ignored & 0x7fff_ffff, 0, "{ignored:x}");
    let by_the_shell = ["JAILED", "OLDPWD", "PWD", "_"];
    let mut names: Vec<&str> =
        env.lines().filter(|l| !by_the_shell.contains(&l.split('=').next().unwrap())).collect();
    names.sort_unstable();
    let expected = [
        "A=1",
        "BLOCKSIZE=K",
        "HOME=/root",
        "LANG=C.UTF-8",
        "MAIL=/var/mail/root",
        "MM_CHARSET=UTF-8",
        "PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin",
        "SHELL=/bin/csh",
        "USER=root",
    ];
    assert_eq!(names, expected);
    world.control.ended();
    world.assert_gone();
}

#[test]
fn users_and_directories_are_as_asked() {
    let mut world = JailWorld::running();
    world.sh("main", FOREVER);
    world.control.started("main");
    let run = |world: &JailWorld, id: &str, user: &str, env: &[&str], cwd: &str| {
        let mut attached = world.attach(id);
        let env = env.iter().map(|&entry| entry.to_owned()).collect();
        let script = "echo $USER $HOME $A; pwd";
        let spec = ExecSpec { user: user.into(), cwd: cwd.into(), env, ..sh(id, script) };
        world.control.send(&ToSupervisor::Exec(spec));
        String::from_utf8(attached.output().0).unwrap()
    };
    assert_eq!(run(&world, "a", "www", &["A=1"], ""), "www /nonexistent 1\n/\n");
    assert_eq!(run(&world, "b", "80", &["A=2"], "/tmp"), "www /nonexistent 2\n/tmp\n");
    assert_eq!(run(&world, "c", "www", &["HOME=/own"], "/"), "www /own\n/\n");
    assert_eq!(run(&world, "d", "", &["HOME=/own"], "/tmp"), "root /own\n/tmp\n");
    let calls = world.calls();
    let of = |start: &str| calls.iter().filter(|call| call.starts_with(start)).count();
    assert_eq!((of("jexec -U www NAME"), of("jexec NAME")), (3, 2), "{calls:?}");
    world.control.send(&ToSupervisor::Kill {});
    world.control.ended();
    world.assert_gone();
}

#[test]
fn what_cannot_start_says_why() {
    let mut world = JailWorld::running();
    world.sh("main", FOREVER);
    world.control.started("main");
    let argv = |id: &str, program: &str| ExecSpec { argv: vec![program.into()], ..sh(id, "") };
    let cases = [
        (argv("1", "no-such-program"), FailureKind::NotFound, "no-such-program"),
        (argv("2", "/no/such"), FailureKind::NotFound, "/no/such"),
        (argv("3", "/etc/passwd"), FailureKind::NotExecutable, "/etc/passwd"),
        (argv("4", "/etc"), FailureKind::NotExecutable, "/etc"),
        (ExecSpec { user: "ghost".into(), ..sh("5", "") }, FailureKind::NoSuchUser, "ghost"),
        (ExecSpec { user: "4242".into(), ..sh("6", "") }, FailureKind::NoSuchUser, "4242"),
        (ExecSpec { cwd: "/nowhere".into(), ..sh("7", "") }, FailureKind::NoSuchDir, "/nowhere"),
        (sh("not a word", ""), FailureKind::Other, "not a word"),
        (sh("main", ""), FailureKind::Other, "main"),
        (ExecSpec { argv: vec![], ..sh("8", "") }, FailureKind::NotFound, "no command"),
    ];
    for (spec, kind, text) in cases {
        let id = spec.id.clone();
        world.control.send(&ToSupervisor::Exec(spec));
        let (got, message) = failure(&mut world.control, &id);
        assert!(got == kind && message.contains(text), "{id}: {got:?} {message}");
    }
    // What only jexec finds out it says itself.
    let mut attached = world.attach("9");
    world.control.send(&ToSupervisor::Exec(argv("9", "vanishes")));
    let words = b"jexec: execvp: vanishes: No such file or directory\n".to_vec();
    assert_eq!(attached.output(), (words, 1, false));
    world.control.send(&ToSupervisor::Kill {});
    world.control.ended();
    world.assert_gone();
}

#[test]
fn a_first_command_that_does_not_exist_ends_the_container() {
    let mut world = JailWorld::running();
    let spec = ExecSpec { argv: vec!["none".into()], ..sh("e", "") };
    world.control.send(&ToSupervisor::Exec(spec));
    assert_eq!(failure(&mut world.control, "e").0, FailureKind::NotFound);
    world.control.ended();
    world.assert_gone();
}

#[test]
fn a_new_daemon_finds_everything() {
    let mut world = JailWorld::running();
    let mut attached = world.attach("one");
    let go = world.dir.join("go");
    let script = format!(
        "echo before; until [ -e {} ]; do sleep 0.01; done; echo after; exit 5",
        go.display()
    );
    world.sh("one", &script);
    world.sh("two", "exit 6");
    attached.output_with("before\n");
    assert_eq!(world.control.exit_of("two"), (6, false));
    // The old daemon dies without a word.
    drop(std::mem::replace(&mut attached, world.attach("unused")));
    let (state, new) = hello(&world);
    world.control = new;
    assert_eq!((state.phase, state.container.as_str()), (Phase::Running, world.name.as_str()));
    let known: Vec<_> =
        state.executions.iter().map(|e| (e.id.as_str(), e.running, e.exit, e.first)).collect();
    assert_eq!(known, [("one", true, None, true), ("two", false, Some(6), false)]);
    assert!(matches!(&state.exits[..], [ExitRecord::Exec { seq: 1, exec, code: 6, .. }]
        if exec == "two"));
    world.control.send(&ToSupervisor::Ack { seq: 1 });
    assert!(hello(&world).0.exits.is_empty());
    let mut attached = world.attach("one");
    fs::write(&go, "").unwrap();
    assert_eq!(attached.output(), (b"after\n".to_vec(), 5, true));
    world.control.ended();
    world.assert_gone();
}
