//! Layer 3: the mutex.

use super::lock::held;
use super::pointer::object;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, or_errno};
use crate::lock::mutex::Mutex;
use libc::{c_int, c_uint, pid_t};

/// A mutex in shared memory, made by ipc_mutex_init. Two cache lines; what is in it is the
/// library's.
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

/// Makes a mutex, free, out of memory of any contents.
///
/// m is in memory that all its users share: a mapping that begins at a page for each of them
/// (at whatever address), aligned to 16. flags is 0. The mutex lives as long as the memory, and
/// is not to be destroyed. Done once, before anybody else uses it; to make one anew that
/// somebody uses or holds is an error that nobody sees. Who is killed while making one leaves
/// memory that is no mutex (EPROTO), and is made one by the next.
///
/// The mutex is the C library's robust one, shared between processes: the kernel itself gives
/// it up when its owner dies. All users run in one PID namespace and with one C library, and
/// trust each other: who can write the memory can crash those who use it. ipc_semlock_open is
/// for those who do not.
///
/// Does not block. May be called from any thread and in the child after fork; not from a signal
/// handler.
///
/// Returns 0, or -1 with errno:
///   EINVAL     m is NULL or not aligned to 16, or flags is not 0
///   ENOMEM     no memory is left
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_init(m: *mut ipc_mutex, flags: c_uint) -> c_int {
    // SAFETY: the caller's object.
    let made = unsafe { mutex(m) }.and_then(|mutex| match flags {
        0 => mutex.init(),
        _ => Err(Errno::EINVAL),
    });
    or_errno(made.map(|()| 0), -1)
}

/// Locks a mutex.
///
/// A mutex whose owner died is locked all the same: IPC_OWNER_DIED says that what it guards can
/// be half-changed. It says so to each owner in turn until one calls ipc_mutex_consistent. The
/// mutex belongs to the calling thread, and is held until ipc_mutex_unlock: the memory stays
/// mapped meanwhile, and the thread does not end (that is a death too, and so is exec).
///
/// timeout_ms is in milliseconds: -1 waits for ever, 0 not at all, IPC_WAIT_INTR until a
/// signal handler ran; one that runs before the call sleeps, or while it looks in between (every
/// 100 ms), does not end it. Who waits sleeps, and is not served in order.
///
/// Blocks as timeout_ms says. May be called from any thread and in the child after fork (which
/// does not hold what its parent holds); not from a signal handler.
///
/// Returns 0 or IPC_OWNER_DIED with the mutex held, or -1 with errno:
///   EAGAIN     timeout_ms is 0, and somebody else holds it
///   EDEADLK    this thread holds it already
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     m is NULL or not aligned to 16, or timeout_ms is below -2
///   EPROTO     m is not a mutex that ipc_mutex_init made
///   ESTALE     it was made by another version of the library, or with another C library
///   ETIMEDOUT  the time is over, and somebody else still holds it
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_lock(m: *mut ipc_mutex, timeout_ms: c_int) -> c_int {
    // SAFETY: the caller's object.
    let locked = unsafe { mutex(m) }.and_then(|mutex| mutex.lock(Deadline::new(timeout_ms)?));
    or_errno(locked.map(held), -1)
}

/// Says that what a mutex guards is consistent (again).
///
/// For its owner, after IPC_OWNER_DIED. Without that it changes nothing, and is no error.
///
/// Does not block. May be called from any thread and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EINVAL     m is NULL or not aligned to 16
///   EPERM      this thread does not hold it
///   EPROTO     m is not a mutex that ipc_mutex_init made
///   ESTALE     it was made by another version of the library, or with another C library
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_consistent(m: *mut ipc_mutex) -> c_int {
    // SAFETY: the caller's object.
    let done = unsafe { mutex(m) }.and_then(Mutex::consistent);
    or_errno(done.map(|()| 0), -1)
}

/// Unlocks a mutex.
///
/// Where ipc_mutex_lock returned IPC_OWNER_DIED and ipc_mutex_consistent was not called, the
/// next owner is told the same.
///
/// Does not block. May be called from any thread and in the child after fork; not from a signal
/// handler.
///
/// Returns 0, or -1 with errno: ipc_mutex_consistent's, for the same reasons.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mutex_unlock(m: *mut ipc_mutex) -> c_int {
    // SAFETY: the caller's object.
    let unlocked = unsafe { mutex(m) }.and_then(Mutex::unlock);
    or_errno(unlocked.map(|()| 0), -1)
}

/// Tells which thread holds a mutex.
///
/// Another thread's answer is old by the time it is looked at. An owner that died is none: it
/// is 0 until the next one locks the mutex.
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
