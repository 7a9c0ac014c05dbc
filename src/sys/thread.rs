//! Which thread this is, and where it runs.

use libc::pid_t;

/// The calling thread's id.
#[must_use]
pub fn thread_id() -> pid_t {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::gettid() }
}

/// The number of the processor that the calling thread runs on, or ran on just now.
#[must_use]
#[inline]
pub fn processor() -> usize {
    // SAFETY: takes nothing. Where the system does not tell it is -1: any number will do.
    unsafe { libc::sched_getcpu() as usize }
}
