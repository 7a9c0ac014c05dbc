//! Time-outs and signals: the result of each, that nothing lengthens a time-out, and that the
//! others do not wait for a writer that gave up.

use crate::support::*;
use libc::{EAGAIN, EIDRM, EINTR, ETIMEDOUT, SA_RESTART, SIGALRM, SIGCONT, SIGUSR1, c_int};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The reason for a wait: another reader or writer, or a writer that is next.
#[derive(Clone, Copy, Debug)]
enum Behind {
    Reader,
    Writer,
    Next,
}

/// Runs a test for each reason to wait, with the lock and its present values.
fn each(run: impl Fn(&Lock, Side)) {
    for (behind, side) in [
        (Behind::Reader, Side::Write),
        (Behind::Writer, Side::Read),
        (Behind::Writer, Side::Write),
        (Behind::Next, Side::Read),
        (Behind::Next, Side::Write),
    ] {
        for marked in [false, true] {
            let _case = Case(format!("{side:?} behind {behind:?}, marked {marked}"));
            let lock = Lock::new();
            if marked {
                die_holding(&lock);
            }
            let holds = if matches!(behind, Behind::Writer) {
                Side::Write
            } else {
                Side::Read
            };
            let held = PausedChild::start(
                || {
                    lock.lock(holds, 0).unwrap();
                },
                || assert_eq!(lock.unlock(holds), DONE),
            );
            let next = matches!(behind, Behind::Next).then(|| {
                let next = fork(|| {
                    lock.wr(-1).unwrap();
                    assert_eq!(lock.wr_un(), DONE);
                });
                lock.wait_for_waiters(1);
                next
            });
            let before = lock.values();
            run(&lock, side);
            assert_eq!(lock.values(), before, "nothing is left of it");
            held.finish();
            if let Some(next) = next {
                next.join();
            }
            assert_eq!(lock.values()[..3], [0; 3]);
        }
    }
}

#[apply(isolated)]
fn values() {
    each(|lock, side| {
        let start = Instant::now();
        assert_eq!(lock.lock(side, 0), Err(EAGAIN));
        assert_waited(start, Duration::ZERO);
        for timeout in [1, 30] {
            let start = Instant::now();
            assert_eq!(lock.lock(side, timeout), Err(ETIMEDOUT));
            assert_waited(start, Duration::from_millis(timeout as u64));
        }
    });
}

/// When a writer's time-out expires, the readers behind it continue.
#[apply(isolated)]
fn writer_time_out() {
    let lock = Lock::new();
    let first = hold(&lock, Side::Read);
    let writer = fork(|| assert_eq!(lock.wr(1500), Err(ETIMEDOUT)));
    wait_until("the writer waits", || lock.values()[NEXT] == 1);
    let start = Instant::now();
    assert_eq!(lock.rd(LONG), CLEAN, "while the first still reads");
    assert_waited(start, Duration::ZERO);
    writer.join();
    assert_eq!(lock.values(), [2, 0, 0, 0]);
    assert_eq!(lock.rd_un(), DONE);
    first.finish();
}

/// A wait that ends with the lock, with each time-out that waits.
#[apply(isolated)]
fn late_success() {
    for holds in SIDES {
        for side in SIDES {
            for timeout in [-1, LONG, c_int::MAX, INTR] {
                if (holds, side) == (Side::Read, Side::Read) {
                    continue;
                }
                let lock = Lock::new();
                let held = hold(&lock, holds);
                let child = fork(|| {
                    assert_eq!(lock.lock(side, timeout), CLEAN);
                    assert_eq!(lock.unlock(side), DONE);
                });
                lock.wait_for_waiters(1);
                held.finish();
                child.join();
                assert_eq!(lock.values(), [0; 4]);
            }
        }
    }
}

/// A signal handler ends a wait with IPC_WAIT_INTR, whatever its flags; other waits continue.
#[apply(isolated)]
fn interrupted() {
    for flags in [0, SA_RESTART] {
        count_signal(SIGUSR1, flags);
        each(|lock, side| {
            let waits = lock.waiters();
            let child = fork(|| assert_eq!(lock.lock(side, INTR), Err(EINTR)));
            lock.wait_for_waiters(waits + 1);
            child.interrupt(SIGUSR1);
            child.join();
            lock.wait_for_waiters(waits);
            for timeout in [-1, LONG] {
                let child = fork(|| {
                    lock.lock(side, timeout).unwrap();
                });
                for _ in 0..3 {
                    lock.wait_for_waiters(waits + 1);
                    child.wait_asleep();
                    child.signal(SIGUSR1);
                }
                lock.wait_for_waiters(waits + 1);
                kill(child);
            }
        });
    }
}

/// Stopping and continuing the process ends only a wait with IPC_WAIT_INTR.
#[apply(isolated)]
fn stopped_and_continued() {
    each(|lock, side| {
        let waits = lock.waiters();
        for timeout in WAITING_TIMEOUTS {
            let ended = shared_words(1);
            let child = fork(|| {
                let got = lock.lock(side, timeout);
                ended[0].store(1, Relaxed);
                assert_eq!(got, Err(EINTR));
            });
            lock.wait_for_waiters(waits + 1);
            child.stop();
            child.signal(SIGCONT);
            if timeout == INTR {
                child.join();
            } else {
                wait_until("it waits again", || {
                    lock.waiters() == waits + 1 && is_asleep(child.0)
                });
                assert_eq!(ended[0].load(Relaxed), 0);
                kill(child);
            }
        }
    });
}

/// Signal handlers that run all the time neither end a wait early nor lengthen it.
#[apply(isolated)]
fn under_signals() {
    for flags in [0, SA_RESTART] {
        count_signal(SIGALRM, flags);
        each(|lock, side| {
            storm(500);
            let before = handled();
            let start = Instant::now();
            assert_eq!(lock.lock(side, 30), Err(ETIMEDOUT));
            assert_waited(start, Duration::from_millis(30));
            assert!(handled() > before, "no signal came");
            assert_eq!(lock.lock(side, 0), Err(EAGAIN));
            storm(0);
        });
    }
}

/// The lock is removed during a wait, in each of its steps.
#[apply(isolated)]
fn removed() {
    for holds in SIDES {
        for timeout in WAITING_TIMEOUTS {
            let lock = Lock::new();
            let held = PausedChild::start(|| assert_eq!(lock.lock(holds, 0), CLEAN), || ());
            // Behind a reader, the first writer is next.
            let children = [Side::Write, Side::Read, Side::Write].map(|side| {
                let waits = lock.waiters();
                let child = fork(|| assert_eq!(lock.lock(side, timeout), Err(EIDRM)));
                lock.wait_for_waiters(waits + 1);
                child
            });
            assert_eq!(lock.remove(), DONE);
            children.into_iter().for_each(Child::join);
            held.finish();
        }
    }
}

/// The lock is removed while the process is stopped, and so is not waiting at that moment.
#[apply(isolated)]
fn removed_while_stopped() {
    for holds in SIDES {
        for timeout in [-1, LONG] {
            let lock = Lock::new();
            let held = PausedChild::start(|| assert_eq!(lock.lock(holds, 0), CLEAN), || ());
            let child = fork(|| assert_eq!(lock.wr(timeout), Err(EIDRM)));
            lock.wait_for_waiters(1);
            child.stop();
            assert_eq!(lock.waiters(), 0);
            assert_eq!(lock.remove(), DONE);
            child.signal(SIGCONT);
            child.join();
            held.finish();
        }
    }
}
