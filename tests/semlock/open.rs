//! Opening by key, refused calls, and creation by many processes at once.

use crate::support::*;
use common::user::become_nobody;
use libc::{
    E2BIG, EACCES, EAGAIN, EEXIST, EINVAL, ENOENT, ENOSPC, EPERM, EPROTO, IPC_CREAT, IPC_EXCL,
    IPC_PRIVATE, IPC_STAT, c_int, key_t,
};
use std::fs;
use std::sync::atomic::Ordering::SeqCst;

/// The mode and the number of semaphores.
fn state(id: usize) -> (u32, u64) {
    // SAFETY: zero bytes are such a struct.
    let mut ds: libc::semid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: the struct is ours.
    let done = unsafe { libc::semctl(id as c_int, 0, IPC_STAT, &raw mut ds) };
    assert_eq!(done, 0);
    (u32::from(ds.sem_perm.mode), ds.sem_nsems)
}

#[apply(isolated)]
fn flags() {
    for bit in 0..32 {
        let flag = 1 << bit;
        let known = [IPC_CREAT, IPC_EXCL].contains(&flag) || bit < 9;
        let opened = open(IPC_PRIVATE, flag);
        assert_eq!(opened.is_ok(), known, "{flag:#o}: {opened:?}");
        match opened {
            Ok(id) => drop(Lock::with_id(id as c_int)),
            Err(error) => assert_eq!(error, EINVAL),
        }
    }
    for mode in [0o600, 0o640, 0o777, 0o222] {
        // SAFETY: no pointers.
        let umask = unsafe { libc::umask(0o777) };
        let lock = Lock::with_id(open(IPC_PRIVATE, mode).unwrap() as c_int);
        // SAFETY: no pointers.
        unsafe { libc::umask(umask) };
        assert_eq!(state(lock.id as usize), (mode as u32, 5));
    }
}

#[apply(isolated)]
fn by_key() {
    let key = fresh_key();
    assert_eq!(open(key, 0o600), Err(ENOENT));
    assert_eq!(open(key, IPC_EXCL | 0o600), Err(ENOENT));
    let lock = Lock::with_id(open(key, IPC_CREAT | 0o600).unwrap() as c_int);
    assert_eq!(lock.values(), [0; 4]);
    let id = lock.id as usize;
    for flags in [0, 0o600, IPC_EXCL, IPC_CREAT, IPC_CREAT | 0o600] {
        assert_eq!(open(key, flags), Ok(id), "{flags:#o}");
    }
    assert_eq!(open(key, IPC_CREAT | IPC_EXCL | 0o600), Err(EEXIST));
    // A held lock stays held when another process opens it.
    assert_eq!(lock.wr(0), CLEAN);
    assert_eq!(open(key, IPC_CREAT | 0o600), Ok(id));
    assert_eq!(lock.rd(0), Err(EAGAIN));
    assert_eq!(lock.remove(), DONE);
    let again = Lock::with_id(open(key, IPC_CREAT | 0o600).unwrap() as c_int);
    assert_ne!(again.id, lock.id);
    assert_eq!(again.wr(0), CLEAN);
    assert_eq!(again.wr_un(), DONE);
    let other = Lock::with_id(open(IPC_PRIVATE, 0o600).unwrap() as c_int);
    assert_ne!(other.id, again.id);
}

/// Sets that are not locks.
#[apply(isolated)]
fn foreign_sets() {
    for count in [1, 2, 3, 4, 6, 100] {
        let key = fresh_key();
        let foreign = Lock::with_id(set_of(key, count));
        for flags in [0, 0o600, IPC_CREAT | 0o600] {
            assert_eq!(open(key, flags), Err(EPROTO), "{count}, {flags:#o}");
        }
        assert_eq!(open(key, IPC_CREAT | IPC_EXCL | 0o600), Err(EEXIST));
        if count < 4 {
            for timeout in [0, 10, -1, INTR] {
                assert_eq!(foreign.rd(timeout), Err(EPROTO));
                assert_eq!(foreign.wr(timeout), Err(EPROTO));
            }
            assert_eq!(foreign.wr_un(), Err(EPROTO));
            // A process that does not hold it gets this error first.
            let error = if count == 1 { EPROTO } else { EPERM };
            assert_eq!(foreign.consistent(), Err(error));
        }
    }
}

/// Sets of the same size that are not locks: one in use, one initialised, and one whose values have
/// returned to zero.
#[apply(isolated)]
fn foreign_sets_of_the_same_size() {
    let op = |id, num, change| {
        let mut op = libc::sembuf {
            sem_num: num,
            sem_op: change,
            sem_flg: 0,
        };
        // SAFETY: one operation.
        assert_eq!(unsafe { libc::semop(id, &mut op, 1) }, 0);
    };
    for num in 0..5 {
        for value in [1, 7, 30_056, 30_059, 32_767] {
            let key = fresh_key();
            let foreign = Lock::with_id(set_of(key, 5));
            // SAFETY: SETVAL takes an int.
            let set = unsafe { libc::semctl(foreign.id, num, libc::SETVAL, value as c_int) };
            assert_eq!(set, 0);
            for flags in [0, 0o600, IPC_CREAT | 0o600] {
                let got = open(key, flags);
                assert_eq!(got, Err(EPROTO), "semaphore {num} is {value}, {flags:#o}");
            }
            op(foreign.id, num as u16, -1);
            assert_eq!(open(key, IPC_CREAT | 0o600), Err(EPROTO), "used");
        }
    }
    let key = fresh_key();
    let foreign = Lock::with_id(set_of(key, 5));
    op(foreign.id, 0, 1);
    op(foreign.id, 0, -1);
    assert_eq!(open(key, IPC_CREAT | 0o600), Err(EPROTO), "zeros again");
    // SAFETY: no pointers.
    let value = |num| unsafe { libc::semctl(foreign.id, num, libc::GETVAL) };
    assert_eq!([0, 1, 2, 3, 4].map(value), [0; 5], "it was not changed");
}

/// A process killed between creating and marking the set leaves a set that a later process marks.
#[apply(isolated)]
fn not_marked_yet() {
    for flags in [0, 0o600, IPC_CREAT | 0o600] {
        let key = fresh_key();
        let lock = Lock::with_id(set_of(key, 5));
        assert_eq!(open(key, flags), Ok(lock.id as usize), "{flags:#o}");
        assert_eq!(lock.values(), [0; 4]);
        assert_eq!(lock.wr(0), CLEAN);
        assert_eq!(open(key, flags), Ok(lock.id as usize), "{flags:#o}");
        assert_eq!(lock.wr_un(), DONE);
    }
}

#[apply(isolated)]
fn ids() {
    let removed = Lock::new();
    assert_eq!(removed.remove(), DONE);
    for id in [-1, c_int::MIN, c_int::MAX, removed.id] {
        let lock = Lock::with_id(id);
        let _case = Case(id);
        for timeout in [0, 10, LONG, -1, INTR] {
            assert_eq!(lock.rd(timeout), Err(EINVAL));
            assert_eq!(lock.wr(timeout), Err(EINVAL));
        }
        assert_eq!(lock.rd_un(), Err(EINVAL));
        assert_eq!(lock.wr_un(), Err(EINVAL));
        assert_eq!(lock.consistent(), Err(EINVAL));
        assert_eq!(lock.remove(), Err(EINVAL));
    }
    let lock = Lock::new();
    for timeout in [-3, -1000, c_int::MIN] {
        assert_eq!(lock.rd(timeout), Err(EINVAL));
        assert_eq!(lock.wr(timeout), Err(EINVAL));
    }
    assert_eq!(lock.values(), [0; 4]);
}

/// A hundred processes open a lock at the same moment, and use it at once. The number of successes.
fn crowd(key: key_t, flags: c_int, refused: c_int) -> u64 {
    const CROWD: usize = 100;
    let count = shared_words(3);
    let [opened, ids, entered] = [&count[0], &count[1], &count[2]];
    let start = StartSignal::new();
    let children: Vec<Child> = (0..CROWD)
        .map(|_| {
            fork(|| {
                start.wait();
                match open(key, flags) {
                    Ok(id) => {
                        opened.fetch_add(1, SeqCst);
                        ids.fetch_max(id as u64 + 1, SeqCst);
                        // Not dropped: the others use the lock too.
                        let lock = std::mem::ManuallyDrop::new(Lock::with_id(id as c_int));
                        assert_eq!(lock.wr(LONG), CLEAN);
                        let before = entered.load(SeqCst);
                        std::thread::yield_now();
                        entered.store(before + 1, SeqCst);
                        assert_eq!(lock.wr_un(), DONE);
                    }
                    Err(error) => assert_eq!(error, refused),
                }
            })
        })
        .collect();
    start.give(CROWD);
    children.into_iter().for_each(Child::join);
    let lock = Lock::with_id(open(key, 0o600).unwrap() as c_int);
    assert_eq!(lock.id as u64 + 1, ids.load(SeqCst), "all have the same");
    assert_eq!(lock.values(), [0; 4]);
    assert_eq!(entered.load(SeqCst), opened.load(SeqCst));
    opened.load(SeqCst)
}

#[apply(isolated)]
fn many_at_once() {
    for _ in 0..3 {
        assert_eq!(crowd(fresh_key(), IPC_CREAT | 0o600, 0), 100);
    }
}

#[apply(isolated)]
fn many_exclusive_at_once() {
    for _ in 0..3 {
        let flags = IPC_CREAT | IPC_EXCL | 0o600;
        assert_eq!(crowd(fresh_key(), flags, EEXIST), 1);
    }
}

/// The access that the mode grants to others.
#[apply(isolated)]
#[needs(needs::root)]
fn another_user() {
    for mode in [0, 0o600, 0o604, 0o602, 0o606] {
        let _case = Case(format!("{mode:o}"));
        let key = fresh_key();
        let lock = Lock::with_id(open(key, IPC_CREAT | mode).unwrap() as c_int);
        let id = lock.id as usize;
        let may_alter = mode & 2 != 0;
        let may_all = mode & 6 == 6;
        fork(|| {
            become_nobody().unwrap();
            let granted = |so: bool, value| if so { Ok(value) } else { Err(EACCES) };
            assert_eq!(open(key, 0), Ok(id));
            assert_eq!(open(key, 0o200), granted(may_alter, id));
            assert_eq!(open(key, 0o600), granted(may_all, id));
            assert_eq!(open(key, IPC_CREAT | 0o600), granted(may_all, id));
            for timeout in [0, 10, -1] {
                for side in SIDES {
                    assert_eq!(lock.lock(side, timeout), granted(may_alter, 0));
                    assert_eq!(lock.unlock(side), granted(may_alter, 0));
                }
            }
            assert_eq!(lock.wr(0), granted(may_alter, 0));
            assert_eq!(lock.consistent(), granted(may_alter, 0));
            assert_eq!(lock.remove(), Err(EPERM));
        })
        .join();
        // The other user's process died with the lock.
        let died = if may_alter { DIED } else { CLEAN };
        assert_eq!(lock.wr(0), died);
    }
}

/// The system's limits, in this test's own namespace.
#[apply(isolated)]
#[needs(needs::root)]
fn limits() {
    // SEMMSL, SEMMNS, SEMOPM, SEMMNI
    let set = |limits| fs::write("/proc/sys/kernel/sem", limits).unwrap();
    set("4 100 100 10");
    assert_eq!(open(IPC_PRIVATE, 0o600), Err(EINVAL));
    set("5 9 100 10");
    let lock = Lock::new();
    assert_eq!(open(IPC_PRIVATE, 0o600), Err(ENOSPC));
    set("5 100 100 1");
    assert_eq!(open(IPC_PRIVATE, 0o600), Err(ENOSPC));
    // The smallest number of operations that suffices.
    set("5 100 7 10");
    die_holding(&lock);
    assert_eq!(lock.wr(0), DIED);
    assert_eq!(lock.consistent(), DONE);
    assert_eq!(lock.wr_un(), DONE);
    set("5 100 3 10");
    assert_eq!(lock.wr(0), Err(E2BIG));
    assert_eq!(lock.rd(0), Err(E2BIG));
    assert_eq!(lock.wr_un(), Err(E2BIG));
    assert_eq!(lock.consistent(), Err(E2BIG));
}
