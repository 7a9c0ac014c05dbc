//! Layer 3: the condition.

use super::lock::acquired;
use super::mutex::ipc_mutex;
use super::pointer::{SharedObject, object};
use crate::deadline::Deadline;
use crate::errno::{Result, errno, or_errno};
use crate::lock::cond::Cond;
use libc::{c_int, c_uint};

/// A condition in shared memory, made by ipc_cond_init. It occupies one cache line. Only the
/// library accesses the content.
#[repr(C, align(16))]
pub struct ipc_cond {
    reserved: [u64; 8],
}

impl SharedObject for ipc_cond {
    type Object = Cond;
}

/// Makes a condition. The memory may contain anything before.
///
/// c is in memory that all users of the condition share, and is aligned to 16 bytes. flags is 0.
/// The condition lives as long as the memory, and is not destroyed. Call this function once, before
/// any other use. ipc_cond_broadcast is cheaper if the condition and its mutex are in the same page
/// of 4096 bytes.
///
/// Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
/// and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EINVAL  c is NULL or not aligned to 16, or flags is not 0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cond_init(c: *mut ipc_cond, flags: c_uint) -> c_int {
    // SAFETY: the caller's object.
    let made = unsafe { object(c) }.and_then(|cond| match flags {
        0 => {
            cond.init();
            Ok(0)
        }
        _ => Err(errno!(EINVAL)),
    });
    or_errno(made, -1)
}

/// Waits for a change of the data that a mutex guards.
///
/// The calling thread holds m. The call unlocks m, and locks it again before it returns, however
/// long that takes. After 0, IPC_OWNER_DIED, EAGAIN, EINTR and ETIMEDOUT the thread holds m; after
/// the other errors m is as it was before. The call can return 0 without a signal: check the data
/// again, and wait again if necessary. A signal that comes after m was unlocked is not missed
/// (except if exactly 2^32 signals come before the thread runs again). All threads that wait for a
/// condition use the same mutex.
///
/// timeout_ms is as for ipc_mutex_lock; with 0 the call unlocks m and locks it again.
/// IPC_OWNER_DIED means the same as for ipc_mutex_lock, and takes precedence over an expired
/// time-out. It is also returned if m was already marked and the caller has not called
/// ipc_mutex_consistent. An owner that dies signals no thread: a thread that gets IPC_OWNER_DIED
/// must signal in its place.
///
/// Blocks as timeout_ms says, and then for m. A cancellation point: the cancellation acts within
/// 100 ms once m is unlocked, and the thread then holds m. May be called from any thread and in the
/// child after fork; not from a signal handler.
///
/// Returns 0 or IPC_OWNER_DIED, or -1 with errno:
///   EAGAIN     timeout_ms is 0
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     c or m is NULL or not aligned to 16, or timeout_ms is below -2
///   EPERM      this thread does not hold m
///   EPROTO     c is not a condition made by ipc_cond_init, or m is not a mutex
///   ESTALE     c or m was made by another version of the library, or m with another C library
///   ETIMEDOUT  the time-out expired
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cond_wait(
    c: *mut ipc_cond,
    m: *mut ipc_mutex,
    timeout_ms: c_int,
) -> c_int {
    let wait = || -> Result<c_int> {
        // SAFETY: the caller's object.
        let cond = unsafe { object(c) }?;
        // SAFETY: the caller's object.
        let mutex = unsafe { object(m) }?;
        cond.wait(mutex, Deadline::new(timeout_ms)?).map(acquired)
    };
    or_errno(wait(), -1)
}

/// Wakes at least one thread that waits for a condition.
///
/// Call it after the change, with or without the mutex. A waiting thread is sure to see the change
/// only if it was made with the mutex held. Use ipc_cond_broadcast if one change lets several
/// threads continue. If the thread that was woken is killed before it has locked the mutex, the
/// other waiting threads return within 100 ms in its place.
///
/// Does not block; makes no system call if no thread waits. If the process is killed in the call,
/// it has woken one thread or none. Not a cancellation point. May be called from any thread, from a
/// signal handler, and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EINVAL  c is NULL or not aligned to 16
///   EPROTO  c is not a condition made by ipc_cond_init
///   ESTALE  it was made by another version of the library
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cond_signal(c: *mut ipc_cond) -> c_int {
    // SAFETY: the caller's object.
    let signalled = unsafe { object(c) }.and_then(Cond::signal);
    or_errno(signalled.map(|()| 0), -1)
}

/// Wakes all threads that wait for a condition.
///
/// All else is as for ipc_cond_signal. If the condition and the mutex are in the same page of 4096
/// bytes, the call wakes one thread. Each unlock of the mutex then wakes the next one, so that the
/// threads do not compete for a locked mutex. If the process is killed in the call, it may have
/// woken none; the waiting threads then return within 100 ms.
///
/// Returns 0, or -1 with errno: ipc_cond_signal's errors, for the same reasons.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cond_broadcast(c: *mut ipc_cond) -> c_int {
    // SAFETY: the caller's object.
    let signalled = unsafe { object(c) }.and_then(Cond::broadcast);
    or_errno(signalled.map(|()| 0), -1)
}
