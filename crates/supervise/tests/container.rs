//! Supervisor, OCI runtime and holder together, with real containers.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod common;

use std::{fs, io::Read as _, process::Command};

use common::{Got, Link, World, can_run, sh, tty, until};
use kleene_supervise::{
    client, exits,
    log::{Cursor, Reader},
    proto::{
        ExecSpec, ExitRecord, FailureKind, FromSupervisor, LogLimits, NetworkNamespace, Phase,
        RootFs, SetupFailure, ToSupervisor,
    },
};

macro_rules! container_test {
    ($(#[$meta:meta])* fn $name:ident() $body:block) => {
        $(#[$meta])*
        #[test]
        fn $name() {
            if can_run() $body
        }
    };
}

fn failure(control: &mut Link, id: &str) -> (FailureKind, String) {
    control.wait(|message| match message {
        FromSupervisor::ExecFailed { id: failed, kind, message } if failed == id => {
            Some((*kind, message.clone()))
        }
        FromSupervisor::Started { id: started, .. } if started == id => panic!("{id} started"),
        _ => None,
    })
}

container_test! {
    fn an_exit_code_arrives_and_nothing_is_left() {
        let mut world = World::running();
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
        assert!(matches!(kept[..], [
            ExitRecord::Exec { seq: 1, code: 7, last: true, .. },
            ExitRecord::Ended { seq: 2, .. },
        ]), "{kept:?}");
    }
}

container_test! {
    fn signals_become_exit_codes() {
        let mut world = World::running();
        world.sh("first", "while :; do sleep 1000; done");
        world.control.started("first");
        for (id, signo) in [("a", 15), ("b", 9), ("c", 10)] {
            world.sh(id, "exec sleep 1000");
            world.control.started(id);
            let exec = Some(id.to_owned());
            world.control.send(&ToSupervisor::Signal { exec, signo, all: false });
            assert_eq!(world.control.exit_of(id), (128 + signo, false));
        }
        world.control.send(&ToSupervisor::Kill {});
        assert_eq!(world.control.exit_of("first"), (137, true));
        world.control.ended();
        world.assert_gone();
    }
}

container_test! {
    fn output_is_passed_on_and_kept_byte_for_byte() {
        let mut world = World::running();
        let mut attached = world.attach("e");
        world.sh("e", "head -c 8388608 /dev/urandom | tee /tmp/copy; sha256sum </tmp/copy >&2");
        let (bytes, code, _) = attached.output();
        assert_eq!((code, bytes.len()), (0, 8_388_608 + 68));
        let (random, sum) = bytes.split_at(8_388_608);
        assert_eq!(&sum[..64], sha256(random).as_bytes());
        let reader = Reader::new(world.dir.join("log"));
        let (mut cursor, mut kept) = (Cursor::default(), Vec::new());
        loop {
            let entries = reader.read(&mut cursor, 1 << 20).unwrap();
            if entries.is_empty() {
                break;
            }
            for entry in entries {
                assert_eq!(entry.exec, "e");
                kept.extend_from_slice(&entry.data);
                kept.extend(entry.full.then_some(b'\n'));
            }
        }
        assert!(kept == bytes, "{} bytes kept of {}", kept.len(), bytes.len());
        world.control.ended();
        world.assert_gone();
    }
}

fn sha256(bytes: &[u8]) -> String {
    use std::io::Write as _;
    let mut child = Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    text[..64].to_owned()
}

container_test! {
    fn input_arrives_and_ends() {
        let mut world = World::running();
        let mut attached = world.attach("e");
        world.control.send(&ToSupervisor::Exec(ExecSpec { stdin: true, ..sh("e", "cat; echo end") }));
        // More than a pipe and our queue hold.
        let data = vec![b'x'; 700_000];
        let stream = attached.stream.try_clone().unwrap();
        let (sent, len) = (data.clone(), data.len());
        let writer = std::thread::spawn(move || {
            let mut link = Link::new(stream);
            link.input(&sent);
            link.send(&ToSupervisor::InputEnd {});
        });
        let (bytes, code, _) = attached.output();
        writer.join().unwrap();
        assert_eq!((code, bytes.len()), (0, len + 4));
        assert!(bytes.starts_with(&data) && bytes.ends_with(b"end\n"));
        world.control.ended();
    }
}

container_test! {
    fn a_terminal_has_a_size_and_an_owner() {
        let mut world = World::running();
        let mut attached = world.attach("t");
        let script = "trap 'stty size; exit 3' WINCH; stty size; tty; echo $TERM; \
                      stat -c %u $(tty); read line; echo got $line; while :; do sleep 0.01; done";
        let spec = ExecSpec { user: "tester".into(), ..tty("t", script, 33, 101) };
        world.control.send(&ToSupervisor::Exec(spec));
        let text = attached.output_with("1234\r\n");
        assert!(text.contains("33 101\r\n"), "{text:?}");
        assert!(text.contains("/dev/pts/0\r\n") && text.contains("xterm\r\n"), "{text:?}");
        attached.input(b"hi\r");
        attached.output_with("got hi\r\n");
        attached.send(&ToSupervisor::Resize { exec: "t".into(), rows: 40, cols: 120 });
        let (bytes, code, _) = attached.output();
        assert_eq!((String::from_utf8_lossy(&bytes).as_ref(), code), ("40 120\r\n", 3));
        world.control.ended();
        world.assert_gone();
    }
}

container_test! {
    fn a_background_process_keeps_the_container_and_holds_nobody_up() {
        let mut world = World::running();
        let mut attached = world.attach("e");
        // The background process holds the output pipe.
        world.sh("e", "(trap 'echo late; exit 0' TERM; while :; do sleep 0.01; done) & echo now; exit 4");
        assert_eq!(attached.output(), (b"now\n".to_vec(), 4, false));
        assert_eq!(world.control.exit_of("e"), (4, false));
        assert_eq!(world.attach_when_over("e"), (4, false));
        world.sh("e2", "true");
        assert_eq!(world.control.exit_of("e2"), (0, false));
        world.control.send(&ToSupervisor::Stop { signal: 15, grace_ms: 15_000 });
        world.control.ended();
        world.assert_gone();
        let kept = Reader::new(world.dir.join("log")).read(&mut Cursor::default(), 0).unwrap();
        assert_eq!(kept.last().unwrap().data, b"late");
    }
}

container_test! {
    fn many_executions_at_once() {
        let mut world = World::running();
        world.sh("main", "while :; do sleep 1000; done");
        world.control.started("main");
        for number in 0..40 {
            world.sh(&format!("e{number}"), &format!("echo {number}; exit {number}"));
        }
        let mut left: Vec<String> = (0..40).map(|number| format!("e{number}")).collect();
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
    }
}

container_test! {
    fn a_stop_ends_after_its_grace_although_the_daemon_has_gone() {
        let mut world = World::running();
        let mut attached = world.attach("e");
        world.sh("e", "trap 'echo heard' TERM; echo ready; while :; do sleep 0.05; done");
        attached.output_with("ready\n");
        world.control.send(&ToSupervisor::Stop { signal: 15, grace_ms: 400 });
        attached.output_with("heard\n");
        world.control = Link::new(client::connect(&world.dir.join("run")).unwrap());
        let (_, code, last) = attached.output();
        assert_eq!((code, last), (137, true));
        until("the supervisor's end", || world.child.try_wait().unwrap().is_some());
        world.assert_gone();
    }
}

container_test! {
    fn a_killed_holder_ends_everything() {
        let mut world = World::running();
        world.sh("a", "while :; do sleep 1000; done");
        world.control.started("a");
        world.sh("b", "exec sleep 1000");
        world.control.started("b");
        let state = hello(&world).0;
        let pid = rustix::process::Pid::from_raw(state.pid.unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        assert_eq!(world.control.exit_of("a"), (137, false));
        assert_eq!(world.control.exit_of("b"), (137, true));
        world.control.ended();
        world.assert_gone();
    }
}

fn hello(world: &World) -> (kleene_supervise::proto::State, Link) {
    let stream = client::connect(&world.dir.join("run")).unwrap();
    let (state, netns) = client::handshake(&stream).unwrap();
    assert_eq!(state.netns, netns.is_some());
    (state, Link::new(stream))
}

container_test! {
    fn a_new_daemon_finds_everything() {
        let mut world = World::running();
        let mut attached = world.attach("one");
        world.sh("one", "echo before; until [ -e /tmp/go ]; do sleep 0.01; done; echo after; exit 5");
        world.sh("two", "exit 6");
        attached.output_with("before\n");
        assert_eq!(world.control.exit_of("two"), (6, false));
        // The old daemon dies without a word.
        drop(std::mem::replace(&mut attached, world.attach("unused")));
        let (state, new) = hello(&world);
        world.control = new;
        assert_eq!((state.phase, state.container.as_str()), (Phase::Running, world.id.as_str()));
        let known: Vec<_> =
            state.executions.iter().map(|e| (e.id.as_str(), e.running, e.exit, e.first)).collect();
        assert!(known.contains(&("two", false, Some(6), false)), "{known:?}");
        assert!(matches!(&state.exits[..], [ExitRecord::Exec { seq: 1, exec, code: 6, .. }]
            if exec == "two"));
        world.control.send(&ToSupervisor::Ack { seq: 1 });
        let (state, _) = hello(&world);
        assert!(state.exits.is_empty());
        assert!(state.executions.iter().all(|execution| execution.id != "two"));
        assert_eq!(exits::read(&fs::read(world.dir.join("run/exits")).unwrap()), []);
        let mut attached = world.attach("one");
        world.sh("three", "touch /tmp/go");
        let (bytes, code, _) = attached.output();
        assert_eq!((bytes.as_slice(), code), (b"after\n".as_slice(), 5));
    }
}

container_test! {
    fn a_killed_supervisor_leaves_no_process() {
        let mut world = World::running();
        world.sh("a", "sleep 1000 & trap '' TERM HUP; while :; do sleep 1000; done");
        world.control.started("a");
        let procs = world.cgroup.join("cgroup.procs");
        assert!(fs::read_to_string(&procs).unwrap().lines().count() >= 2);
        world.child.kill().unwrap();
        until("an empty cgroup", || fs::read_to_string(&procs).unwrap().is_empty());
        // What the daemon does then.
        let status = Command::new(common::programs().join("kleene-runtime"))
            .args(["--root".as_ref(), world.dir.join("rt").as_os_str()])
            .args(["delete", "--force", &world.id])
            .status()
            .unwrap();
        assert!(status.success());
    }
}

container_test! {
    fn what_cannot_start_says_why() {
        let mut world = World::running();
        world.sh("main", "while :; do sleep 1000; done");
        world.control.started("main");
        let exec = |spec: ExecSpec| ToSupervisor::Exec(spec);
        let argv = |id: &str, program: &str| ExecSpec { argv: vec![program.into()], ..sh(id, "") };
        let cases = [
            (argv("1", "no-such-program"), FailureKind::NotFound, "no-such-program"),
            (argv("2", "/no/such"), FailureKind::NotFound, "/no/such"),
            (argv("3", "/etc/not-a-program"), FailureKind::NotExecutable, "not-a-program"),
            (argv("4", "/etc"), FailureKind::NotExecutable, "/etc"),
            (ExecSpec { user: "ghost".into(), ..sh("5", "") }, FailureKind::NoSuchUser, "ghost"),
            (ExecSpec { user: "0:ghosts".into(), ..sh("6", "") }, FailureKind::NoSuchUser, "ghosts"),
            (ExecSpec { cwd: "/nowhere".into(), ..sh("7", "") }, FailureKind::NoSuchDir, "/nowhere"),
            (sh("not a word", ""), FailureKind::Other, "not a word"),
            (sh("main", ""), FailureKind::Other, "main"),
            (ExecSpec { argv: vec![], ..sh("8", "") }, FailureKind::NotFound, "no command"),
        ];
        for (spec, kind, text) in cases {
            let id = spec.id.clone();
            world.control.send(&exec(spec));
            let (got, message) = failure(&mut world.control, &id);
            assert!(got == kind && message.contains(text), "{id}: {got:?} {message}");
        }
        assert_eq!(FailureKind::NotFound.exit_code(), 127);
        world.control.send(&ToSupervisor::Kill {});
        world.control.ended();
    }
}

container_test! {
    fn a_first_command_that_does_not_exist_ends_the_container() {
        let mut world = World::running();
        let mut attached = world.attach("e");
        world.control.send(&ToSupervisor::Exec(ExecSpec { argv: vec!["nope".into()], ..sh("e", "") }));
        assert_eq!(failure(&mut world.control, "e").0, FailureKind::NotFound);
        assert_eq!(failure(&mut attached, "e").0, FailureKind::NotFound);
        world.control.ended();
        world.assert_gone();
    }
}

container_test! {
    fn commands_run_as_who_they_should_and_clean() {
        let mut world = World::running();
        world.sh("main", "while :; do sleep 1000; done");
        let script = "id -u; id -g; id -G; echo $HOME; pwd; umask; ls /proc/self/fd | wc -l; \
                      grep -E 'Sig(Blk|Ign)|CapEff' /proc/self/status; cat /proc/self/sessionid; \
                      env | sort | tr '\\n' ' '";
        let run = |world: &World, id: &str, user: &str| {
            let mut attached = world.attach(id);
            let spec = ExecSpec { user: user.into(), cwd: "/tmp".into(), ..sh(id, script) };
            world.control.send(&ToSupervisor::Exec(spec));
            String::from_utf8(attached.output().0).unwrap()
        };
        let tester = run(&world, "a", "tester");
        assert!(tester.starts_with("1234\n1234\n1234 77\n/home/tester\n/tmp\n0022\n4\n"), "{tester}");
        assert!(tester.contains("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"), "{tester}");
        assert!(tester.contains("CapEff:\t0000000000000000\n"), "{tester}");
        assert!(tester.ends_with("HOME=/home/tester PATH=/usr/bin:/bin PWD=/tmp "), "{tester}");
        let stranger = run(&world, "b", "4242:17");
        assert!(stranger.starts_with("4242\n17\n17\n/\n"), "{stranger}");
        let root = run(&world, "c", "");
        assert!(root.starts_with("0\n0\n0\n/root\n"), "{root}");
        // Neither of what was lent for the filter: SYS_ADMIN is bit 21.
        let line = root.lines().find(|line| line.starts_with("CapEff")).unwrap();
        let bits = u64::from_str_radix(line.split('\t').nth(1).unwrap(), 16).unwrap();
        assert_eq!((bits >> 21 & 1, bits & 1), (0, 1), "{line}");
        world.control.send(&ToSupervisor::Kill {});
        world.control.ended();
    }
}

container_test! {
    fn a_slow_client_does_not_stop_the_container() {
        let mut world = World::running();
        let attached = world.attach("e");
        world.sh("e", "head -c 4000000 /dev/zero; echo done; exit 9");
        // Nothing is read from the attachment until the command has ended.
        assert_eq!(world.control.exit_of("e"), (9, true));
        let mut attached = attached;
        let (mut received, mut lost) = (0, 0);
        loop {
            match attached.next() {
                Got::Output(bytes) => received += bytes.len() as u64,
                Got::Message(FromSupervisor::Lost { bytes }) => lost += bytes,
                Got::Message(FromSupervisor::ExecExited { code: 9, last: true, .. }) => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(lost > 0 && received > 0);
        assert_eq!(received + lost, 4_000_005);
        world.control.ended();
        world.assert_gone();
    }
}

container_test! {
    fn a_client_that_vanishes_is_reported() {
        let mut world = World::running();
        let mut attached = world.attach("e");
        world.sh("e", "echo up; while :; do sleep 1000; done");
        attached.output_with("up\n");
        drop(attached);
        world.control.wait(|message| {
            matches!(message, FromSupervisor::Detached { exec } if exec == "e").then_some(())
        });
        world.control.send(&ToSupervisor::Kill {});
        world.control.ended();
    }
}

container_test! {
    fn what_is_refused_inside_works_outside() {
        let mut world = World::running();
        world.sh("main", "while :; do sleep 1000; done");
        world.control.started("main");
        let inside = |world: &World, id: &str, script: &str| {
            let mut attached = world.attach(id);
            world.sh(id, script);
            let (bytes, code, _) = attached.output();
            (String::from_utf8_lossy(&bytes).into_owned(), code)
        };
        for (id, script) in [
            ("a", "unshare -U true"),
            ("b", "unshare -n true"),
            ("c", "mount -t tmpfs none /tmp"),
            ("d", "umount /proc"),
            ("f", "nsenter -t 1 -m true"),
        ] {
            let (text, code) = inside(&world, id, script);
            assert!(code != 0 && ["ermitted", "ermission", "superuser"].iter().any(|word| text.contains(word)), "{script}: {code} {text}");
        }
        let outside = "unshare -m sh -c 'unshare -U true && mount -t tmpfs none /tmp && umount /tmp'";
        assert!(Command::new("sh").args(["-c", outside]).status().unwrap().success());
        // The filter is in effect for process 1 and all it starts, without
        // no_new_privs.
        let status = "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status";
        assert_eq!(inside(&world, "g", status).0, "NoNewPrivs:\t0\nSeccomp:\t2\n");
        // The container's root cannot look into process 1.
        for (id, path) in [("h", "/proc/1/exe"), ("i", "/proc/1/fd/3"), ("j", "/proc/1/environ")] {
            let (text, code) = inside(&world, id, &format!("cat {path}"));
            assert!(code != 0 && text.contains("ermission"), "{path}: {text}");
        }
        let (_, code) = inside(&world, "k", "echo x > /dev/.kleene-holder");
        assert_ne!(code, 0);
        world.control.send(&ToSupervisor::Kill {});
        world.control.ended();
    }
}

container_test! {
    fn signals_from_outside_reach_the_whole_container() {
        let mut world = World::running();
        let mut attached = world.attach("e");
        world.sh("e", "trap 'echo usr1; exit 11' USR1; echo up; while :; do sleep 0.01; done");
        attached.output_with("up\n");
        let pid = hello(&world).0.pid.unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
        assert_eq!(attached.output().1, 11);
        world.control.ended();
    }
}

container_test! {
    fn a_launch_that_fails_is_undone() {
        let mut world = World::spawned();
        let config = world.dir.join("bundle/config.json");
        let text = fs::read_to_string(&config).unwrap().replace("\"/dev/.kleene-holder\"]", "\"/dev/none\"]");
        fs::write(&config, text).unwrap();
        world.control.send(&ToSupervisor::Setup(world.setup()));
        world.control.send(&ToSupervisor::Launch {});
        world.sh("e", "true");
        let message = world.control.wait(|message| match message {
            FromSupervisor::LaunchFailed { message, .. } => Some(message.clone()),
            _ => None,
        });
        assert!(message.contains("/dev/none"), "{message}");
        assert_eq!(failure(&mut world.control, "e").0, FailureKind::NotRunning);
        world.control.ended();
        world.assert_gone();
    }
}

container_test! {
    fn a_killed_runtime_is_a_failed_launch() {
        let mut world = World::spawned();
        // A runtime that starts processes and never ends.
        let script = world.dir.join("runtime");
        let text = "#!/bin/sh\ncase \"$*\" in *delete*) exit 0;; esac\nsleep 1000 & \
                    echo working; kill -9 $$\n";
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let setup = kleene_supervise::proto::Setup { runtime: script, ..world.setup() };
        world.control.send(&ToSupervisor::Setup(setup));
        world.control.send(&ToSupervisor::Launch {});
        let message = world.control.wait(|message| match message {
            FromSupervisor::LaunchFailed { message, .. } => Some(message.clone()),
            _ => None,
        });
        assert_eq!(message, "working");
        world.control.ended();
        world.assert_gone();
    }
}

container_test! {
    fn without_overlay_a_directory_will_do() {
        let mut world = World::spawned();
        let mut setup = world.setup();
        setup.log = LogLimits { max_bytes: 1000, files: 2 };
        if let RootFs::Overlay { work, .. } = &mut setup.rootfs {
            // Another file system than that of the upper directory.
            *work = "/sys/fs".into();
        }
        world.control.send(&ToSupervisor::Setup(setup.clone()));
        let kind = world.control.wait(|message| match message {
            FromSupervisor::SetupFailed { kind, .. } => Some(*kind),
            _ => None,
        });
        assert_eq!(kind, SetupFailure::OverlayUnsupported);
        // And without a network namespace of its own.
        setup.netns = NetworkNamespace::Host;
        let config = world.dir.join("bundle/config.json");
        let text = fs::read(&config).unwrap();
        let mut value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let namespaces = value["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "network");
        fs::write(&config, value.to_string()).unwrap();
        let path = world.dir.join("merged");
        let copied = Command::new("cp").arg("-a").arg(world.dir.join("lower/.")).arg(&path).status();
        assert!(copied.unwrap().success());
        setup.rootfs = RootFs::Dir { path };
        world.control.send(&ToSupervisor::Setup(setup));
        let ready = world.control.next_with_fd();
        assert!(matches!(ready, (Got::Message(FromSupervisor::Ready { netns: false }), None)));
        world.control.send(&ToSupervisor::Launch {});
        let mut attached = world.attach("e");
        world.sh("e", "touch /made; readlink /proc/self/ns/net; exit 3");
        let host = fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
        assert_eq!(attached.output(), (format!("{host}\n").into_bytes(), 3, true));
        world.control.ended();
        assert!(world.dir.join("merged/made").exists());
        world.assert_gone();
    }
}

container_test! {
    fn a_jail_is_refused_on_this_system() {
        let mut world = World::spawned();
        let jail = Some(Box::default());
        let setup = kleene_supervise::proto::Setup { jail, ..world.setup() };
        world.control.send(&ToSupervisor::Setup(setup));
        let message = world.control.wait(|message| match message {
            FromSupervisor::SetupFailed { step, message, .. } => Some(format!("{step}: {message}")),
            _ => None,
        });
        assert_eq!(message, "make a jail: this system has none");
        world.control.send(&ToSupervisor::Setup(world.setup()));
        assert!(matches!(world.control.next(), Got::Message(FromSupervisor::Ready { .. })));
        world.control.send(&ToSupervisor::Kill {});
        world.control.ended();
        world.assert_gone();
    }
}

container_test! {
    fn nonsense_is_answered_and_survived() {
        use std::io::Write as _;
        let mut world = World::running();
        let error = |link: &mut Link| {
            link.wait(|message| match message {
                FromSupervisor::Error { message } => Some(message.clone()),
                _ => None,
            })
        };
        let frame = kleene_supervise::proto::encode_frame(
            kleene_supervise::proto::FrameKind::Control,
            br#"{"type":"Teleport"}"#,
        );
        world.control.stream.write_all(&frame.unwrap()).unwrap();
        assert!(error(&mut world.control).contains("Teleport"));
        world.control.send(&ToSupervisor::Launch {});
        assert!(error(&mut world.control).contains("Running"));
        let exec = Some("none".to_owned());
        world.control.send(&ToSupervisor::Signal { exec, signo: 15, all: false });
        assert!(error(&mut world.control).contains("none"));
        let mut wild = Link::new(client::connect(&world.dir.join("run")).unwrap());
        wild.stream.write_all(&[0xff; 64]).unwrap();
        assert!(matches!(wild.next(), Got::End));
        world.sh("e", "exit 2");
        assert_eq!(world.control.exit_of("e"), (2, true));
        world.control.ended();
        world.assert_gone_but_noted();
    }
}

container_test! {
    fn a_supervisor_without_room_for_connections_waits_for_it() {
        let mut world = World::running();
        world.sh("first", "while :; do sleep 1000; done");
        world.control.started("first");
        let pid = world.child.id();
        let open = || fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        let limit = u64::try_from(open() + 3).unwrap();
        limit_descriptors(pid, limit);
        let run = world.dir.join("run");
        let waiting: Vec<_> = (0..8).map(|_| client::connect(&run).unwrap()).collect();
        until("all room taken", || open() as u64 >= limit);
        // One that asks again and again is never seen asleep for long.
        let mut asleep = 0;
        until("a supervisor that rests", || {
            asleep = if sleeps(pid) { asleep + 1 } else { 0 };
            asleep == 50
        });
        // The allowed twin: those at the door are let in when there is room.
        limit_descriptors(pid, 1024);
        for stream in &waiting {
            client::handshake(stream).unwrap();
        }
        drop(waiting);
        world.control.send(&ToSupervisor::Kill {});
        world.control.ended();
        world.assert_gone();
    }
}

fn limit_descriptors(pid: u32, soft: u64) {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    let maximum = getrlimit(Resource::Nofile).maximum;
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(soft), maximum }).unwrap();
}

/// Whether a process waits for something, as proc(5) tells it.
fn sleeps(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().starts_with(" S")
}

container_test! {
    fn a_supervisor_without_a_daemon_before_the_launch_gives_up() {
        let mut world = World::spawned();
        world.control.send(&ToSupervisor::Setup(world.setup()));
        assert!(matches!(world.control.next(), Got::Message(FromSupervisor::Ready { .. })));
        let socket = world.dir.join("run/supervise.sock");
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        world.control = Link::new(ours);
        assert!(socket.exists());
        world.assert_gone();
    }
}

container_test! {
    #[cfg(target_arch = "x86_64")]
    fn system_calls_are_filtered_as_the_profile_says() {
        let mut world = World::running();
        let mut attached = world.attach("e");
        // Number and errno: a set-up of io_uring, clone3, kexec_load, x32's
        // getpid, clone with a new user namespace, a socket to the hypervisor,
        // keyctl, an unknown number; then what must work.
        let calls = [
            ("425, 1, 0", libc::EPERM),
            ("435, 0, 0", libc::ENOSYS),
            ("246, 0, 0, 0, 0", libc::EPERM),
            ("0x40000000 | 39", libc::ENOSYS),
            ("56, 0x10000011, 0, 0, 0, 0", libc::EPERM),
            ("41, 40, 1, 0", libc::EPERM),
            ("250, 0, 0, 0, 0, 0", libc::EPERM),
            ("9999", libc::ENOSYS),
            ("135, 0x40000", libc::ENOSYS),
            ("41, 16, 3, 9", libc::EINVAL),
            ("135, 0xffffffff", 0),
            ("41, 16, 3, 0", 0),
            ("39", 0),
        ];
        let script: String = calls
            .iter()
            .map(|(call, _)| format!("$! = 0; $r = syscall({call}); print $r < 0 ? $! + 0 : 0, qq( );"))
            .collect();
        let spec = ExecSpec {
            argv: vec!["perl".into(), "-e".into(), script],
            ..sh("e", "")
        };
        world.control.send(&ToSupervisor::Exec(spec));
        let (bytes, code, _) = attached.output();
        let expected: String = calls.iter().map(|(_, errno)| format!("{errno} ")).collect();
        assert_eq!((String::from_utf8_lossy(&bytes).as_ref(), code), (expected.as_str(), 0));
        world.control.ended();
    }
}
