//! Waiting for a mutex with priority inheritance.
//!
//! While a thread waits, the kernel runs the owner with the waiter's priority if that is higher. An
//! unlock passes the mutex to the waiter with the highest priority (`FUTEX_LOCK_PI`, futex(2)), so
//! waiters of the same priority do not starve. The C library has to do the waiting, because it
//! records the owner that the kernel has chosen.

use super::process::Process;
use super::robust_mutex::RobustMutex;
use super::robust_wait::MAX_SLEEP;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, code_of, errno};
use crate::sys;
use libc::{c_int, clockid_t, pthread_mutex_t, timespec};
use nix::sys::time::TimeSpec;
use probe::probe;
use std::ptr;
use std::time::Duration;

/// Waits for a mutex that another thread holds, and locks it. `EOPNOTSUPP` if a signal handler must
/// end the wait, because the kernel restarts it.
pub fn wait(robust: &RobustMutex, process: Process, deadline: &mut Deadline) -> Result<()> {
    if deadline.ends_with_signal() {
        return Err(errno!(EOPNOTSUPP));
    }
    let word = ptr::from_ref(robust.futex());
    probe!(unixipc, lock_wait, word, robust.owner_id());
    let waited = wait_with_priority(robust, process, deadline);
    probe!(unixipc, lock_waited, word, code_of(&waited));
    waited
}

fn wait_with_priority(
    robust: &RobustMutex,
    process: Process,
    deadline: &mut Deadline,
) -> Result<()> {
    loop {
        let max_sleep = deadline
            .remaining()?
            .map_or(MAX_SLEEP, |time| time.min(MAX_SLEEP));
        // The C library does not handle the kernel's error for an owner that does not exist.
        robust.recover_if_owner_gone(process);
        match robust.lock_by(process, |raw| lock_with_timeout(raw, max_sleep)) {
            Err(error) if error == Errno::ETIMEDOUT => {}
            locked => return locked,
        }
    }
}

/// Locks a mutex of the C library, and waits for at most `time`. Returns the C library's result.
fn lock_with_timeout(raw: *mut pthread_mutex_t, time: Duration) -> c_int {
    match lock_until(
        raw,
        libc::CLOCK_MONOTONIC,
        after(sys::monotonic_time(), time),
    ) {
        // Before Linux 5.14 the kernel supports only CLOCK_REALTIME.
        libc::EINVAL => lock_until(raw, libc::CLOCK_REALTIME, after(sys::real_time(), time)),
        locked => locked,
    }
}

/// The absolute time `time` after `now`.
fn after(now: Duration, time: Duration) -> timespec {
    *TimeSpec::from(now.saturating_add(time)).as_ref()
}

#[cfg(target_env = "gnu")]
fn lock_until(raw: *mut pthread_mutex_t, clock: clockid_t, end: timespec) -> c_int {
    // The libc crate does not declare this function of glibc 2.30.
    unsafe extern "C" {
        fn pthread_mutex_clocklock(
            mutex: *mut pthread_mutex_t,
            clock: clockid_t,
            end: *const timespec,
        ) -> c_int;
    }
    // SAFETY: the caller's mutex; the time outlives the call.
    unsafe { pthread_mutex_clocklock(raw, clock, &end) }
}

#[cfg(not(target_env = "gnu"))]
fn lock_until(raw: *mut pthread_mutex_t, clock: clockid_t, end: timespec) -> c_int {
    if clock != libc::CLOCK_REALTIME {
        return libc::EINVAL;
    }
    // SAFETY: the caller's mutex; the time outlives the call.
    unsafe { libc::pthread_mutex_timedlock(raw, &end) }
}
