//! How often a side that waits for the other one looks for it.

use crate::sys::monotonic_ns;
use std::time::Duration;

/// The pause between two looks is this part of the time that the call has waited: short where
/// the other side is expected at once, and rare where it is not.
const PART: u64 = 128;
const SHORTEST: u64 = 400_000;
const LONGEST: u64 = 20_000_000;

/// The looks of one call.
pub struct Pace {
    /// When the call began to wait, in nanoseconds of the monotonic clock.
    begun: u64,
}

impl Pace {
    /// Begins now.
    pub fn new() -> Self {
        Self {
            begun: monotonic_ns(),
        }
    }

    /// The pause until the next look.
    pub fn pause(&self) -> Duration {
        let waited = monotonic_ns().saturating_sub(self.begun);
        Duration::from_nanos((waited / PART).clamp(SHORTEST, LONGEST))
    }
}
