//! The condition: a thread that waits for a change of guarded data is woken after the change.

use crate::atomic::Ordering;
use crate::errno::{Errno, Result};
use crate::signals::{Kernel, Signals};
use crate::{SwitchPoint, check};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

struct Shared {
    /// The user's mutex, and the data that it guards.
    changes: Mutex<u32>,
    signals: Signals,
    switch_point: SwitchPoint,
    /// The kernel's number of sleepers, under the lock of its futex queue.
    kernel: Mutex<u32>,
    sleepers: Condvar,
}

/// The way in which a change is signalled.
#[derive(Clone, Copy)]
struct How {
    with_the_mutex: bool,
    broadcast: bool,
}

const SIGNAL: How = How {
    with_the_mutex: false,
    broadcast: false,
};

impl Shared {
    fn new(sequence: u32) -> Arc<Self> {
        let shared = Self {
            changes: Mutex::new(0),
            signals: Signals::new(),
            switch_point: SwitchPoint::new(),
            kernel: Mutex::new(0),
            sleepers: Condvar::new(),
        };
        shared.signals.sequence.store(sequence, Ordering::Relaxed);
        Arc::new(shared)
    }

    /// FUTEX_WAIT.
    fn sleep(&self, seen: u32) {
        let mut sleepers = self.kernel.lock().unwrap();
        if self.signals.sequence.load(Ordering::Relaxed) == seen {
            *sleepers += 1;
            drop(self.sleepers.wait(sleepers).unwrap());
        }
    }

    /// Waits until `count` changes have been made.
    fn wait_for(&self, count: u32) {
        let mut changes = self.changes.lock().unwrap();
        while *changes < count {
            let seen = self.signals.announce();
            drop(changes);
            self.switch_point.visit();
            let sleep = || {
                self.sleep(seen);
                Ok(())
            };
            self.signals.wait(seen, sleep).unwrap();
            self.switch_point.visit();
            changes = self.changes.lock().unwrap();
        }
    }

    fn change(&self, how: How) {
        let mut changes = self.changes.lock().unwrap();
        *changes += 1;
        if how.with_the_mutex {
            return self.signal(how);
        }
        drop(changes);
        self.switch_point.visit();
        self.signal(how);
    }

    fn signal(&self, how: How) {
        if how.broadcast {
            let wake = || self.increment_and_wake(i32::MAX).map(drop);
            self.signals.broadcast(wake).unwrap();
        } else {
            self.signals.signal(self).unwrap();
        }
    }
}

impl Kernel for Shared {
    /// FUTEX_WAKE_OP: it holds the queue's lock, with only the ordering of the weakest machine.
    fn increment_and_wake(&self, count: i32) -> Result<u32> {
        let mut sleepers = self.kernel.lock().unwrap();
        self.signals.sequence.fetch_add(1, Ordering::Relaxed);
        let woken = (*sleepers).min(count as u32);
        *sleepers -= woken;
        for _ in 0..woken {
            self.sleepers.notify_one();
        }
        Ok(woken)
    }
}

/// One thread waits for each of two changes that another thread makes.
fn two_changes(sequence: u32, how: How) {
    check(4, move || {
        let shared = Shared::new(sequence);
        let changer = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.change(how);
                shared.change(how);
            })
        };
        shared.wait_for(1);
        shared.wait_for(2);
        changer.join().unwrap();
    });
}

#[test]
fn signalled_with_the_mutex() {
    let with_the_mutex = true;
    two_changes(
        0,
        How {
            with_the_mutex,
            ..SIGNAL
        },
    );
}

#[test]
fn signalled_without_the_mutex() {
    two_changes(0, SIGNAL);
}

#[test]
fn where_the_number_wraps() {
    two_changes(u32::MAX, SIGNAL);
}

#[test]
fn broadcast() {
    let broadcast = true;
    two_changes(
        0,
        How {
            broadcast,
            ..SIGNAL
        },
    );
}

/// Two threads wait for a change each, and two threads make the changes and signal them.
#[test]
fn two_waiters_and_two_signals() {
    check(2, || {
        let shared = Shared::new(0);
        let others = [0, 1].map(|number| {
            let shared = shared.clone();
            thread::spawn(move || match number {
                0 => shared.wait_for(1),
                _ => shared.change(SIGNAL),
            })
        });
        shared.change(SIGNAL);
        shared.wait_for(2);
        for other in others {
            other.join().unwrap();
        }
    });
}

/// Two threads wait for the same change, which a broadcast signals.
#[test]
fn two_waiters_and_a_broadcast() {
    check(2, || {
        let shared = Shared::new(0);
        let waiter = {
            let shared = shared.clone();
            thread::spawn(move || shared.wait_for(1))
        };
        let changer = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.change(How {
                    broadcast: true,
                    ..SIGNAL
                })
            })
        };
        shared.wait_for(1);
        changer.join().unwrap();
        waiter.join().unwrap();
    });
}

/// Two threads wait, and the one that a signal wakes is killed. The other one finds the change at its
/// next check, which it makes every 100 ms.
#[test]
fn a_woken_waiter_is_killed() {
    check(3, || {
        let shared = Shared::new(0);
        // The victim has announced its wait before the model.
        let seen = shared.signals.announce();
        let victim = {
            let shared = shared.clone();
            thread::spawn(move || {
                let killed = shared.signals.wait(seen, || {
                    shared.sleep(seen);
                    Err(Errno::EINTR)
                });
                assert!(killed == Ok(()) || killed == Err(Errno::EINTR));
            })
        };
        let changer = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.change(SIGNAL);
                // The check of the thread that is still asleep.
                *shared.kernel.lock().unwrap() = 0;
                shared.sleepers.notify_all();
            })
        };
        shared.wait_for(1);
        changer.join().unwrap();
        victim.join().unwrap();
    });
}

/// loom finds a deliberate fault: the waiter reads the number after it has unlocked the mutex.
#[test]
#[should_panic(expected = "sleeps for good")]
fn read_too_late_a_signal_is_lost() {
    check(3, || {
        let shared = Shared::new(0);
        let changer = {
            let shared = shared.clone();
            thread::spawn(move || shared.change(SIGNAL))
        };
        let changes = *shared.changes.lock().unwrap();
        shared.switch_point.visit();
        let seen = shared.signals.announce();
        changer.join().unwrap();
        let now = shared.signals.sequence.load(Ordering::Relaxed);
        assert!(changes == 1 || now != seen, "sleeps for good");
    });
}
