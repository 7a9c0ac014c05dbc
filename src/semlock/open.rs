//! Opening a lock by its key, and telling it from other semaphore sets.

use super::{COUNT, IS_LOCK, MARK, NEXT, READERS, Set, TYPE, WRITER, lasting, now, zero};
use crate::errno::{Errno, Result};
use crate::sys::{self, Semun};
use libc::{IPC_PRIVATE, c_int, key_t, sembuf, semid_ds};
use std::mem::MaybeUninit;

/// The flags of [`open`].
const OPEN_FLAGS: c_int = libc::IPC_CREAT | libc::IPC_EXCL | 0o777;

/// Changes nothing, and fails with `EAGAIN` if the set is not marked as a lock.
const HAS_TYPE: &[sembuf] = &[
    now(lasting(TYPE, -IS_LOCK)),
    now(zero(TYPE)),
    lasting(TYPE, IS_LOCK),
];
/// Marks a new set as a lock.
const SET_TYPE: &[sembuf] = &[
    now(zero(READERS)),
    now(zero(WRITER)),
    now(zero(NEXT)),
    now(zero(MARK)),
    now(zero(TYPE)),
    lasting(TYPE, IS_LOCK),
];

/// Gets or makes the lock of a key.
pub fn open(key: key_t, mode_flags: c_int) -> Result<c_int> {
    if mode_flags & !OPEN_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    // A set of this key with at least `count` semaphores; for these flags the kernel checks no
    // permission, and makes no set.
    let exists = |count| key != IPC_PRIVATE && sys::semget(key, count, 0).is_ok();
    match sys::semget(key, COUNT, mode_flags) {
        Ok(_) if exists(COUNT + 1) => Err(Errno::EPROTO),
        Ok(id) => check_type(id).map(|()| id),
        Err(Errno::EINVAL) if exists(0) => Err(Errno::EPROTO),
        other => other,
    }
}

/// Checks that a set is a lock, and makes a new set one. A caller that the permissions exclude
/// learns nothing here, and gets `EACCES` from every other call.
fn check_type(id: c_int) -> Result<()> {
    let mut set = Set::new(id);
    match set.operate(HAS_TYPE, None) {
        Err(Errno::EAGAIN) => {}
        // The lock has been removed since: as if that had been after the open.
        Ok(()) | Err(Errno::EINVAL | Errno::EIDRM) => return Ok(()),
        Err(Errno::EACCES) => return check_type_by_reading(id),
        Err(error) => return Err(error),
    }
    if !is_unused(id)? {
        // Another process may just have marked it.
        return set.operate(HAS_TYPE, None).map_err(not_a_lock);
    }
    match set.operate(SET_TYPE, None) {
        Err(Errno::EAGAIN) => set.operate(HAS_TYPE, None).map_err(not_a_lock),
        done => done,
    }
}

/// The check of a caller that may only read. A set that is new, and not marked yet, passes.
fn check_type_by_reading(id: c_int) -> Result<()> {
    // SAFETY: GETVAL takes no argument.
    match unsafe { sys::semctl(id, TYPE.into(), libc::GETVAL, Semun { val: 0 }) } {
        Ok(0) if is_unused(id)? => Ok(()),
        Ok(value) if value != IS_LOCK.into() => Err(Errno::EPROTO),
        _ => Ok(()),
    }
}

/// Whether no semop has been done on a set. True where the caller may not ask.
fn is_unused(id: c_int) -> Result<bool> {
    let mut ds = MaybeUninit::<semid_ds>::zeroed();
    let room = Semun {
        buf: ds.as_mut_ptr(),
    };
    // SAFETY: the kernel writes one semid_ds, for which there is room.
    match unsafe { sys::semctl(id, 0, libc::IPC_STAT, room) } {
        // SAFETY: zero bytes are such a struct, also where the kernel wrote some.
        Ok(_) => Ok(unsafe { ds.assume_init() }.sem_otime == 0),
        Err(Errno::EACCES) => Ok(true),
        Err(error) => Err(error),
    }
}

fn not_a_lock(error: Errno) -> Errno {
    if error == Errno::EAGAIN {
        Errno::EPROTO
    } else {
        error
    }
}
