//! Threads: identity, processor, liveness, and cancellation.

use super::checked_int;
use super::pidfd::{has_process_ended, open_pidfd};
use crate::errno::{Errno, preserve_errno};
use libc::{c_int, pid_t};
use std::marker::PhantomData;

/// Returns the ID of the calling thread.
#[must_use]
pub fn thread_id() -> pid_t {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::gettid() }
}

/// Returns the number of the processor on which the calling thread runs, or has just run.
#[must_use]
#[inline]
pub fn processor() -> usize {
    // SAFETY: no arguments. On failure the result is -1; the callers accept any number.
    unsafe { libc::sched_getcpu() as usize }
}

/// Identifies the calling thread among the living threads of its process, without a system call:
/// the address of its thread-local memory. Never 0.
#[must_use]
#[inline]
pub fn thread_token() -> u64 {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    let token: u64;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: on x86-64 the word at fs:0 holds its own address.
    unsafe {
        std::arch::asm!("mov {}, fs:[0]", out(reg) token, options(pure, readonly, nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: reads a register.
    unsafe {
        std::arch::asm!("mrs {}, tpidr_el0", out(reg) token, options(pure, nomem, nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    // SAFETY: no arguments, cannot fail.
    let token: u64 = unsafe { libc::pthread_self() } as u64;
    token
}

/// Whether a process with this ID exists.
#[must_use]
pub fn is_process(id: u32) -> bool {
    // SAFETY: signal 0 only checks whether the process exists.
    let found = preserve_errno(|| checked_int(unsafe { libc::kill(id as pid_t, 0) }.into()));
    // A process of another user refuses the signal.
    found != Err(Errno::ESRCH)
}

/// Whether the thread with this ID is alive. True if the system does not report it.
#[must_use]
pub fn is_thread_alive(id: pid_t) -> bool {
    // This call accepts the ID of any thread, and needs no permission.
    let found = preserve_errno(|| {
        // SAFETY: no pointers.
        checked_int(unsafe { libc::syscall(libc::SYS_sched_getscheduler, id) })
    });
    found != Err(Errno::ESRCH) && !has_exited(id)
}

/// Whether a thread that still has an entry in the process table has exited: a zombie.
fn has_exited(id: pid_t) -> bool {
    /// `PIDFD_THREAD` of linux/pidfd.h (Linux 6.9): `id` may be that of any thread.
    const PIDFD_THREAD: c_int = libc::O_EXCL;
    // poll(2) and close(2) are cancellation points, and the locks are none.
    let _uncancelled = CancelGuard::new();
    preserve_errno(|| {
        let opened = open_pidfd(id, PIDFD_THREAD).or_else(|_| open_pidfd(id, 0));
        match opened {
            Ok(fd) => has_process_ended(&fd),
            Err(error) => error == Errno::ESRCH,
        }
    })
}

/// Defers the cancellation of the calling thread (pthread_cancel(3)) until it is dropped. A
/// cancelled thread runs no `Drop`, so it would leave descriptors and locks behind.
#[must_use]
pub struct CancelGuard {
    pub(super) before: c_int,
    /// The cancellation state belongs to the thread.
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

    /// Whether the thread could be cancelled before.
    #[must_use]
    pub fn was_enabled(&self) -> bool {
        self.before == PTHREAD_CANCEL_ENABLE
    }

    /// Lets a pending cancellation act, if the thread could be cancelled before.
    pub fn test(&self) {
        self.lifted(&[], test_cancel);
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

/// From pthread.h of glibc and musl.
const PTHREAD_CANCEL_ENABLE: c_int = 0;
pub(super) const PTHREAD_CANCEL_DISABLE: c_int = 1;

/// `pthread_testcancel(3)`: does not return if the thread is cancelled.
pub fn test_cancel() {
    // The libc crate does not declare it.
    unsafe extern "C" {
        fn pthread_testcancel();
    }
    // SAFETY: has no preconditions; the callers hold nothing that a `Drop` would release.
    unsafe { pthread_testcancel() };
}

/// `pthread_setcancelstate(3)`, which is not a cancellation point. Returns the previous state.
pub(super) fn set_cancel_state(state: c_int) -> c_int {
    // The libc crate does not declare it.
    unsafe extern "C" {
        fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    }
    let mut before = 0;
    // SAFETY: it writes the previous state, to `before`. It fails only for unknown states.
    unsafe { pthread_setcancelstate(state, &mut before) };
    before
}

/// From pthread.h of glibc and musl.
const PTHREAD_CANCEL_ASYNCHRONOUS: c_int = 1;

/// Runs a system call as a cancellation point: pthread_cancel(3) ends the calling thread at once if
/// it runs before `call` returns. The C library makes its own calls cancellation points in the same
/// way. While the thread has disabled its cancellation, it has no effect.
///
/// # Safety
///
/// `call` makes one system call through syscall(2) and nothing else. The thread may end before, in
/// or after that call, and runs no `Drop`. So neither `call` nor any caller in the library may hold
/// a resource.
#[inline(always)]
pub unsafe fn cancellable<T>(call: impl FnOnce() -> T) -> T {
    let before = set_cancel_type(PTHREAD_CANCEL_ASYNCHRONOUS);
    let result = call();
    set_cancel_type(before);
    result
}

/// `pthread_setcanceltype(3)`. Returns the previous type.
fn set_cancel_type(new: c_int) -> c_int {
    // The libc crate does not declare it.
    unsafe extern "C" {
        fn pthread_setcanceltype(new: c_int, before: *mut c_int) -> c_int;
    }
    let mut before = 0;
    // SAFETY: it writes the previous type, to `before`. It fails only for unknown types.
    unsafe { pthread_setcanceltype(new, &mut before) };
    before
}

/// Whether this process certainly has only one thread.
#[must_use]
#[cfg(target_env = "gnu")]
pub fn is_single_threaded() -> bool {
    unsafe extern "C" {
        /// From glibc 2.32 and later.
        static __libc_single_threaded: std::sync::atomic::AtomicI8;
    }
    // SAFETY: a byte of the C library, which it changes only while there is one thread.
    unsafe { &__libc_single_threaded }.load(std::sync::atomic::Ordering::Relaxed) != 0
}

/// Whether this process certainly has only one thread. This C library does not report it.
#[must_use]
#[cfg(not(target_env = "gnu"))]
pub fn is_single_threaded() -> bool {
    false
}
