//! Descriptors that come from C.

use crate::errno::{Result, errno};
use libc::c_int;
use nix::fcntl::FcntlArg;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

/// Borrows a descriptor for the duration of a call.
///
/// A `BorrowedFd` of −1 is undefined behaviour, so negative numbers fail with `EBADF` here. The
/// kernel checks in the call that uses the descriptor whether it is open.
pub fn borrow<'a>(fd: c_int) -> Result<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(errno!(EBADF));
    }
    // SAFETY: not −1. The caller keeps it open; otherwise the system call fails or uses another
    // file, as in C.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Takes ownership of a descriptor that the kernel has just opened. Fails with `EBADF` for a
/// negative number.
///
/// # Safety
///
/// Nothing else owns it.
#[inline(never)] // one copy of the check
pub unsafe fn own(fd: c_int) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(errno!(EBADF));
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Duplicates a descriptor to the lowest free number that is at least `lowest`. The duplicate is
/// close-on-exec.
pub fn duplicate(fd: BorrowedFd, lowest: c_int) -> Result<OwnedFd> {
    let copy = nix::fcntl::fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: the kernel has just opened it.
    unsafe { own(copy) }
}
