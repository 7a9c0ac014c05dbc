//! The clock.

use std::mem::MaybeUninit;
use std::time::Duration;

/// [`monotonic_time`] in nanoseconds; 64 bits hold those of five hundred years.
#[must_use]
pub fn monotonic_ns() -> u64 {
    nanoseconds(now(libc::CLOCK_MONOTONIC))
}

fn nanoseconds(now: libc::timespec) -> u64 {
    (now.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec as u64)
}

/// The time of `CLOCK_MONOTONIC`, which all processes of a machine share.
#[must_use]
pub fn monotonic_time() -> Duration {
    Duration::from_nanos(monotonic_ns())
}

/// The time of `CLOCK_REALTIME`, which can be set.
#[must_use]
pub fn real_time() -> Duration {
    Duration::from_nanos(nanoseconds(now(libc::CLOCK_REALTIME)))
}

fn now(clock: libc::clockid_t) -> libc::timespec {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the kernel writes the time, for which there is room; these clocks exist always.
    unsafe { libc::clock_gettime(clock, now.as_mut_ptr()) };
    // SAFETY: zeros are a timespec too.
    unsafe { now.assume_init() }
}
