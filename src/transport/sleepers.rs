//! The threads of one process that sleep on one end: how they are woken, and how a wake-up that
//! another thread has taken is not lost.
//!
//! A thread reads the epoch, announces its wait to the peer, checks its condition, and sleeps. A
//! thread that takes wake-ups out of the kernel increments the epoch after that, and wakes those
//! that are registered. So a thread that is about to sleep either finds another epoch, or is
//! registered and woken.

use super::wait::Role;
use crate::atomic::{AtomicU32, Ordering, fence};

/// Ends the sleep of one thread.
pub trait Event {
    /// Ends it. If the thread does not sleep yet, its next sleep ends at once.
    fn set(&self);
    /// Takes that back.
    fn clear(&self);
}

/// A thread that may sleep.
struct Sleeper<E> {
    /// The process whose thread sleeps; 0 for none. A forked child finds its parent's id.
    process: AtomicU32,
    event: E,
    /// The number of its sleeps.
    count: AtomicU32,
}

/// Both threads that may sleep on an end.
pub struct Sleepers<E> {
    epoch: AtomicU32,
    receiver: Sleeper<E>,
    sender: Sleeper<E>,
}

impl<E: Event> Sleepers<E> {
    /// No thread sleeps. `event` makes the event of a role.
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

    /// The number of sleeps so far.
    pub fn count(&self) -> u64 {
        let count = |sleeper: &Sleeper<E>| u64::from(sleeper.count.load(Ordering::Relaxed));
        count(&self.receiver) + count(&self.sender)
    }

    /// Counts a sleep.
    pub fn count_sleep(&self, role: Role) {
        self.get(role).count.fetch_add(1, Ordering::Relaxed);
    }

    /// A number for [`Sleepers::sleep`].
    pub fn epoch(&self) -> u32 {
        // Pairs with the addition in `notify`.
        self.epoch.load(Ordering::Acquire)
    }

    /// Runs `block`, in which the calling thread of `process` sleeps until its event is set. Does
    /// not run it if [`Sleepers::notify`] was called since `epoch` was read.
    pub fn sleep<T>(
        &self,
        role: Role,
        process: u32,
        epoch: u32,
        block: impl FnOnce() -> T,
    ) -> Option<T> {
        let sleeper = self.get(role);
        sleeper.process.store(process, Ordering::Relaxed);
        // Pairs with the fence in `notify`: it sees the registration, or this thread another epoch.
        fence(Ordering::SeqCst);
        let is_current = self.epoch.load(Ordering::Acquire) == epoch;
        let result = is_current.then(block);
        sleeper.process.store(0, Ordering::Release);
        sleeper.event.clear();
        result
    }

    /// Whether a thread of `process` sleeps.
    pub fn any(&self, process: u32) -> bool {
        self.is_asleep(Role::Receiver, process) || self.is_asleep(Role::Sender, process)
    }

    fn is_asleep(&self, role: Role, process: u32) -> bool {
        self.get(role).process.load(Ordering::Relaxed) == process
    }

    /// Wakes the threads of `process` that sleep, apart from the one in the role `except`.
    pub fn wake(&self, process: u32, except: Option<Role>) {
        for role in [Role::Receiver, Role::Sender] {
            if Some(role) != except && self.is_asleep(role, process) {
                self.get(role).event.set();
            }
        }
    }

    /// [`Sleepers::wake`], and keeps those threads awake that are about to sleep.
    pub fn notify(&self, process: u32, except: Option<Role>) {
        self.epoch.fetch_add(1, Ordering::Release);
        // Pairs with the fence in `sleep`.
        fence(Ordering::SeqCst);
        self.wake(process, except);
    }

    /// Takes wake-ups out of the kernel by `take`, which returns whether there were any, on behalf
    /// of the thread in the role `except`.
    pub fn take_wake_ups(
        &self,
        process: u32,
        except: Option<Role>,
        take: impl FnOnce() -> bool,
    ) -> bool {
        // First, so that a sleeping thread finds either the wake-ups or its event. The kernel has
        // woken it; it must not depend on when this thread runs again.
        self.wake(process, except);
        let some = take();
        if some {
            self.notify(process, except);
        }
        some
    }
}
