//! Layer 2: the semaphore lock.

use super::lock::acquired;
use crate::deadline::Deadline;
use crate::errno::or_errno_of;
use crate::semlock;
use libc::{c_int, key_t};

/// Gets the reader-writer lock of a key, or creates it.
///
/// key is from ipc_ftok, or a number that the programs agree on, or IPC_PRIVATE, with which each
/// call creates a new lock. mode_flags is as for ipc_semget. With IPC_CREAT the call creates the
/// lock if it does not exist; with IPC_CREAT and IPC_EXCL it fails if the lock exists. The
/// permission bits are those of a new lock, or the access that the caller requests to an existing
/// one. A process that locks needs alter permission (0200), also for reading.
///
/// The lock is a set of five semaphores. One of them marks the set as a lock, so that the semaphore
/// set of another program is not mistaken for one. Processes may start in any order and die at any
/// instruction: if a process dies between creating the set and marking it, the next open marks it.
/// The lock exists until a process removes it (ipc_semlock_remove, ipcrm(1)) or the system
/// restarts. The identifier is valid in every process, and does not need to be closed.
///
/// Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
/// and in the child after fork.
///
/// Returns the identifier, or -1 with errno:
///   E2BIG   the system allows fewer than seven operations in one call (SEMOPM)
///   EACCES  the lock exists, and its permissions do not allow the access that mode_flags requests
///   EEXIST  the lock exists, and IPC_CREAT and IPC_EXCL are set
///   EINVAL  mode_flags has other bits, or the system does not allow a set of five semaphores
///   ENOENT  the lock does not exist, and IPC_CREAT is not set
///   ENOMEM  no memory is left
///   ENOSPC  the system allows no further set or semaphore
///   EPROTO  the semaphore set of the key is not such a lock
#[unsafe(no_mangle)]
pub extern "C" fn ipc_semlock_open(key: key_t, mode_flags: c_int) -> c_int {
    or_errno_of(|| semlock::open(key, mode_flags), -1)
}

/// Acquires the lock for reading. Several processes can hold it for reading at the same time.
///
/// The call waits while a process holds the lock for writing, or a writer waits for the present
/// readers to leave. Readers and writers acquire the lock in the order in which they arrive, so
/// neither can starve the other. There is one exception: if a writer has died while it held the
/// lock, a reader can acquire the lock after writers that arrived later, until a writer has called
/// ipc_semlock_consistent.
///
/// The lock belongs to the process: any of its threads may release it. It is not released when a
/// thread ends, but when the process ends, also by SIGKILL. A child made by fork does not hold the
/// lock. Each successful call needs its own ipc_semlock_rdunlock. A process that holds the lock for
/// reading and locks again deadlocks if a writer has arrived in between.
///
/// timeout_ms is in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits
/// until a signal handler has run.
///
/// Blocks as timeout_ms says. Not a cancellation point. May be called from any thread, by several
/// at once, from a signal handler, and in the child after fork.
///
/// Returns 0; or IPC_OWNER_DIED, which means that the lock is held, but a writer died while it held
/// the lock, and no process has called ipc_semlock_consistent since; or -1 with errno:
///   E2BIG      the system allows fewer than seven operations in one call (SEMOPM)
///   EACCES     the permissions of the lock do not allow it (0200)
///   EAGAIN     timeout_ms is 0, and the lock cannot be acquired at once
///   EIDRM      the lock was removed during the call
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran, or the process was stopped
///              and continued
///   EINVAL     the lock does not exist, or no longer, or timeout_ms is below -2
///   ENOMEM     no memory is left
///   EPROTO     id is a set of fewer than four semaphores
///   ERANGE     32767 read locks are held
///   ETIMEDOUT  the time-out expired
#[unsafe(no_mangle)]
pub extern "C" fn ipc_semlock_rdlock(id: c_int, timeout_ms: c_int) -> c_int {
    or_errno_of(
        || semlock::rdlock(id, Deadline::new(timeout_ms)?).map(acquired),
        -1,
    )
}

/// Releases a lock that ipc_semlock_rdlock acquired.
///
/// The caller must make sure that the process holds a read lock. While other processes hold one,
/// the call cannot detect the mistake: it releases a lock of another process, and the kernel
/// restores that lock when the calling process ends. Nor does the call check that id is a lock: in
/// any other set it decrements the first semaphore.
///
/// Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
/// and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EACCES  the permissions of the lock do not allow it
///   EIDRM   the lock was removed during the call
///   EINVAL  the lock does not exist, or no longer
///   ENOMEM  no memory is left; only if the process does not hold the lock
///   EPERM   no process holds the lock for reading
#[unsafe(no_mangle)]
pub extern "C" fn ipc_semlock_rdunlock(id: c_int) -> c_int {
    or_errno_of(|| semlock::rdunlock(id).map(|()| 0), -1)
}

/// Acquires the lock for writing. No other process can hold it at the same time.
///
/// The call waits while other processes hold the lock. Readers and writers acquire it in the order
/// in which they arrive: a reader that arrives later waits for this writer. The lock belongs to the
/// process, as for ipc_semlock_rdlock. A process that already holds the lock, for reading or
/// writing, deadlocks. timeout_ms is as for ipc_semlock_rdlock; readers no longer wait for a writer
/// whose time-out has expired.
///
/// If a writer dies while it holds the lock, the lock is marked. From then on each call that
/// acquires the lock, also for reading, returns IPC_OWNER_DIED. A writer that gets IPC_OWNER_DIED
/// repairs the data that the lock guards and calls ipc_semlock_consistent.
///
/// Blocks as timeout_ms says. Not a cancellation point. May be called from any thread, by several
/// at once, from a signal handler, and in the child after fork.
///
/// Returns 0; or IPC_OWNER_DIED, which means that the lock is held, but a writer died while it held
/// the lock, and the data that the lock guards can be half changed; or -1 with errno:
///   E2BIG      the system allows fewer than seven operations in one call (SEMOPM)
///   EACCES     the permissions of the lock do not allow it (0200)
///   EAGAIN     timeout_ms is 0, and the lock cannot be acquired at once
///   EIDRM      the lock was removed during the call
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran, or the process was stopped
///              and continued
///   EINVAL     the lock does not exist, or no longer, or timeout_ms is below -2
///   ENOMEM     no memory is left
///   EPROTO     id is a set of fewer than four semaphores
///   ETIMEDOUT  the time-out expired
#[unsafe(no_mangle)]
pub extern "C" fn ipc_semlock_wrlock(id: c_int, timeout_ms: c_int) -> c_int {
    or_errno_of(
        || semlock::wrlock(id, Deadline::new(timeout_ms)?).map(acquired),
        -1,
    )
}

/// Releases a lock that ipc_semlock_wrlock acquired.
///
/// Any thread of the process may call it; another process cannot release the lock. If
/// ipc_semlock_wrlock returned IPC_OWNER_DIED and ipc_semlock_consistent was not called, the next
/// call that acquires the lock returns IPC_OWNER_DIED again.
///
/// Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
/// and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   E2BIG   the system allows fewer than seven operations in one call (SEMOPM)
///   EACCES  the permissions of the lock do not allow it
///   EIDRM   the lock was removed during the call
///   EINVAL  the lock does not exist, or no longer
///   ENOMEM  no memory is left; only if the process does not hold the lock
///   EPERM   the process does not hold the lock for writing
///   EPROTO  id is a set of fewer than four semaphores
#[unsafe(no_mangle)]
pub extern "C" fn ipc_semlock_wrunlock(id: c_int) -> c_int {
    or_errno_of(|| semlock::wrunlock(id).map(|()| 0), -1)
}

/// Marks the data that the lock guards as consistent, after IPC_OWNER_DIED.
///
/// The process must hold the lock for writing. Later calls that acquire the lock return 0. If the
/// data was consistent already, the call does nothing.
///
/// Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
/// and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   E2BIG   the system allows fewer than seven operations in one call (SEMOPM)
///   EACCES  the permissions of the lock do not allow it
///   EIDRM   the lock was removed during the call
///   EINVAL  the lock does not exist, or no longer
///   ENOMEM  no memory is left; only if the process does not hold the lock
///   EPERM   the process does not hold the lock for writing
///   EPROTO  id is a set of fewer than four semaphores
#[unsafe(no_mangle)]
pub extern "C" fn ipc_semlock_consistent(id: c_int) -> c_int {
    or_errno_of(|| semlock::consistent(id).map(|()| 0), -1)
}

/// Removes a lock, even while processes hold it or wait for it.
///
/// Calls that wait for the lock fail with EIDRM; later calls fail with EINVAL or EIDRM. If the key
/// is opened again, that is a new lock.
///
/// Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
/// and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EINVAL  the lock does not exist, or no longer
///   EPERM   the process is neither the owner of the lock, its creator nor root
#[unsafe(no_mangle)]
pub extern "C" fn ipc_semlock_remove(id: c_int) -> c_int {
    or_errno_of(|| semlock::remove(id).map(|()| 0), -1)
}
