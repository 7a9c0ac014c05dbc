//! Layer 2: the semaphore lock.

use super::lock::held;
use crate::deadline::Deadline;
use crate::errno::or_errno_of;
use crate::semlock;
use libc::{c_int, key_t};

/// Gets or makes the reader-writer lock of a key.
///
/// key is from ipc_ftok, a number that the programs agree on, or IPC_PRIVATE, which makes a new
/// lock each time. mode_flags is as for ipc_semget: IPC_CREAT makes the lock where there is none,
/// IPC_EXCL with it insists on making it, and the permission bits are the new lock's, or those
/// that are asked for. A process that locks, also for reading, needs alter permission (0200).
///
/// The lock is a set of five semaphores. One of them marks the set as a lock, so that the set of
/// another program is not taken for one. Processes may start in any order and die at any
/// instruction: a set that is new and not marked yet is marked by the next open. The lock stays
/// until it is removed (ipc_semlock_remove, ipcrm), or the system is restarted. The id is valid in
/// every process, and need not be closed.
///
/// Does not block; not a cancellation point. May be called from any thread, from a signal handler,
/// and in the child after fork.
///
/// Returns the id, or -1 with errno:
///   E2BIG   the system allows fewer than seven operations at once
///   EACCES  the lock exists, and its permissions do not grant what mode_flags asks for
///   EEXIST  the lock exists, and IPC_CREAT and IPC_EXCL are set
///   EINVAL  mode_flags has other bits, or the system allows no set of five semaphores
///   ENOENT  there is none, and IPC_CREAT is not set
///   ENOMEM  no memory is left
///   ENOSPC  the system has as many sets or semaphores as it allows
///   EPROTO  the key's semaphore set is not such a lock
#[unsafe(no_mangle)]
pub extern "C" fn ipc_semlock_open(key: key_t, mode_flags: c_int) -> c_int {
    or_errno_of(|| semlock::open(key, mode_flags), -1)
}

/// Takes the lock for reading, together with other readers.
///
/// Waits while a writer holds the lock, or is next. Readers and writers are served in the order
/// in which they come: neither can starve the other. (Only where a writer died with the lock, and
/// until that is repaired, can a reader come after writers that came later.) The lock belongs to
/// the process: any of its threads may give it back, the end of a thread does not, and the end
/// of the process does, however it ends, also by SIGKILL. A child made by fork does not have it.
/// Each call needs its ipc_semlock_rdunlock. Whoever reads already and locks again hangs if a
/// writer came meanwhile.
///
/// timeout_ms is in milliseconds: -1 waits for ever, 0 not at all, IPC_WAIT_INTR until a
/// signal handler ran.
///
/// Blocks as timeout_ms says. May be called from any thread, by several at once, from a signal
/// handler, and in the child after fork.
///
/// Returns 0, or IPC_OWNER_DIED: the lock is held too, but a writer died while it held the lock,
/// and nobody has said since (ipc_semlock_consistent) that what it guards is in order;
/// or -1 with errno:
///   E2BIG      the system allows fewer than seven operations at once
///   EACCES     the lock's permissions do not grant it (0200)
///   EAGAIN     timeout_ms is 0, and the lock is not to be had
///   EIDRM      the lock was removed meanwhile
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran, or the process was stopped
///              and continued
///   EINVAL     there is no such lock (any more), or timeout_ms is below -2
///   ENOMEM     no memory is left
///   EPROTO     id is a set of fewer than four semaphores
///   ERANGE     32767 read locks are held
///   ETIMEDOUT  the time is over
#[unsafe(no_mangle)]
pub extern "C" fn ipc_semlock_rdlock(id: c_int, timeout_ms: c_int) -> c_int {
    or_errno_of(
        || semlock::rdlock(id, Deadline::new(timeout_ms)?).map(held),
        -1,
    )
}

/// Gives back what ipc_semlock_rdlock took.
///
/// That the process has a read lock to give back is the caller's to know: while other processes
/// read, the call takes one of their locks instead of failing, and the kernel gives it back when
/// the process ends. Nor is it checked that id is a lock: of another set it lowers the first
/// semaphore.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns 0, or -1 with errno:
///   EACCES  the lock's permissions do not grant it
///   EIDRM   the lock was removed meanwhile
///   EINVAL  there is no such lock (any more)
///   ENOMEM  no memory is left; only where the process has no lock to give back
///   EPERM   nobody reads
#[unsafe(no_mangle)]
pub extern "C" fn ipc_semlock_rdunlock(id: c_int) -> c_int {
    or_errno_of(|| semlock::rdunlock(id).map(|()| 0), -1)
}

/// Takes the lock for writing, alone.
///
/// Waits while others hold the lock, in the order in which readers and writers come: a reader
/// that comes later waits for this writer. The lock belongs to the process, as that of
/// ipc_semlock_rdlock. Whoever holds the lock already, for reading or writing, waits for itself.
/// timeout_ms is as for ipc_semlock_rdlock; a writer whose time is over is no longer waited for.
///
/// A writer that dies with the lock leaves a mark at it: each one that takes the lock from then
/// on, also for reading, is told so by IPC_OWNER_DIED. A writer that is told repairs what the
/// lock guards and calls ipc_semlock_consistent.
///
/// Blocks as timeout_ms says. May be called from any thread, by several at once, from a signal
/// handler, and in the child after fork.
///
/// Returns 0, or IPC_OWNER_DIED: the lock is held too, but a writer died while it held the lock,
/// and what it guards may be half changed; or -1 with errno:
///   E2BIG      the system allows fewer than seven operations at once
///   EACCES     the lock's permissions do not grant it (0200)
///   EAGAIN     timeout_ms is 0, and the lock is not to be had
///   EIDRM      the lock was removed meanwhile
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran, or the process was stopped
///              and continued
///   EINVAL     there is no such lock (any more), or timeout_ms is below -2
///   ENOMEM     no memory is left
///   EPROTO     id is a set of fewer than four semaphores
///   ETIMEDOUT  the time is over
#[unsafe(no_mangle)]
pub extern "C" fn ipc_semlock_wrlock(id: c_int, timeout_ms: c_int) -> c_int {
    or_errno_of(
        || semlock::wrlock(id, Deadline::new(timeout_ms)?).map(held),
        -1,
    )
}

/// Gives back what ipc_semlock_wrlock took.
///
/// Any thread of the process may do it; another process cannot. After IPC_OWNER_DIED, and without
/// ipc_semlock_consistent, the next one that takes the lock is told IPC_OWNER_DIED again.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns 0, or -1 with errno:
///   E2BIG   the system allows fewer than seven operations at once
///   EACCES  the lock's permissions do not grant it
///   EIDRM   the lock was removed meanwhile
///   EINVAL  there is no such lock (any more)
///   ENOMEM  no memory is left; only where the process does not hold the lock
///   EPERM   the process does not hold the lock for writing
///   EPROTO  id is a set of fewer than four semaphores
#[unsafe(no_mangle)]
pub extern "C" fn ipc_semlock_wrunlock(id: c_int) -> c_int {
    or_errno_of(|| semlock::wrunlock(id).map(|()| 0), -1)
}

/// Says that what the lock guards is in order again, after IPC_OWNER_DIED.
///
/// To be called with the lock held for writing; those that take it afterwards are told nothing.
/// Where it was in order, the call does nothing.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns 0, or -1 with errno:
///   E2BIG   the system allows fewer than seven operations at once
///   EACCES  the lock's permissions do not grant it
///   EIDRM   the lock was removed meanwhile
///   EINVAL  there is no such lock (any more)
///   ENOMEM  no memory is left; only where the process does not hold the lock
///   EPERM   the process does not hold the lock for writing
///   EPROTO  id is a set of fewer than four semaphores
#[unsafe(no_mangle)]
pub extern "C" fn ipc_semlock_consistent(id: c_int) -> c_int {
    or_errno_of(|| semlock::consistent(id).map(|()| 0), -1)
}

/// Removes a lock, whoever holds it or waits for it: these fail with EIDRM, and later calls
/// with EINVAL. A lock of the same key that is opened afterwards is another one.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns 0, or -1 with errno:
///   EINVAL  there is no such lock (any more)
///   EPERM   the lock is somebody else's
#[unsafe(no_mangle)]
pub extern "C" fn ipc_semlock_remove(id: c_int) -> c_int {
    or_errno_of(|| semlock::remove(id).map(|()| 0), -1)
}
