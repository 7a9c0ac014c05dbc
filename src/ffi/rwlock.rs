//! Layer 3: the reader-writer lock.

use super::lock::acquired;
use super::pointer::{SharedObject, object};
use crate::deadline::Deadline;
use crate::errno::{errno, or_errno};
use crate::lock::rwlock::{READERS_MAX, Rwlock, SIZE};
use libc::{c_int, c_uint};

/// The largest number of threads that can hold an ipc_rwlock for reading at once; further threads
/// wait for one of them.
pub const IPC_RWLOCK_READERS_MAX: usize = 128;
const _: () = assert!(IPC_RWLOCK_READERS_MAX == READERS_MAX);

/// A reader-writer lock in shared memory, made by ipc_rwlock_init. It occupies 131 cache lines.
/// Only the library accesses the content.
#[repr(C, align(16))]
pub struct ipc_rwlock {
    reserved: [u64; 1048],
}

impl SharedObject for ipc_rwlock {
    type Object = Rwlock;
}
const _: () = assert!(SIZE == size_of::<ipc_rwlock>());

/// Makes an unlocked reader-writer lock. The memory may contain anything before.
///
/// All is as for ipc_mutex_init; flags is 0. Readers on different processors write to no common
/// cache line. A writer locks one mutex, and checks each slot that a reader has ever used.
///
/// Does not block. Not a cancellation point. May be called from any thread and in the child after
/// fork; not from a signal handler.
///
/// Returns 0, or -1 with errno:
///   EINVAL  l is NULL or not aligned to 16, or flags is not 0
///   ENOMEM  no memory is left
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_rwlock_init(l: *mut ipc_rwlock, flags: c_uint) -> c_int {
    // SAFETY: the caller's object.
    let made = unsafe { object(l) }.and_then(|lock| match flags {
        0 => lock.init(),
        _ => Err(errno!(EINVAL)),
    });
    or_errno(made.map(|()| 0), -1)
}

/// Locks for reading. Up to IPC_RWLOCK_READERS_MAX threads can hold the lock for reading at once,
/// while no thread holds it for writing.
///
/// IPC_OWNER_DIED means that a writer died while it held the lock, and the data that the lock
/// guards can be half changed. Each reader and writer gets it until a writer calls
/// ipc_rwlock_consistent. The death of a reader is not reported. A reader that arrives while a
/// writer waits for other readers acquires the lock after that writer. If the writer makes no
/// progress for half a second, because it is stopped, the reader goes first. A reader that arrives
/// when a writer unlocks may acquire the lock before the next writer. A thread may lock for reading
/// more than once, and must unlock as often. If it would have to wait for a writer that waits for
/// its own first lock, the call fails with EDEADLK.
///
/// The lock belongs to the calling thread until ipc_rwlock_rdunlock. timeout_ms is as for
/// ipc_mutex_lock.
///
/// Blocks as timeout_ms says. Not a cancellation point. May be called from any thread and in the
/// child after fork (which does not hold the locks of its parent); not from a signal handler. If a
/// signal handler leaves the call by siglongjmp(3), call ipc_rwlock_wrunlock, because the thread
/// may hold a part of the lock.
///
/// Returns 0 or IPC_OWNER_DIED with the lock held, or -1 with errno:
///   EAGAIN      timeout_ms is 0, and the call would have to wait
///   EDEADLK     this thread holds it for writing; or it holds it for reading, and would wait for a
///               thread that can wait for this thread
///   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL      l is NULL or not aligned to 16, or timeout_ms is below -2
///   EOPNOTSUPP  the process was made by a direct clone(2), and not by fork
///   EPROTO      l is not a lock made by ipc_rwlock_init
///   ESTALE      it was made by another version of the library, or with another C library
///   ETIMEDOUT   the time-out expired
///   EXDEV       it was made in another PID namespace
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_rwlock_rdlock(l: *mut ipc_rwlock, timeout_ms: c_int) -> c_int {
    // SAFETY: the caller's object.
    let locked = unsafe { object(l) }.and_then(|lock| lock.rdlock(Deadline::new(timeout_ms)?));
    or_errno(locked.map(acquired), -1)
}

/// Unlocks after reading.
///
/// Does not block. Not a cancellation point. May be called from any thread and in the child after
/// fork; not from a signal handler.
///
/// Returns 0, or -1 with errno:
///   EINVAL      l is NULL or not aligned to 16
///   EOPNOTSUPP  the process was made by a direct clone(2), and not by fork
///   EPERM       this thread does not hold it for reading
///   EPROTO      l is not a lock made by ipc_rwlock_init
///   ESTALE      it was made by another version of the library, or with another C library
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_rwlock_rdunlock(l: *mut ipc_rwlock) -> c_int {
    // SAFETY: the caller's object.
    let unlocked = unsafe { object(l) }.and_then(Rwlock::rdunlock);
    or_errno(unlocked.map(|()| 0), -1)
}

/// Locks for writing. No other thread can hold the lock at the same time.
///
/// All else is as for ipc_rwlock_rdlock. A writer waits for the writers that arrived before it and
/// then for the present readers, but not for readers that arrive later. When the time-out of a
/// writer expires, these readers can acquire the lock.
///
/// If a signal handler leaves the call by siglongjmp(3), call ipc_rwlock_wrunlock, or
/// ipc_rwlock_wrlock again.
///
/// Returns 0 or IPC_OWNER_DIED with the lock held, or -1 with errno:
///   EAGAIN      timeout_ms is 0, and another thread holds it
///   EDEADLK     this thread already holds it, for reading or writing
///   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL      l is NULL or not aligned to 16, or timeout_ms is below -2
///   EOPNOTSUPP  the process was made by a direct clone(2), and not by fork
///   EPROTO      l is not a lock made by ipc_rwlock_init
///   ESTALE      it was made by another version of the library, or with another C library
///   ETIMEDOUT   the time-out expired, and another thread still holds it
///   EXDEV       it was made in another PID namespace
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_rwlock_wrlock(l: *mut ipc_rwlock, timeout_ms: c_int) -> c_int {
    // SAFETY: the caller's object.
    let locked = unsafe { object(l) }.and_then(|lock| lock.wrlock(Deadline::new(timeout_ms)?));
    or_errno(locked.map(acquired), -1)
}

/// Unlocks after writing.
///
/// If ipc_rwlock_wrlock returned IPC_OWNER_DIED and ipc_rwlock_consistent was not called, the next
/// owners get IPC_OWNER_DIED too. If a signal handler has left an earlier call by siglongjmp(3),
/// this call releases what that call held.
///
/// Does not block. Not a cancellation point. May be called from any thread and in the child after
/// fork; not from a signal handler.
///
/// Returns 0, or -1 with errno: ipc_rwlock_rdunlock's errors, for the same reasons; EPERM means
/// that this thread does not hold it for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_rwlock_wrunlock(l: *mut ipc_rwlock) -> c_int {
    // SAFETY: the caller's object.
    let unlocked = unsafe { object(l) }.and_then(Rwlock::wrunlock);
    or_errno(unlocked.map(|()| 0), -1)
}

/// Marks the data that a reader-writer lock guards as consistent.
///
/// The thread that holds the lock for writing calls it after IPC_OWNER_DIED. At other times it
/// changes nothing, and succeeds.
///
/// Does not block. Not a cancellation point. May be called from any thread and in the child after
/// fork; not from a signal handler.
///
/// Returns 0, or -1 with errno: ipc_rwlock_rdunlock's errors, for the same reasons; EPERM means
/// that this thread does not hold it for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_rwlock_consistent(l: *mut ipc_rwlock) -> c_int {
    // SAFETY: the caller's object.
    let done = unsafe { object(l) }.and_then(Rwlock::consistent);
    or_errno(done.map(|()| 0), -1)
}
