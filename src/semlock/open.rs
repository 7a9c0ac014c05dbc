//! Opening a lock by its key, and distinguishing it from other semaphore sets.

use super::operations::{
    COUNT, IS_LOCK, READERS, RECOVERY, TYPE, WRITER, WRITER_PENDING, nowait, permanent, zero,
};
use super::set::Set;
use crate::errno::{Errno, Result, errno};
use crate::sys::{self, Semun, semid_ds};
use libc::{IPC_PRIVATE, c_int, key_t, sembuf};
use std::mem::MaybeUninit;

/// The flags that [`open`] accepts.
const OPEN_FLAGS: c_int = libc::IPC_CREAT | libc::IPC_EXCL | 0o777;

/// Changes nothing, and fails with `EAGAIN` if the set is not marked as a lock.
const HAS_TYPE: &[sembuf] = &[
    nowait(permanent(TYPE, -IS_LOCK)),
    nowait(zero(TYPE)),
    permanent(TYPE, IS_LOCK),
];
/// Marks a new set as a lock.
const SET_TYPE: &[sembuf] = &[
    nowait(zero(READERS)),
    nowait(zero(WRITER)),
    nowait(zero(WRITER_PENDING)),
    nowait(zero(RECOVERY)),
    nowait(zero(TYPE)),
    permanent(TYPE, IS_LOCK),
];

/// Gets or creates the lock of a key.
pub fn open(key: key_t, mode_flags: c_int) -> Result<c_int> {
    if mode_flags & !OPEN_FLAGS != 0 {
        return Err(errno!(EINVAL));
    }
    // Whether the key has a set of at least `count` semaphores. With these flags the kernel checks
    // no permission and creates no set.
    let exists = |count| key != IPC_PRIVATE && sys::semget(key, count, 0).is_ok();
    match sys::semget(key, COUNT, mode_flags) {
        Ok(_) if exists(COUNT + 1) => Err(errno!(EPROTO)),
        Ok(id) => check_type(id).map(|()| id),
        Err(error) if error == Errno::EINVAL && exists(0) => Err(errno!(EPROTO)),
        other => other,
    }
}

/// Checks that a set is a lock, and makes a new set one. For a caller without any permission the
/// check succeeds; all other calls then fail with `EACCES`.
fn check_type(id: c_int) -> Result<()> {
    let mut set = Set::new(id);
    match set.operate(HAS_TYPE, None) {
        Err(error) if error == Errno::EAGAIN => {}
        Ok(()) => return Ok(()),
        // The lock was removed in the meantime, which is the same as a removal after the open.
        Err(error) if error.is_one_of(&[Errno::EINVAL, Errno::EIDRM]) => return Ok(()),
        Err(error) if error == Errno::EACCES => return check_type_by_reading(id),
        Err(error) => return Err(error),
    }
    if !is_unused(id)? {
        // Another process may have marked it in the meantime.
        return set.operate(HAS_TYPE, None).map_err(not_a_lock);
    }
    match set.operate(SET_TYPE, None) {
        Err(error) if error == Errno::EAGAIN => set.operate(HAS_TYPE, None).map_err(not_a_lock),
        done => done,
    }
}

/// The check for a caller with read permission only. It accepts a new set without the type.
fn check_type_by_reading(id: c_int) -> Result<()> {
    // SAFETY: GETVAL ignores the argument.
    match unsafe { sys::semctl(id, TYPE.into(), libc::GETVAL, Semun { val: 0 }) } {
        Ok(0) if is_unused(id)? => Ok(()),
        Ok(value) if value != IS_LOCK.into() => Err(errno!(EPROTO)),
        _ => Ok(()),
    }
}

/// Whether no semop has been performed on a set. True if the caller has no read permission.
fn is_unused(id: c_int) -> Result<bool> {
    let mut ds = MaybeUninit::<semid_ds>::zeroed();
    let argument = Semun {
        buf: ds.as_mut_ptr(),
    };
    // SAFETY: the kernel writes one semid_ds, to `ds`.
    match unsafe { sys::semctl(id, 0, libc::IPC_STAT, argument) } {
        // SAFETY: zeros are a valid semid_ds, and the kernel writes a valid one.
        Ok(_) => Ok(unsafe { ds.assume_init() }.sem_otime == 0),
        Err(error) if error == Errno::EACCES => Ok(true),
        Err(error) => Err(error),
    }
}

fn not_a_lock(error: Errno) -> Errno {
    if error == Errno::EAGAIN {
        errno!(EPROTO)
    } else {
        error
    }
}
