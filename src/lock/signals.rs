//! How no waiter misses a signal, and a signal without waiters costs no system call: over atomics
//! and a [`Kernel`], so that tests/loom runs this very code.
//!
//! A waiter announces itself and reads the sequence number while it holds the mutex, unlocks
//! the mutex, and sleeps until the number changes. A thread that changes the guarded data
//! signals afterwards, with the mutex held or not: it increments the number and wakes. The mutex
//! is all that orders the accesses.
//!
//! # Who is announced
//!
//! One word has two counters: how many waits were announced, and how many of them are
//! acknowledged, which is to say no longer asleep. Where they are equal no thread sleeps. Only a
//! signal acknowledges: as many as it woke, or, where it woke none, all that were announced
//! before it. A wait that ends otherwise, by its deadline or by the death of its thread, stays
//! unacknowledged, which costs a later signal one system call for nothing.
//!
//! An event announces its waiters by one word ([`announce`](super::announce)). Here two counters
//! serve better: a signal that wakes the only waiter knows that none is left, and the next one
//! makes no system call.
//!
//! # A waiter that is killed
//!
//! A waiter that is killed after its wake-up takes the signal with it. So a waiter checks the
//! number at least every 100 ms, and returns if it has changed since the wait began, whichever waiter
//! was woken: the wait of one caller then ends spuriously.

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::errno::Result;

/// The words of a condition.
#[repr(C)]
pub struct Signals {
    /// How many signals there were, in 32 bits. Waiters sleep on it.
    pub sequence: AtomicU32,
    /// The sequence number of the last broadcast that moved waiters to their mutex.
    pub moved: AtomicU32,
    /// The waits that were announced (high half) and acknowledged (low half).
    waits: AtomicU64,
}

/// The half of the announced waits.
const ANNOUNCED: u32 = 32;

/// How the waiters are woken.
pub trait Kernel {
    /// Increments the sequence number and wakes up to `count` waiters. How many it woke.
    fn increment_and_wake(&self, count: i32) -> Result<u32>;
}

impl Signals {
    /// No signals, and no waiters.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sequence: AtomicU32::new(0),
            moved: AtomicU32::new(0),
            waits: AtomicU64::new(0),
        }
    }

    /// [`Signals::new`], in place.
    pub fn init(&self) {
        self.sequence.store(0, Ordering::Relaxed);
        self.moved.store(0, Ordering::Relaxed);
        self.waits.store(0, Ordering::Relaxed);
    }

    /// Announces a wait. The sequence number at which it begins. With the mutex held: a thread
    /// that makes a change which the caller has not seen locks the mutex later, and so sees the
    /// announcement when it signals.
    pub fn announce(&self) -> u32 {
        let seen = self.sequence.load(Ordering::Relaxed);
        // Pairs with the load in `announced`: a signal that counts this wait increments the number
        // after it was read here, so that the wait ends, or finds the thread asleep.
        self.waits.fetch_add(1 << ANNOUNCED, Ordering::Release);
        seen
    }

    /// Returns when there was a signal since `seen`. `sleep` sleeps while the number is `seen`,
    /// for at most 100 ms. What the signaller did before is ordered by the mutex, which the caller
    /// locks next.
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

    /// Wakes all waiters: `wake` does.
    pub fn broadcast(&self, wake: impl FnOnce() -> Result<()>) -> Result<()> {
        let Some(waits) = self.announced() else {
            return Ok(());
        };
        wake()?;
        self.acknowledge_all(waits);
        Ok(())
    }

    /// Whether a broadcast has moved the waiter that began to wait at `seen` to its mutex.
    pub fn was_moved(&self, seen: u32) -> bool {
        let moved = self.moved.load(Ordering::Relaxed);
        (moved.wrapping_sub(seen) as i32) > 0
    }

    /// The waits, if any is announced and not acknowledged.
    fn announced(&self) -> Option<u64> {
        // Pairs with the increment in `announce`.
        let waits = self.waits.load(Ordering::Acquire);
        ((waits >> ANNOUNCED) as u32 != waits as u32).then_some(waits)
    }

    fn acknowledge_all(&self, waits: u64) {
        self.acknowledge(waits, (waits >> ANNOUNCED) as u32);
    }

    /// Acknowledges waits up to the number `to`, unless another signal has acknowledged some since
    /// `waits` was read: its count and this one's could overlap.
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
