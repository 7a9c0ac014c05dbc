use super::checked_int;
use crate::errno::Result;
use libc::c_int;

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
