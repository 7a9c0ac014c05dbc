//! A pidfd of a peer: of the process that the kernel has recorded, and of no other one that has got
//! its ID since.

use crate::errno::{Errno, Result, errno};
use crate::pair::peer_cred;
use crate::process_start::start_time;
use crate::sys::{self, CancelGuard};
use libc::pid_t;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// Opens a pidfd of the peer of a connected local socket.
pub fn of_socket(socket: BorrowedFd) -> Result<OwnedFd> {
    // A cancelled thread would leave the descriptor open.
    let _uncancelled = CancelGuard::new();
    match sys::peer_pidfd(socket) {
        Ok(pidfd) => living(pidfd),
        Err(error) if error == Errno::ENODATA => Err(errno!(ENOTCONN)),
        // A kernel before Linux 6.5, or a system call filter.
        Err(error) if error.code() == libc::ENOPROTOOPT => of_recorded_id(socket),
        Err(error) if error.is_missing_call() => of_recorded_id(socket),
        Err(error) => Err(ended_if_not_found(error)),
    }
}

/// The same without the help of the kernel. While the connection exists, the peer has not closed
/// its end. So the recorded process has not ended, unless it has passed the end on.
fn of_recorded_id(socket: BorrowedFd) -> Result<OwnedFd> {
    let cred = peer_cred(socket)?;
    let pidfd = open(cred.pid)?;
    if sys::is_hung_up(socket)? {
        return Err(errno!(ESRCH));
    }
    living(pidfd)
}

/// Opens a pidfd of the process that had the ID `pid` at the time `seen` (`CLOCK_BOOTTIME`). A
/// process that has started later is another one.
pub fn of_process(pid: pid_t, seen: Duration) -> Result<OwnedFd> {
    let _uncancelled = CancelGuard::new();
    let pidfd = open(pid)?;
    let started = start_time(&pidfd);
    // Checked after that: an ID belongs to a process until it has ended.
    let pidfd = living(pidfd)?;
    if started? > seen {
        return Err(errno!(ESRCH));
    }
    Ok(pidfd)
}

fn open(pid: pid_t) -> Result<OwnedFd> {
    sys::open_pidfd(pid, 0).map_err(|error| match error.code() {
        libc::EPERM => errno!(ENOSYS), // from a system call filter
        _ => ended_if_not_found(error),
    })
}

/// Depending on the version, the kernel reports these errors for a process that has ended, for the
/// ID of a thread, and for 0, which is the ID of a process in another PID namespace.
fn ended_if_not_found(error: Errno) -> Errno {
    match error.code() {
        libc::EINVAL | libc::ENOENT => errno!(ESRCH),
        _ => error,
    }
}

/// `ESRCH` if the process has ended, whether its parent has waited for it or not.
fn living(pidfd: OwnedFd) -> Result<OwnedFd> {
    if sys::has_process_ended(&pidfd) {
        return Err(errno!(ESRCH));
    }
    Ok(pidfd)
}
