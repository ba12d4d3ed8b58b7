//! Who is at the other end of a local socket.

use std::io;
use std::os::unix::net::UnixStream;

use rustix::process::Pid;

/// The process that listens where this was connected to: the one that called listen(2)
/// (unix(4), `LOCAL_PEERCRED`; its number since FreeBSD 13.0, untried).
///
/// # Errors
/// What the kernel says, and when it does not tell the number.
pub fn listener(stream: &UnixStream) -> io::Result<Pid> {
    let pid = super::sys::peer(stream)?;
    pid.ok_or_else(|| io::Error::other("the kernel does not tell who listens"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn who_listens_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let _listener = UnixListener::bind(&path).expect("bound");
        let stream = UnixStream::connect(&path).expect("connected");
        assert_eq!(listener(&stream).expect("told"), rustix::process::getpid());
    }
}
