//! Layer 3: the reader-writer lock.

use super::lock::held;
use super::pointer::object;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, or_errno};
use crate::lock::rwlock::{READERS_MAX, Rwlock, SIZE};
use libc::{c_int, c_uint};

/// How many threads can hold an ipc_rwlock for reading at once; more wait for one of them.
pub const IPC_RWLOCK_READERS_MAX: usize = 128;
const _: () = assert!(IPC_RWLOCK_READERS_MAX == READERS_MAX);

/// A reader-writer lock in shared memory, made by ipc_rwlock_init. 131 cache lines; its contents
/// belong to the library.
#[repr(C, align(16))]
#[allow(non_camel_case_types)]
pub struct ipc_rwlock {
    reserved: [u64; 1048],
}

const _: () = assert!(SIZE == size_of::<ipc_rwlock>());
const _: () = assert!(align_of::<Rwlock>() <= align_of::<ipc_rwlock>());

/// What C has as an ipc_rwlock.
///
/// # Safety
///
/// As for [`object`].
unsafe fn rwlock<'a>(at: *const ipc_rwlock) -> Result<&'a Rwlock> {
    // SAFETY: the caller's promise; a Rwlock is in the same place, and as large.
    unsafe { object(at) }.map(|lock| unsafe { &*std::ptr::from_ref(lock).cast::<Rwlock>() })
}

/// Makes an unlocked reader-writer lock, whatever the memory held.
///
/// All is as for ipc_mutex_init; flags is 0. Readers on different processors write to no common
/// cache line. A writer locks one mutex, and checks each slot that a reader has ever used.
///
/// Does not block. May be called from any thread and in the child after fork; not from a signal
/// handler. Not a cancellation point.
///
/// Returns 0, or -1 with errno:
///   EINVAL     l is NULL or not aligned to 16, or flags is not 0
///   ENOMEM     no memory is left
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_rwlock_init(l: *mut ipc_rwlock, flags: c_uint) -> c_int {
    // SAFETY: the caller's object.
    let made = unsafe { rwlock(l) }.and_then(|lock| match flags {
        0 => lock.init(),
        _ => Err(Errno::EINVAL),
    });
    or_errno(made.map(|()| 0), -1)
}

/// Locks for reading: up to IPC_RWLOCK_READERS_MAX threads at once, and no writer meanwhile.
///
/// IPC_OWNER_DIED says that a writer died, and the data that the lock guards can be half-changed:
/// each reader and writer is told so until a writer calls ipc_rwlock_consistent. The death of a
/// reader is not reported. A reader that comes while a writer waits for readers comes after the
/// writer, unless that is stopped: after half a second without progress of the writer the reader
/// goes first. A reader that comes when a writer unlocks may come before the next writer. A thread
/// may lock for reading more than once, and unlocks as often; where it would have to wait for a
/// writer that waits for its own first lock, the error is EDEADLK.
///
/// The lock belongs to the calling thread until ipc_rwlock_rdunlock. timeout_ms is as for
/// ipc_mutex_lock.
///
/// Blocks as timeout_ms says. May be called from any thread and in the child after fork (which
/// does not hold what its parent holds); not from a signal handler. Not a cancellation point.
/// After siglongjmp(3) out of a signal handler that interrupted the call, call
/// ipc_rwlock_wrunlock: the thread may hold a part of the lock.
///
/// Returns 0 or IPC_OWNER_DIED with the lock held, or -1 with errno:
///   EAGAIN      timeout_ms is 0, and it would have to wait
///   EDEADLK     this thread holds it for writing; or it holds it for reading, and would wait
///               for a thread that can wait for this very thread
///   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL      l is NULL or not aligned to 16, or timeout_ms is below -2
///   EOPNOTSUPP  the process is the child of a bare clone(2)
///   EPROTO      l is not a lock that ipc_rwlock_init made
///   ESTALE      it was made by another version of the library, or with another C library
///   ETIMEDOUT   the time-out expired
///   EXDEV       it was made in another PID namespace
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_rwlock_rdlock(l: *mut ipc_rwlock, timeout_ms: c_int) -> c_int {
    // SAFETY: the caller's object.
    let locked = unsafe { rwlock(l) }.and_then(|lock| lock.rdlock(Deadline::new(timeout_ms)?));
    or_errno(locked.map(held), -1)
}

/// Unlocks after reading.
///
/// Does not block. May be called from any thread and in the child after fork; not from a signal
/// handler. Not a cancellation point.
///
/// Returns 0, or -1 with errno:
///   EINVAL      l is NULL or not aligned to 16
///   EOPNOTSUPP  the process is the child of a bare clone(2)
///   EPERM       this thread does not hold it for reading
///   EPROTO      l is not a lock that ipc_rwlock_init made
///   ESTALE      it was made by another version of the library, or with another C library
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_rwlock_rdunlock(l: *mut ipc_rwlock) -> c_int {
    // SAFETY: the caller's object.
    let unlocked = unsafe { rwlock(l) }.and_then(Rwlock::rdunlock);
    or_errno(unlocked.map(|()| 0), -1)
}

/// Locks for writing: no other thread has the lock in any way.
///
/// All else is as for ipc_rwlock_rdlock. A writer waits for the writers before it and then for the
/// present readers, but not for readers that come later; a writer whose time-out expires lets
/// those in.
///
/// After siglongjmp(3) out of a signal handler that interrupted the call, call
/// ipc_rwlock_wrunlock, or ipc_rwlock_wrlock again.
///
/// Returns 0 or IPC_OWNER_DIED with the lock held, or -1 with errno:
///   EAGAIN      timeout_ms is 0, and another thread holds it
///   EDEADLK     this thread holds it already, for reading or writing
///   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL      l is NULL or not aligned to 16, or timeout_ms is below -2
///   EOPNOTSUPP  the process is the child of a bare clone(2)
///   EPROTO      l is not a lock that ipc_rwlock_init made
///   ESTALE      it was made by another version of the library, or with another C library
///   ETIMEDOUT   the time-out expired, and another thread still holds it
///   EXDEV       it was made in another PID namespace
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_rwlock_wrlock(l: *mut ipc_rwlock, timeout_ms: c_int) -> c_int {
    // SAFETY: the caller's object.
    let locked = unsafe { rwlock(l) }.and_then(|lock| lock.wrlock(Deadline::new(timeout_ms)?));
    or_errno(locked.map(held), -1)
}

/// Unlocks after writing.
///
/// If ipc_rwlock_wrlock returned IPC_OWNER_DIED and ipc_rwlock_consistent was not called, the next
/// owners are told the same. The call also gives up what a wait holds that siglongjmp(3) has left.
///
/// Does not block. May be called from any thread and in the child after fork; not from a signal
/// handler. Not a cancellation point.
///
/// Returns 0, or -1 with errno: ipc_rwlock_rdunlock's, for the same reasons.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_rwlock_wrunlock(l: *mut ipc_rwlock) -> c_int {
    // SAFETY: the caller's object.
    let unlocked = unsafe { rwlock(l) }.and_then(Rwlock::wrunlock);
    or_errno(unlocked.map(|()| 0), -1)
}

/// Marks the data that a reader-writer lock guards as consistent.
///
/// For the thread that holds it for writing, after IPC_OWNER_DIED. Otherwise it changes nothing,
/// and succeeds.
///
/// Does not block. May be called from any thread and in the child after fork. Not a cancellation
/// point.
///
/// Returns 0, or -1 with errno: ipc_rwlock_rdunlock's, for the same reasons; EPERM says that this
/// thread does not hold it for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_rwlock_consistent(l: *mut ipc_rwlock) -> c_int {
    // SAFETY: the caller's object.
    let done = unsafe { rwlock(l) }.and_then(Rwlock::consistent);
    or_errno(done.map(|()| 0), -1)
}
