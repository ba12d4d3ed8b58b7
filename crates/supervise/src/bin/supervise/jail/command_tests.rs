use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use kleene_supervise::proto::Terminal;
use rustix::fs::{Mode, OFlags};

use super::*;

/// A root directory with a few users and programs.
struct Root {
    dir: PathBuf,
    fd: OwnedFd,
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn root(name: &str) -> Root {
    let dir = std::env::temp_dir().join(format!("kleene-plan-{}-{name}", std::process::id()));
    for below in ["etc", "bin", "usr/local/bin", "data"] {
        fs::create_dir_all(dir.join(below)).unwrap();
    }
    let passwd = "# users\nroot:*:0:0:Charlie &:/root:/bin/csh\n\
                  www:*:80:80:World Wide Web Owner:/nonexistent:/usr/sbin/nologin\n";
    fs::write(dir.join("etc/passwd"), passwd).unwrap();
    for program in ["bin/sh", "usr/local/bin/tool", "data/own"] {
        fs::write(dir.join(program), "").unwrap();
        fs::set_permissions(dir.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let fd = rustix::fs::open(&dir, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    Root { dir, fd }
}

fn spec(argv: &[&str]) -> ExecSpec {
    ExecSpec {
        id: "e".into(),
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        env: Vec::new(),
        cwd: String::new(),
        user: String::new(),
        tty: None,
        stdin: false,
    }
}

fn env(plan: &Plan) -> Vec<String> {
    let mut all: Vec<String> = plan
        .env
        .iter()
        .map(|(name, value)| format!("{}={}", name.display(), value.display()))
        .collect();
    all.sort();
    all
}

fn argv(plan: &Plan) -> Vec<&str> {
    plan.argv.iter().map(|word| word.to_str().unwrap()).collect()
}

#[test]
fn root_gets_what_a_login_gives() {
    let root = root("login");
    let plan = plan(&root.fd, &spec(&["sh", "-c", "exit 3"])).unwrap();
    assert_eq!((plan.user.as_deref(), plan.uid), (None, 0));
    assert_eq!(argv(&plan), ["sh", "-c", "exit 3"]);
    let expected = [
        "BLOCKSIZE=K",
        "HOME=/root",
        "LANG=C.UTF-8",
        "MAIL=/var/mail/root",
        "MM_CHARSET=UTF-8",
        "PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin",
        "SHELL=/bin/csh",
        "USER=root",
    ];
    assert_eq!(env(&plan), expected);
}

#[test]
fn what_is_asked_for_wins() {
    let root = root("asked");
    let asked = ExecSpec {
        env: ["PATH=/data", "A=1", "A=2", "HOME=/data", "broken", "=x", "B="]
            .map(str::to_owned)
            .into(),
        tty: Some(Terminal { rows: 1, cols: 1 }),
        ..spec(&["own"])
    };
    let made = plan(&root.fd, &asked).unwrap();
    let env = env(&made);
    for line in ["PATH=/data", "A=1", "HOME=/data", "B=", "TERM=xterm", "USER=root"] {
        assert!(env.contains(&line.to_owned()), "{line} is not in {env:?}");
    }
    assert_eq!(env.len(), 11);
    // jexec does not touch anything for root.
    assert_eq!(argv(&made), ["own"]);
    // For others it sets what belongs to them.
    let other = plan(&root.fd, &ExecSpec { user: "www".into(), ..asked }).unwrap();
    assert_eq!(argv(&other), ["/usr/bin/env", "PATH=/data", "HOME=/data", "own"]);
}

#[test]
fn users_are_those_of_the_container() {
    let root = root("users");
    let of = |user: &str| plan(&root.fd, &ExecSpec { user: user.into(), ..spec(&["sh"]) });
    for user in ["www", "80"] {
        let plan = of(user).unwrap();
        assert_eq!((plan.user.as_deref(), plan.uid), (Some(OsStr::new("www")), 80));
        assert!(env(&plan).contains(&"HOME=/nonexistent".to_owned()));
        assert_eq!(argv(&plan), ["sh"]);
    }
    for user in ["", "root", "0"] {
        assert_eq!(of(user).unwrap().user, None);
    }
    let refused = [
        ("ghost", FailureKind::NoSuchUser, "no user \"ghost\" in the container"),
        ("4242", FailureKind::NoSuchUser, "the number 4242"),
        ("www:www", FailureKind::Other, "jexec cannot set the group \"www\""),
    ];
    for (user, kind, text) in refused {
        let refusal = of(user).unwrap_err();
        assert!(refusal.kind == kind && refusal.message.contains(text), "{refusal:?}");
    }
    // A container without users has root.
    fs::remove_file(root.dir.join("etc/passwd")).unwrap();
    assert!(env(&of("").unwrap()).contains(&"HOME=/".to_owned()));
    assert!(of("www").is_err());
}

#[test]
fn another_directory_takes_a_shell() {
    let root = root("cwd");
    let at = |cwd: &str, program: &str| {
        plan(&root.fd, &ExecSpec { cwd: cwd.into(), ..spec(&[program]) })
    };
    assert_eq!(argv(&at("/", "sh").unwrap()), ["sh"]);
    let shell = ["/bin/sh", "-c", "cd -- \"$0\" && exec \"$@\"", "/data"];
    for cwd in ["/data", "data"] {
        assert_eq!(argv(&at(cwd, "./own").unwrap())[..4], shell);
    }
    assert_eq!(at("/", "./own").unwrap_err().kind, FailureKind::NotFound);
    for cwd in ["/nowhere", "/etc/passwd"] {
        let refusal = at(cwd, "sh").unwrap_err();
        assert!(refusal.kind == FailureKind::NoSuchDir && refusal.message.contains(cwd));
    }
}

#[test]
fn programs_that_are_not_there_are_told() {
    let root = root("programs");
    let run = |words: &[&str]| plan(&root.fd, &spec(words)).map(drop).map_err(|r| r.kind);
    assert_eq!(run(&["tool"]), Ok(()));
    assert_eq!(run(&["/bin/sh"]), Ok(()));
    assert_eq!(run(&["no-such-program"]), Err(FailureKind::NotFound));
    assert_eq!(run(&["/no/such"]), Err(FailureKind::NotFound));
    assert_eq!(run(&["/etc/passwd"]), Err(FailureKind::NotExecutable));
    assert_eq!(run(&["/etc"]), Err(FailureKind::NotExecutable));
    assert_eq!(run(&[]), Err(FailureKind::NotFound));
    assert_eq!(run(&["sh", "a\0b"]), Err(FailureKind::Other));
    // Where another user's login class looks is not known.
    let www = ExecSpec { user: "www".into(), ..spec(&["in-its-own-path"]) };
    assert!(plan(&root.fd, &www).is_ok());
    let asked = ExecSpec { env: vec!["PATH=/bin".into()], ..www };
    assert_eq!(plan(&root.fd, &asked).unwrap_err().kind, FailureKind::NotFound);
}
