//! How an event is set, consumed and waited for: over atomics alone, so that tests/loom can run the
//! interleavings of this code.
//!
//! The state is one word, which is also the futex. It is odd while the event is set. Clearing the
//! event adds 1, so each period in which the event is clear has its own even number. A thread that
//! sleeps on such a number notices that the event was set, even if it is clear again.
//!
//! With automatic reset, a wait consumes the event: the waiter clears it by one atomic operation in
//! user space. A waiter that is killed before this operation has consumed nothing. A set wakes one
//! waiter. If that waiter is killed before it consumes the event, another waiter finds the event set
//! at its next check, at most [`super::announce::MAX_SLEEP`] later.
//!
//! | release | pairs with |
//! |---|---|
//! | `set`, the operation that makes the word odd | `try_wait`, `try_clear` and `is_set`, acquire of the word |
//!
//! The operation that clears is a read-modify-write, so it continues the release sequence of the
//! set. A thread that sees only a later even number is therefore ordered after the set too.

use super::announce::{Notifier, Waiters};
use crate::atomic::{AtomicU32, Ordering};
use crate::errno::Result;

/// Whether an event stays set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The event stays set until it is cleared. A set releases all waiters.
    Manual,
    /// The event stays set until a waiter consumes it. A set releases one waiter.
    Automatic,
}

/// The memory of an event.
pub trait EventMemory {
    /// The word that holds the state.
    fn state(&self) -> &AtomicU32;
    /// The announcement of the waiters.
    fn waiters(&self) -> &Waiters;
    /// Whether the event stays set.
    fn reset(&self) -> Reset;
    /// Wakes up to `limit` threads that sleep on the state. Returns the number of threads woken.
    fn wake(&self, limit: u32) -> u32;
    /// Sets the lowest bit of the state and wakes up to `limit` threads that sleep on it, in one
    /// system call. Returns the number of threads woken. After an error nothing has changed.
    fn set_and_wake(&self, limit: u32) -> Result<u32>;
}

/// The state of a new event.
pub fn initial(set: bool) -> u32 {
    u32::from(set)
}

fn is_set_in(state: u32) -> bool {
    state % 2 != 0
}

/// Whether the event is set.
pub fn is_set(memory: &impl EventMemory) -> bool {
    is_set_in(memory.state().load(Ordering::Acquire))
}

/// Sets the event and wakes waiters. Makes no system call if no waiter is announced.
#[inline]
pub fn set(memory: &impl EventMemory) {
    memory.waiters().notify(&Setting(memory));
}

struct Setting<'a, M>(&'a M);

impl<M: EventMemory> Notifier for Setting<'_, M> {
    #[inline]
    fn wake_limit(&self) -> u32 {
        match self.0.reset() {
            Reset::Manual => u32::MAX,
            Reset::Automatic => 1,
        }
    }

    /// A read-modify-write operation even if the event is already set, so that the waiter that
    /// consumes it is ordered after all its sets.
    #[inline]
    fn publish(&self) {
        self.0.state().fetch_or(1, Ordering::SeqCst);
    }

    fn wake(&self) -> u32 {
        self.0.wake(self.wake_limit())
    }

    fn publish_and_wake(&self) -> Result<u32> {
        self.0.set_and_wake(self.wake_limit())
    }
}

/// Clears the event. Returns whether it was set. If so, everything that a thread wrote before it set
/// the event is visible.
pub fn clear(memory: &impl EventMemory) -> bool {
    let mut state = memory.state().load(Ordering::Relaxed);
    while is_set_in(state) {
        match try_clear(memory, state) {
            Ok(()) => return true,
            Err(now) => state = now,
        }
    }
    false
}

/// Clears the event if the state is still `state`, which is odd. Otherwise the error is the current
/// state.
fn try_clear(memory: &impl EventMemory, state: u32) -> std::result::Result<(), u32> {
    let clear = state.wrapping_add(1);
    memory
        .state()
        .compare_exchange(state, clear, Ordering::Acquire, Ordering::Relaxed)
        .map(drop)
}

/// Waits until the event is set, and consumes it with automatic reset. With manual reset it also
/// returns if the event was set at any time since the call began. `sleep` sleeps while the state has
/// the value of its argument; it may return earlier.
pub fn wait(memory: &impl EventMemory, mut sleep: impl FnMut(u32) -> Result<()>) -> Result<()> {
    let mut first = None;
    while let Some(before) = try_wait(memory, first) {
        first = first.or(Some(before));
        memory.waiters().announce();
        let Some(state) = try_wait(memory, first) else {
            break;
        };
        // If the values differ, another thread has consumed an event in between. The thread that
        // set that event may withdraw this announcement, so announce again.
        if state == before {
            sleep(state)?;
        }
    }
    Ok(())
}

/// Consumes or finds a set event, without waiting. Returns the state if the event is not set.
/// `first` is the state at the beginning of the wait.
pub fn try_wait(memory: &impl EventMemory, first: Option<u32>) -> Option<u32> {
    let mut state = memory.state().load(Ordering::Acquire);
    match memory.reset() {
        Reset::Manual => {
            let was_set = is_set_in(state) || first.is_some_and(|first| first != state);
            (!was_set).then_some(state)
        }
        Reset::Automatic => {
            while is_set_in(state) {
                match try_clear(memory, state) {
                    Ok(()) => return None,
                    Err(now) => state = now,
                }
            }
            Some(state)
        }
    }
}
