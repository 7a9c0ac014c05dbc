//! Socket pairs: making them, and moving bytes through a stream whole.

use crate::errno::{Errno, Result};
use crate::sys;
use crate::wait::Wait;
use libc::{c_int, gid_t, pid_t, uid_t};
use nix::poll::PollFlags;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, sockopt};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

/// A connected pair; both ends are close-on-exec.
pub fn open(kind: c_int) -> Result<(OwnedFd, OwnedFd)> {
    let nonblock = kind & libc::SOCK_NONBLOCK != 0;
    let kind = match kind & !libc::SOCK_NONBLOCK {
        libc::SOCK_STREAM => SockType::Stream,
        libc::SOCK_DGRAM => SockType::Datagram,
        libc::SOCK_SEQPACKET => SockType::SeqPacket,
        _ => return Err(Errno::EINVAL),
    };
    let mut flags = SockFlag::SOCK_CLOEXEC;
    flags.set(SockFlag::SOCK_NONBLOCK, nonblock);
    Ok(socket::socketpair(AddressFamily::Unix, kind, None, flags)?)
}

/// What a failed send says where the receiver is gone: the kernel's error depends on the
/// type of the socket and on what was left unread.
pub(crate) fn send_error(error: Errno) -> Errno {
    match error {
        Errno::ECONNRESET | Errno::ECONNREFUSED => Errno::EPIPE,
        other => other,
    }
}

/// Sends until `done` is the length of `bytes`; `done` is kept up to date.
pub fn send_full(fd: BorrowedFd, bytes: &[u8], done: &mut usize, mut wait: Wait) -> Result<()> {
    let flags = if wait.may_block() {
        0
    } else {
        libc::MSG_DONTWAIT
    };
    while *done < bytes.len() {
        match sys::send(fd, &bytes[*done..], flags) {
            Ok(0) => return Err(Errno::EPIPE), // no socket does this; not for ever then
            Ok(len) => *done += len,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => wait.ready(fd, PollFlags::POLLOUT)?,
            Err(error) => return Err(send_error(error)),
        }
    }
    Ok(())
}

/// Receives until `done` is the length of `bytes`, or until the end of file.
pub fn recv_full(
    fd: BorrowedFd,
    bytes: &mut [MaybeUninit<u8>],
    done: &mut usize,
    mut wait: Wait,
) -> Result<()> {
    let flags = if wait.may_block() {
        libc::MSG_WAITALL
    } else {
        libc::MSG_DONTWAIT
    };
    while *done < bytes.len() {
        match sys::recv(fd, &mut bytes[*done..], flags) {
            // The peer died with something unread: it is the end, whatever it did not read.
            Ok(0) | Err(Errno::ECONNRESET) => break,
            Ok(len) => *done += len,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => wait.ready(fd, PollFlags::POLLIN)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Who is at the other end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Cred {
    /// the process; 0 where it has no number in this process's namespace
    pub pid: pid_t,
    /// its effective user
    pub uid: uid_t,
    /// its effective group
    pub gid: gid_t,
}

impl Cred {
    /// Who this process is.
    #[must_use]
    pub fn own() -> Self {
        Self {
            pid: nix::unistd::getpid().as_raw(),
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
        }
    }
}

/// The credentials that the kernel has noted for the other end.
pub fn peer_cred(fd: BorrowedFd) -> Result<Cred> {
    let cred = socket::getsockopt(&fd, sockopt::PeerCredentials)?;
    // What the kernel gives where there is no peer.
    if cred.pid() == 0 && cred.uid() == uid_t::MAX {
        return Err(Errno::ENOTCONN);
    }
    Ok(Cred {
        pid: cred.pid(),
        uid: cred.uid(),
        gid: cred.gid(),
    })
}
