//! The interval at which a waiting side polls for the other side.

use crate::sys::monotonic_ns;
use std::time::Duration;

/// At first the pauses are short, because the other side may be starting. In nanoseconds.
const SHORT_PHASE: u64 = 100_000_000;
const SHORT_PAUSE: u64 = 400_000;
/// Later, the pause is the time that the call has waited, divided by this number.
const DIVISOR: u64 = 64;
const PAUSE_MAX: u64 = 20_000_000;

/// The name is checked at one in this number of polls, because that costs more than a poll.
const NAME_EVERY: u32 = 4;

/// The polls of one call.
pub struct PollInterval {
    polls: u32,
    /// When the call began to wait, in nanoseconds of the monotonic clock.
    begun: u64,
}

impl PollInterval {
    /// Begins the wait.
    pub fn new() -> Self {
        Self {
            polls: 0,
            begun: monotonic_ns(),
        }
    }

    /// Counts a poll. Returns whether the name must be checked.
    pub fn is_name_due(&mut self) -> bool {
        let due = self.polls % NAME_EVERY == 0;
        self.polls = self.polls.wrapping_add(1);
        due
    }

    /// Returns the pause before the next poll.
    pub fn pause(&self) -> Duration {
        let waited = monotonic_ns().saturating_sub(self.begun);
        Duration::from_nanos(if waited < SHORT_PHASE {
            SHORT_PAUSE
        } else {
            (waited / DIVISOR).min(PAUSE_MAX)
        })
    }
}
