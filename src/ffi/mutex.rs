//! Layer 3: the mutex.

use super::lock::acquired;
use super::pointer::{SharedObject, object};
use crate::deadline::Deadline;
use crate::errno::{errno, or_errno};
use crate::lock::mutex::Mutex;
use libc::{c_int, c_uint, pid_t};

/// Flag of ipc_mutex_init: while a thread of higher priority waits for the mutex, the owner runs
/// with that priority.
pub const IPC_MUTEX_F_PRIO_INHERIT: c_uint = 1;

/// A mutex in shared memory, made by ipc_mutex_init. It occupies two cache lines. Only the library
/// accesses the content.
#[repr(C, align(16))]
pub struct ipc_mutex {
    reserved: [u64; 16],
}

impl SharedObject for ipc_mutex {
    type Object = Mutex;
}

/// Makes an unlocked mutex. The memory may contain anything before.
///
/// m is in memory that all users of the mutex share, and is aligned to 16 bytes. Each user maps the
/// memory from the beginning of a page, at any address. flags is 0 or IPC_MUTEX_F_PRIO_INHERIT, for
/// real-time programs. The mutex lives as long as the memory, and is not destroyed. Call this
/// function once, before any other use; it does not detect a mutex that is in use. If the process
/// is killed in the call, the memory contains no mutex, and other calls fail with EPROTO; call it
/// again.
///
/// The mutex is the C library's robust, process-shared mutex: the kernel releases it when its owner
/// dies. All users must run in the PID namespace of the process that calls ipc_mutex_init, use the
/// same C library, and trust each other: a process that can write the memory can crash the users.
/// For processes in several PID namespaces, or that do not trust each other, use ipc_semlock_open.
///
/// Does not block. Not a cancellation point. May be called from any thread and in the child after
/// fork; not from a signal handler.
///
/// Returns 0, or -1 with errno:
///   EINVAL      m is NULL or not aligned to 16, or flags has an unknown flag
///   ENOMEM      no memory is left
///   EOPNOTSUPP  the system does not support priority inheritance
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_init(m: *mut ipc_mutex, flags: c_uint) -> c_int {
    // SAFETY: the caller's object.
    let made = unsafe { object(m) }.and_then(|mutex| match flags {
        0 => mutex.init(false),
        IPC_MUTEX_F_PRIO_INHERIT => mutex.init(true),
        _ => Err(errno!(EINVAL)),
    });
    or_errno(made.map(|()| 0), -1)
}

/// Locks a mutex.
///
/// If the owner died, the call locks the mutex and returns IPC_OWNER_DIED: the data that it guards
/// can be half changed. Each subsequent owner gets IPC_OWNER_DIED until one calls
/// ipc_mutex_consistent. The mutex belongs to the calling thread until ipc_mutex_unlock. If the
/// thread ends or executes a program before, that counts as its death.
///
/// timeout_ms is in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits
/// until a signal handler has run. A handler that runs before the call sleeps, or between two of
/// its sleeps (every 100 ms), does not end it. Waiting threads acquire the mutex in no particular
/// order, but a thread that has waited for a millisecond takes precedence over threads that arrive
/// later.
///
/// Blocks as timeout_ms says. Not a cancellation point. May be called from any thread and in the
/// child after fork (which does not hold the locks of its parent); not from a signal handler. A
/// signal handler may leave the call by siglongjmp(3) while it sleeps.
///
/// Returns 0 or IPC_OWNER_DIED with the mutex held, or -1 with errno:
///   EAGAIN      timeout_ms is 0, and another thread holds it
///   EDEADLK     this thread already holds it
///   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL      m is NULL or not aligned to 16, or timeout_ms is below -2
///   EOPNOTSUPP  timeout_ms is IPC_WAIT_INTR, the mutex has IPC_MUTEX_F_PRIO_INHERIT, and the call
///               would have to wait; or the process was made by a direct clone(2), and not by fork
///   EPROTO      m is not a mutex made by ipc_mutex_init
///   ESTALE      it was made by another version of the library, or with another C library
///   ETIMEDOUT   the time-out expired, and another thread still holds it
///   EXDEV       it was made in another PID namespace
///
/// The precedence of threads that have waited long is the starvation mode of Go's sync.Mutex
/// (2016); the check whether the owner still exists is this library's own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_lock(m: *mut ipc_mutex, timeout_ms: c_int) -> c_int {
    // SAFETY: the caller's object.
    let locked = unsafe { object(m) }.and_then(|mutex| mutex.lock(Deadline::new(timeout_ms)?));
    or_errno(locked.map(acquired), -1)
}

/// Marks the data that a mutex guards as consistent.
///
/// The owner calls it after IPC_OWNER_DIED. At other times it changes nothing, and succeeds.
///
/// Does not block. Not a cancellation point. May be called from any thread and in the child after
/// fork; not from a signal handler.
///
/// Returns 0, or -1 with errno:
///   EINVAL      m is NULL or not aligned to 16
///   EOPNOTSUPP  the process was made by a direct clone(2), and not by fork
///   EPERM       this thread does not hold it
///   EPROTO      m is not a mutex made by ipc_mutex_init
///   ESTALE      it was made by another version of the library, or with another C library
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_consistent(m: *mut ipc_mutex) -> c_int {
    // SAFETY: the caller's object.
    let done = unsafe { object(m) }.and_then(Mutex::consistent);
    or_errno(done.map(|()| 0), -1)
}

/// Unlocks a mutex.
///
/// If ipc_mutex_lock returned IPC_OWNER_DIED and ipc_mutex_consistent was not called, the next
/// owner gets IPC_OWNER_DIED too.
///
/// Does not block. Not a cancellation point. May be called from any thread and in the child after
/// fork; not from a signal handler.
///
/// Returns 0, or -1 with errno: ipc_mutex_consistent's errors, for the same reasons.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_unlock(m: *mut ipc_mutex) -> c_int {
    // SAFETY: the caller's object.
    let unlocked = unsafe { object(m) }.and_then(Mutex::unlock);
    or_errno(unlocked.map(|()| 0), -1)
}

/// Returns the thread that holds a mutex.
///
/// Unless that is the calling thread, the owner can change at any time. After the death of the
/// owner the result is 0 until another thread locks the mutex. If the kernel did not notice the
/// death (see ipc_mutex_init(3)), the result is 0 only after a waiting thread has noticed it.
///
/// Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
/// and in the child after fork.
///
/// Returns the ID of the thread, as gettid(2) does, or 0 if the mutex is unlocked; or
/// -1 with errno:
///   EINVAL  m is NULL or not aligned to 16
///   EPROTO  m is not a mutex made by ipc_mutex_init
///   ESTALE  it was made by another version of the library, or with another C library
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_owner(m: *const ipc_mutex) -> pid_t {
    // SAFETY: the caller's object.
    let owner = unsafe { object(m) }.and_then(Mutex::owner);
    or_errno(owner, -1)
}
