//! Clocks.

use std::mem::MaybeUninit;
use std::time::Duration;

/// Returns [`monotonic_time`] in nanoseconds; 64 bits hold five hundred years.
#[must_use]
pub fn monotonic_ns() -> u64 {
    nanoseconds(now(libc::CLOCK_MONOTONIC))
}

fn nanoseconds(now: libc::timespec) -> u64 {
    (now.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec as u64)
}

/// Returns the time of `CLOCK_MONOTONIC`, which all processes of a machine share.
#[must_use]
pub fn monotonic_time() -> Duration {
    Duration::from_nanos(monotonic_ns())
}

/// Returns the time of `CLOCK_MONOTONIC` in milliseconds. It can be some milliseconds old, and is
/// cheaper to read.
#[must_use]
pub fn coarse_ms() -> u64 {
    nanoseconds(now(libc::CLOCK_MONOTONIC_COARSE)) / 1_000_000
}

/// Returns the time of `CLOCK_REALTIME`, which an administrator can set.
#[must_use]
pub fn real_time() -> Duration {
    Duration::from_nanos(nanoseconds(now(libc::CLOCK_REALTIME)))
}

/// Returns the time of `CLOCK_BOOTTIME`: the time since the boot, also while the machine was
/// suspended.
#[must_use]
pub fn boot_time() -> Duration {
    Duration::from_nanos(nanoseconds(now(libc::CLOCK_BOOTTIME)))
}

fn now(clock: libc::clockid_t) -> libc::timespec {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the kernel writes one timespec; these clocks always exist.
    unsafe { libc::clock_gettime(clock, now.as_mut_ptr()) };
    // SAFETY: zeros are a valid timespec.
    unsafe { now.assume_init() }
}
