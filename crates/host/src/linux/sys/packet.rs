//! Frames, as they are on the wire.

use std::mem::size_of;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io;
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sendto, socket_with};

/// `struct sockaddr_ll` for a frame that carries its own header.
struct Through(libc::sockaddr_ll);

// SAFETY: the pointer is to a whole `sockaddr_ll`, and the length is its size.
unsafe impl SocketAddrArg for Through {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R,
    ) -> R {
        let length = SocketAddrLen::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
        f(std::ptr::from_ref(&self.0).cast(), length)
    }
}

/// A socket that sends frames and gets none.
///
/// # Errors
/// What the kernel says to `socket`.
pub(crate) fn frame_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)
}

/// Sends a frame through the interface with that index.
///
/// # Errors
/// What the kernel says to `sendto`; it never waits.
pub(crate) fn send_frame(socket: &impl AsFd, index: u32, frame: &[u8]) -> io::Result<()> {
    let to = Through(libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or_default(),
        sll_protocol: 0,
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    });
    sendto(socket, frame, SendFlags::empty(), &to).map(drop)
}
