//! Which thread this is, where it runs, and whether it can be cancelled.

use super::checked_int;
use crate::errno::{Errno, preserve_errno};
use libc::{c_int, pid_t};
use std::marker::PhantomData;

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

/// Identifies the calling thread among the living threads of its process, without a system call.
#[must_use]
pub fn thread_token() -> u64 {
    // SAFETY: takes nothing, cannot fail.
    (unsafe { libc::pthread_self() }) as u64
}

/// Whether there is a process of this number.
#[must_use]
pub fn is_process(id: u32) -> bool {
    // SAFETY: signal 0 only asks.
    let found = preserve_errno(|| checked_int(unsafe { libc::kill(id as pid_t, 0) }.into()));
    // A process of another user refuses the signal.
    found != Err(Errno::ESRCH)
}

/// Defers the cancellation of the calling thread (pthread_cancel(3)) until it is dropped. A
/// cancelled thread runs no `Drop`, so it would leave descriptors and locks behind.
#[must_use]
pub struct CancelGuard {
    pub(super) before: c_int,
    /// The state belongs to the thread.
    _not_send: PhantomData<*const ()>,
}

impl CancelGuard {
    /// Disables cancellation.
    pub fn new() -> Self {
        Self {
            before: set_cancel_state(PTHREAD_CANCEL_DISABLE),
            _not_send: PhantomData,
        }
    }
}

impl Default for CancelGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        set_cancel_state(self.before);
    }
}

/// Of pthread.h, in glibc and musl.
pub(super) const PTHREAD_CANCEL_DISABLE: c_int = 1;

/// `pthread_setcancelstate(3)`, which is not a cancellation point. The previous state.
pub(super) fn set_cancel_state(state: c_int) -> c_int {
    // The libc crate does not have it.
    unsafe extern "C" {
        fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    }
    let mut before = 0;
    // SAFETY: it writes the previous state, which is ours. It fails for unknown states only.
    unsafe { pthread_setcancelstate(state, &mut before) };
    before
}

/// Whether this process certainly has one thread only.
#[must_use]
#[cfg(target_env = "gnu")]
pub fn is_single_threaded() -> bool {
    unsafe extern "C" {
        /// Of glibc 2.32 and later.
        static __libc_single_threaded: std::sync::atomic::AtomicI8;
    }
    // SAFETY: the C library's own byte, which it changes while there is one thread only.
    unsafe { &__libc_single_threaded }.load(std::sync::atomic::Ordering::Relaxed) != 0
}

/// Whether this process certainly has one thread only. This C library does not tell.
#[must_use]
#[cfg(not(target_env = "gnu"))]
pub fn is_single_threaded() -> bool {
    false
}
