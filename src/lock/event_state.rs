//! How an event is set, consumed and waited for: over atomics alone, so that tests/loom can run
//! every interleaving of it.
//!
//! The state is one word, which is also the futex: odd while the event is set. To clear it adds 1,
//! so each period in which the event is not set has its own even number. A thread that sleeps while
//! the word has this number notices that the event was set, even if it is clear again.
//!
//! With automatic reset, a wait consumes the event: the waiter itself clears it, by one atomic
//! operation in user space. A waiter that is killed before it has consumed nothing, and a waiter
//! that is killed after it had been released. A set wakes one waiter. If that one is killed before
//! it consumes the event, another one finds the event set when it checks by itself, at most
//! [`super::announce::MAX_SLEEP`] later.
//!
//! | release | pairs with |
//! |---|---|
//! | `set`, the operation that makes the word odd | `wait` and `clear`, acquire of the word |
//!
//! An operation that clears continues the release sequence of the one that set, so a thread that
//! only sees a later even number is ordered after the set too.

use super::announce::{Notifier, Waiters};
use crate::atomic::{AtomicU32, Ordering};
use crate::errno::Result;

/// Whether an event stays set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// Until it is cleared. A set releases all waiters.
    Manual,
    /// Until a waiter consumes it. A set releases one waiter.
    Automatic,
}

/// The memory of an event.
pub trait EventMemory {
    /// The word that holds the state.
    fn state(&self) -> &AtomicU32;
    /// The announcement of the waiters.
    fn waiters(&self) -> &Waiters;
    /// Whether it stays set.
    fn reset(&self) -> Reset;
    /// Wakes up to `limit` threads that sleep on the state. Returns how many.
    fn wake(&self, limit: u32) -> u32;
    /// Sets the lowest bit of the state and wakes up to `limit` threads that sleep on it, in one
    /// system call. Returns how many. After an error nothing has changed.
    fn set_and_wake(&self, limit: u32) -> Result<u32>;
}

/// The state of a new event.
pub fn initial(set: bool) -> u32 {
    u32::from(set)
}

fn is_set_in(state: u32) -> bool {
    !state.is_multiple_of(2)
}

/// Whether the event is set.
pub fn is_set(memory: &impl EventMemory) -> bool {
    is_set_in(memory.state().load(Ordering::Acquire))
}

/// Sets the event and wakes waiters. Makes no system call if no thread waits.
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

    /// A read-modify-write operation although the event may be set already: a waiter that consumes
    /// one event is ordered after all its sets.
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

/// Clears the event. Returns whether it was set. What a thread wrote before it set the event is
/// visible then.
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

/// Clears the event if the state is still `state`, which is odd. The current state otherwise.
fn try_clear(memory: &impl EventMemory, state: u32) -> std::result::Result<(), u32> {
    let clear = state.wrapping_add(1);
    memory
        .state()
        .compare_exchange(state, clear, Ordering::Acquire, Ordering::Relaxed)
        .map(drop)
}

/// Returns when the event is set, and consumes it if it resets automatically. With manual reset
/// also if it was set since the call began. `sleep` sleeps while the state has the value that it
/// gets; it may return earlier.
pub fn wait(memory: &impl EventMemory, mut sleep: impl FnMut(u32) -> Result<()>) -> Result<()> {
    let mut first = None;
    while let Some(before) = try_wait(memory, first) {
        first = first.or(Some(before));
        memory.waiters().announce();
        let Some(state) = try_wait(memory, first) else {
            break;
        };
        // Another thread can have consumed the event in between. Then the one that set it may
        // withdraw this announcement.
        if state == before {
            sleep(state)?;
        }
    }
    Ok(())
}

/// Takes an event without waiting. The state if there is none; `first` is the state at the
/// beginning of the wait.
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
