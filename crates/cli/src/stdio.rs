//! stdin, stdout and stderr without a thread and without touching their flags.
//!
//! `O_NONBLOCK` belongs to the open file, which the shell and others share, and
//! a thread blocked in `read` would eat input that is not ours. So: wait until
//! the kernel says ready, ask `poll` again, and move so little that the call
//! cannot block. Files that cannot be waited for never block.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What a pipe that is ready takes without blocking, on every system.
const PIPE_ROOM: usize = 4096;

/// A descriptor that may have to be waited for.
enum Source {
    Waits(AsyncFd<BorrowedFd<'static>>),
    Ready(BorrowedFd<'static>),
}

impl Source {
    #[expect(
        deprecated,
        reason = "unsound for types whose descriptor changes; a BorrowedFd<'static> cannot, and its \
                  successor cannot be called from safe code"
    )]
    fn new(fd: BorrowedFd<'static>, interest: Interest) -> Self {
        AsyncFd::with_interest(fd, interest).map_or(Self::Ready(fd), Self::Waits)
    }

    /// Does `call` when it will not block.
    async fn when(
        &self,
        interest: Interest,
        flag: PollFlags,
        mut call: impl FnMut(BorrowedFd<'static>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        match self {
            Self::Ready(fd) => call(*fd),
            Self::Waits(fd) => {
                fd.async_io(interest, |fd| {
                    let mut ready = [PollFd::new(fd, flag)];
                    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
                    if retry_on_intr(|| poll(&mut ready, Some(&now)))? == 0 {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    call(*fd)
                })
                .await
            }
        }
    }
}

/// The process's stdin.
pub(crate) struct Input(Source);

impl Input {
    /// Takes it.
    pub(crate) fn stdin() -> Self {
        Self(Source::new(rustix::stdio::stdin(), Interest::READABLE))
    }

    /// Some bytes; none at the end of input.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0
            .when(Interest::READABLE, PollFlags::IN, |fd| {
                Ok(retry_on_intr(|| rustix::io::read(fd, &mut *buffer))?)
            })
            .await
    }
}

/// The process's stdout or stderr.
pub(crate) struct Output(Source);

impl Output {
    /// Takes stdout.
    pub(crate) fn stdout() -> Self {
        Self(Source::new(rustix::stdio::stdout(), Interest::WRITABLE))
    }

    /// Takes stderr.
    pub(crate) fn stderr() -> Self {
        Self(Source::new(rustix::stdio::stderr(), Interest::WRITABLE))
    }

    /// Writes all of `bytes`.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let piece = match self.0 {
                Source::Waits(_) => &bytes[..bytes.len().min(PIPE_ROOM)],
                Source::Ready(_) => bytes,
            };
            let written = self
                .0
                .when(Interest::WRITABLE, PollFlags::OUT, |fd| {
                    Ok(retry_on_intr(|| rustix::io::write(fd, piece))?)
                })
                .await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }
}
