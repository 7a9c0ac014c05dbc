//! The state of a lock, for unixipc(1).

use super::operations::{COUNT, IS_LOCK, READERS, RECOVERY, TYPE, WRITER, WRITER_PENDING};
use crate::errno::{Errno, Result};
use crate::sys::{self, Semun};
use libc::{c_int, c_ushort, pid_t};

/// The state of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The number of read locks.
    pub readers: u32,
    /// The process that holds the write lock. 0 if it is of another PID namespace.
    pub writer: Option<pid_t>,
    /// Whether a writer waits for the readers to leave.
    pub writer_pending: bool,
    /// The number of processes that wait.
    pub waiters: u32,
    /// Whether an owner has died, and no later owner has marked the data as consistent.
    pub owner_died: bool,
    /// The process that performed the last operation on the lock.
    pub last_user: pid_t,
}

/// Returns the state of a lock, or none if the set is no lock. The values are read one by one, and so
/// can be of different times. `EACCES` without read permission.
pub fn inspect(id: c_int) -> Result<Option<State>> {
    // A set that is shorter has no such semaphore.
    let kind = match value(id, TYPE) {
        Err(error) if error == Errno::EINVAL => return Ok(None),
        kind => kind?,
    };
    let is_longer = value(id, COUNT as c_ushort).is_ok();
    if is_longer || kind != IS_LOCK.into() {
        return Ok(None);
    }
    let is_written = value(id, WRITER)? != 0;
    let writer = control(id, WRITER, libc::GETPID)?;
    let mut waiters = 0;
    for semaphore in [READERS, WRITER, WRITER_PENDING] {
        waiters += control(id, semaphore, libc::GETZCNT)? + control(id, semaphore, libc::GETNCNT)?;
    }
    let recovery = value(id, RECOVERY)?;
    Ok(Some(State {
        readers: value(id, READERS)?.unsigned_abs(),
        writer: is_written.then_some(writer),
        writer_pending: value(id, WRITER_PENDING)? != 0,
        waiters: waiters.unsigned_abs(),
        owner_died: recovery > is_written.into(),
        last_user: control(id, TYPE, libc::GETPID)?,
    }))
}

fn value(id: c_int, semaphore: c_ushort) -> Result<c_int> {
    control(id, semaphore, libc::GETVAL)
}

fn control(id: c_int, semaphore: c_ushort, command: c_int) -> Result<c_int> {
    // SAFETY: these commands ignore the argument.
    unsafe { sys::semctl(id, semaphore.into(), command, Semun { val: 0 }) }
}
