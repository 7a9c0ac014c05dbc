//! semop and semtimedop that wait.

use crate::both::{Calls, LIBC, Outcome, Pages, both, limit, provider_pairs};
use crate::call;
use crate::sem::{Set, ops};
use crate::semctl::{Fourth, control};
use common::prelude::*;
use libc::*;
use std::ptr;
use std::time::{Duration, Instant};

/// The ways to make a waiting call.
#[derive(Clone, Copy, Debug)]
enum How {
    Semop,
    Forever,
    Hour,
    /// The longest possible time-out.
    Longest,
}

const ALL_CALLS: [How; 4] = [How::Semop, How::Forever, How::Hour, How::Longest];

fn operate(calls: &Calls, id: c_int, list: &[(u16, i16, c_int)], how: How) -> Outcome {
    let mut list = ops(list);
    let (sops, n) = (list.as_mut_ptr(), list.len());
    let hour = timespec {
        tv_sec: 3600,
        tv_nsec: 0,
    };
    let longest = timespec {
        tv_sec: i64::MAX,
        tv_nsec: 999_999_999,
    };
    match how {
        How::Semop => call!(calls.semop(id, sops, n)),
        How::Forever => call!(calls.semtimedop(id, sops, n, ptr::null())),
        How::Hour => call!(calls.semtimedop(id, sops, n, &hour)),
        How::Longest => call!(calls.semtimedop(id, sops, n, &longest)),
    }
}

/// Starts a child that waits for one operation, and returns when the child waits.
fn waiter(calls: &Calls, set: &Set, op: (u16, i16, c_int), how: How) -> Reporter<i64> {
    let before = set.waiters();
    let child = fork_reporter(|| operate(calls, set.id, &[op], how));
    wait_until("the child waits", || set.waiters() != before);
    child
}

/// Performs one operation on a set with the values 0 and 1; the time-out must not expire early.
fn timed(calls: &Calls, op: (u16, i16, c_int), given: timespec) -> (Outcome, Vec<u16>) {
    let set = Set::new(&[0, 1]);
    let mut list = ops(&[op]);
    let timeout = given;
    let start = Instant::now();
    let outcome = call!(calls.semtimedop(set.id, list.as_mut_ptr(), 1, &timeout));
    let took = start.elapsed();
    if outcome == Err(EAGAIN) {
        let least = Duration::new(given.tv_sec as u64, given.tv_nsec as u32);
        assert!(took >= least, "{took:?} of {least:?}");
    }
    assert_eq!(
        (timeout.tv_sec, timeout.tv_nsec),
        (given.tv_sec, given.tv_nsec)
    );
    (outcome, set.values())
}

#[apply(isolated)]
fn time_outs() {
    let ms = 1_000_000;
    // Seconds, nanoseconds, the outcome of a call that does not have to wait, and of one that has
    // to.
    for (tv_sec, tv_nsec, at_once, waiting) in [
        (0, 0, Ok(0), Err(EAGAIN)),
        (0, 1, Ok(0), Err(EAGAIN)),
        (0, ms, Ok(0), Err(EAGAIN)),
        (0, 30 * ms, Ok(0), Err(EAGAIN)),
        (-1, 0, Err(EINVAL), Err(EINVAL)),
        (-1, 999_999_999, Err(EINVAL), Err(EINVAL)),
        (i64::MIN, 0, Err(EINVAL), Err(EINVAL)),
        (0, -1, Err(EINVAL), Err(EINVAL)),
        (1, -1, Err(EINVAL), Err(EINVAL)),
        (0, 1_000_000_000, Err(EINVAL), Err(EINVAL)),
        (0, i64::MAX, Err(EINVAL), Err(EINVAL)),
        (0, i64::MIN, Err(EINVAL), Err(EINVAL)),
    ] {
        let given = timespec { tv_sec, tv_nsec };
        for (op, expected) in [
            ((0, 1, 0), at_once),
            ((0, -1, 0), waiting),
            ((1, 0, 0), waiting),
            ((0, -1, SEM_UNDO), waiting),
        ] {
            let what = format!("{tv_sec} s {tv_nsec} ns, {op:?}");
            let (outcome, values) = both(&what, |calls| timed(calls, op, given));
            assert_eq!(outcome, expected, "{what}");
            assert_eq!(
                values,
                if outcome.is_ok() { [1, 1] } else { [0, 1] },
                "{what}"
            );
        }
    }
    // The seconds count too.
    let (tv_sec, tv_nsec) = (1, 5 * ms);
    let got = both("a second and more", |calls| {
        timed(calls, (0, -1, 0), timespec { tv_sec, tv_nsec })
    });
    assert_eq!(got.0, Err(EAGAIN));
    // IPC_NOWAIT is checked before the time-out.
    let hour = timespec {
        tv_sec: 3600,
        tv_nsec: 0,
    };
    let got = both("IPC_NOWAIT with an hour", |calls| {
        let set = Set::new(&[0]);
        let mut list = ops(&[(0, -1, IPC_NOWAIT)]);
        call!(calls.semtimedop(set.id, list.as_mut_ptr(), 1, &hour))
    });
    assert_eq!(got, Err(EAGAIN));
}

#[apply(isolated)]
fn time_out_pointers() {
    let pages = Pages::new();
    let set = Set::new(&[1]);
    let removed = Set::removed();
    let mut bad = pages.invalid_pointers::<timespec>();
    bad.push(("one byte short", pages.last(size_of::<timespec>() - 1)));
    for (name, timeout) in bad {
        for (id, n, change) in [
            (set.id, 1, 1),
            (set.id, 1, -1),
            (set.id, 0, 1),
            (-1, 1, 1),
            (removed, 1, 1),
        ] {
            let what = format!("{name}, {n} operations, {change}");
            let (outcome, values) = both(&what, |calls| {
                set.put(&[1]);
                let mut list = ops(&[(0, change, 0)]);
                let outcome = call!(calls.semtimedop(id, list.as_mut_ptr(), n, timeout));
                (outcome, set.values())
            });
            if !timeout.is_null() {
                assert_eq!((outcome, values), (Err(EFAULT), vec![1]), "{what}");
            }
        }
    }
    for (name, timeout) in [
        (
            "the last bytes",
            pages.put_last(&[timespec {
                tv_sec: 0,
                tv_nsec: 1,
            }]),
        ),
        ("a read-only page", pages.read_only()),
        ("unaligned", pages.put_last(&[[0u8; 17]]).cast()),
    ] {
        let outcome = both(name, |calls| {
            set.put(&[1]);
            let mut list = ops(&[(0, -2, 0)]);
            call!(calls.semtimedop(set.id, list.as_mut_ptr(), 1, timeout))
        });
        assert_eq!(outcome, Err(EAGAIN), "{name}");
    }
}

#[apply(isolated)]
fn woken() {
    for how in ALL_CALLS {
        for (start, op, change, after) in [
            (0, (0, -2, 0), 2, 0),
            (0, (0, -2, SEM_UNDO), 5, 5), // the child's exit gives them back
            (3, (0, 0, 0), -3, 0),
        ] {
            let what = format!("{op:?} by {how:?}");
            let got = both(&what, |calls| {
                let set = Set::new(&[start]);
                let child = waiter(calls, &set, op, how);
                set.add(0, change);
                (child.outcome(), set.values(), set.waiters())
            });
            assert_eq!(got, (Ok(0), vec![after], vec![(0, 0)]), "{what}");
        }
    }
}

/// If only a part of the operations is possible, nothing changes.
#[apply(isolated)]
fn all_or_none() {
    for how in ALL_CALLS {
        let got = both(format!("{how:?}"), |calls| {
            let set = Set::new(&[0, 0]);
            let child = fork_reporter(|| operate(calls, set.id, &[(0, -1, 0), (1, -1, 0)], how));
            wait_until("it waits for the first", || {
                set.waiters() == [(1, 0), (0, 0)]
            });
            set.add(0, 1);
            wait_until("it waits for the second", || {
                set.waiters() == [(0, 0), (1, 0)]
            });
            let half = set.values();
            set.add(1, 1);
            (half, child.outcome(), set.values())
        });
        assert_eq!(got, (vec![1, 0], Ok(0), vec![0, 0]));
    }
}

#[apply(isolated)]
fn interrupted_by_a_handler() {
    for how in ALL_CALLS {
        for flags in [0, SA_RESTART] {
            for op in [(0, -1, 0), (1, 0, 0), (0, -1, SEM_UNDO)] {
                let what = format!("{op:?} by {how:?}, handler flags {flags:#x}");
                let got = both(&what, |calls| {
                    let set = Set::new(&[0, 1]);
                    let child = fork_reporter(|| {
                        count_signal(SIGUSR1, flags);
                        let outcome = operate(calls, set.id, &[op], how);
                        assert_eq!(handled(), 1);
                        outcome
                    });
                    wait_until("the child waits", || set.waiters() != [(0, 0), (0, 0)]);
                    child.signal(SIGUSR1);
                    (child.outcome(), set.values(), set.waiters())
                });
                assert_eq!(got, (Err(EINTR), vec![0, 1], vec![(0, 0); 2]), "{what}");
            }
        }
    }
}

/// On Linux, stopping and continuing a process without a handler also ends the wait.
#[apply(isolated)]
fn interrupted_by_stop_and_continue() {
    for how in ALL_CALLS {
        let got = both(format!("{how:?}"), |calls| {
            let set = Set::new(&[0]);
            let child = waiter(calls, &set, (0, -1, 0), how);
            child.signal(SIGSTOP);
            child.wait_stopped();
            child.signal(SIGCONT);
            (child.outcome(), set.waiters())
        });
        assert_eq!(got, (Err(EINTR), vec![(0, 0)]), "{how:?}");
    }
}

#[apply(isolated)]
fn removed() {
    for how in ALL_CALLS {
        for op in [(0, -1, 0), (1, 0, 0)] {
            for remove_by_ipc in [false, true] {
                let what = format!("{op:?} by {how:?}");
                let got = both(&what, |calls| {
                    let set = Set::new(&[0, 1]);
                    let child = waiter(calls, &set, op, how);
                    let remover = if remove_by_ipc { calls } else { &LIBC };
                    let removed = control(remover, set.id, 0, IPC_RMID, Fourth::None);
                    (removed, child.outcome())
                });
                assert_eq!(got, (Ok(0), Err(EIDRM)), "{what}");
            }
        }
    }
}

#[apply(isolated)]
fn counts_and_pids() {
    let got = both("with waiters", |calls| {
        let set = Set::new(&[0, 1, 0]);
        let children: Vec<_> = [(0, -1, 0), (0, -2, 0), (1, 0, 0)]
            .map(|op| waiter(calls, &set, op, How::Semop))
            .into();
        let counts: Vec<_> = (0..3)
            .flat_map(|num| {
                [GETNCNT, GETZCNT].map(|cmd| control(calls, set.id, num, cmd, Fourth::None))
            })
            .collect();
        // Each one is released, and is then the last operator of its semaphore.
        let last = |num, pid: pid_t| {
            wait_until("the child was released", || set.get(num, GETPID) == pid);
            control(calls, set.id, num as c_int, GETPID, Fourth::None) == Ok(pid.into())
        };
        set.add(0, 1);
        let first = last(0, children[0].0);
        set.add(0, 2);
        let second = last(0, children[1].0);
        set.add(1, -1);
        let third = last(1, children[2].0);
        let outcomes: Vec<_> = children.into_iter().map(Reporter::outcome).collect();
        (counts, [first, second, third], outcomes, set.waiters())
    });
    let counts = [2, 0, 0, 1, 0, 0].map(Ok).into();
    assert_eq!(got, (counts, [true; 3], vec![Ok(0); 3], vec![(0, 0); 3]));
}

/// Two processes take turns, through all pairs of providers.
#[apply(isolated)]
fn taking_turns() {
    for (first, second) in provider_pairs() {
        limit();
        let set = Set::new(&[0, 0]);
        let child = fork_reporter(|| {
            for _ in 0..1000 {
                operate(second, set.id, &[(0, -1, 0)], How::Semop)?;
                operate(second, set.id, &[(1, 1, 0)], How::Hour)?;
            }
            Ok(0)
        });
        for _ in 0..1000 {
            assert_eq!(operate(first, set.id, &[(0, 1, 0)], How::Semop), Ok(0));
            assert_eq!(operate(first, set.id, &[(1, -1, 0)], How::Hour), Ok(0));
        }
        assert_eq!(child.outcome(), Ok(0));
        assert_eq!(set.values(), [0, 0]);
    }
}
