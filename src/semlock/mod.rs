//! A reader-writer lock in a System V semaphore set: found by its key, and released by the
//! kernel when its owner dies.
//!
//! It is the textbooks' lock of two counters, readers and writers, with three semaphores more.
//! Every change of the lock is one semop(2), which happens at once or not at all, and what a
//! process has added to one of the first three semaphores the kernel takes away again when the
//! process dies (`SEM_UNDO`).
//!
//! | semaphore | what it counts | undone |
//! |---|---|---|
//! | `READERS` | the read locks that are held | yes |
//! | `WRITER` | 1 while the write lock is held | yes |
//! | `NEXT` | 1 while a writer is next: it waits for the readers to leave, and no reader enters | yes |
//! | `MARK` | what the write lock guards | no |
//! | `TYPE` | `IS_LOCK`: the set is such a lock | no |
//!
//! All are 0 in a new set, and that is a free lock. `SETVAL` and `SETALL`, which erase what the
//! kernel has to undo, are never used.
//!
//! # The type
//!
//! A program that does not use this library can have a set of as many semaphores under the same
//! key. So [`open`] raises `TYPE` from 0 to `IS_LOCK`, in one semop that also requires the others
//! to be 0, and only on a set on which no semop has been done. A process that is killed between
//! making the set and this leaves a set that the next open marks. Only [`open`] checks the type.
//!
//! # The mark
//!
//! Whoever takes the write lock raises the mark by 1 and lowers it when unlocking. The kernel does
//! not lower it for the dead, so a mark on a free lock says that a writer has died:
//!
//! | mark | on a free lock | on a lock that is held for writing |
//! |---|---|---|
//! | 0 | clean | never |
//! | 1 | the owner died, or it unlocked without repair | clean, or repaired |
//! | 2 | the owner died, after an owner before it had died | to be repaired |
//!
//! A writer that finds 1 or 2 leaves 2, so that the mark never grows beyond that; unlocking always
//! takes 1 away; a repair makes 1 of 2. The mark is tested and changed in the same semop that
//! takes or releases the lock, which is why nobody is told the wrong thing.
//!
//! semop cannot ask "0 or more than 0?", but it can refuse: in the list of operations for a clean
//! lock, only the wait for a mark of 0 has `IPC_NOWAIT`, and it stands behind what is waited for.
//! So the list waits while the lock is held, and fails with `EAGAIN` when it is free and marked;
//! then it is the turn of the list for the next value of the mark.
//!
//! # Who is next
//!
//! The kernel tries the waiting lists in the order in which they came. A reader waits until there
//! is no writer and nobody is next. So does a writer, and becomes the next by that; it then waits
//! for the readers to leave. Thus whoever came earlier gets the lock earlier, and nobody starves.
//!
//! # Whose lock it is
//!
//! The set knows what each process has to undo, but tells nobody. What it does is to refuse, with
//! `ERANGE`, an operation with which that would exceed `MOST`. See `RELEASE`.

mod open;

pub use open::open;

use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::lock::LockStatus;
use crate::sys::{self, Semun};
use libc::{IPC_NOWAIT, SEM_UNDO, c_int, c_short, c_ushort, sembuf, timespec};
use nix::sys::time::TimeSpec;
use std::ptr;

const READERS: c_ushort = 0;
const WRITER: c_ushort = 1;
const NEXT: c_ushort = 2;
const MARK: c_ushort = 3;
const TYPE: c_ushort = 4;
/// How many semaphores a lock has.
const COUNT: c_int = 5;
/// The value of `TYPE`.
const IS_LOCK: c_short = 0x7569;
/// The largest value of a semaphore, and the most that is undone (SEMVMX, SEMAEM).
const MOST: c_short = 32767;

const fn op(num: c_ushort, change: c_short, flags: c_int) -> sembuf {
    sembuf {
        sem_num: num,
        sem_op: change,
        sem_flg: flags as c_short,
    }
}

/// Waits until the semaphore is 0.
const fn zero(num: c_ushort) -> sembuf {
    op(num, 0, 0)
}

/// Changes a semaphore, and has the kernel change it back when the process dies.
const fn undone(num: c_ushort, change: c_short) -> sembuf {
    op(num, change, SEM_UNDO)
}

/// Changes a semaphore; the change outlives the process.
const fn lasting(num: c_ushort, change: c_short) -> sembuf {
    op(num, change, 0)
}

/// The same operation, which fails with `EAGAIN` where it would wait.
const fn now(op: sembuf) -> sembuf {
    sembuf {
        sem_flg: op.sem_flg | IPC_NOWAIT as c_short,
        ..op
    }
}

const fn all_now<const N: usize>(mut ops: [sembuf; N]) -> [sembuf; N] {
    let mut i = 0;
    while i < N {
        ops[i] = now(ops[i]);
        i += 1;
    }
    ops
}

/// The value of the mark that a list of operations is for.
#[derive(Clone, Copy)]
enum Mark {
    Zero,
    One,
    More,
}

impl Mark {
    fn following(self) -> Self {
        match self {
            Self::Zero => Self::One,
            Self::One => Self::More,
            Self::More => Self::Zero,
        }
    }

    fn held(self) -> LockStatus {
        match self {
            Self::Zero => LockStatus::Clean,
            Self::One | Self::More => LockStatus::OwnerDied,
        }
    }
}

/// A list for each value of the mark.
type Lists = [&'static [sembuf]; 3];

const READ_ZERO: [sembuf; 4] = [
    zero(WRITER),
    zero(NEXT),
    now(zero(MARK)),
    undone(READERS, 1),
];
const READ_MARKED: [sembuf; 5] = [
    zero(WRITER),
    zero(NEXT),
    now(lasting(MARK, -1)),
    lasting(MARK, 1),
    undone(READERS, 1),
];
const READ: Lists = [&READ_ZERO, &READ_MARKED, &READ_MARKED];
const READ_NOW: Lists = [
    &all_now(READ_ZERO),
    &all_now(READ_MARKED),
    &all_now(READ_MARKED),
];

const WRITE_NOW: Lists = [
    &all_now([
        zero(READERS),
        zero(WRITER),
        zero(NEXT),
        zero(MARK),
        lasting(MARK, 1),
        undone(WRITER, 1),
    ]),
    &all_now([
        zero(READERS),
        zero(WRITER),
        zero(NEXT),
        lasting(MARK, -1),
        zero(MARK),
        lasting(MARK, 2),
        undone(WRITER, 1),
    ]),
    &all_now([
        zero(READERS),
        zero(WRITER),
        zero(NEXT),
        lasting(MARK, -2),
        lasting(MARK, 2),
        undone(WRITER, 1),
    ]),
];
/// Whatever the mark is.
const BE_NEXT: Lists = [&[zero(WRITER), zero(NEXT), undone(NEXT, 1)]; 3];
const BE_NEXT_NO_MORE: &[sembuf] = &[now(undone(NEXT, -1))];
/// For the one that is next.
const WRITE: Lists = [
    &[
        zero(READERS),
        zero(WRITER),
        undone(NEXT, -1),
        now(zero(MARK)),
        lasting(MARK, 1),
        undone(WRITER, 1),
    ],
    &[
        zero(READERS),
        zero(WRITER),
        undone(NEXT, -1),
        now(lasting(MARK, -1)),
        now(zero(MARK)),
        lasting(MARK, 2),
        undone(WRITER, 1),
    ],
    &[
        zero(READERS),
        zero(WRITER),
        undone(NEXT, -1),
        now(lasting(MARK, -2)),
        lasting(MARK, 2),
        undone(WRITER, 1),
    ],
];

const READ_UNLOCK: &[sembuf] = &[now(undone(READERS, -1))];

/// Lowers the writer's semaphore in the name of its owner. What is to be undone is −1 for the
/// owner, and 0 behind the first operation; for everybody else it is 0, and 1. The third one adds
/// [`MOST`], and fails with `ERANGE` for everybody else. The last two take that away again.
const RELEASE: [sembuf; 5] = [
    now(undone(WRITER, -1)),
    lasting(WRITER, MOST),
    undone(WRITER, -MOST),
    undone(WRITER, MOST),
    lasting(WRITER, -MOST),
];
const WRITE_UNLOCK: &[sembuf] = &[
    RELEASE[0],
    RELEASE[1],
    RELEASE[2],
    RELEASE[3],
    RELEASE[4],
    now(lasting(MARK, -1)),
];
/// Changes nothing, and fails as unlocking would.
const IS_OWNER: &[sembuf] = &[
    RELEASE[0],
    RELEASE[1],
    RELEASE[2],
    RELEASE[3],
    RELEASE[4],
    undone(WRITER, 1),
];
const REPAIRED: &[sembuf] = &[now(lasting(MARK, -2)), lasting(MARK, 1)];

/// Removes a lock; whoever waits for it fails with `EIDRM`.
pub fn remove(id: c_int) -> Result<()> {
    // SAFETY: IPC_RMID takes no argument.
    unsafe { sys::semctl(id, 0, libc::IPC_RMID, Semun { val: 0 }) }.map(drop)
}

/// Takes a read lock.
pub fn rdlock(id: c_int, mut wait: Deadline) -> Result<LockStatus> {
    let mut set = Set::new(id);
    // Without a time-out the first system call can do the waiting itself; with one, the clock is
    // read only once there is something to wait for.
    let endless = wait.may_block() || wait.ends_with_signal();
    if !endless {
        if let Some(held) = set.take_now(&READ_NOW, &mut wait)? {
            return Ok(held);
        }
    }
    set.take(&READ, &mut wait)
}

/// Gives a read lock back.
pub fn rdunlock(id: c_int) -> Result<()> {
    Set::new(id).release(READ_UNLOCK)
}

/// Takes the write lock.
pub fn wrlock(id: c_int, mut wait: Deadline) -> Result<LockStatus> {
    let mut set = Set::new(id);
    if let Some(held) = set.take_now(&WRITE_NOW, &mut wait)? {
        return Ok(held);
    }
    let _ = set.take(&BE_NEXT, &mut wait)?;
    set.take(&WRITE, &mut wait).inspect_err(|_| {
        let _ = set.operate(BE_NEXT_NO_MORE, None);
    })
}

/// Gives the write lock back.
pub fn wrunlock(id: c_int) -> Result<()> {
    Set::new(id).release(WRITE_UNLOCK)
}

/// The write lock's owner says that what it guards is consistent again.
pub fn consistent(id: c_int) -> Result<()> {
    let mut set = Set::new(id);
    set.release(IS_OWNER)?;
    match set.operate(REPAIRED, None) {
        Err(Errno::EAGAIN) => Ok(()), // it was
        other => other,
    }
}

/// A set, for one call.
struct Set {
    id: c_int,
    /// It was there in an earlier system call.
    met: bool,
}

impl Set {
    fn new(id: c_int) -> Self {
        Self { id, met: false }
    }

    /// One system call; without a time, it waits as long as the operations do.
    fn operate(&mut self, ops: &[sembuf], time: Option<timespec>) -> Result<()> {
        let list = ops.as_ptr().cast_mut();
        let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the kernel only reads the operations, of which there are as many, and the time.
        let done = unsafe { sys::semtimedop(self.id, list, ops.len(), time) };
        match done {
            // No such set: it was removed between two system calls.
            Err(Errno::EINVAL) if self.met => Err(Errno::EIDRM),
            // No such semaphore in it.
            Err(Errno::EFBIG) => Err(Errno::EPROTO),
            other => {
                self.met = true;
                other.map(drop)
            }
        }
    }

    /// Takes the lock without waiting. Nothing if it is not to be had and there is time to wait.
    fn take_now(&mut self, lists: &Lists, wait: &mut Deadline) -> Result<Option<LockStatus>> {
        let mut mark = Mark::Zero;
        loop {
            match self.operate(lists[mark as usize], None) {
                Err(Errno::EAGAIN) => {}
                done => return done.map(|()| Some(mark.held())),
            }
            match (wait.remaining(), mark.following()) {
                (Ok(_), _) => return Ok(None),
                (Err(error), Mark::Zero) => return Err(error),
                // It may be free and marked.
                (Err(_), following) => mark = following,
            }
        }
    }

    /// Takes the lock, in whatever state it comes.
    fn take(&mut self, lists: &Lists, wait: &mut Deadline) -> Result<LockStatus> {
        let mut mark = Mark::Zero;
        loop {
            let time = wait.remaining()?.map(|left| *TimeSpec::from(left).as_ref());
            match self.operate(lists[mark as usize], time) {
                Ok(()) => return Ok(mark.held()),
                // The mark is another, or the time-out expired: remaining() says which.
                Err(Errno::EAGAIN) => mark = mark.following(),
                Err(Errno::EINTR) => wait.interrupted()?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Does what only an owner can do.
    fn release(&mut self, ops: &[sembuf]) -> Result<()> {
        match self.operate(ops, None) {
            Err(Errno::EAGAIN | Errno::ERANGE) => Err(Errno::EPERM),
            other => other,
        }
    }
}
