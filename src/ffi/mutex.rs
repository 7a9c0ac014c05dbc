//! Layer 3: the mutex.

use super::lock::held;
use super::pointer::object;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, or_errno};
use crate::lock::mutex::Mutex;
use libc::{c_int, c_uint, pid_t};

/// A flag of ipc_mutex_init: while a thread waits for the mutex, its owner runs with the priority of
/// that thread if it is higher.
pub const IPC_MUTEX_F_PRIO_INHERIT: c_uint = 1;

/// A mutex in shared memory, made by ipc_mutex_init. Two cache lines; its contents belong to the
/// library.
#[repr(C, align(16))]
#[allow(non_camel_case_types)]
pub struct ipc_mutex {
    reserved: [u64; 16],
}

const _: () = assert!(size_of::<Mutex>() <= size_of::<ipc_mutex>());
const _: () = assert!(align_of::<Mutex>() <= align_of::<ipc_mutex>());

/// What C has as an ipc_mutex.
///
/// # Safety
///
/// As for [`object`].
pub(super) unsafe fn mutex<'a>(at: *const ipc_mutex) -> Result<&'a Mutex> {
    // SAFETY: the caller's promise; a Mutex is in the same place, and not larger.
    unsafe { object(at) }.map(|mutex| unsafe { &*std::ptr::from_ref(mutex).cast::<Mutex>() })
}

/// Makes an unlocked mutex, whatever the memory held.
///
/// m is in memory that all users of the mutex share: a mapping that begins at a page for each of
/// them (at whatever address), aligned to 16. flags is 0 or IPC_MUTEX_F_PRIO_INHERIT, for real-time
/// programs. The mutex lives as long as the memory, and is not destroyed. Call this once, before
/// any other use; to call it for a mutex in use is an error that is not detected. A process that
/// is killed in the call leaves memory that is no mutex (EPROTO); call it again.
///
/// The mutex is the C library's robust one, shared between processes: the kernel releases it when
/// its owner dies. All users run in the PID namespace of the process that calls ipc_mutex_init,
/// use one C library, and trust each other: a process that can write the memory can crash the
/// users. ipc_semlock_open is for processes in several PID namespaces, or that do not trust each
/// other.
///
/// Does not block. May be called from any thread and in the child after fork; not from a signal
/// handler. Not a cancellation point.
///
/// Returns 0, or -1 with errno:
///   EINVAL      m is NULL or not aligned to 16, or flags has an unknown one
///   ENOMEM      no memory is left
///   EOPNOTSUPP  the system has no priority inheritance
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_init(m: *mut ipc_mutex, flags: c_uint) -> c_int {
    // SAFETY: the caller's object.
    let made = unsafe { mutex(m) }.and_then(|mutex| match flags {
        0 => mutex.init(false),
        IPC_MUTEX_F_PRIO_INHERIT => mutex.init(true),
        _ => Err(Errno::EINVAL),
    });
    or_errno(made.map(|()| 0), -1)
}

/// Locks a mutex.
///
/// A mutex whose owner died is locked all the same: IPC_OWNER_DIED says that the data it guards can
/// be half-changed. Each owner in turn is told so until one calls ipc_mutex_consistent. The mutex
/// belongs to the calling thread until ipc_mutex_unlock. If the thread ends or executes a program
/// before, that counts as its death.
///
/// timeout_ms is in milliseconds: -1 waits forever, 0 does not wait, IPC_WAIT_INTR waits until a
/// signal handler has run; a handler that runs before the call sleeps, or between two of its
/// sleeps (every 100 ms), does not end it. Waiters are not served in order, but a waiter that has
/// waited for a millisecond goes before a thread that comes later.
///
/// Blocks as timeout_ms says. May be called from any thread and in the child after fork (which
/// does not hold what its parent holds); not from a signal handler. Not a cancellation point.
/// siglongjmp(3) out of a signal handler may leave the call while it sleeps.
///
/// Returns 0 or IPC_OWNER_DIED with the mutex held, or -1 with errno:
///   EAGAIN      timeout_ms is 0, and another thread holds it
///   EDEADLK     this thread holds it already
///   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL      m is NULL or not aligned to 16, or timeout_ms is below -2
///   EOPNOTSUPP  timeout_ms is IPC_WAIT_INTR, the mutex has IPC_MUTEX_F_PRIO_INHERIT, and the
///               call would have to wait; or the process is the child of a bare clone(2)
///   EPROTO      m is not a mutex that ipc_mutex_init made
///   ESTALE      it was made by another version of the library, or with another C library
///   ETIMEDOUT   the time-out expired, and another thread still holds it
///   EXDEV       it was made in another PID namespace
///
/// Asking to go first is the starvation mode of Go's sync.Mutex (2016); the check whether the owner
/// still exists is this library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_lock(m: *mut ipc_mutex, timeout_ms: c_int) -> c_int {
    // SAFETY: the caller's object.
    let locked = unsafe { mutex(m) }.and_then(|mutex| mutex.lock(Deadline::new(timeout_ms)?));
    or_errno(locked.map(held), -1)
}

/// Marks the data that a mutex guards as consistent.
///
/// For its owner, after IPC_OWNER_DIED. Otherwise it changes nothing, and succeeds.
///
/// Does not block. May be called from any thread and in the child after fork. Not a cancellation
/// point.
///
/// Returns 0, or -1 with errno:
///   EINVAL      m is NULL or not aligned to 16
///   EOPNOTSUPP  the process is the child of a bare clone(2)
///   EPERM       this thread does not hold it
///   EPROTO      m is not a mutex that ipc_mutex_init made
///   ESTALE      it was made by another version of the library, or with another C library
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_consistent(m: *mut ipc_mutex) -> c_int {
    // SAFETY: the caller's object.
    let done = unsafe { mutex(m) }.and_then(Mutex::consistent);
    or_errno(done.map(|()| 0), -1)
}

/// Unlocks a mutex.
///
/// If ipc_mutex_lock returned IPC_OWNER_DIED and ipc_mutex_consistent was not called, the next
/// owner is told the same.
///
/// Does not block. May be called from any thread and in the child after fork; not from a signal
/// handler. Not a cancellation point.
///
/// Returns 0, or -1 with errno: ipc_mutex_consistent's, for the same reasons.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_unlock(m: *mut ipc_mutex) -> c_int {
    // SAFETY: the caller's object.
    let unlocked = unsafe { mutex(m) }.and_then(Mutex::unlock);
    or_errno(unlocked.map(|()| 0), -1)
}

/// Returns which thread holds a mutex.
///
/// Unless that is the calling thread, it can change at any time. After the death of an owner it
/// is 0 until another thread locks the mutex; where the kernel did not notice the death (see
/// ipc_mutex_init(3)), until a waiter has noticed it.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns the thread's id as gettid(2) has it, 0 if the mutex is free, or -1 with errno:
///   EINVAL     m is NULL or not aligned to 16
///   EPROTO     m is not a mutex that ipc_mutex_init made
///   ESTALE     it was made by another version of the library, or with another C library
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_owner(m: *const ipc_mutex) -> pid_t {
    // SAFETY: the caller's object.
    let owner = unsafe { mutex(m) }.and_then(Mutex::owner);
    or_errno(owner, -1)
}
