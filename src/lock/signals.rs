//! How a waiter misses no signal, while a signal without waiters makes no system call: over atomics
//! and a [`Kernel`], so that tests/loom can run this code.
//!
//! A waiter holds the mutex, reads the sequence number, announces its wait, unlocks the mutex, and
//! sleeps until the number changes. A thread that changes the guarded data signals after the
//! change, with or without the mutex held: it increments the number and wakes. Only the mutex
//! orders the accesses to the data.
//!
//! # Announcements
//!
//! One word has two counters: the announced waits, and the acknowledged waits, which no longer
//! sleep. If they are equal, no thread sleeps. Only a signal acknowledges waits: as many as it woke,
//! or, if it woke none, all that were announced before it. A wait that ends in another way, by its
//! deadline or by the death of its thread, stays unacknowledged. It costs a later signal one system
//! call that wakes no thread.
//!
//! The waiters of an event have a single number ([`announce`](super::announce)). A condition needs
//! two counters: a signal that wakes the only waiter leaves equal counters, so the next signal makes
//! no system call. With a single number it would have to make one, because a wake-up of as many
//! threads as requested does not show whether others sleep.
//!
//! # A waiter that is killed
//!
//! If a waiter is killed after its wake-up, the signal is lost to the other waiters. So each waiter
//! checks the number at least every 100 ms, and returns if it has changed since the wait began. A
//! waiter that was not woken then also returns, which is a spurious wake-up for its caller.

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::errno::Result;

/// The words of a condition.
#[repr(C)]
pub struct Signals {
    /// The sequence number: the number of signals, modulo 2^32. Waiters sleep on it.
    pub sequence: AtomicU32,
    /// The sequence number of the last broadcast that moved waiters to their mutex.
    pub moved: AtomicU32,
    /// The number of announced waits (high half) and of acknowledged waits (low half).
    waits: AtomicU64,
}

/// The shift of the announced waits.
const ANNOUNCED: u32 = 32;

/// The kernel's part of a signal.
pub trait Kernel {
    /// Increments the sequence number and wakes up to `count` waiters, in one system call. Returns
    /// the number of waiters woken.
    fn increment_and_wake(&self, count: i32) -> Result<u32>;
}

impl Signals {
    /// Makes the words of a condition without signals and waiters.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sequence: AtomicU32::new(0),
            moved: AtomicU32::new(0),
            waits: AtomicU64::new(0),
        }
    }

    /// Initialises the words in memory of any content.
    pub fn init(&self) {
        self.sequence.store(0, Ordering::Relaxed);
        self.moved.store(0, Ordering::Relaxed);
        self.waits.store(0, Ordering::Relaxed);
    }

    /// Announces a wait. Returns the sequence number at which it begins. The caller holds the mutex:
    /// a thread that makes a change which the caller has not seen locks the mutex later, and so sees
    /// the announcement when it signals.
    pub fn announce(&self) -> u32 {
        let seen = self.sequence.load(Ordering::Relaxed);
        // Pairs with the acquire load in `announced`: a signal that sees this wait increments the
        // number after this thread has read it. So the signal ends the wait, or wakes the thread.
        self.waits.fetch_add(1 << ANNOUNCED, Ordering::Release);
        seen
    }

    /// Waits until the sequence number is not `seen`. `sleep` sleeps while the number is `seen`, for
    /// at most 100 ms. The caller then locks the mutex, which orders it after the signaller's change.
    pub fn wait(&self, seen: u32, mut sleep: impl FnMut() -> Result<()>) -> Result<()> {
        while self.sequence.load(Ordering::Relaxed) == seen {
            sleep()?;
        }
        Ok(())
    }

    /// Wakes at least one waiter, if there is any.
    pub fn signal(&self, kernel: &impl Kernel) -> Result<()> {
        let Some(waits) = self.announced() else {
            return Ok(());
        };
        match kernel.increment_and_wake(1)? {
            0 => self.acknowledge_all(waits),
            woken => self.acknowledge(waits, (waits as u32).wrapping_add(woken)),
        }
        Ok(())
    }

    /// Wakes all waiters by `wake`, if there are any.
    pub fn broadcast(&self, wake: impl FnOnce() -> Result<()>) -> Result<()> {
        let Some(waits) = self.announced() else {
            return Ok(());
        };
        wake()?;
        self.acknowledge_all(waits);
        Ok(())
    }

    /// Whether a broadcast may have moved the waiter that began to wait at `seen` to its mutex.
    pub fn was_moved(&self, seen: u32) -> bool {
        let moved = self.moved.load(Ordering::Relaxed);
        (moved.wrapping_sub(seen) as i32) > 0
    }

    /// The word of the waits, if any wait is announced and not acknowledged.
    fn announced(&self) -> Option<u64> {
        // Pairs with the release in `announce`.
        let waits = self.waits.load(Ordering::Acquire);
        ((waits >> ANNOUNCED) as u32 != waits as u32).then_some(waits)
    }

    fn acknowledge_all(&self, waits: u64) {
        self.acknowledge(waits, (waits >> ANNOUNCED) as u32);
    }

    /// Acknowledges the waits up to the number `to`, unless another signal has acknowledged waits
    /// since this one read `waits`: both could count the same waits.
    fn acknowledge(&self, waits: u64, to: u32) {
        let mut now = self.waits.load(Ordering::Relaxed);
        while now as u32 == waits as u32 {
            let new = now >> ANNOUNCED << ANNOUNCED | u64::from(to);
            let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
            match self.waits.compare_exchange(now, new, success, failure) {
                Ok(_) => return,
                Err(changed) => now = changed,
            }
        }
    }
}

impl Default for Signals {
    fn default() -> Self {
        Self::new()
    }
}
