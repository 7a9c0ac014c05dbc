//! No process starves.

use crate::support::*;
use libc::{EAGAIN, ETIMEDOUT, SIGCONT};
use std::sync::atomic::Ordering::SeqCst;

/// Waiting processes get the lock in the order of their calls; consecutive readers share it.
#[apply(isolated)]
fn arrival_order() {
    for orders in [
        &[Side::Read, Side::Write, Side::Read, Side::Write][..],
        &[
            Side::Write,
            Side::Read,
            Side::Read,
            Side::Write,
            Side::Write,
        ],
        &[
            Side::Write,
            Side::Write,
            Side::Read,
            Side::Write,
            Side::Read,
        ],
    ] {
        for first in SIDES {
            let _case = Case(format!("{first:?}, then {orders:?}"));
            let lock = Lock::new();
            let log = shared_words(1 + orders.len());
            let held = hold(&lock, first);
            let mut children = Vec::new();
            for (i, side) in orders.iter().enumerate() {
                let waits = lock.waiters();
                let before = log[0].load(SeqCst);
                children.push(fork(|| {
                    assert_eq!(lock.lock(*side, WAITING_TIMEOUTS[i % 3]), CLEAN);
                    log[1 + i].store(log[0].fetch_add(1, SeqCst), SeqCst);
                    assert_eq!(lock.unlock(*side), DONE);
                }));
                wait_until("it waits or has finished", || {
                    lock.waiters() > waits || log[0].load(SeqCst) > before
                });
            }
            held.finish();
            children.into_iter().for_each(Child::join);
            let order: Vec<u64> = log[1..].iter().map(|n| n.load(SeqCst)).collect();
            for (i, pair) in orders.windows(2).enumerate() {
                if pair != [Side::Read, Side::Read] {
                    assert!(order[i] < order[i + 1], "{order:?}");
                }
            }
            assert_eq!(lock.values(), [0; 4]);
        }
    }
}

/// With readers that overlap continuously, a writer gets the lock after the readers before it.
#[apply(isolated)]
fn writer_among_readers() {
    let lock = Lock::new();
    let stop = &shared_words(1)[0];
    let first = hold(&lock, Side::Read);
    let writer = fork(|| {
        assert_eq!(lock.wr(-1), CLEAN);
        assert_eq!(lock.wr_un(), DONE);
    });
    wait_until("the writer waits", || lock.values()[NEXT] == 1);
    assert_eq!(lock.rd(0), Err(EAGAIN), "only readers have it, and yet");
    assert_eq!(lock.rd(10), Err(ETIMEDOUT));
    assert_eq!(lock.wr(0), Err(EAGAIN));
    first.finish();
    writer.join();

    let readers: Vec<Child> = (0..3)
        .map(|_| {
            fork(|| {
                while stop.load(SeqCst) == 0 {
                    assert_eq!(lock.rd(-1), CLEAN);
                    for _ in 0..2000 {
                        std::hint::spin_loop();
                    }
                    assert_eq!(lock.rd_un(), DONE);
                }
            })
        })
        .collect();
    for _ in 0..scaled(200) {
        assert_eq!(lock.wr(LONG), CLEAN);
        assert_eq!(lock.wr_un(), DONE);
    }
    stop.store(1, SeqCst);
    readers.into_iter().for_each(Child::join);
}

/// With writers that follow each other without a gap, a reader gets the lock in its turn.
#[apply(isolated)]
fn reader_among_writers() {
    let lock = Lock::new();
    let stop = &shared_words(1)[0];
    let writers: Vec<Child> = (0..3)
        .map(|_| {
            fork(|| {
                while stop.load(SeqCst) == 0 {
                    assert_eq!(lock.wr(-1), CLEAN);
                    assert_eq!(lock.wr_un(), DONE);
                }
            })
        })
        .collect();
    for _ in 0..scaled(200) {
        assert_eq!(lock.rd(LONG), CLEAN);
        assert_eq!(lock.rd_un(), DONE);
    }
    stop.store(1, SeqCst);
    writers.into_iter().for_each(Child::join);
}

/// The others wait for the writer that is next, even if it was stopped just when it could have
/// continued; but not once it is dead.
#[apply(isolated)]
fn next_and_stopped() {
    for dies in [false, true] {
        let lock = Lock::new();
        let first = hold(&lock, Side::Read);
        let writer = fork(|| {
            assert_eq!(lock.wr(-1), CLEAN);
            assert_eq!(lock.wr_un(), DONE);
        });
        wait_until("the writer waits", || lock.values()[NEXT] == 1);
        lock.wait_for_waiters(1);
        writer.stop();
        first.finish();
        assert_eq!(lock.values(), [0, 0, 1, 0]);
        for side in SIDES {
            assert_eq!(lock.lock(side, 0), Err(EAGAIN));
            assert_eq!(lock.lock(side, 10), Err(ETIMEDOUT));
        }
        if dies {
            kill(writer);
        } else {
            writer.signal(SIGCONT);
            writer.join();
        }
        for side in SIDES {
            assert_eq!(lock.lock(side, 0), CLEAN);
            assert_eq!(lock.unlock(side), DONE);
        }
    }
}
