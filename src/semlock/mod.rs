//! A reader-writer lock in a System V semaphore set. Processes find it by its key, and the kernel
//! releases it when its owner dies.
//!
//! It is the textbook lock with two counters, readers and writers, and three further semaphores.
//! Each change of the lock is one semop(2), which the kernel performs completely or not at all.
//! When a process dies, the kernel reverts its changes of the first three semaphores (`SEM_UNDO`).
//!
//! | semaphore | value | reverted |
//! |---|---|---|
//! | `READERS` | the number of read locks | yes |
//! | `WRITER` | 1 while the write lock is held | yes |
//! | `WRITER_PENDING` | 1 while a writer waits for the readers to leave; no reader may enter | yes |
//! | `RECOVERY` | the state of the guarded data, see below | no |
//! | `TYPE` | `IS_LOCK`: the set is such a lock | no |
//!
//! In a new set all values are 0, and the lock is free. The library never uses `SETVAL` and
//! `SETALL`, which erase the changes that the kernel has to revert.
//!
//! # The type
//!
//! A program that does not use this library can have a set of five semaphores under the same key.
//! So [`open`] raises `TYPE` from 0 to `IS_LOCK`. It does so in one semop that also requires the
//! other values to be 0, and only on a set on which no semop has been performed. If a process is
//! killed between creating the set and this step, the next open performs the step. Only [`open`]
//! checks the type.
//!
//! # The recovery state
//!
//! A writer raises `RECOVERY` when it acquires the lock, and lowers it by 1 when it releases the
//! lock. The kernel does not lower it for a dead process, so a value other than 0 on a free lock
//! says that a writer has died:
//!
//! | value | on a free lock | on a lock that is held for writing |
//! |---|---|---|
//! | 0 | consistent | never |
//! | 1 | the owner died, or released the lock without marking the data as consistent | consistent |
//! | 2 | the owner died, and an earlier owner had died before | must be repaired |
//!
//! A writer that finds 0 sets 1, and a writer that finds 1 or 2 sets 2, so the value never exceeds
//! 2. [`consistent`] changes 2 to 1. The value is tested and changed in the same semop that
//! acquires or releases the lock, so the result of each call is exact.
//!
//! semop has no test for "0 or greater than 0", but an operation with `IPC_NOWAIT` fails instead of
//! waiting. In the list of operations for a consistent lock, only the test that `RECOVERY` is 0 has
//! `IPC_NOWAIT`, and it comes after the operations that wait. The list waits while the lock is
//! held, and fails with `EAGAIN` if the lock is free and `RECOVERY` is not 0. The caller then tries
//! the list for the next value.
//!
//! # Order
//!
//! The kernel tries the waiting lists in the order in which they arrived. A reader waits until no
//! writer holds the lock and none is pending. A writer waits for the same, becomes the pending
//! writer, and then waits for the readers to leave. So a process that arrives earlier acquires the
//! lock earlier, and no process starves.
//!
//! # Ownership
//!
//! The kernel records the changes to revert for each process, but no call returns them. The kernel
//! refuses, with `ERANGE`, an operation that would raise such a record above `VALUE_MAX`. By that
//! a process finds out whether it is the owner: see `operations::RELEASE`.

mod inspect;
mod open;
mod operations;
mod set;

pub use inspect::{State, inspect};
pub use open::open;

use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::lock::LockStatus;
use crate::sys::{self, Semun};
use libc::c_int;
use set::Set;

/// Removes a lock. Calls that wait for it fail with `EIDRM`.
pub fn remove(id: c_int) -> Result<()> {
    // SAFETY: IPC_RMID ignores the argument.
    unsafe { sys::semctl(id, 0, libc::IPC_RMID, Semun { val: 0 }) }.map(drop)
}

/// Removes a lock that no process holds or waits for. Returns whether it did. `EPERM` for the lock of
/// another user, which stays as it was.
pub fn remove_free(id: c_int) -> Result<bool> {
    match wrlock(id, Deadline::new(0)?) {
        Err(error) if error == Errno::EAGAIN => return Ok(false),
        locked => drop(locked?),
    }
    let removed = remove(id).inspect_err(|_| {
        // Otherwise the next owner learns of the death of this process.
        let _ = wrunlock(id);
    });
    removed.map(|()| true)
}

/// Acquires a read lock.
pub fn rdlock(id: c_int, mut wait: Deadline) -> Result<LockStatus> {
    let mut set = Set::new(id);
    // Without a time limit the first system call can wait. With one, the first call does not wait,
    // so that the clock is read only if the call has to wait.
    let is_unlimited = wait.may_block() || wait.ends_with_signal();
    if !is_unlimited {
        if let Some(status) = set.try_acquire(&operations::READ_NOWAIT, &mut wait)? {
            return Ok(status);
        }
    }
    set.acquire(&operations::READ, &mut wait)
}

/// Releases a read lock.
pub fn rdunlock(id: c_int) -> Result<()> {
    Set::new(id).release(operations::READ_UNLOCK)
}

/// Acquires the write lock.
pub fn wrlock(id: c_int, mut wait: Deadline) -> Result<LockStatus> {
    let mut set = Set::new(id);
    if let Some(status) = set.try_acquire(&operations::WRITE_NOWAIT, &mut wait)? {
        return Ok(status);
    }
    let _ = set.acquire(&operations::SET_PENDING, &mut wait)?;
    set.acquire(&operations::WRITE, &mut wait).inspect_err(|_| {
        let _ = set.operate(operations::CLEAR_PENDING, None);
    })
}

/// Releases the write lock.
pub fn wrunlock(id: c_int) -> Result<()> {
    Set::new(id).release(&operations::WRITE_UNLOCK)
}

/// Marks the guarded data as consistent. The process must hold the write lock.
pub fn consistent(id: c_int) -> Result<()> {
    let mut set = Set::new(id);
    set.release(&operations::IS_OWNER)?;
    match set.operate(operations::MARK_CONSISTENT, None) {
        Err(error) if error == Errno::EAGAIN => Ok(()), // it was consistent already
        other => other,
    }
}
