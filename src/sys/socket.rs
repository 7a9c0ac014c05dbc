//! Sockets. The transfers are here and not nix's, whose `sendmsg` and `recvmsg` allocate.

use super::{checked_int, checked_len};
use crate::errno::Result;
use libc::{c_int, msghdr};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

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

/// `send(2)`, without SIGPIPE.
pub fn send(fd: BorrowedFd, bytes: &[u8], flags: c_int) -> Result<usize> {
    let flags = flags | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads within `bytes`.
    checked_len(unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// `sendto(2)`, without SIGPIPE.
pub fn sendto(fd: BorrowedFd, bytes: &[u8], flags: c_int, address: &[u8]) -> Result<usize> {
    let flags = flags | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads within `bytes` and `address`.
    checked_len(unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            flags,
            address.as_ptr().cast(),
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
pub fn is_local(fd: BorrowedFd) -> Result<bool> {
    let mut domain: c_int = 0;
    let mut len = size_of_val(&domain) as libc::socklen_t;
    // SAFETY: the kernel writes an int and its size.
    checked_len(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_DOMAIN,
            (&raw mut domain).cast(),
            &mut len,
        )
    } as isize)?;
    Ok(domain == libc::AF_UNIX)
}
