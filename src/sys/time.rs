//! The clock.

use std::mem::MaybeUninit;
use std::time::Duration;

/// [`monotonic_time`] in nanoseconds; 64 bits hold those of five hundred years.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = now();
    (now.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec as u64)
}

/// The time of `CLOCK_MONOTONIC`, which all processes of a machine share.
#[must_use]
pub fn monotonic_time() -> Duration {
    Duration::from_nanos(monotonic_ns())
}

fn now() -> libc::timespec {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the kernel writes the time, for which there is room; this clock exists always.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr()) };
    // SAFETY: zeros are a timespec too.
    unsafe { now.assume_init() }
}
