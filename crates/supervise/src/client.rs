//! The daemon's end: starting a supervisor, finding one again. Blocking; the
//! daemon may set the stream non-blocking afterwards.

use std::{
    fs::File,
    io::{self, Write as _},
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags, open},
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use crate::{
    fdpass,
    proto::{
        self, Decoder, Frame, FrameError, FrameKind, FromSupervisor, MIN_VERSION, MessageError,
        State, ToSupervisor, VERSION,
    },
};

/// The control socket's name in the run directory.
pub const SOCKET: &str = "supervise.sock";

/// How long a supervisor that lets nobody in is waited for.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Why a supervisor could not be started or talked to.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The program could not be started.
    #[error("cannot start the supervisor {}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nobody answers on its socket.
    #[error("cannot connect to the supervisor in {}", dir.display())]
    Connect {
        /// The run directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("cannot talk to the supervisor")]
    Io(#[source] io::Error),
    /// The supervisor closed the connection.
    #[error("the supervisor has gone away")]
    Closed,
    /// What it sends is not of this protocol.
    #[error("cannot understand the supervisor")]
    Frame(#[from] FrameError),
    /// A message could not be made or read.
    #[error("cannot exchange a message with the supervisor")]
    Message(#[from] MessageError),
    /// There is no version both speak.
    #[error("the supervisor speaks versions {min} to {max}, not {VERSION}")]
    Version {
        /// Its oldest.
        min: u32,
        /// Its newest.
        max: u32,
    },
    /// Another message than the one that was asked for.
    #[error("unexpected answer from the supervisor: {0}")]
    Unexpected(String),
}

/// A supervisor that was just started.
#[derive(Debug)]
pub struct Spawned {
    /// The process; whoever started it has to wait for it in the end.
    pub child: Child,
    /// The first control connection.
    pub stream: UnixStream,
}

/// Starts a supervisor for the run directory `dir`, which exists and is the
/// supervisor's alone. It writes its own troubles to `stderr`.
///
/// # Errors
///
/// When the program cannot be started.
pub fn spawn(program: &Path, dir: &Path, stderr: Stdio) -> Result<Spawned, ClientError> {
    let fail = |source| ClientError::Spawn { program: program.to_owned(), source };
    let (stream, theirs) = UnixStream::pair().map_err(fail)?;
    let child = Command::new(program)
        .arg("--dir")
        .arg(dir)
        // Nothing of the daemon's environment shall reach containers.
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .map_err(fail)?;
    Ok(Spawned { child, stream })
}

/// Connects to the supervisor of a run directory, however long its path is.
///
/// # Errors
///
/// When there is none, or it has let nobody in for a while.
pub fn connect(dir: &Path) -> Result<UnixStream, ClientError> {
    let fail = |source| ClientError::Connect { dir: dir.to_owned(), source };
    let (_held, path) = short_path(dir).map_err(fail)?;
    try_connect(&path).map_err(|errno| fail(errno.into()))
}

/// Not `UnixStream::connect`, which waits for ever where the queue of those who
/// wait to be let in is full.
fn try_connect(path: &Path) -> Result<UnixStream, rustix::io::Errno> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(CONNECT_LIMIT))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    set_socket_timeout(&socket, Timeout::Send, None)?;
    Ok(UnixStream::from(socket))
}

/// Listens on the control socket of a run directory, replacing a dead one.
///
/// # Errors
///
/// When the socket cannot be made.
pub fn listen(dir: &Path) -> io::Result<UnixListener> {
    let (_held, path) = short_path(dir)?;
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixListener::bind(path),
    }
}

/// The socket's path by way of an open directory: a socket address holds 108
/// bytes, run directories may be deeper. Elsewhere the path has to fit (FreeBSD:
/// 104 bytes), or connecting and listening fail with that.
fn short_path(dir: &Path) -> io::Result<(Option<File>, PathBuf)> {
    if cfg!(target_os = "linux") {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let held = File::from(open(dir, flags, Mode::empty())?);
        let path = format!("/proc/self/fd/{}/{SOCKET}", held.as_raw_fd());
        return Ok((Some(held), PathBuf::from(path)));
    }
    Ok((None, dir.join(SOCKET)))
}

/// Opens a control connection: says hello, gets the supervisor's state and
/// the container's network namespace if it has one of its own.
///
/// # Errors
///
/// When the connection breaks, or there is no common version.
pub fn handshake(stream: &UnixStream) -> Result<(State, Option<OwnedFd>), ClientError> {
    send(stream, &ToSupervisor::Hello { version: VERSION, min_version: MIN_VERSION })?;
    let (frame, fd) = recv_with_fd(stream, &mut Decoder::new())?;
    let answer = match frame.kind {
        FrameKind::Control => proto::decode::<FromSupervisor>(&frame.payload)?,
        kind => return Err(ClientError::Unexpected(format!("a frame of {kind:?}"))),
    };
    match answer {
        FromSupervisor::State(state) => {
            let common =
                proto::negotiate((MIN_VERSION, VERSION), (state.min_version, state.version));
            match common {
                Some(_) => Ok((state, fd)),
                None => Err(ClientError::Version { min: state.min_version, max: state.version }),
            }
        }
        FromSupervisor::Error { message } => Err(ClientError::Unexpected(message)),
        other => Err(ClientError::Unexpected(format!("{other:?}"))),
    }
}

/// Sends one message.
///
/// # Errors
///
/// When the connection breaks or the message is too large.
pub fn send(mut stream: &UnixStream, message: &ToSupervisor) -> Result<(), ClientError> {
    stream.write_all(&proto::encode(message)?).map_err(ClientError::Io)
}

/// Waits for one frame, and the descriptor that came with it, if any.
///
/// # Errors
///
/// When the connection ends or carries something else than frames.
pub fn recv_with_fd(
    stream: &UnixStream,
    decoder: &mut Decoder,
) -> Result<(Frame, Option<OwnedFd>), ClientError> {
    let mut fd = None;
    let mut buffer = [0; 4096];
    loop {
        if let Some(frame) = decoder.next_frame()? {
            return Ok((frame, fd));
        }
        let (count, mut fds) = recv_bytes(stream, &mut buffer).map_err(ClientError::Io)?;
        if count == 0 {
            return Err(ClientError::Closed);
        }
        fd = fds.pop().or(fd);
        decoder.push(&buffer[..count]);
    }
}

/// One `recvmsg`: bytes and the descriptors that came with them. Interrupted
/// calls are repeated; would-block is an error as usual.
///
/// # Errors
///
/// What the kernel says.
pub fn recv_bytes(stream: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let received = fdpass::receive(stream, buffer, true)?;
    Ok((received.count, received.fds))
}
