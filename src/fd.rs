//! Descriptors that come from C.

use crate::errno::{Errno, Result};
use libc::c_int;
use std::os::fd::BorrowedFd;

/// A descriptor for the length of a call.
///
/// To make a `BorrowedFd` from −1 is undefined behaviour, so that is refused here; whether
/// the number is open the kernel says in the call that uses it.
pub fn borrow<'a>(fd: c_int) -> Result<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: not −1. That it stays open meanwhile is the caller's duty; where it does not,
    // the system call fails or meets another file, as it would in C.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}
