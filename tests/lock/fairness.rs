//! No waiter starves, and a thread that has stopped holds up the others for a bounded time only.

use crate::support::*;
use libc::EAGAIN;
use std::time::{Duration, Instant};

const STOP: usize = 1;

/// How long a waiter may take beside a loop that holds a lock for 10 ms: it was 3 s and more.
const PATIENCE: i32 = 2000;

fn hold(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// A child on another processor locks and unlocks in a loop; each wait beside it ends in time.
fn beside_a_loop(
    lock: fn(&Space, i32) -> Outcome,
    unlock: fn(&Space) -> Outcome,
    waiter: fn(&Space, i32) -> Outcome,
    leave: fn(&Space) -> Outcome,
) {
    let space = space();
    let cpus = processors();
    let looping = fork(|| {
        stay_on(cpus[cpus.len() - 1]);
        while space.count(STOP) == 0 {
            assert_eq!(lock(space, -1), CLEAN);
            space.arrive(0);
            hold(Duration::from_millis(10));
            assert_eq!(unlock(space), CLEAN);
        }
    });
    stay_on(cpus[0]);
    space.wait_for(0, 1);
    for _ in 0..10 {
        assert_eq!(waiter(space, PATIENCE), CLEAN);
        assert_eq!(leave(space), CLEAN);
    }
    space.arrive(STOP);
    looping.join();
}

#[apply(isolated)]
fn mutex() {
    beside_a_loop(Space::lock, Space::unlock, Space::lock, Space::unlock);
}

#[apply(isolated)]
fn reader() {
    beside_a_loop(
        Space::wrlock,
        Space::wrunlock,
        Space::rdlock,
        Space::rdunlock,
    );
}

#[apply(isolated)]
fn writer() {
    beside_a_loop(
        Space::wrlock,
        Space::wrunlock,
        Space::wrlock,
        Space::wrunlock,
    );
}

/// A waiter that asked to go first is stopped, or killed: others lock the mutex all the same.
#[apply(isolated)]
fn stopped_waiter() {
    for signal in [libc::SIGSTOP, libc::SIGKILL] {
        let space = space();
        assert_eq!(space.lock(-1), CLEAN);
        let waiter = fork(|| assert!(space.lock(-1).is_ok()));
        // It asks after a millisecond.
        wait_until("a waiter that asks", || {
            space.mutex_words()[3].load(std::sync::atomic::Ordering::SeqCst) != 0
        });
        waiter.signal(signal);
        wait_until("its end", || !is_asleep(waiter.0));
        assert_eq!(space.unlock(), CLEAN);
        for _ in 0..10 {
            assert_eq!(space.lock(LONG), CLEAN);
            assert_eq!(space.unlock(), CLEAN);
        }
        drop(waiter);
    }
}

/// A writer that waits for a reader bars the way to other readers; one that is stopped meanwhile
/// does so for half a second only. It goes on when it runs again.
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
    let barred = || fork(|| assert_eq!(space.rdlock(0), Err(EAGAIN))).join();
    barred();
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
    wait_until("the way to be barred", || {
        let barred = fork(|| {
            if space.rdlock(0) == CLEAN {
                std::process::exit(1);
            }
        });
        barred.reap() == 0
    });
    assert_eq!(space.count(0), 0);
    assert_eq!(space.rdunlock(), CLEAN);
    writer.join();
}
