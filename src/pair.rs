//! Socket pairs, complete transfers through a stream, and the credentials of a peer.

use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::sys;
use libc::{c_int, gid_t, pid_t, uid_t};
use nix::poll::PollFlags;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Makes a connected pair. Both ends are close-on-exec.
pub fn open(kind: c_int) -> Result<(OwnedFd, OwnedFd)> {
    match kind & !libc::SOCK_NONBLOCK {
        libc::SOCK_STREAM | libc::SOCK_DGRAM | libc::SOCK_SEQPACKET => sys::local_pair(kind),
        _ => Err(errno!(EINVAL)),
    }
}

/// Converts an error of a send. If the receiver has closed, the kernel's error depends on the type
/// of the socket and on unread data; the result is always `EPIPE`.
pub(crate) fn send_error(error: Errno) -> Errno {
    match error.code() {
        libc::ECONNRESET | libc::ECONNREFUSED => errno!(EPIPE),
        _ => error,
    }
}

/// Sends until `done` is the length of `bytes`. Updates `done`, also on failure.
pub fn send_full(fd: BorrowedFd, bytes: &[u8], done: &mut usize, mut wait: Deadline) -> Result<()> {
    let flags = if wait.may_block() {
        0
    } else {
        libc::MSG_DONTWAIT
    };
    while *done < bytes.len() {
        match sys::send(fd, &bytes[*done..], flags) {
            Ok(0) => return Err(errno!(EPIPE)), // does not happen; prevents an endless loop
            Ok(len) => *done += len,
            Err(error) if error == Errno::EINTR => {}
            Err(error) if error == Errno::EAGAIN => wait.ready(fd, PollFlags::POLLOUT)?,
            Err(error) => return Err(send_error(error)),
        }
    }
    Ok(())
}

/// Receives until `done` is the length of `bytes`, or until the end of the stream. Updates `done`,
/// also on failure.
pub fn recv_full(
    fd: BorrowedFd,
    bytes: &mut [MaybeUninit<u8>],
    done: &mut usize,
    mut wait: Deadline,
) -> Result<()> {
    let flags = if wait.may_block() {
        libc::MSG_WAITALL
    } else {
        libc::MSG_DONTWAIT
    };
    while *done < bytes.len() {
        match sys::recv(fd, &mut bytes[*done..], flags) {
            Ok(0) => break,
            // The peer closed with unread data in its queue. That is also the end.
            Err(error) if error == Errno::ECONNRESET => break,
            Ok(len) => *done += len,
            Err(error) if error == Errno::EINTR => {}
            Err(error) if error == Errno::EAGAIN => wait.ready(fd, PollFlags::POLLIN)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Credentials of the peer of a local socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Cred {
    /// process ID; 0 if it has none in the PID namespace of the caller: never pass 0 to kill(2)
    pub pid: pid_t,
    /// effective user ID; 65534 if it has none in the user namespace of the caller
    pub uid: uid_t,
    /// effective group ID; 65534 if it has none in the user namespace of the caller
    pub gid: gid_t,
}

impl Cred {
    /// The credentials of this process.
    #[must_use]
    pub fn own() -> Self {
        Self {
            pid: nix::unistd::getpid().as_raw(),
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
        }
    }
}

/// Returns the credentials that the kernel has recorded for the peer.
#[inline(never)]
pub fn peer_cred(fd: BorrowedFd) -> Result<Cred> {
    let cred = sys::peer_credentials(fd)?;
    // The kernel returns these if there is no peer.
    if cred.pid == 0 && cred.uid == uid_t::MAX {
        return Err(errno!(ENOTCONN));
    }
    Ok(Cred {
        pid: cred.pid,
        uid: cred.uid,
        gid: cred.gid,
    })
}
