//! The condition: who waits for a change of what a mutex guards learns of it.

use crate::atomic::{AtomicU32, Ordering};
use crate::errno::Errno;
use crate::{Turn, check, signals};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

struct Shared {
    /// The user's mutex, and what it guards.
    changes: Mutex<u32>,
    signals: AtomicU32,
    turn: Turn,
    /// What is inside the kernel: a queue, and its lock.
    kernel: Mutex<()>,
    sleepers: Condvar,
}

impl Shared {
    fn new(signals: u32) -> Arc<Self> {
        Arc::new(Self {
            changes: Mutex::new(0),
            signals: AtomicU32::new(signals),
            turn: Turn::new(),
            kernel: Mutex::new(()),
            sleepers: Condvar::new(),
        })
    }

    /// FUTEX_WAKE_OP: under the queue's lock, and with as little order as any machine gives.
    fn signal(&self) {
        let _queue = self.kernel.lock().unwrap();
        self.signals.fetch_add(1, Ordering::Relaxed);
        self.sleepers.notify_all();
    }

    /// FUTEX_WAIT.
    fn sleep(&self, seen: u32) {
        let queue = self.kernel.lock().unwrap();
        if self.signals.load(Ordering::Relaxed) == seen {
            drop(self.sleepers.wait(queue).unwrap());
        }
    }

    /// Waits until there were so many changes.
    fn wait_for(&self, count: u32) {
        let mut changes = self.changes.lock().unwrap();
        while *changes < count {
            let seen = signals::seen(&self.signals);
            drop(changes);
            self.turn.anybody();
            signals::wait_for_another(&self.signals, seen, || {
                self.sleep(seen);
                Ok(())
            })
            .unwrap();
            self.turn.anybody();
            changes = self.changes.lock().unwrap();
        }
    }

    fn change(&self, with_the_mutex: bool) {
        let mut changes = self.changes.lock().unwrap();
        *changes += 1;
        if with_the_mutex {
            return self.signal();
        }
        drop(changes);
        self.turn.anybody();
        self.signal();
    }
}

/// One waits for two changes, as another one makes them.
fn two_changes(signals: u32, with_the_mutex: bool) {
    check(4, move || {
        let shared = Shared::new(signals);
        let changer = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.change(with_the_mutex);
                shared.change(with_the_mutex);
            })
        };
        shared.wait_for(1);
        shared.wait_for(2);
        changer.join().unwrap();
    });
}

#[test]
fn signalled_with_the_mutex() {
    two_changes(0, true);
}

#[test]
fn signalled_without_the_mutex() {
    two_changes(0, false);
}

#[test]
fn where_the_number_wraps() {
    two_changes(u32::MAX, false);
}

/// Two wait; one of them is killed once it sleeps no more, and takes nothing with it.
#[test]
fn a_woken_waiter_is_killed() {
    check(3, || {
        let shared = Shared::new(0);
        let victim = {
            let shared = shared.clone();
            thread::spawn(move || {
                // It began to wait before all this.
                let killed = signals::wait_for_another(&shared.signals, 0, || {
                    shared.sleep(0);
                    Err(Errno::EINTR)
                });
                assert!(killed == Ok(()) || killed == Err(Errno::EINTR));
            })
        };
        let changer = {
            let shared = shared.clone();
            thread::spawn(move || shared.change(false))
        };
        shared.wait_for(1);
        changer.join().unwrap();
        victim.join().unwrap();
    });
}

/// That loom sees what has to be seen: the number is read after the mutex was given up.
#[test]
#[should_panic(expected = "sleeps for good")]
fn read_too_late_a_signal_is_lost() {
    check(3, || {
        let shared = Shared::new(0);
        let changer = {
            let shared = shared.clone();
            thread::spawn(move || shared.change(false))
        };
        let changes = *shared.changes.lock().unwrap();
        shared.turn.anybody();
        let seen = signals::seen(&shared.signals);
        changer.join().unwrap();
        let now = shared.signals.load(Ordering::Relaxed);
        assert!(changes == 1 || now != seen, "sleeps for good");
    });
}
