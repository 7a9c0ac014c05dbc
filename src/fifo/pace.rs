//! How often a side that waits for the other one looks for it.

use crate::sys::monotonic_ns;
use std::time::Duration;

/// For this time the pauses are short: the other side is being started, perhaps.
const SOON: u64 = 100_000_000;
const SHORT: u64 = 400_000;
/// Later, the pause between two looks is this part of the time that the call has waited.
const PART: u64 = 64;
const LONGEST: u64 = 20_000_000;

/// The name is checked at one in this number of looks, since it costs more than a look.
const NAME_EVERY: u32 = 4;

/// The looks of one call.
pub struct Pace {
    looks: u32,
    /// When the call began to wait, in nanoseconds of the monotonic clock.
    begun: u64,
}

impl Pace {
    /// Begins now.
    pub fn new() -> Self {
        Self {
            looks: 0,
            begun: monotonic_ns(),
        }
    }

    /// Counts a look, and says whether the name must be checked.
    pub fn is_name_due(&mut self) -> bool {
        let due = self.looks.is_multiple_of(NAME_EVERY);
        self.looks = self.looks.wrapping_add(1);
        due
    }

    /// The pause until the next look.
    pub fn pause(&self) -> Duration {
        let waited = monotonic_ns().saturating_sub(self.begun);
        Duration::from_nanos(if waited < SOON {
            SHORT
        } else {
            (waited / PART).min(LONGEST)
        })
    }
}
