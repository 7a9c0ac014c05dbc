//! Sockets. The transfers do not use nix, because its `sendmsg` and `recvmsg` allocate memory.

use super::{checked_int, checked_len};
use crate::errno::{Errno, Result};
use crate::fd::own;
use libc::{c_int, c_short, msghdr};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

/// `socketpair(2)`.
///
/// # Safety
///
/// `sv` must not point to memory that the caller does not own. The kernel fails with `EFAULT` if it
/// cannot write there.
pub unsafe fn socketpair(
    domain: c_int,
    kind: c_int,
    protocol: c_int,
    sv: *mut c_int,
) -> Result<c_int> {
    // SAFETY: the kernel writes two ints to `sv` or fails; the rest is the caller's promise.
    checked_int(unsafe { libc::syscall(libc::SYS_socketpair, domain, kind, protocol, sv) })
}

/// Makes a connected pair of local sockets of a type. Both are close-on-exec.
pub fn local_pair(kind: c_int) -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    let kind = kind | libc::SOCK_CLOEXEC;
    // SAFETY: the kernel writes two descriptors, to `fds`.
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

/// `sendto(2)`, without SIGPIPE. An empty address means no address.
pub fn sendto(fd: BorrowedFd, bytes: &[u8], flags: c_int, address: &[u8]) -> Result<usize> {
    let flags = flags | libc::MSG_NOSIGNAL;
    // An IP socket refuses an address of length 0, so no address is NULL.
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

/// `recv(2)`. With `MSG_TRUNC` the result can exceed the length of `bytes`.
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
/// The memory to which the header points is readable, with the lengths in the header.
pub unsafe fn sendmsg(fd: BorrowedFd, header: &msghdr, flags: c_int) -> Result<usize> {
    // SAFETY: the caller's promise; sendmsg only reads.
    checked_len(unsafe { libc::sendmsg(fd.as_raw_fd(), header, flags | libc::MSG_NOSIGNAL) })
}

/// `recvmsg(2)`; received descriptors are close-on-exec.
///
/// # Safety
///
/// The memory to which the header points is writable, with the lengths in the header.
pub unsafe fn recvmsg(fd: BorrowedFd, header: &mut msghdr, flags: c_int) -> Result<usize> {
    let flags = flags | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: the caller's promise.
    checked_len(unsafe { libc::recvmsg(fd.as_raw_fd(), header, flags) })
}

/// `connect(2)` to `AF_UNSPEC`, which ends the connection if the protocol supports that.
pub fn disconnect(fd: BorrowedFd) {
    let unspecified = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    // SAFETY: the kernel reads within `unspecified`.
    unsafe {
        libc::connect(
            fd.as_raw_fd(),
            &unspecified,
            size_of_val(&unspecified) as libc::socklen_t,
        )
    };
}

/// Whether the socket is local (`AF_UNIX`).
#[inline(never)]
pub fn is_local(fd: BorrowedFd) -> Result<bool> {
    Ok(int_option(fd, libc::SO_DOMAIN)? == libc::AF_UNIX)
}

/// Whether no further data can arrive: the peer has closed, or the receiving direction was shut
/// down.
pub fn has_ended(fd: BorrowedFd) -> Result<bool> {
    has_event(fd, libc::POLLRDHUP | libc::POLLHUP)
}

/// Whether the peer has closed, or both directions were shut down.
pub fn is_hung_up(fd: BorrowedFd) -> Result<bool> {
    has_event(fd, libc::POLLHUP)
}

fn has_event(fd: BorrowedFd, events: c_short) -> Result<bool> {
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    };
    loop {
        // SAFETY: the kernel writes one pollfd, to `poll`.
        match checked_int(unsafe { libc::poll(&mut poll, 1, 0) }.into()) {
            Err(error) if error == Errno::EINTR => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    Ok(poll.revents & events != 0)
}

/// Whether the socket is listening.
pub fn is_listening(fd: BorrowedFd) -> Result<bool> {
    Ok(int_option(fd, libc::SO_ACCEPTCONN)? != 0)
}

/// Returns the type of the socket.
pub fn socket_type(fd: BorrowedFd) -> Result<c_int> {
    int_option(fd, libc::SO_TYPE)
}

/// Returns the credentials that the kernel has recorded for the peer.
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

/// Reads an option of the level `SOL_SOCKET`. `T` consists of numbers, of which the kernel writes
/// all or some bytes.
#[inline(always)]
pub(super) fn option<T: Copy>(fd: BorrowedFd, name: c_int, value: &mut T) -> Result<()> {
    let mut len = size_of::<T>() as libc::socklen_t;
    let value = ptr::from_mut(value).cast();
    // SAFETY: the kernel writes at most `len` bytes of the value, and its size.
    let done = unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, name, value, &mut len) };
    checked_len(done as isize).map(drop)
}
