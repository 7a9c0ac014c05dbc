//! Descriptors of processes.

use super::checked_int;
use super::socket::option;
use crate::errno::Result;
use crate::fd::own;
use libc::{c_int, pid_t};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::slice;

/// `pidfd_open(2)`.
pub fn open_pidfd(id: pid_t, flags: c_int) -> Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = checked_int(unsafe { libc::syscall(libc::SYS_pidfd_open, id, flags) })?;
    // SAFETY: the kernel has just opened it.
    unsafe { own(fd) }
}

/// Whether the process, or the thread, has ended. False if the system does not report it.
#[inline(never)] // so that the compiler sees that the descriptor is not -1
pub fn has_process_ended(pidfd: &OwnedFd) -> bool {
    let mut fd = PollFd::new(pidfd.as_fd(), PollFlags::POLLIN);
    poll(slice::from_mut(&mut fd), PollTimeout::ZERO) == Ok(1)
}

/// Returns a pidfd of the process that the kernel has recorded as the peer of a socket
/// (Linux 6.5).
pub fn peer_pidfd(socket: BorrowedFd) -> Result<OwnedFd> {
    let mut fd: c_int = -1;
    option(socket, libc::SO_PEERPIDFD, &mut fd)?;
    // SAFETY: the kernel has just opened it.
    unsafe { own(fd) }
}
