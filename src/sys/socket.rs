//! Sockets. The transfers are here and not nix's, whose `sendmsg` and `recvmsg` allocate.

use super::{checked_int, checked_len};
use crate::errno::{Errno, Result};
use crate::fd::own;
use libc::{c_int, msghdr};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

/// `socketpair(2)`.
///
/// # Safety
///
/// None beyond the kernel's own checks: `sv` is written by the kernel, which
/// answers `EFAULT` where it cannot; what it can write must be the caller's.
pub unsafe fn socketpair(
    domain: c_int,
    kind: c_int,
    protocol: c_int,
    sv: *mut c_int,
) -> Result<c_int> {
    // SAFETY: the kernel writes two ints at `sv` or fails; the caller owns them.
    checked_int(unsafe { libc::syscall(libc::SYS_socketpair, domain, kind, protocol, sv) })
}

/// A connected pair of local sockets of a type; both are close-on-exec.
pub fn local_pair(kind: c_int) -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    let kind = kind | libc::SOCK_CLOEXEC;
    // SAFETY: the kernel writes two descriptors, for which there is room.
    checked_len(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) } as isize)?;
    // SAFETY: the kernel has just opened them.
    let [a, b] = fds.map(|fd| unsafe { own(fd) });
    Ok((a?, b?))
}

/// `send(2)`, without SIGPIPE.
pub fn send(fd: BorrowedFd, bytes: &[u8], flags: c_int) -> Result<usize> {
    let flags = flags | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads within `bytes`.
    checked_len(unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// `sendto(2)`, without SIGPIPE. An empty address is none.
pub fn sendto(fd: BorrowedFd, bytes: &[u8], flags: c_int, address: &[u8]) -> Result<usize> {
    let flags = flags | libc::MSG_NOSIGNAL;
    // An IP socket refuses an address of no bytes; NULL is no address.
    let at = if address.is_empty() {
        ptr::null()
    } else {
        address.as_ptr().cast()
    };
    // SAFETY: the kernel reads within `bytes` and `address`.
    checked_len(unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            flags,
            at,
            address.len() as _,
        )
    })
}

/// `recv(2)`. With `MSG_TRUNC` the value can be more than `bytes` holds.
pub fn recv(fd: BorrowedFd, bytes: &mut [MaybeUninit<u8>], flags: c_int) -> Result<usize> {
    // SAFETY: the kernel writes within `bytes`.
    checked_len(unsafe {
        libc::recv(
            fd.as_raw_fd(),
            bytes.as_mut_ptr().cast(),
            bytes.len(),
            flags,
        )
    })
}

/// `sendmsg(2)`, without SIGPIPE.
///
/// # Safety
///
/// What the header points to is readable with the lengths that it gives.
pub unsafe fn sendmsg(fd: BorrowedFd, header: &msghdr, flags: c_int) -> Result<usize> {
    // SAFETY: the caller's promise; sendmsg only reads.
    checked_len(unsafe { libc::sendmsg(fd.as_raw_fd(), header, flags | libc::MSG_NOSIGNAL) })
}

/// `recvmsg(2)`; received descriptors are close-on-exec.
///
/// # Safety
///
/// What the header points to is writable with the lengths that it gives.
pub unsafe fn recvmsg(fd: BorrowedFd, header: &mut msghdr, flags: c_int) -> Result<usize> {
    let flags = flags | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the caller's promise.
    checked_len(unsafe { libc::recvmsg(fd.as_raw_fd(), header, flags) })
}

/// `connect(2)` to nobody, which ends a connection of protocols that know it.
pub fn disconnect(fd: BorrowedFd) {
    let nobody = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    // SAFETY: the kernel reads within `nobody`.
    unsafe {
        libc::connect(
            fd.as_raw_fd(),
            &nobody,
            size_of_val(&nobody) as libc::socklen_t,
        )
    };
}

/// Whether the socket is one of AF_UNIX.
#[inline(never)]
pub fn is_local(fd: BorrowedFd) -> Result<bool> {
    Ok(int_option(fd, libc::SO_DOMAIN)? == libc::AF_UNIX)
}

/// Whether nothing more can come in: the peer has ended, or the receiving direction was shut down.
pub fn has_ended(fd: BorrowedFd) -> Result<bool> {
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLRDHUP,
        revents: 0,
    };
    loop {
        // SAFETY: the kernel writes one pollfd, ours.
        match checked_int(unsafe { libc::poll(&mut poll, 1, 0) }.into()) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    Ok(poll.revents & (libc::POLLRDHUP | libc::POLLHUP) != 0)
}

/// Whether the socket listens.
pub fn is_listening(fd: BorrowedFd) -> Result<bool> {
    Ok(int_option(fd, libc::SO_ACCEPTCONN)? != 0)
}

/// The type of the socket.
pub fn socket_type(fd: BorrowedFd) -> Result<c_int> {
    int_option(fd, libc::SO_TYPE)
}

/// The credentials that the kernel has recorded for the peer.
pub fn peer_credentials(fd: BorrowedFd) -> Result<libc::ucred> {
    let mut credentials = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    option(fd, libc::SO_PEERCRED, &mut credentials)?;
    Ok(credentials)
}

fn int_option(fd: BorrowedFd, name: c_int) -> Result<c_int> {
    let mut value = 0;
    option(fd, name, &mut value)?;
    Ok(value)
}

/// An option of the level SOL_SOCKET. `T` is a type of numbers, of which the kernel writes all or
/// some bytes.
#[inline(always)]
fn option<T: Copy>(fd: BorrowedFd, name: c_int, value: &mut T) -> Result<()> {
    let mut len = size_of::<T>() as libc::socklen_t;
    let value = ptr::from_mut(value).cast();
    // SAFETY: the kernel writes the value, for which there is room, and its size.
    let done = unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, name, value, &mut len) };
    checked_len(done as isize).map(drop)
}
