//! The supervisor's state and its loop.

use std::{
    ffi::OsString,
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
};

use crate::{
    conn::{Conn, Role},
    execution::Execution,
    jail::{Jail, Tools},
    journal::Journal,
    sys,
    world::{Source, World},
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

/// Everything about one container.
pub(crate) struct Supervisor {
    pub(crate) dir: PathBuf,
    pub(crate) listener: Option<UnixListener>,
    /// Until when nobody is let in: those who wait would only wake us.
    accept_at: Option<Instant>,
    pub(crate) conns: Vec<Conn>,
    next_conn: u64,
    pub(crate) phase: Phase,
    /// What was asked for; of no use any more once the set-up failed.
    pub(crate) setup: Option<Setup>,
    /// What the container stands on.
    pub(crate) world: Box<dyn World>,
    /// Commands that wait for the launch.
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
    /// Until when the last messages may take.
    pub(crate) farewell_until: Option<Instant>,
}

/// What a descriptor in the poll set is.
#[derive(Clone, Copy, Debug)]
enum Token {
    Listener,
    Conn(u64),
    World(Source),
    Output(u32),
    Input(u32),
}

/// The program.
pub(crate) fn main() -> ExitCode {
    sys::close_inherited();
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let Some((dir, tools)) = options(&args) else {
        note("usage: kleene-supervise --dir RUNDIR, with a control socket on standard input");
        return ExitCode::from(2);
    };
    match begin(dir, tools).and_then(|mut supervisor| supervisor.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("cannot supervise {}: {error}", dir.display()));
            ExitCode::FAILURE
        }
    }
}

/// The run directory, and where the tools of jails are (`--tools DIR`), which
/// only tests say: the container is a jail of theirs then, on any system.
fn options(args: &[OsString]) -> Option<(&Path, Option<&Path>)> {
    match args {
        [flag, dir] if flag == "--dir" => Some((Path::new(dir), None)),
        [flag, dir, second, tools] if flag == "--dir" && second == "--tools" => {
            Some((Path::new(dir), Some(Path::new(tools))))
        }
        _ => None,
    }
}

/// A line for whoever reads our standard error.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "kleene-supervise: {text}");
}

fn begin(dir: &Path, tools: Option<&Path>) -> io::Result<Supervisor> {
    // The daemon's terminal and process group are none of ours; a failure
    // means that this is so already.
    let _ = rustix::process::setsid();
    become_reaper()?;
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
    let world = world(tools)?;
    Ok(Supervisor {
        journal: Journal::new(&dir),
        dir,
        listener: Some(listener),
        accept_at: None,
        conns: vec![control],
        next_conn: 1,
        phase: Phase::New,
        setup: None,
        world,
        queue: Vec::new(),
        executions: Vec::new(),
        next_key: 1,
        log: None,
        log_noted: None,
        stop_at: None,
        give_up_at: None,
        farewell_until: None,
    })
}

/// Processes whose parent has ended become our children: nothing that runs in
/// the container ends without our being told.
fn become_reaper() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        rustix::thread::set_name(c"kleene-super")?;
    }
    #[cfg(target_os = "freebsd")]
    rustix::process::set_reaper_status(true)?;
    Ok(())
}

fn world(tools: Option<&Path>) -> io::Result<Box<dyn World>> {
    match tools {
        Some(dir) => Ok(Box::new(Jail::new(Tools::below(dir))?)),
        #[cfg(target_os = "linux")]
        None => Ok(Box::new(crate::linux::Linux::new())),
        #[cfg(not(target_os = "linux"))]
        None => Ok(Box::new(Jail::new(Tools::system())?)),
    }
}

impl Supervisor {
    fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            self.wait(&mut ready)?;
            for token in ready.drain(..) {
                self.serve(token);
                self.hear();
            }
            self.deadlines(Instant::now());
            self.hear();
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
        all.extend(listener.map(|fd| (Token::Listener, fd.as_fd(), PollFlags::IN)));
        for (source, fd) in self.world.sources() {
            all.push((Token::World(source), fd, PollFlags::IN));
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
            Token::World(source) => self.world.serve(source),
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
            self.world.deadline(now),
            self.stop_at,
            self.give_up_at,
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
            self.world.kill();
        }
        if due(self.give_up_at) {
            self.give_up_at = None;
            self.give_up();
        }
        self.world.on_time(now);
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

    /// The container's network namespace, for one more holder of it.
    pub(crate) fn netns(&self) -> Option<OwnedFd> {
        self.world.netns().and_then(|fd| fd.try_clone().ok())
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
