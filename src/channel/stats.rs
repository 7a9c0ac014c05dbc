//! Counters of an end. A single thread writes each counter; any thread may read it.

use crate::atomic::Ordering;
use std::sync::atomic::AtomicU64;

/// The statistics of an end since its creation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// The number of messages sent, and of their bytes.
    pub sent: (u64, u64),
    /// The number of messages received, and of their bytes.
    pub received: (u64, u64),
    /// The number of sleeps of calls on this end.
    pub sleeps: u64,
    /// The number of times that this end has woken its peer.
    pub wakes: u64,
    /// The number of sends that found the ring full, or the socket full of descriptors.
    pub full: u64,
}

/// A counter that a single thread writes.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`, and returns the new value.
    #[inline]
    pub fn add(&self, amount: u64) -> u64 {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(amount);
        self.0.store(sum, Ordering::Relaxed);
        sum
    }

    /// The current value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one direction.
#[derive(Default)]
pub struct Counters {
    /// The number of messages.
    pub messages: Counter,
    /// The number of their bytes.
    pub bytes: Counter,
    /// The number of times that this side has woken its peer.
    pub wakes: Counter,
    /// The number of sends that found the ring full, or the socket full of descriptors.
    pub full: Counter,
}

impl Stats {
    /// Makes the statistics of an end whose calls have slept `sleeps` times.
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
