//! The clock, and the processor that a thread is on.

use std::mem::MaybeUninit;
use std::time::Duration;

/// The time of `CLOCK_MONOTONIC`, which all processes of a machine share.
#[must_use]
pub fn monotonic_time() -> Duration {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the kernel writes the time, for which there is room; this clock exists always.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr()) };
    // SAFETY: zeros are a timespec too.
    let now = unsafe { now.assume_init() };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// The processor on which the calling thread is now; nothing where the system does not say.
#[must_use]
pub fn processor() -> Option<u32> {
    // SAFETY: takes nothing. The C library knows it without a system call, where it can.
    u32::try_from(unsafe { libc::sched_getcpu() }).ok()
}
