//! Between fork and exec: what a command's process does to become it.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read as _},
    os::{
        fd::OwnedFd,
        unix::fs::{FileExt as _, OpenOptionsExt as _},
    },
};

use kleene_supervise::{
    proto::FailureKind,
    users::{self, Identity},
    wire::{ExecBody, MAX_DATAGRAM},
};
use rustix::{
    io::Errno,
    process::{Gid, Uid},
};

use crate::sys;

const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// No sane user database is larger; the container could make it endless.
const MAX_DATABASE: u64 = 4 << 20;

/// What the command's standard input and output are.
pub(crate) enum Stdio {
    /// Its controlling terminal.
    Terminal(OwnedFd),
    /// Pipes; one for both outputs, so that the order of writes is kept.
    Pipes { input: OwnedFd, output: OwnedFd },
}

/// Why there is no command.
struct Failure {
    kind: FailureKind,
    message: String,
}

impl Failure {
    fn other(step: &str, error: impl std::fmt::Display) -> Self {
        Self { kind: FailureKind::Other, message: format!("cannot {step}: {error}") }
    }
}

/// Becomes the command, or reports why not and ends.
pub(crate) fn become_command(
    body: &OwnedFd,
    stdio: &Stdio,
    terminal: bool,
    reporter: &OwnedFd,
) -> ! {
    let failure = match try_become(body, stdio, terminal) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    let kind = match failure.kind {
        FailureKind::NotFound => b'N',
        FailureKind::NotExecutable => b'X',
        FailureKind::NoSuchUser => b'U',
        FailureKind::NoSuchDir => b'D',
        FailureKind::NotRunning | FailureKind::Other | FailureKind::Unknown => b'O',
    };
    let report: Vec<u8> =
        [kind].into_iter().chain(failure.message.into_bytes()).take(MAX_DATAGRAM).collect();
    // The pipe is empty and larger than this.
    let _ = rustix::io::write(reporter, &report);
    sys::exit_now(failure.kind.exit_code())
}

/// What a child reported before it ended; `None` when it became the command.
pub(crate) fn parse_report(report: &[u8]) -> Option<(FailureKind, String)> {
    let (kind, message) = report.split_first()?;
    let kind = match kind {
        b'N' => FailureKind::NotFound,
        b'X' => FailureKind::NotExecutable,
        b'U' => FailureKind::NoSuchUser,
        b'D' => FailureKind::NoSuchDir,
        _ => FailureKind::Other,
    };
    Some((kind, String::from_utf8_lossy(message).into_owned()))
}

fn try_become(
    body: &OwnedFd,
    stdio: &Stdio,
    terminal: bool,
) -> Result<std::convert::Infallible, Failure> {
    rustix::process::setsid().map_err(|error| Failure::other("make a session", error))?;
    let body = read_body(body).map_err(|error| Failure::other("read the request", error))?;
    let identity = identity(&body.user)?;
    connect(stdio, &identity).map_err(|error| Failure::other("connect the command", error))?;
    sys::reset_signals().map_err(|error| Failure::other("reset signals", error))?;
    enter(&body.cwd)?;
    become_user(&identity)
        .map_err(|error| Failure::other(&format!("become user {}", identity.uid), error))?;
    Err(execute(body, &identity, terminal))
}

fn read_body(memory: &OwnedFd) -> io::Result<ExecBody> {
    let file = File::from(memory.try_clone()?);
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let mut bytes = vec![0; length];
    // Not `read`: the position is shared with the supervisor.
    file.read_exact_at(&mut bytes, 0)?;
    ExecBody::decode(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn identity(user: &[u8]) -> Result<Identity, Failure> {
    users::resolve(user, &database("/etc/passwd"), &database("/etc/group"))
        .map_err(|error| Failure { kind: FailureKind::NoSuchUser, message: error.to_string() })
}

/// A file of the container's, empty when there is none. Non-blocking, so that
/// a pipe in its place does not hold us up.
fn database(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    if let Ok(file) = options.open(path) {
        let _ = file.take(MAX_DATABASE).read_to_end(&mut bytes);
    }
    bytes
}

fn connect(stdio: &Stdio, identity: &Identity) -> Result<(), Errno> {
    let (input, output) = match stdio {
        Stdio::Terminal(slave) => {
            rustix::process::ioctl_tiocsctty(slave)?;
            let owner = Uid::from_raw(identity.uid);
            // Without the right to give it away the command cannot reopen it,
            // which few do.
            let _ = rustix::fs::fchown(slave, Some(owner), None);
            (slave, slave)
        }
        Stdio::Pipes { input, output } => (input, output),
    };
    rustix::stdio::dup2_stdin(input)?;
    rustix::stdio::dup2_stdout(output)?;
    rustix::stdio::dup2_stderr(output)
}

fn enter(cwd: &[u8]) -> Result<(), Failure> {
    let cwd = if cwd.is_empty() { b"/" } else { cwd };
    rustix::process::chdir(cwd).map_err(|error| Failure {
        kind: FailureKind::NoSuchDir,
        message: format!("cannot enter {}: {error}", String::from_utf8_lossy(cwd)),
    })
}

/// Groups first, the user last: after it there is no right to anything else.
/// What is so already is not asked for, because the container may lack the
/// right to ask.
fn become_user(identity: &Identity) -> Result<(), Errno> {
    let groups: Vec<Gid> = identity.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    let same = |error: Errno, is_so: bool| if is_so { Ok(()) } else { Err(error) };
    rustix::thread::set_thread_groups(&groups)
        .or_else(|error| same(error, uid.is_root() && groups.is_empty()))?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .or_else(|error| same(error, rustix::process::getegid() == gid))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
        .or_else(|error| same(error, rustix::process::geteuid() == uid))
}

/// Finds the program and becomes it; comes back only with why not.
fn execute(mut body: ExecBody, identity: &Identity, terminal: bool) -> Failure {
    if !body.env.iter().any(|entry| entry.starts_with(b"HOME=")) {
        body.env.push([b"HOME=".as_slice(), &identity.home].concat());
    }
    if terminal && !body.env.iter().any(|entry| entry.starts_with(b"TERM=")) {
        body.env.push(b"TERM=xterm".to_vec());
    }
    let path = body.env.iter().find_map(|entry| entry.strip_prefix(b"PATH="));
    let path = path.unwrap_or(DEFAULT_PATH).to_vec();
    let strings = |list: Vec<Vec<u8>>| list.into_iter().map(CString::new).collect();
    let (argv, env): (Result<Vec<_>, _>, Result<Vec<_>, _>) =
        (strings(body.argv), strings(body.env));
    let (Ok(argv), Ok(env)) = (argv, env) else {
        return Failure::other("run the command", "an argument or variable contains a null byte");
    };
    let Some(name) = argv.first().filter(|name| !name.is_empty()) else {
        return Failure { kind: FailureKind::NotFound, message: "no command given".into() };
    };
    let mut worst = io::Error::from(Errno::NOENT);
    for candidate in candidates(name.as_bytes(), &path) {
        let Ok(program) = CString::new(candidate) else { continue };
        let error = sys::execve(&program, &argv, &env);
        // One that is there but cannot be run tells more than one that is not.
        if !is_absent(&error) || is_absent(&worst) {
            worst = error;
        }
    }
    let kind = match worst.raw_os_error() {
        _ if is_absent(&worst) => FailureKind::NotFound,
        Some(libc::E2BIG | libc::ENOMEM | libc::EAGAIN) => FailureKind::Other,
        _ => FailureKind::NotExecutable,
    };
    Failure { kind, message: format!("cannot run {}: {worst}", name.to_string_lossy()) }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

/// The files a program's name may mean: itself when it has a slash, else one
/// in every directory of the path.
fn candidates(name: &[u8], path: &[u8]) -> Vec<Vec<u8>> {
    if name.contains(&b'/') {
        return vec![name.to_vec()];
    }
    path.split(|byte| *byte == b':')
        .map(|dir| {
            let dir = if dir.is_empty() { b"." } else { dir };
            [dir, b"/", name].concat()
        })
        .collect()
}
