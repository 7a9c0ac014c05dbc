//! SEM_UNDO.

use crate::both::{Calls, both};
use crate::call;
use crate::sem::{Set, ops};
use crate::semctl::{Fourth, control};
use common::prelude::*;
use libc::*;

/// Changes a semaphore, and lets the kernel record the undo value.
fn change(calls: &Calls, set: &Set, num: u16, by: i16) {
    let mut list = ops(&[(num, by, SEM_UNDO)]);
    let no_time = timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let sops = list.as_mut_ptr();
    let done = if by > 0 {
        call!(calls.semop(set.id, sops, 1))
    } else {
        call!(calls.semtimedop(set.id, sops, 1, &no_time))
    };
    assert_eq!(done, Ok(0));
}

#[apply(isolated)]
fn at_the_end() {
    for how in [
        End::Exit(0),
        End::Signal(SIGKILL),
        End::Signal(SIGABRT),
        End::Signal(SIGTERM),
    ] {
        let got = both(format!("{how:?}"), |calls| {
            let set = Set::new(&[10, 10, 10]);
            let held = PausedChild::start(
                || {
                    change(calls, &set, 0, 3);
                    change(calls, &set, 1, -4);
                    change(calls, &set, 1, -4);
                    set.add(2, 1); // without undo
                },
                || (),
            );
            let during = set.values();
            match how {
                End::Exit(_) => held.finish(),
                End::Signal(signal) => {
                    held.child.signal(signal);
                    assert_eq!(held.child.end(), how);
                }
            }
            (during, set.values())
        });
        assert_eq!(got, (vec![13, 2, 11], vec![10, 10, 11]), "{how:?}");
    }
}

#[apply(isolated)]
fn not_inherited() {
    let got = both("fork", |calls| {
        let set = Set::new(&[0]);
        let held = PausedChild::start(
            || {
                change(calls, &set, 0, 3);
                assert_eq!(fork_reporter(|| Ok(0)).outcome(), Ok(0));
            },
            || (),
        );
        let after_grandchild = set.values();
        held.finish();
        (after_grandchild, set.values())
    });
    assert_eq!(got, (vec![3], vec![0]));
}

#[apply(isolated)]
fn erased_by_setval() {
    let all = [7u16, 7];
    let all = Fourth::Pointer(all.as_ptr().cast_mut().cast());
    for (cmd, fourth, expected) in [
        (SETVAL, Fourth::Int(7), [7, 0]), // the other semaphore's undo value stays
        (SETALL, all, [7, 7]),
    ] {
        let got = both(cmd, |calls| {
            let set = Set::new(&[0, 0]);
            let held = PausedChild::start(
                || {
                    change(calls, &set, 0, 3);
                    change(calls, &set, 1, 3);
                },
                || (),
            );
            let outcome = control(calls, set.id, 0, cmd, fourth);
            held.finish();
            (outcome, set.values())
        });
        assert_eq!(got, (Ok(0), expected.into()));
    }
}

/// The sum of the recorded values has its own limit.
#[apply(isolated)]
fn out_of_range() {
    let got = both("noted twice", |calls| {
        let set = Set::new(&[0]);
        let child = fork_reporter(|| {
            change(calls, &set, 0, 20_000);
            set.add(0, -20_000);
            let mut list = ops(&[(0, 20_000, SEM_UNDO)]);
            let outcome = call!(calls.semop(set.id, list.as_mut_ptr(), 1));
            assert_eq!(set.values(), [0]);
            outcome
        });
        (child.outcome(), set.values())
    });
    assert_eq!(got, (Err(ERANGE), vec![0]));
}
