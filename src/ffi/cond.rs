//! Layer 3: the condition.

use super::lock::held;
use super::mutex::{ipc_mutex, mutex};
use super::pointer::object;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, or_errno};
use crate::lock::cond::Cond;
use libc::{c_int, c_uint};

/// A condition in shared memory, made by ipc_cond_init. One cache line; its contents belong to the
/// library.
#[repr(C, align(16))]
#[allow(non_camel_case_types)]
pub struct ipc_cond {
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<Cond>() <= size_of::<ipc_cond>());
const _: () = assert!(align_of::<Cond>() <= align_of::<ipc_cond>());

/// What C has as an ipc_cond.
///
/// # Safety
///
/// As for [`object`].
unsafe fn cond<'a>(at: *const ipc_cond) -> Result<&'a Cond> {
    // SAFETY: the caller's promise; a Cond is in the same place, and not larger.
    unsafe { object(at) }.map(|cond| unsafe { &*std::ptr::from_ref(cond).cast::<Cond>() })
}

/// Makes a condition, whatever the memory held.
///
/// c is in memory that all its users share, aligned to 16. flags is 0. The condition lives as
/// long as the memory, and is not destroyed. Call this once, before any other use. A condition that
/// lies in one page of 4096 bytes with its mutex is cheaper to broadcast to.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork. Not a cancellation point.
///
/// Returns 0, or -1 with errno:
///   EINVAL     c is NULL or not aligned to 16, or flags is not 0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cond_init(c: *mut ipc_cond, flags: c_uint) -> c_int {
    // SAFETY: the caller's object.
    let made = unsafe { cond(c) }.and_then(|cond| match flags {
        0 => {
            cond.init();
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    });
    or_errno(made, -1)
}

/// Waits for a change of the data that a mutex guards.
///
/// The calling thread holds m. The call unlocks it, and locks it again before it returns, however
/// long that takes: with 0, IPC_OWNER_DIED, EAGAIN, EINTR and ETIMEDOUT the thread holds m; with
/// the other errors m is as it was before. The call can return 0 without a signal: check the
/// condition again, and wait again if necessary. Signals that come after m was unlocked are not
/// missed (but for exactly 2^32 of them before the thread runs again). All waiters of a condition
/// use the same mutex.
///
/// timeout_ms is as for ipc_mutex_lock; 0 unlocks m and locks it again. IPC_OWNER_DIED is what
/// ipc_mutex_lock would return, and takes precedence over an expired time-out: it is also returned
/// where m was marked already and the caller has not called ipc_mutex_consistent. An owner that
/// dies signals no waiter: a thread that gets IPC_OWNER_DIED does it in its place.
///
/// Blocks as timeout_ms says, and then for m. May be called from any thread and in the child
/// after fork; not from a signal handler. A cancellation point: the cancellation acts within
/// 100 ms once m is unlocked, and the thread then holds m.
///
/// Returns 0 or IPC_OWNER_DIED, or -1 with errno:
///   EAGAIN     timeout_ms is 0
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     c or m is NULL or not aligned to 16, or timeout_ms is below -2
///   EPERM      this thread does not hold m
///   EPROTO     c is not a condition that ipc_cond_init made, or m not a mutex
///   ESTALE     one of them was made by another version of the library, or m with another C
///              library
///   ETIMEDOUT  the time-out expired
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cond_wait(
    c: *mut ipc_cond,
    m: *mut ipc_mutex,
    timeout_ms: c_int,
) -> c_int {
    let wait = || -> Result<c_int> {
        // SAFETY: the caller's object.
        let cond = unsafe { cond(c) }?;
        // SAFETY: the caller's object.
        let mutex = unsafe { mutex(m) }?;
        cond.wait(mutex, Deadline::new(timeout_ms)?).map(held)
    };
    or_errno(wait(), -1)
}

/// Wakes at least one thread that waits for a condition.
///
/// Call it after the change, with or without the mutex. A waiter sees the change only if it was
/// made with the mutex held. Use ipc_cond_broadcast where one change can let several waiters go
/// on. If the waiter that was woken is killed before it has locked the mutex, the other waiters
/// return within 100 ms in its place.
///
/// Does not block; without waiters it makes no system call. A process that is killed in it has
/// woken a waiter or none. May be called from any thread, from a signal handler, and in the child
/// after fork. Not a cancellation point.
///
/// Returns 0, or -1 with errno:
///   EINVAL     c is NULL or not aligned to 16
///   EPROTO     c is not a condition that ipc_cond_init made
///   ESTALE     it was made by another version of the library
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cond_signal(c: *mut ipc_cond) -> c_int {
    // SAFETY: the caller's object.
    let signalled = unsafe { cond(c) }.and_then(Cond::signal);
    or_errno(signalled.map(|()| 0), -1)
}

/// Wakes all threads that wait for a condition.
///
/// All is as for ipc_cond_signal. If the condition and the mutex lie in one page of 4096 bytes,
/// one waiter is woken, and the others sleep on until the mutex is unlocked, one after the other,
/// instead of all running into a locked mutex. A process that is killed in it may have woken none;
/// the waiters then return within 100 ms.
///
/// Returns 0, or -1 with errno: ipc_cond_signal's, for the same reasons.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cond_broadcast(c: *mut ipc_cond) -> c_int {
    // SAFETY: the caller's object.
    let signalled = unsafe { cond(c) }.and_then(Cond::broadcast);
    or_errno(signalled.map(|()| 0), -1)
}
