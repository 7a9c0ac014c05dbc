//! The event: a set releases the threads that wait, and with automatic reset one thread.

use crate::atomic::{AtomicU32, Ordering};
use crate::errno::{Errno, Result};
use crate::lock::announce::Waiters;
use crate::lock::event_state::{self, EventMemory, Reset};
use crate::{SwitchPoint, check};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

struct Event {
    state: AtomicU32,
    waiters: Waiters,
    reset: Reset,
    switch_point: SwitchPoint,
    /// Whether the kernel refuses to set and wake in one system call.
    refuses: bool,
    kernel: Mutex<Queue>,
    sleepers: Condvar,
}

/// The kernel's futex queue, in which threads sleep in the order in which they came.
#[derive(Default)]
struct Queue {
    /// The number of threads that have gone to sleep.
    came: u32,
    /// The number of threads that have been woken, the first ones first.
    woken: u32,
}

impl EventMemory for Event {
    fn state(&self) -> &AtomicU32 {
        self.switch_point.visit();
        &self.state
    }

    fn waiters(&self) -> &Waiters {
        self.switch_point.visit();
        &self.waiters
    }

    fn reset(&self) -> Reset {
        self.reset
    }

    fn wake(&self, limit: u32) -> u32 {
        self.wake_in(&mut self.kernel.lock().unwrap(), limit)
    }

    /// The kernel's operation: it holds the queue's lock, with only the ordering of the weakest
    /// machine.
    fn set_and_wake(&self, limit: u32) -> Result<u32> {
        if self.refuses {
            return Err(Errno::ENOSYS);
        }
        let mut queue = self.kernel.lock().unwrap();
        self.state.fetch_or(1, Ordering::Relaxed);
        Ok(self.wake_in(&mut queue, limit))
    }
}

impl Event {
    fn new(reset: Reset) -> Self {
        Self {
            state: AtomicU32::new(event_state::initial(false)),
            waiters: Waiters::new(),
            reset,
            switch_point: SwitchPoint::new(),
            refuses: false,
            kernel: Mutex::new(Queue::default()),
            sleepers: Condvar::new(),
        }
    }

    fn wake_in(&self, queue: &mut Queue, limit: u32) -> u32 {
        let woken = limit.min(queue.came - queue.woken);
        queue.woken += woken;
        self.sleepers.notify_all();
        woken
    }

    /// FUTEX_WAIT without a time-out.
    fn sleep(&self, state: u32) {
        let mut queue = self.kernel.lock().unwrap();
        if self.state.load(Ordering::Relaxed) != state {
            return;
        }
        let number = queue.came;
        queue.came += 1;
        while queue.woken <= number {
            queue = self.sleepers.wait(queue).unwrap();
        }
    }

    fn wait(&self) {
        event_state::wait(self, |state| {
            self.sleep(state);
            Ok(())
        })
        .unwrap();
    }
}

/// One thread waits for a set, and sees the data that the setter wrote before.
fn set_once(reset: Reset, refuses: bool) {
    check(3, move || {
        let event = Arc::new(Event {
            refuses,
            ..Event::new(reset)
        });
        let written = Arc::new(AtomicU32::new(0));
        let setter = {
            let (event, written) = (event.clone(), written.clone());
            thread::spawn(move || {
                written.store(1, Ordering::Relaxed);
                event_state::set(&*event);
            })
        };
        event.wait();
        assert_eq!(written.load(Ordering::Relaxed), 1);
        setter.join().unwrap();
        assert_eq!(event_state::is_set(&*event), reset == Reset::Manual);
    });
}

#[test]
fn manual_set_once() {
    set_once(Reset::Manual, false);
}

#[test]
fn automatic_set_once() {
    set_once(Reset::Automatic, false);
}

#[test]
fn set_once_in_two_steps() {
    set_once(Reset::Automatic, true);
}

/// Two threads wait. Another thread sets the event twice, the second time after a waiter has consumed
/// the first set. Each set releases one waiter. The second waiter must not sleep on a state that it
/// read only after its announcement.
#[test]
fn two_sets_release_two_waiters() {
    check(2, || {
        let event = Arc::new(Event::new(Reset::Automatic));
        let released = Arc::new(AtomicU32::new(0));
        let waiters = [(), ()].map(|()| {
            let (event, released) = (event.clone(), released.clone());
            thread::spawn(move || {
                event.wait();
                released.fetch_add(1, Ordering::Relaxed);
            })
        });
        event_state::set(&*event);
        while event_state::is_set(&*event) {
            thread::yield_now();
        }
        event_state::set(&*event);
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!(released.load(Ordering::Relaxed), 2);
        assert!(!event_state::is_set(&*event));
    });
}

/// Two threads set the event, and a third waits until it sees the data of both.
#[test]
fn a_set_while_it_is_set_publishes() {
    check(2, || {
        let event = Arc::new(Event::new(Reset::Automatic));
        let written = [(), ()].map(|()| Arc::new(AtomicU32::new(0)));
        let setters = written.clone().map(|written| {
            let event = event.clone();
            thread::spawn(move || {
                written.store(1, Ordering::Relaxed);
                event_state::set(&*event);
            })
        });
        let seen = || {
            written
                .iter()
                .map(|word| word.load(Ordering::Relaxed))
                .sum::<u32>()
        };
        // Either one wait has consumed both sets, or the event is set again.
        while seen() < 2 {
            event.wait();
        }
        for setter in setters {
            setter.join().unwrap();
        }
    });
}

/// With manual reset all waiters are released, even if the event is cleared immediately.
#[test]
fn a_pulse_releases_sleepers() {
    check(2, || {
        let event = Arc::new(Event::new(Reset::Manual));
        let waiters = [(), ()].map(|()| {
            let event = event.clone();
            thread::spawn(move || event.wait())
        });
        // Both sleep, or have made their last check, which is in the kernel, and are about to sleep.
        while event.kernel.lock().unwrap().came < 2 {
            thread::yield_now();
        }
        event_state::set(&*event);
        event_state::clear(&*event);
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

/// A consumer that clears the event, checks the data, and waits, misses no data that is written
/// before a set.
#[test]
fn clear_check_wait() {
    check(3, || {
        let event = Arc::new(Event::new(Reset::Manual));
        let written = Arc::new(AtomicU32::new(0));
        let producer = {
            let (event, written) = (event.clone(), written.clone());
            thread::spawn(move || {
                for number in 1..=2 {
                    written.store(number, Ordering::Relaxed);
                    event_state::set(&*event);
                }
            })
        };
        loop {
            event_state::clear(&*event);
            if written.load(Ordering::Relaxed) == 2 {
                break;
            }
            event.wait();
        }
        producer.join().unwrap();
    });
}

/// loom finds a deliberate fault: without a barrier between the publication and the check for
/// waiters, neither thread sees the other's write.
#[test]
#[should_panic(expected = "sleeps forever")]
fn without_a_barrier_a_wake_up_is_lost() {
    check(3, || {
        let event = Arc::new(Event::new(Reset::Manual));
        let waiter = {
            let event = event.clone();
            thread::spawn(move || {
                event.waiters().announce();
                event_state::try_wait(&*event, Some(0)).is_some()
            })
        };
        event.state().fetch_or(1, Ordering::Release);
        let wakes = event.waiters().announced().is_some();
        let sleeps = waiter.join().unwrap();
        assert!(wakes || !sleeps, "sleeps forever");
    });
}

/// A waiter that has seen the first publication announces itself for the second, while the notifier
/// of the first publication withdraws an announcement.
fn withdraw(before_the_publication: bool) {
    check(3, move || {
        let event = Arc::new(Event::new(Reset::Manual));
        let waiter = {
            let event = event.clone();
            thread::spawn(move || {
                let first = event.state().load(Ordering::Acquire);
                event.waiters().announce();
                first == 1 && event.state().load(Ordering::Acquire) == 1
            })
        };
        let mut read = event.waiters().announced();
        event.state().fetch_or(1, Ordering::SeqCst);
        if !before_the_publication {
            read = event.waiters().announced();
        }
        if event.waiters().must_wake() {
            read.into_iter().for_each(|it| event.waiters().withdraw(it));
        }
        event.state().fetch_add(2, Ordering::SeqCst);
        let wakes = event.waiters().must_wake();
        let sleeps = waiter.join().unwrap();
        assert!(wakes || !sleeps, "sleeps forever");
    });
}

#[test]
fn an_announcement_read_before_the_publication_is_withdrawn() {
    withdraw(true);
}

/// loom finds a deliberate fault: the notifier withdraws an announcement that it read after the
/// publication.
#[test]
#[should_panic(expected = "sleeps forever")]
fn withdrawn_too_late_a_wake_up_is_lost() {
    withdraw(false);
}
