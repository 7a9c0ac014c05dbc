//! Which sockets preserve message boundaries.
//!
//! The socket option `SO_TYPE` tells, but reading it is a comparatively slow system call. It is
//! used only if no cheaper way gives the answer.
//!
//! A sender passes an address that it does not need. A local `SOCK_SEQPACKET` ignores the address;
//! all other sockets refuse this address before they send anything. So either the call has sent the
//! message, or its error tells the type of the socket.
//!
//! A receiver asks for urgent data (`MSG_OOB`), of which there is none. A stream fails with
//! `EINVAL`, and a socket that preserves message boundaries does not support urgent data
//! (`EOPNOTSUPP`). Local streams support it since Linux 5.15, if the kernel was configured so; one
//! probe finds out.

use crate::errno::{Errno, Result, errno};
use crate::sys::{self, CancelGuard};
use libc::c_int;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU8, Ordering};

/// What preserves the message boundaries on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// The kernel.
    MessageOriented,
    /// A header before each message.
    Stream,
}

/// The address that a sender passes: only the family `AF_UNSPEC`.
pub const ADDRESS: &[u8] = &(libc::AF_UNSPEC as libc::sa_family_t).to_ne_bytes();
/// The flags to pass with it: this one makes TCP check the address. Other sockets ignore it.
pub const FLAGS: c_int = libc::MSG_FASTOPEN;

/// Returns the kind of a socket, from the error of a send to [`ADDRESS`]. None if the error has
/// another reason.
pub fn from_send_error(fd: BorrowedFd, error: Errno) -> Result<Option<SocketKind>> {
    match error.code() {
        libc::EISCONN => Ok(Some(SocketKind::Stream)),
        // A local datagram socket; or TCP, or another type.
        libc::EINVAL | libc::EOPNOTSUPP => from_type(fd).map(Some),
        _ => Ok(None),
    }
}

/// Returns the kind of a socket, for a receiver.
pub fn of_receiver(fd: BorrowedFd) -> Result<SocketKind> {
    match urgent_data(fd) {
        Err(error) if error == Errno::EINVAL => Ok(SocketKind::Stream),
        Err(error) if error == Errno::EOPNOTSUPP && local_streams_support_urgent_data() => {
            Ok(SocketKind::MessageOriented)
        }
        // The error of an earlier send over UDP, which the kernel reports once.
        Err(error) if error == Errno::ECONNREFUSED => Err(error),
        _ => from_type(fd),
    }
}

/// Asks for urgent data. Removes none, and does not wait.
fn urgent_data(fd: BorrowedFd) -> Result<usize> {
    let flags = libc::MSG_OOB | libc::MSG_PEEK | libc::MSG_DONTWAIT;
    sys::recv(fd, &mut [], flags)
}

/// Whether local streams support urgent data on this kernel. The answer is cached. Threads that
/// probe at the same time get the same answer, and so does a child process.
fn local_streams_support_urgent_data() -> bool {
    const UNKNOWN: u8 = 0;
    const NO: u8 = 1;
    const YES: u8 = 2;
    static CACHE: AtomicU8 = AtomicU8::new(UNKNOWN);
    match CACHE.load(Ordering::Relaxed) {
        UNKNOWN => {}
        cached => return cached == YES,
    }
    // A cancelled thread would leave the pair open.
    let _uncancelled = CancelGuard::new();
    let Ok(pair) = sys::local_pair(libc::SOCK_STREAM) else {
        return false; // not cached
    };
    let supported = urgent_data(pair.0.as_fd()) == Err(Errno::EINVAL);
    CACHE.store(if supported { YES } else { NO }, Ordering::Relaxed);
    supported
}

/// Returns the kind of a socket, from its type.
fn from_type(fd: BorrowedFd) -> Result<SocketKind> {
    match sys::socket_type(fd)? {
        libc::SOCK_SEQPACKET | libc::SOCK_DGRAM => Ok(SocketKind::MessageOriented),
        libc::SOCK_STREAM => Ok(SocketKind::Stream),
        _ => Err(errno!(EOPNOTSUPP)),
    }
}
