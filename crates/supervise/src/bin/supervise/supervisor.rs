//! The supervisor's state and its loop.

use std::{
    ffi::OsStr,
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use kleene_supervise::{
    client,
    log::Writer,
    proto::{ExecSpec, FromSupervisor, Phase, Setup},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::Mode,
    io::Errno,
    process::Pid,
};

use crate::{
    conn::{Conn, Role},
    execution::Execution,
    journal::Journal,
    program::Program,
};

/// Without a daemon nothing goes on before the container runs; this long one
/// may be away.
pub(crate) const ORPHAN_LIMIT: Duration = Duration::from_secs(10);

/// A container without any execution ends after this long.
pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// How long the last messages may take to be read.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);

/// How long nobody is let in after the kernel had no room for a connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The container's first process.
pub(crate) struct Holder {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
}

/// Everything about one container.
pub(crate) struct Supervisor {
    pub(crate) dir: PathBuf,
    pub(crate) listener: Option<UnixListener>,
    /// Until when nobody is let in: those who wait would only wake us.
    accept_at: Option<Instant>,
    pub(crate) conns: Vec<Conn>,
    next_conn: u64,
    pub(crate) phase: Phase,
    pub(crate) setup: Option<Setup>,
    /// Whether this process has its own mount namespace.
    pub(crate) apart: bool,
    pub(crate) netns: Option<OwnedFd>,
    /// The runtime at work: at the launch, or at the end.
    pub(crate) program: Option<Program>,
    /// The runtime that has ended its launch well; kept for its words until
    /// the holder is up.
    pub(crate) launcher: Option<Program>,
    /// Our end of the holder's socket.
    pub(crate) link: Option<OwnedFd>,
    pub(crate) holder: Option<Holder>,
    /// Commands that wait for the holder.
    pub(crate) queue: Vec<ExecSpec>,
    pub(crate) executions: Vec<Execution>,
    pub(crate) next_key: u32,
    pub(crate) journal: Journal,
    pub(crate) log: Option<Writer>,
    pub(crate) log_noted: Option<Instant>,
    /// When the container is killed, because of a stop.
    pub(crate) stop_at: Option<Instant>,
    /// When it is given up for lack of a daemon or of a command.
    pub(crate) give_up_at: Option<Instant>,
    /// Until when the cgroup may take to become empty.
    pub(crate) cgroup_until: Option<Instant>,
    /// Until when the last messages may take.
    pub(crate) farewell_until: Option<Instant>,
}

/// What a descriptor in the poll set is.
#[derive(Clone, Copy, Debug)]
enum Token {
    Listener,
    Conn(u64),
    Link,
    Holder,
    Program,
    Output(u32),
    Input(u32),
}

/// The program.
pub(crate) fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [flag, dir] = args.as_slice() else {
        note("usage: kleene-supervise --dir RUNDIR, with a control socket on standard input");
        return ExitCode::from(2);
    };
    if flag != OsStr::new("--dir") {
        note("the only option is --dir RUNDIR");
        return ExitCode::from(2);
    }
    match begin(Path::new(dir)).and_then(|mut supervisor| supervisor.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("cannot supervise {}: {error}", Path::new(dir).display()));
            ExitCode::FAILURE
        }
    }
}

/// A line for whoever reads our standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "kleene-supervise: {text}");
}

fn begin(dir: &Path) -> io::Result<Supervisor> {
    // The daemon's terminal and process group are none of ours; a failure
    // means that this is so already.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::thread::set_name(c"kleene-super")?;
    let dir = std::fs::canonicalize(dir)?;
    let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::process::chdir("/")?;
    // The socket is root's; what the runtime and the container make is as
    // anywhere else.
    rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = client::listen(&dir)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    listener.set_nonblocking(true)?;
    let control = Conn::new(0, UnixStream::from(control), Role::Control)?;
    Ok(Supervisor {
        journal: Journal::new(&dir),
        dir,
        listener: Some(listener),
        accept_at: None,
        conns: vec![control],
        next_conn: 1,
        phase: Phase::New,
        setup: None,
        apart: false,
        netns: None,
        program: None,
        launcher: None,
        link: None,
        holder: None,
        queue: Vec::new(),
        executions: Vec::new(),
        next_key: 1,
        log: None,
        log_noted: None,
        stop_at: None,
        give_up_at: None,
        cgroup_until: None,
        farewell_until: None,
    })
}

impl Supervisor {
    fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            self.wait(&mut ready)?;
            for token in ready.drain(..) {
                self.serve(token);
            }
            self.deadlines(Instant::now());
            self.flush();
            if self.phase == Phase::Ended && self.farewell_is_over() {
                return Ok(());
            }
        }
    }

    /// Waits for something to happen; what did.
    fn wait(&self, ready: &mut Vec<Token>) -> io::Result<()> {
        let interests = self.interests();
        let mut fds: Vec<PollFd<'_>> =
            interests.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let timeout = self.timeout(Instant::now());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let happened = fds.iter().map(|fd| !fd.revents().is_empty());
        ready.extend(interests.iter().zip(happened).filter(|(_, h)| *h).map(|((t, _, _), _)| *t));
        Ok(())
    }

    fn interests(&self) -> Vec<(Token, BorrowedFd<'_>, PollFlags)> {
        let mut all = Vec::new();
        let listener = self.listener.as_ref().filter(|_| self.accept_at.is_none());
        let single = [
            (Token::Listener, listener.map(|fd| fd.as_fd())),
            (Token::Link, self.link.as_ref().map(|fd| fd.as_fd())),
            (Token::Holder, self.holder.as_ref().map(|holder| holder.pidfd.as_fd())),
            (Token::Program, self.program.as_ref().map(|program| program.pidfd.as_fd())),
        ];
        for (token, fd) in single {
            all.extend(fd.map(|fd| (token, fd, PollFlags::IN)));
        }
        for conn in &self.conns {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, !conn.closing && self.may_send_more(conn));
            flags.set(PollFlags::OUT, conn.has_output());
            all.push((Token::Conn(conn.id), conn.stream.as_fd(), flags));
        }
        for execution in &self.executions {
            let key = execution.key;
            if let Some(fd) = execution.output.as_ref().filter(|_| !self.is_held_back(execution)) {
                all.push((Token::Output(key), fd.as_fd(), PollFlags::IN));
            }
            if let Some(fd) = execution.wants_to_write() {
                all.push((Token::Input(key), fd, PollFlags::OUT));
            }
        }
        all
    }

    fn serve(&mut self, token: Token) {
        match token {
            Token::Listener => self.accept(),
            Token::Conn(id) => self.serve_conn(id),
            Token::Link => drop(self.read_link()),
            Token::Holder => self.holder_ended(),
            Token::Program => self.program_ended(),
            Token::Output(key) => self.pump(key),
            Token::Input(key) => {
                if let Some(execution) = self.by_key(key) {
                    execution.write_input();
                }
            }
        }
    }

    fn accept(&mut self) {
        let stream = match self.listener.as_ref().map(UnixListener::accept) {
            Some(Ok((stream, _))) => stream,
            None => return,
            Some(Err(error)) => {
                let gone = [io::ErrorKind::WouldBlock, io::ErrorKind::ConnectionAborted];
                // Too many open files, or no memory: they stay at the door, and
                // only time makes room.
                if !gone.contains(&error.kind()) {
                    self.accept_at = Some(Instant::now() + ACCEPT_AGAIN);
                }
                return;
            }
        };
        if let Ok(conn) = Conn::new(self.next_conn, stream, Role::Undecided) {
            self.next_conn += 1;
            self.conns.push(conn);
        }
    }

    fn timeout(&self, now: Instant) -> Option<Timespec> {
        let singles = [
            self.program.as_ref().map(|program| program.deadline),
            self.stop_at,
            self.give_up_at,
            self.cgroup_until.map(|_| now + Duration::from_millis(5)),
            self.farewell_until,
            self.accept_at,
        ];
        let next = singles
            .into_iter()
            .chain(self.conns.iter().map(Conn::deadline))
            .chain(self.executions.iter().map(|execution| execution.drain_until))
            .flatten()
            .min()?;
        // Rounded up: waking early would only mean to wait again.
        let wait = next.saturating_duration_since(now) + Duration::from_millis(1);
        Timespec::try_from(wait).ok()
    }

    fn deadlines(&mut self, now: Instant) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        for conn in &mut self.conns {
            conn.check_patience(now);
        }
        let drained: Vec<u32> = self
            .executions
            .iter()
            .filter(|execution| due(execution.drain_until))
            .map(|execution| execution.key)
            .collect();
        for key in drained {
            self.finish(key);
        }
        if due(self.accept_at) {
            self.accept_at = None;
        }
        if due(self.stop_at) {
            self.stop_at = None;
            self.kill_container();
        }
        if due(self.give_up_at) {
            self.give_up_at = None;
            self.give_up();
        }
        if due(self.program.as_ref().map(|program| program.deadline)) {
            self.program_overdue();
        }
        if self.cgroup_until.is_some() {
            self.remove_cgroup(now);
        }
    }

    /// Sends what can be sent, and drops connections that are over.
    fn flush(&mut self) {
        for conn in &mut self.conns {
            if conn.has_output() || conn.closing {
                conn.flush();
            }
        }
        let dead: Vec<Role> =
            self.conns.extract_if(.., |conn| conn.dead).map(|conn| conn.role).collect();
        for role in dead {
            match role {
                Role::Attachment(exec) => self.detached(exec),
                Role::Control => self.control_lost(),
                Role::Undecided => {}
            }
        }
    }

    fn farewell_is_over(&self) -> bool {
        let sent = self.conns.iter().all(|conn| !conn.has_output());
        sent || self.farewell_until.is_none_or(|until| until <= Instant::now())
    }

    /// Everything is done: what remains is to be heard.
    pub(crate) fn begin_farewell(&mut self) {
        self.phase = Phase::Ended;
        self.listener = None;
        let _ = std::fs::remove_file(self.dir.join(client::SOCKET));
        self.farewell_until = Some(Instant::now() + FAREWELL_LIMIT);
    }

    /// To every control connection.
    pub(crate) fn broadcast(&mut self, message: &FromSupervisor) {
        for conn in self.conns.iter_mut().filter(|conn| conn.role == Role::Control) {
            conn.say(message, None);
        }
    }

    pub(crate) fn has_daemon(&self) -> bool {
        self.conns.iter().any(|conn| conn.role == Role::Control && !conn.dead)
    }

    pub(crate) fn conn(&mut self, id: u64) -> Option<&mut Conn> {
        self.conns.iter_mut().find(|conn| conn.id == id)
    }

    pub(crate) fn by_key(&mut self, key: u32) -> Option<&mut Execution> {
        self.executions.iter_mut().find(|execution| execution.key == key)
    }

    pub(crate) fn by_id(&mut self, id: &str) -> Option<&mut Execution> {
        self.executions.iter_mut().find(|execution| execution.id == id)
    }
}
