//! Descriptors that come from C.

use crate::errno::{Errno, Result};
use libc::c_int;
use nix::fcntl::FcntlArg;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A descriptor for the length of a call.
///
/// To make a `BorrowedFd` from −1 is undefined behaviour, so that is refused here; whether
/// the number is open the kernel says in the call that uses it.
pub fn borrow<'a>(fd: c_int) -> Result<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: not −1. The caller must keep it open; where it does not,
    // the system call fails or meets another file, as it would in C.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Takes ownership of a descriptor that the kernel has just opened. `EBADF` for a negative number.
///
/// # Safety
///
/// Nothing else owns it.
#[inline(never)] // so that the check stays beside the use
pub unsafe fn own(fd: c_int) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Duplicates a descriptor to the lowest free number from `lowest` on; close-on-exec.
pub fn duplicate(fd: BorrowedFd, lowest: c_int) -> Result<OwnedFd> {
    let copy = nix::fcntl::fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(lowest))?;
    // SAFETY: the kernel has just opened it.
    unsafe { own(copy) }
}

/// The path by which a process can name one of its own descriptors.
pub struct FdPath {
    bytes: [u8; PREFIX.len() + DIGITS + 1],
}

const PREFIX: &[u8; 14] = b"/proc/self/fd/";
/// The largest descriptor has this number of digits.
const DIGITS: usize = 10;

impl FdPath {
    /// The path of a descriptor.
    #[must_use]
    pub fn new(fd: BorrowedFd) -> Self {
        let mut digits = [0; DIGITS];
        let (mut rest, mut count) = (fd.as_raw_fd(), 0);
        for digit in &mut digits {
            *digit = b'0' + (rest % 10) as u8;
            (rest, count) = (rest / 10, count + 1);
            if rest == 0 {
                break;
            }
        }
        let mut bytes = [0; PREFIX.len() + DIGITS + 1];
        let number = digits.iter().take(count).rev();
        for (to, from) in bytes.iter_mut().zip(PREFIX.iter().chain(number)) {
            *to = *from;
        }
        Self { bytes }
    }

    /// The path as a string.
    pub fn as_c_str(&self) -> Result<&CStr> {
        CStr::from_bytes_until_nul(&self.bytes).map_err(|_| Errno::EBADF)
    }
}
