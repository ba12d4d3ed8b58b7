//! Descriptors over sockets: one message each way.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};

/// The most descriptors a message carries.
pub const MAX_FDS: usize = 4;

/// A message that was received.
#[derive(Debug)]
pub struct Received {
    /// How many bytes; 0 at the end.
    pub count: usize,
    /// The descriptors that came along, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// The sender's process number as the kernel knows it, when the socket
    /// asks for credentials.
    #[cfg(target_os = "linux")]
    pub pid: Option<rustix::process::Pid>,
}

/// One `recvmsg`; interrupted calls are repeated, would-block is an error.
///
/// # Errors
///
/// What the kernel says.
pub fn receive(socket: impl AsFd, buffer: &mut [u8], wait: bool) -> io::Result<Received> {
    #[cfg(target_os = "linux")]
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS), ScmCredentials(1))];
    #[cfg(not(target_os = "linux"))]
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut flags = RecvFlags::CMSG_CLOEXEC;
    flags.set(RecvFlags::DONTWAIT, !wait);
    let count = loop {
        let mut slices = [IoSliceMut::new(buffer)];
        match recvmsg(&socket, &mut slices, &mut ancillary, flags) {
            Err(Errno::INTR) => {}
            other => break other?.bytes,
        }
    };
    let mut received = Received {
        count,
        fds: Vec::new(),
        #[cfg(target_os = "linux")]
        pid: None,
    };
    for message in ancillary.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(rights) => received.fds.extend(rights),
            #[cfg(target_os = "linux")]
            RecvAncillaryMessage::ScmCredentials(credentials) => {
                received.pid = Some(credentials.pid);
            }
            _ => {}
        }
    }
    Ok(received)
}

/// One `sendmsg`; interrupted calls are repeated, would-block is an error. The
/// descriptors go with the first byte.
///
/// # Errors
///
/// What the kernel says.
pub fn send(
    socket: impl AsFd,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    wait: bool,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    let mut flags = SendFlags::NOSIGNAL;
    flags.set(SendFlags::DONTWAIT, !wait);
    loop {
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut ancillary, flags) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}
