//! No waiter starves, and a stopped thread holds up the others only for a bounded time.

use crate::support::*;
use libc::EAGAIN;
use std::time::{Duration, Instant};

const STOP: usize = 1;

/// The time-out of a waiter, in milliseconds, while a loop holds the lock for 10 ms at a time.
/// Without fairness, a wait took 3 s and more.
const FAIR_WAIT: i32 = 2000;

fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// A child on another processor locks and unlocks in a loop. Each wait for the lock ends in time.
fn check_fairness(
    lock: fn(&Space, i32) -> Outcome,
    unlock: fn(&Space) -> Outcome,
    wait: fn(&Space, i32) -> Outcome,
    release: fn(&Space) -> Outcome,
) {
    let space = space();
    let cpus = processors();
    let looping = fork(|| {
        stay_on(cpus[cpus.len() - 1]);
        while space.count(STOP) == 0 {
            assert_eq!(lock(space, -1), CLEAN);
            space.arrive(0);
            spin(Duration::from_millis(10));
            assert_eq!(unlock(space), CLEAN);
        }
    });
    stay_on(cpus[0]);
    space.wait_for(0, 1);
    for _ in 0..10 {
        assert_eq!(wait(space, FAIR_WAIT), CLEAN);
        assert_eq!(release(space), CLEAN);
    }
    space.arrive(STOP);
    looping.join();
}

#[apply(isolated)]
fn mutex() {
    check_fairness(Space::lock, Space::unlock, Space::lock, Space::unlock);
}

#[apply(isolated)]
fn reader() {
    check_fairness(
        Space::wrlock,
        Space::wrunlock,
        Space::rdlock,
        Space::rdunlock,
    );
}

#[apply(isolated)]
fn writer() {
    check_fairness(
        Space::wrlock,
        Space::wrunlock,
        Space::wrlock,
        Space::wrunlock,
    );
}

/// A waiter that has asked to go first is stopped or killed: others can still lock the mutex.
#[apply(isolated)]
fn stopped_waiter() {
    for signal in [libc::SIGSTOP, libc::SIGKILL] {
        let space = space();
        assert_eq!(space.lock(-1), CLEAN);
        let waiter = fork(|| assert!(space.lock(-1).is_ok()));
        // The waiter asks after a millisecond.
        wait_until("the waiter's request", || {
            space.mutex_words()[3].load(std::sync::atomic::Ordering::SeqCst) != 0
        });
        waiter.signal(signal);
        wait_until("the stop or end of the waiter", || !is_asleep(waiter.0));
        assert_eq!(space.unlock(), CLEAN);
        for _ in 0..10 {
            assert_eq!(space.lock(LONG), CLEAN);
            assert_eq!(space.unlock(), CLEAN);
        }
        drop(waiter);
    }
}

/// A writer that waits for a reader keeps other readers out. If it is stopped, it does so only for
/// half a second. When it runs again, it continues to wait and keeps readers out again.
#[apply(isolated)]
fn stopped_writer() {
    let space = space();
    assert_eq!(space.rdlock(0), CLEAN);
    let writer = fork(|| {
        assert_eq!(space.wrlock(-1), CLEAN);
        space.arrive(0);
        assert_eq!(space.wrunlock(), CLEAN);
    });
    writer.wait_asleep();
    fork(|| assert_eq!(space.rdlock(0), Err(EAGAIN))).join();
    writer.stop();
    let readers = [0; 3].map(|_| {
        fork(|| {
            assert_eq!(space.rdlock(LONG), CLEAN);
            assert_eq!(space.count(0), 0);
            assert_eq!(space.rdunlock(), CLEAN);
        })
    });
    readers.into_iter().for_each(Child::join);
    writer.signal(libc::SIGCONT);
    wait_until("the writer to keep readers out", || {
        let reader = fork(|| {
            if space.rdlock(0) == CLEAN {
                std::process::exit(1);
            }
        });
        reader.reap() == 0
    });
    assert_eq!(space.count(0), 0);
    assert_eq!(space.rdunlock(), CLEAN);
    writer.join();
}
