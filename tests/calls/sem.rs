//! semget, and semop and semtimedop that do not have to wait.

use crate::both::{Calls, NEW, OLD, Outcome, Owned, Pages, both, describe, provider_pairs, same};
use crate::call;
use common::prelude::*;
use libc::*;
use std::{io, ptr};

/// The highest value of a semaphore.
pub const SEMVMX: c_int = 32767;

/// The fourth argument of semctl, as a C program declares it.
#[derive(Clone, Copy)]
#[repr(C)]
pub union Semun {
    pub val: c_int,
    pub buf: *mut semid_ds,
    pub array: *mut c_ushort,
}

/// A set that is removed when dropped.
pub struct Set {
    pub id: c_int,
    len: usize,
}

impl Set {
    pub fn new(values: &[u16]) -> Self {
        let set = Self::with_key(IPC_PRIVATE, values.len(), 0o600);
        set.put(values);
        set
    }

    pub fn with_key(key: key_t, len: usize, mode: c_int) -> Self {
        // SAFETY: no pointers.
        let id = unsafe { semget(key, len as c_int, mode | IPC_CREAT | IPC_EXCL) };
        assert_ne!(id, -1, "{}", io::Error::last_os_error());
        Self { id, len }
    }

    /// The id of a set that has been removed.
    pub fn removed() -> c_int {
        Self::new(&[0]).id
    }

    pub fn put(&self, values: &[u16]) {
        assert_eq!(values.len(), self.len);
        // SAFETY: a value for each semaphore.
        assert_eq!(unsafe { semctl(self.id, 0, SETALL, values.as_ptr()) }, 0);
    }

    pub fn values(&self) -> Vec<u16> {
        let mut values = vec![0; self.len];
        // SAFETY: an element for each semaphore.
        let got = unsafe { semctl(self.id, 0, GETALL, values.as_mut_ptr()) };
        assert_eq!(got, 0, "{}", io::Error::last_os_error());
        values
    }

    /// One of GETVAL, GETPID, GETNCNT, GETZCNT.
    pub fn get(&self, num: usize, cmd: c_int) -> c_int {
        // SAFETY: these take no fourth argument.
        unsafe { semctl(self.id, num as c_int, cmd) }
    }

    /// The numbers of processes that wait for a higher value and for zero, for each semaphore.
    pub fn waiters(&self) -> Vec<(c_int, c_int)> {
        let counts = |num| (self.get(num, GETNCNT), self.get(num, GETZCNT));
        (0..self.len).map(counts).collect()
    }

    /// Performs one operation through libc, which must succeed.
    pub fn add(&self, num: u16, by: i16) {
        let mut op = ops(&[(num, by, 0)]);
        // SAFETY: one operation.
        let done = unsafe { semop(self.id, op.as_mut_ptr(), 1) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    }

    pub fn state(&self) -> Option<State> {
        state(self.id)
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        remove(self.id);
    }
}

fn remove(id: c_int) {
    // SAFETY: no fourth argument. A test may have removed it already.
    unsafe { semctl(id, 0, IPC_RMID) };
}

/// The IPC_STAT result, without the fields that depend on the time.
#[derive(Debug, PartialEq)]
pub struct State {
    pub owned: Owned,
    pub len: usize,
    pub operation_time: bool,
    pub change_time: bool,
}

/// The state of a set according to libc; None if the set does not exist.
pub fn state(id: c_int) -> Option<State> {
    // SAFETY: all bytes zero is a value of this struct.
    let mut ds: semid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: the struct is ours.
    if unsafe { semctl(id, 0, IPC_STAT, &raw mut ds) } == -1 {
        return None;
    }
    Some(State {
        owned: ds.sem_perm.into(),
        len: ds.sem_nsems as usize,
        operation_time: ds.sem_otime != 0,
        change_time: ds.sem_ctime != 0,
    })
}

/// Operations from (number, change, flags).
pub fn ops(list: &[(u16, i16, c_int)]) -> Vec<sembuf> {
    let op = |&(sem_num, sem_op, flags): &(u16, i16, c_int)| sembuf {
        sem_num,
        sem_op,
        sem_flg: flags as i16,
    };
    list.iter().map(op).collect()
}

/// Calls semget and describes the result.
fn get(calls: &Calls, key: key_t, len: c_int, flags: c_int) -> (Outcome, Option<State>) {
    // SAFETY: no pointers.
    let existing = unsafe { semget(key, 0, 0) };
    let outcome = call!(calls.semget(key, len, flags));
    describe(outcome, key, existing, state, remove)
}

#[apply(isolated)]
fn sizes() {
    let max = kernel_setting("sem", 0) as c_int;
    let key = fresh_key();
    for (len, expected) in [
        (0, Err(EINVAL)),
        (1, Ok(NEW)),
        (2, Ok(NEW)),
        (257, Ok(NEW)),
        (max, Ok(NEW)),
        (max + 1, Err(EINVAL)),
        (i32::MAX, Err(EINVAL)),
        (-1, Err(EINVAL)),
        (i32::MIN, Err(EINVAL)),
    ] {
        for key in [key, IPC_PRIVATE] {
            let (outcome, is) = both(len, |calls| get(calls, key, len, IPC_CREAT | 0o600));
            assert_eq!(outcome, expected, "{len} semaphores");
            assert_eq!(is.map(|is| is.len), expected.ok().map(|_| len as usize));
        }
    }
}

#[apply(isolated)]
fn sizes_of_an_existing_object() {
    let key = fresh_key();
    let _set = Set::with_key(key, 3, 0o600);
    for (len, expected) in [
        (0, Ok(OLD)),
        (1, Ok(OLD)),
        (3, Ok(OLD)),
        (4, Err(EINVAL)),
        (i32::MAX, Err(EINVAL)),
        (-1, Err(EINVAL)),
    ] {
        for flags in [0, 0o600, IPC_CREAT | 0o600] {
            let (outcome, _) = both(len, |calls| get(calls, key, len, flags));
            assert_eq!(outcome, expected, "{len} semaphores");
        }
        let flags = IPC_CREAT | IPC_EXCL;
        let (outcome, _) = both(len, |calls| get(calls, key, len, flags));
        let in_range = (0..=3).contains(&len) || len == 4;
        assert_eq!(
            outcome,
            Err(if in_range { EEXIST } else { EINVAL }),
            "{len} semaphores"
        );
    }
}

#[apply(isolated)]
fn keys_and_flags() {
    let free = fresh_key();
    let taken = fresh_key() ^ 1;
    let _set = Set::with_key(taken, 1, 0o640);
    let negative = fresh_key() | i32::MIN;
    for (key, flags, expected) in [
        (IPC_PRIVATE, 0, Ok(NEW)),
        (IPC_PRIVATE, IPC_CREAT | IPC_EXCL | 0o600, Ok(NEW)),
        (free, 0, Err(ENOENT)),
        (free, IPC_EXCL | 0o777, Err(ENOENT)),
        (free, IPC_CREAT, Ok(NEW)),
        (free, IPC_CREAT | IPC_EXCL | 0o777, Ok(NEW)),
        (negative, 0o600, Err(ENOENT)),
        (negative, IPC_CREAT | 0o600, Ok(NEW)),
        (i32::MIN, IPC_CREAT | IPC_EXCL | 0o600, Ok(NEW)),
        (-1, IPC_CREAT | IPC_EXCL | 0o600, Ok(NEW)),
        (taken, 0, Ok(OLD)),
        (taken, IPC_CREAT | 0o600, Ok(OLD)),
        (taken, IPC_EXCL, Ok(OLD)),
        (taken, IPC_CREAT | IPC_EXCL | 0o600, Err(EEXIST)),
    ] {
        let what = format!("key {key:#x}, flags {flags:#o}");
        let (outcome, is) = both(&what, |calls| get(calls, key, 1, flags));
        assert_eq!(outcome, expected, "{what}");
        if let Some(is) = is.filter(|_| outcome == Ok(NEW)) {
            assert_eq!(
                (is.owned.key, is.owned.mode),
                (key, flags as u32 & 0o777),
                "{what}"
            );
        }
    }
    for bit in 0..32 {
        for flags in [1 << bit, 1 << bit | IPC_CREAT | 0o600] {
            same(format!("flags {flags:#o}"), |calls| {
                get(calls, free, 1, flags)
            });
            same(format!("flags {flags:#o}"), |calls| {
                get(calls, IPC_PRIVATE, 1, flags)
            });
        }
    }
}

/// A time-out of zero.
const AT_ONCE: timespec = timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// The effect of an operation: outcome, values, and whether this process is each semaphore's last
/// operator.
type Effect = (Outcome, Vec<u16>, Vec<bool>);

/// Performs operations on a new set with these values.
fn operate(calls: &Calls, start: &[u16], list: &[(u16, i16, c_int)], how: How) -> Effect {
    let set = Set::with_key(IPC_PRIVATE, start.len(), 0o600);
    // A child sets the values, so this process is not yet the last operator of any semaphore.
    let child = fork_reporter(|| {
        set.put(start);
        Ok(0)
    });
    assert_eq!(child.outcome(), Ok(0));
    let mut list = ops(list);
    let before = list
        .iter()
        .map(|op| (op.sem_num, op.sem_op, op.sem_flg))
        .collect::<Vec<_>>();
    let (sops, n) = (list.as_mut_ptr(), list.len());
    let outcome = match how {
        How::Semop => call!(calls.semop(set.id, sops, n)),
        How::Forever => call!(calls.semtimedop(set.id, sops, n, ptr::null())),
        How::AtOnce => call!(calls.semtimedop(set.id, sops, n, &AT_ONCE)),
    };
    let after = list
        .iter()
        .map(|op| (op.sem_num, op.sem_op, op.sem_flg))
        .collect::<Vec<_>>();
    assert_eq!(before, after, "the operations are an input");
    let last = (0..start.len())
        .map(|num| is_me(set.get(num, GETPID)))
        .collect();
    (outcome, set.values(), last)
}

#[derive(Clone, Copy, Debug)]
enum How {
    Semop,
    Forever,
    AtOnce,
}

#[apply(isolated)]
fn operations() {
    let start = [0, 1, 5];
    let no_wait = IPC_NOWAIT;
    // Operations, and the values after them or the errno.
    type Row<'a> = (&'a [(u16, i16, c_int)], Result<[u16; 3], c_int>);
    let rows: &[Row] = &[
        (&[(0, 1, 0)], Ok([1, 1, 5])),
        (&[(1, -1, 0)], Ok([0, 0, 5])),
        (&[(2, -5, 0)], Ok([0, 1, 0])),
        (&[(0, 0, 0)], Ok([0, 1, 5])),
        (&[(0, 1, no_wait)], Ok([1, 1, 5])),
        (&[(0, -1, no_wait)], Err(EAGAIN)),
        (&[(1, -2, no_wait)], Err(EAGAIN)),
        (&[(2, -6, no_wait)], Err(EAGAIN)),
        (&[(1, 0, no_wait)], Err(EAGAIN)),
        (&[(2, i16::MIN, no_wait)], Err(EAGAIN)),
        // Several operations: all or none, in order.
        (&[(0, 1, 0), (1, 1, 0), (2, 1, 0)], Ok([1, 2, 6])),
        (&[(0, 1, 0), (0, -1, 0)], Ok([0, 1, 5])),
        (&[(0, -1, no_wait), (0, 1, 0)], Err(EAGAIN)),
        (&[(0, 0, 0), (0, 1, SEM_UNDO)], Ok([1, 1, 5])),
        (&[(2, -5, 0), (2, 0, 0), (2, 7, 0)], Ok([0, 1, 7])),
        (&[(0, 3, 0), (2, -5, 0), (1, -2, no_wait)], Err(EAGAIN)),
        (&[(0, 3, 0), (1, 0, no_wait), (2, -5, 0)], Err(EAGAIN)),
        (
            &[(0, 3, SEM_UNDO), (1, -2, no_wait | SEM_UNDO)],
            Err(EAGAIN),
        ),
        // Above the highest value.
        (&[(0, i16::MAX, 0)], Ok([32767, 1, 5])),
        (&[(1, i16::MAX, 0)], Err(ERANGE)),
        (&[(1, i16::MAX, no_wait)], Err(ERANGE)),
        (&[(2, -1, 0), (1, i16::MAX, 0)], Err(ERANGE)),
        (&[(0, i16::MAX, 0), (0, 1, 0)], Err(ERANGE)),
        // No such semaphore.
        (&[(3, 1, 0)], Err(EFBIG)),
        (&[(u16::MAX, 1, 0)], Err(EFBIG)),
        (&[(0, 1, 0), (3, 1, 0)], Err(EFBIG)),
        (&[(0, -1, no_wait), (3, 1, 0)], Err(EFBIG)),
        (&[(3, 0, no_wait)], Err(EFBIG)),
    ];
    for (list, expected) in rows {
        for how in [How::Semop, How::Forever, How::AtOnce] {
            let what = format!("{list:?} by {how:?}");
            let (outcome, values, last) = both(&what, |calls| operate(calls, &start, list, how));
            assert_eq!(outcome, expected.map(|_| 0), "{what}");
            assert_eq!(values, expected.unwrap_or(start), "{what}");
            if outcome.is_err() {
                assert_eq!(last, [false; 3], "{what}");
            }
        }
    }
    // Operations that would have to wait, with a time-out of zero.
    for list in [&[(0, -1, 0)], &[(1, 0, 0)], &[(0, -1, SEM_UNDO)]] {
        let what = format!("{list:?}");
        let got = both(&what, |calls| operate(calls, &start, list, How::AtOnce));
        assert_eq!(got, (Err(EAGAIN), start.into(), vec![false; 3]), "{what}");
    }
}

#[apply(isolated)]
fn every_operation_flag() {
    for bit in 0..16 {
        for change in [-1, 0, 1] {
            let list = [(0, change, 1 << bit)];
            let what = format!("{list:?}");
            let (outcome, ..) = both(&what, |calls| operate(calls, &[0], &list, How::AtOnce));
            assert_eq!(
                outcome,
                if change < 0 { Err(EAGAIN) } else { Ok(0) },
                "{what}"
            );
        }
    }
}

#[apply(isolated)]
fn number_of_operations() {
    let max = kernel_setting("sem", 2) as usize;
    let list = vec![(0, 1, 0); max + 2];
    for (n, expected) in [
        (0, Err(EINVAL)),
        (1, Ok(0)),
        (65, Ok(0)), // more than the kernel keeps on its stack
        (max, Ok(0)),
        (max + 1, Err(E2BIG)),
        (i32::MAX as usize, Err(E2BIG)),
        (u32::MAX as usize, Err(E2BIG)),
    ] {
        number(&list, n, Some(expected));
    }
    // The kernel's count has 32 bits; its handling of the others is unspecified.
    for n in [1 << 32, (1 << 32) + 1, 1 << 63, usize::MAX] {
        number(&list, n, None);
    }
}

fn number(list: &[(u16, i16, c_int)], n: usize, expected: Option<Outcome>) {
    let run = |calls: &Calls, timed| {
        let set = Set::new(&[0]);
        let mut list = ops(list);
        let sops = list.as_mut_ptr();
        let outcome = if timed {
            call!(calls.semtimedop(set.id, sops, n, &AT_ONCE))
        } else {
            call!(calls.semop(set.id, sops, n))
        };
        (outcome, set.values())
    };
    for timed in [false, true] {
        let (outcome, _) = both(format!("{n} operations"), |calls| run(calls, timed));
        assert!(
            expected.is_none_or(|expected| expected == outcome),
            "{n}: {outcome:?}"
        );
    }
}

#[apply(isolated)]
fn operation_pointers() {
    let pages = Pages::new();
    let set = Set::new(&[0, 0]);
    let run = |calls: &Calls, sops, n| {
        set.put(&[0, 0]);
        let plain = call!(calls.semop(set.id, sops, n));
        let timed = call!(calls.semtimedop(set.id, sops, n, &AT_ONCE));
        (plain, timed, set.values())
    };
    for (name, sops) in pages.invalid_pointers::<sembuf>() {
        let got = both(name, |calls| run(calls, sops, 1));
        assert_eq!(got, (Err(EFAULT), Err(EFAULT), vec![0, 0]), "{name}");
        let got = both(name, |calls| run(calls, sops, 0));
        assert_eq!(got, (Err(EINVAL), Err(EINVAL), vec![0, 0]), "{name}");
    }
    let list = ops(&[(0, 1, 0), (1, 1, 0)]);
    let sops = pages.put_last(&list);
    let got = both("two before an inaccessible page", |calls| {
        run(calls, sops, 2)
    });
    assert_eq!(got, (Ok(0), Ok(0), vec![2, 2]));
    let got = both("the third is inaccessible", |calls| run(calls, sops, 3));
    assert_eq!(got, (Err(EFAULT), Err(EFAULT), vec![0, 0]));
    for moved in 1..6 {
        let sops = sops.wrapping_byte_add(moved);
        let got = both("cut", |calls| run(calls, sops, 2));
        assert_eq!(got, (Err(EFAULT), Err(EFAULT), vec![0, 0]));
    }
    // All bytes are zero: wait for zero, which is the present value.
    let got = both("a read-only page", |calls| run(calls, pages.read_only(), 2));
    assert_eq!(got, (Ok(0), Ok(0), vec![0, 0]));
}

#[apply(isolated)]
fn operation_ids() {
    let removed = Set::removed();
    let mut op = ops(&[(0, 1, 0)]);
    let sops = op.as_mut_ptr();
    for id in [removed, -1, i32::MIN, i32::MAX] {
        for n in [0, 1] {
            for sops in [sops, ptr::null_mut()] {
                same(format!("id {id}, {n}"), |calls| {
                    call!(calls.semop(id, sops, n))
                });
            }
        }
        let got = both(id, |calls| call!(calls.semop(id, sops, 1)));
        let expected = if id == removed {
            vec![EINVAL, EIDRM]
        } else {
            vec![EINVAL]
        };
        assert!(expected.contains(&got.unwrap_err()), "{id}: {got:?}");
        let timed = both(id, |calls| call!(calls.semtimedop(id, sops, 1, &AT_ONCE)));
        assert_eq!(timed, got);
    }
}

#[apply(isolated)]
fn shared_between_providers() {
    for (maker, user) in provider_pairs() {
        let key = fresh_key();
        let id = call!(maker.semget(key, 2, IPC_CREAT | IPC_EXCL | 0o600)).unwrap() as c_int;
        assert_eq!(call!(user.semget(key, 2, 0)), Ok(id.into()));
        assert_eq!(call!(maker.semctl(id, 1, SETVAL, 7 as c_int)), Ok(0));
        assert_eq!(call!(user.semctl(id, 1, GETVAL)), Ok(7));
        let mut list = ops(&[(1, -3, 0), (0, 1, 0)]);
        assert_eq!(call!(user.semop(id, list.as_mut_ptr(), 2)), Ok(0));
        assert_eq!(call!(maker.semctl(id, 1, GETVAL)), Ok(4));
        assert_eq!(
            call!(maker.semtimedop(id, list.as_mut_ptr(), 2, &AT_ONCE)),
            Ok(0)
        );
        let mut values = [0u16; 2];
        assert_eq!(
            call!(user.semctl(id, 0, GETALL, values.as_mut_ptr())),
            Ok(0)
        );
        assert_eq!(values, [2, 1]);
        assert_eq!(call!(user.semctl(id, 0, IPC_RMID)), Ok(0));
        assert_eq!(state(id), None);
    }
}

#[apply(isolated)]
#[needs(needs::root)]
fn limits() {
    let get_errno = |calls: &Calls, len| {
        call!(calls.semget(IPC_PRIVATE, len, 0o600)).map(|id| remove(id as c_int))
    };
    // SEMMSL, SEMMNS, SEMOPM, SEMMNI
    set_kernel_setting("sem", "5 8 4 2");
    assert_eq!(both("SEMMSL", |calls| get_errno(calls, 5)), Ok(()));
    assert_eq!(both("SEMMSL + 1", |calls| get_errno(calls, 6)), Err(EINVAL));
    number(&[(0, 1, 0); 8], 4, Some(Ok(0)));
    number(&[(0, 1, 0); 8], 5, Some(Err(E2BIG)));
    let _one = Set::new(&[0; 5]);
    assert_eq!(both("SEMMNS", |calls| get_errno(calls, 3)), Ok(()));
    assert_eq!(both("SEMMNS + 1", |calls| get_errno(calls, 4)), Err(ENOSPC));
    let _two = Set::new(&[0]);
    assert_eq!(both("SEMMNI + 1", |calls| get_errno(calls, 1)), Err(ENOSPC));
}
