//! The threads of one process that sleep on one end: how they wake each other, so that no thread
//! misses a wake-up that another thread has consumed.
//!
//! A thread that is about to sleep reads the epoch, announces its wait to the peer, checks its
//! condition, registers itself, and sleeps only if the epoch is unchanged. A thread that consumes
//! wake-ups from the kernel then increments the epoch and wakes the registered threads. So a
//! thread that is about to sleep either finds a new epoch, or is registered and woken.
//!
//! | fence or release | pairs with |
//! |---|---|
//! | `sleep`, full fence after the registration | `notify`, full fence after the increment of the epoch |
//! | `notify`, release of the epoch | `epoch` and `sleep`, acquire of the epoch |

use super::wait::Role;
use crate::atomic::{AtomicU32, Ordering, fence};

/// An event on which one thread sleeps.
pub trait Event {
    /// Sets the event, which ends the sleep of its thread. If the thread is not asleep yet, its
    /// next sleep ends immediately.
    fn set(&self);
    /// Clears the event.
    fn clear(&self);
}

/// A thread that may sleep.
struct Sleeper<E> {
    /// The process whose thread sleeps; 0 for none. In a forked child this may be the parent's id.
    process: AtomicU32,
    event: E,
    /// How often the thread has slept.
    count: AtomicU32,
}

/// The two threads that may sleep on an end.
pub struct Sleepers<E> {
    epoch: AtomicU32,
    receiver: Sleeper<E>,
    sender: Sleeper<E>,
}

impl<E: Event> Sleepers<E> {
    /// Makes the state in which no thread sleeps. `event` makes the event of a role.
    pub fn new(event: impl Fn(Role) -> E) -> Self {
        let sleeper = |role| Sleeper {
            process: AtomicU32::new(0),
            event: event(role),
            count: AtomicU32::new(0),
        };
        Self {
            epoch: AtomicU32::new(0),
            receiver: sleeper(Role::Receiver),
            sender: sleeper(Role::Sender),
        }
    }

    fn get(&self, role: Role) -> &Sleeper<E> {
        match role {
            Role::Receiver => &self.receiver,
            Role::Sender => &self.sender,
        }
    }

    /// The event of a role.
    pub fn event(&self, role: Role) -> &E {
        &self.get(role).event
    }

    /// The number of sleeps of both threads.
    pub fn count(&self) -> u64 {
        let count = |sleeper: &Sleeper<E>| u64::from(sleeper.count.load(Ordering::Relaxed));
        count(&self.receiver) + count(&self.sender)
    }

    /// Counts a sleep.
    pub fn count_sleep(&self, role: Role) {
        self.get(role).count.fetch_add(1, Ordering::Relaxed);
    }

    /// The current epoch, for [`Sleepers::sleep`].
    pub fn epoch(&self) -> u32 {
        // Pairs with the release in `notify`.
        self.epoch.load(Ordering::Acquire)
    }

    /// Runs `block`, in which the calling thread of `process` sleeps until its event is set.
    /// Returns none, without running it, if [`Sleepers::notify`] was called since the caller read
    /// `epoch`.
    pub fn sleep<T>(
        &self,
        role: Role,
        process: u32,
        epoch: u32,
        block: impl FnOnce() -> T,
    ) -> Option<T> {
        let sleeper = self.get(role);
        sleeper.process.store(process, Ordering::Relaxed);
        // Pairs with the full fence in `notify`: either `notify` sees the registration, or this
        // thread sees the new epoch.
        fence(Ordering::SeqCst);
        let is_current = self.epoch.load(Ordering::Acquire) == epoch;
        let result = is_current.then(block);
        sleeper.process.store(0, Ordering::Release);
        sleeper.event.clear();
        result
    }

    fn is_asleep(&self, role: Role, process: u32) -> bool {
        self.get(role).process.load(Ordering::Relaxed) == process
    }

    /// Wakes the threads of `process` that sleep, except the thread in the role `except`.
    pub fn wake(&self, process: u32, except: Option<Role>) {
        for role in [Role::Receiver, Role::Sender] {
            if Some(role) != except && self.is_asleep(role, process) {
                self.get(role).event.set();
            }
        }
    }

    /// As [`Sleepers::wake`], and also keeps the threads awake that are about to sleep.
    pub fn notify(&self, process: u32, except: Option<Role>) {
        self.epoch.fetch_add(1, Ordering::Release);
        // Pairs with the full fence in `sleep`.
        fence(Ordering::SeqCst);
        self.wake(process, except);
    }

    /// Consumes wake-ups from the kernel on behalf of the thread in the role `except`, and notifies
    /// the other threads. `consume` returns whether there were any wake-ups; so does this function.
    pub fn consume_wake_ups(
        &self,
        process: u32,
        except: Option<Role>,
        consume: impl FnOnce() -> bool,
    ) -> bool {
        // Before the wake-ups are consumed: the kernel has already woken the other threads. Each
        // must find the wake-ups or its event, even if this thread does not run again soon.
        self.wake(process, except);
        let consumed_any = consume();
        if consumed_any {
            self.notify(process, except);
        }
        consumed_any
    }
}
