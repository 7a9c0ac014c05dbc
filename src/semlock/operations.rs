//! The lists of operations by which the lock changes, each for one semop(2).

use libc::{IPC_NOWAIT, SEM_UNDO, c_int, c_short, c_ushort, sembuf};

pub const READERS: c_ushort = 0;
pub const WRITER: c_ushort = 1;
pub const WRITER_PENDING: c_ushort = 2;
pub const RECOVERY: c_ushort = 3;
pub const TYPE: c_ushort = 4;
/// The number of semaphores of a lock.
pub const COUNT: c_int = 5;
/// The value of `TYPE`.
pub const IS_LOCK: c_short = 0x7569;
/// The largest value of a semaphore (SEMVMX), and of a record of changes to revert (SEMAEM).
const VALUE_MAX: c_short = 32767;

/// A list for each value of `RECOVERY`.
pub type Lists = [&'static [sembuf]; 3];

const fn operation(semaphore: c_ushort, change: c_short, flags: c_int) -> sembuf {
    sembuf {
        sem_num: semaphore,
        sem_op: change,
        sem_flg: flags as c_short,
    }
}

/// Waits until the semaphore is 0.
pub const fn zero(semaphore: c_ushort) -> sembuf {
    operation(semaphore, 0, 0)
}

/// Changes a semaphore; the kernel reverts the change when the process dies.
const fn reverted(semaphore: c_ushort, change: c_short) -> sembuf {
    operation(semaphore, change, SEM_UNDO)
}

/// Changes a semaphore; the change outlives the process.
pub const fn permanent(semaphore: c_ushort, change: c_short) -> sembuf {
    operation(semaphore, change, 0)
}

/// The same operation, but it fails with `EAGAIN` instead of waiting.
pub const fn nowait(operation: sembuf) -> sembuf {
    sembuf {
        sem_flg: operation.sem_flg | IPC_NOWAIT as c_short,
        ..operation
    }
}

const fn all_nowait<const N: usize>(mut list: [sembuf; N]) -> [sembuf; N] {
    let mut i = 0;
    while i < N {
        list[i] = nowait(list[i]);
        i += 1;
    }
    list
}

/// The list of `before`, then `middle`, then `after`.
const fn join<const N: usize>(
    before: &[sembuf],
    middle: &[sembuf],
    after: &[sembuf],
) -> [sembuf; N] {
    assert!(before.len() + middle.len() + after.len() == N);
    let mut list = [zero(0); N];
    let mut i = 0;
    while i < N {
        list[i] = if i < before.len() {
            before[i]
        } else if i < before.len() + middle.len() {
            middle[i - before.len()]
        } else {
            after[i - before.len() - middle.len()]
        };
        i += 1;
    }
    list
}

const READ_CONSISTENT: [sembuf; 4] = [
    zero(WRITER),
    zero(WRITER_PENDING),
    nowait(zero(RECOVERY)),
    reverted(READERS, 1),
];
const READ_OWNER_DIED: [sembuf; 5] = [
    zero(WRITER),
    zero(WRITER_PENDING),
    nowait(permanent(RECOVERY, -1)),
    permanent(RECOVERY, 1),
    reverted(READERS, 1),
];
/// Acquires a read lock.
pub const READ: Lists = [&READ_CONSISTENT, &READ_OWNER_DIED, &READ_OWNER_DIED];
/// The same without waiting.
pub const READ_NOWAIT: Lists = [
    &all_nowait(READ_CONSISTENT),
    &all_nowait(READ_OWNER_DIED),
    &all_nowait(READ_OWNER_DIED),
];
pub const READ_UNLOCK: &[sembuf] = &[nowait(reverted(READERS, -1))];

/// A writer's change of `RECOVERY`, for each of its values.
const FROM_0_TO_1: &[sembuf] = &[nowait(zero(RECOVERY)), permanent(RECOVERY, 1)];
const FROM_1_TO_2: &[sembuf] = &[
    nowait(permanent(RECOVERY, -1)),
    nowait(zero(RECOVERY)),
    permanent(RECOVERY, 2),
];
const STAY_AT_2: &[sembuf] = &[nowait(permanent(RECOVERY, -2)), permanent(RECOVERY, 2)];

const LOCK_WRITER: &[sembuf] = &[reverted(WRITER, 1)];

const IS_FREE: &[sembuf] = &[zero(READERS), zero(WRITER), zero(WRITER_PENDING)];
/// Acquires the write lock without waiting.
pub const WRITE_NOWAIT: Lists = [
    &all_nowait(join::<6>(IS_FREE, FROM_0_TO_1, LOCK_WRITER)),
    &all_nowait(join::<7>(IS_FREE, FROM_1_TO_2, LOCK_WRITER)),
    &all_nowait(join::<6>(IS_FREE, STAY_AT_2, LOCK_WRITER)),
];

/// Becomes the pending writer, for any value of `RECOVERY`.
pub const SET_PENDING: Lists = [&[
    zero(WRITER),
    zero(WRITER_PENDING),
    reverted(WRITER_PENDING, 1),
]; 3];
pub const CLEAR_PENDING: &[sembuf] = &[nowait(reverted(WRITER_PENDING, -1))];

const IS_FREE_FOR_PENDING: &[sembuf] = &[zero(READERS), zero(WRITER), reverted(WRITER_PENDING, -1)];
/// Acquires the write lock for the pending writer.
pub const WRITE: Lists = [
    &join::<6>(IS_FREE_FOR_PENDING, FROM_0_TO_1, LOCK_WRITER),
    &join::<7>(IS_FREE_FOR_PENDING, FROM_1_TO_2, LOCK_WRITER),
    &join::<6>(IS_FREE_FOR_PENDING, STAY_AT_2, LOCK_WRITER),
];

/// Lowers `WRITER`, and fails unless the process is the owner.
///
/// The kernel's record of the changes to revert is −1 for the owner and 0 for any other process.
/// The first operation adds 1 to it. The third one adds [`VALUE_MAX`], which fails with `ERANGE`
/// unless the record is 0 by then, as it is for the owner only. The last two revert the second and
/// the third.
const RELEASE: &[sembuf] = &[
    nowait(reverted(WRITER, -1)),
    permanent(WRITER, VALUE_MAX),
    reverted(WRITER, -VALUE_MAX),
    reverted(WRITER, VALUE_MAX),
    permanent(WRITER, -VALUE_MAX),
];
pub const WRITE_UNLOCK: [sembuf; 6] = join(RELEASE, &[nowait(permanent(RECOVERY, -1))], &[]);
/// Changes nothing, and fails as [`WRITE_UNLOCK`] does.
pub const IS_OWNER: [sembuf; 6] = join(RELEASE, LOCK_WRITER, &[]);
/// Changes `RECOVERY` from 2 to 1.
pub const MARK_CONSISTENT: &[sembuf] = &[nowait(permanent(RECOVERY, -2)), permanent(RECOVERY, 1)];
