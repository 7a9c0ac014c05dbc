//! A dying process releases its locks, and the death of a writer is reported until a process has
//! repaired the data.

use crate::support::*;
use libc::{EAGAIN, EPERM, ETIMEDOUT};
use std::sync::atomic::Ordering::SeqCst;

#[apply(isolated)]
fn reader() {
    let lock = Lock::new();
    let held = hold(&lock, Side::Read);
    let waiting = fork(|| {
        assert_eq!(lock.wr(-1), CLEAN, "a reader changes nothing");
        assert_eq!(lock.wr_un(), DONE);
    });
    lock.wait_for_waiters(1);
    kill(held.child);
    waiting.join();
    assert_eq!(lock.values(), [0; 4]);
}

/// A waiting process is killed: the others do not wait for it.
#[apply(isolated)]
fn waiting() {
    for holds in SIDES {
        for side in SIDES {
            if (holds, side) == (Side::Read, Side::Read) {
                continue;
            }
            let lock = Lock::new();
            let held = hold(&lock, holds);
            let waiting = fork(|| {
                let _ = lock.lock(side, -1);
            });
            lock.wait_for_waiters(1);
            let behind = fork(|| {
                assert_eq!(lock.rd(LONG), CLEAN);
                assert_eq!(lock.rd_un(), DONE);
            });
            if side == Side::Write {
                lock.wait_for_waiters(2);
            }
            kill(waiting);
            if holds == Side::Read {
                behind.join();
                assert_eq!(lock.values(), [1, 0, 0, 0]);
                held.finish();
            } else {
                held.finish();
                behind.join();
            }
            assert_eq!(lock.wr(0), CLEAN);
        }
    }
}

/// Every caller gets the report until the repair, with each time-out.
#[apply(isolated)]
fn writer() {
    for by_exit in [false, true] {
        let lock = Lock::new();
        if by_exit {
            fork(|| assert_eq!(lock.wr(0), CLEAN)).join();
        } else {
            die_holding(&lock);
        }
        for timeout in [0, 10, LONG, -1, INTR] {
            for side in SIDES {
                assert_eq!(lock.lock(side, timeout), DIED);
                if side == Side::Read {
                    assert_eq!(lock.rd(timeout), DIED, "a second reader");
                    assert_eq!(lock.rd_un(), DONE);
                    assert_eq!(lock.consistent(), Err(EPERM), "it only reads");
                }
                assert_eq!(lock.unlock(side), DONE);
                // A second writer dies.
                fork(|| {
                    assert_eq!(lock.lock(side, timeout), DIED);
                    assert_eq!(lock.unlock(side), DONE);
                })
                .join();
            }
        }
        assert_eq!(lock.wr(0), DIED);
        assert_eq!(lock.consistent(), DONE);
        assert_eq!(lock.consistent(), DONE, "it is");
        assert_eq!(lock.wr_un(), DONE);
        for side in SIDES {
            assert_eq!(lock.lock(side, 0), CLEAN);
            assert_eq!(lock.unlock(side), DONE);
        }
        assert_eq!(lock.values(), [0; 4]);
    }
}

/// The owner dies while others wait: the next caller gets the report, and so do those behind it
/// unless it repairs the data.
#[apply(isolated)]
fn reported_while_waiting() {
    for repairs in [false, true] {
        for side in SIDES {
            for timeout in WAITING_TIMEOUTS {
                let _case = Case(format!("{side:?}, {timeout}, repairs {repairs}"));
                let lock = Lock::new();
                let held = PausedChild::start(|| assert_eq!(lock.wr(0), CLEAN), || ());
                let first = fork(|| {
                    assert_eq!(lock.lock(side, timeout), DIED);
                    if side == Side::Write && repairs {
                        assert_eq!(lock.consistent(), DONE);
                    }
                    assert_eq!(lock.unlock(side), DONE);
                });
                lock.wait_for_waiters(1);
                let second = fork(|| {
                    let got = lock.lock(Side::Write, timeout);
                    if side == Side::Read || !repairs {
                        assert_eq!(got, DIED);
                    } else {
                        // It may have been checking already when the first one repaired the data.
                        assert_eq!(got, CLEAN);
                    }
                    assert_eq!(lock.wr_un(), DONE);
                });
                lock.wait_for_waiters(2);
                kill(held.child);
                first.join();
                second.join();
                assert_eq!(lock.values()[..3], [0; 3]);
            }
        }
    }
}

/// A writer repairs the data and then dies before it unlocks: its death is reported.
#[apply(isolated)]
fn after_repair() {
    let lock = Lock::new();
    die_holding(&lock);
    let held = PausedChild::start(
        || {
            assert_eq!(lock.wr(0), DIED);
            assert_eq!(lock.consistent(), DONE);
        },
        || (),
    );
    kill(held.child);
    assert_eq!(lock.wr(0), DIED);
    assert_eq!(lock.consistent(), DONE);
    assert_eq!(lock.wr_un(), DONE);
    assert_eq!(lock.wr(0), CLEAN);
}

/// The mark does not count the deaths.
#[apply(isolated)]
fn again_and_again() {
    let lock = Lock::new();
    for i in 0..100 {
        die_holding(&lock);
        assert!(
            (1..=2).contains(&lock.values()[MARK]),
            "{:?}",
            lock.values()
        );
        if i % 3 == 0 {
            assert_eq!(lock.wr(0), DIED);
            assert_eq!(lock.wr_un(), DONE);
            assert_eq!(lock.values(), [0, 0, 0, 1]);
        }
    }
    assert_eq!(lock.wr(0), DIED);
    assert_eq!(lock.consistent(), DONE);
    assert_eq!(lock.wr_un(), DONE);
    assert_eq!(lock.values(), [0; 4]);
}

/// Readers and writers are killed at random times. Data under a lock that is reported as clean is
/// consistent, and no process waits forever.
#[apply(isolated)]
fn at_random() {
    let lock = Lock::new();
    let two = TwoNumbers::new();
    let counts = shared_words(2);
    let [done, reports] = [&counts[0], &counts[1]];
    let work = |seed| {
        let mut random = Random(seed);
        loop {
            let timeout = [-1, LONG, 1, 0][random.below(4) as usize];
            let side = SIDES[random.below(2) as usize];
            match lock.lock(side, timeout) {
                Err(EAGAIN | ETIMEDOUT) if timeout >= 0 => continue,
                got => {
                    let died = got.unwrap() != 0;
                    let (a, b) = two.get();
                    assert!(a == b || died, "torn, and no death was reported");
                    if side == Side::Write {
                        if died {
                            reports.fetch_add(1, SeqCst);
                            two.repair();
                            assert_eq!(lock.consistent(), DONE);
                        }
                        two.add();
                    }
                    done.fetch_add(1, SeqCst);
                    assert_eq!(lock.unlock(side), DONE);
                }
            }
        }
    };
    let mut random = Random(1);
    let start = |seed| fork(|| work(seed));
    let mut children: Vec<Child> = (0..4).map(start).collect();
    let kills = scaled(400);
    for seed in 0..kills {
        let goal = done.load(SeqCst) + random.below(60);
        wait_until("work is done", || done.load(SeqCst) >= goal);
        let victim = children.swap_remove(random.below(4) as usize);
        kill(victim);
        children.push(start(100 + seed));
    }
    children.into_iter().for_each(kill);
    assert_eq!(lock.values()[..3], [0; 3]);
    assert!(
        reports.load(SeqCst) > kills / 50,
        "{reports:?} reports for {kills} kills"
    );
}
