//! Counters of an end. One thread counts, any thread may read.

use crate::atomic::Ordering;
use std::sync::atomic::AtomicU64;

/// What has happened on an end since it was made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Messages sent, and their bytes.
    pub sent: (u64, u64),
    /// Messages received, and their bytes.
    pub received: (u64, u64),
    /// The number of times that a call has slept.
    pub sleeps: u64,
    /// The number of times that this end has woken the other.
    pub wakes: u64,
    /// The number of sends that found the ring full.
    pub full: u64,
}

/// A counter of one thread.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds, and returns the new value.
    #[inline]
    pub fn add(&self, more: u64) -> u64 {
        let now = self.0.load(Ordering::Relaxed).wrapping_add(more);
        self.0.store(now, Ordering::Relaxed);
        now
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one direction.
#[derive(Default)]
pub struct Counters {
    /// Messages.
    pub messages: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// The number of times that it has woken the other side.
    pub wakes: Counter,
    /// The number of sends that found the ring full.
    pub full: Counter,
}

impl Stats {
    /// The statistics of an end whose calls have slept `sleeps` times.
    pub fn new(sent: &Counters, received: &Counters, sleeps: u64) -> Self {
        Self {
            sent: (sent.messages.get(), sent.bytes.get()),
            received: (received.messages.get(), received.bytes.get()),
            sleeps,
            wakes: sent.wakes.get().wrapping_add(received.wakes.get()),
            full: sent.full.get(),
        }
    }
}
