//! How often a call that finds nothing asks the kernel whether the peer is alive.

use crate::sys;

/// At most once in this number of nanoseconds: the question costs more than a round trip of two
/// busy sides.
const INTERVAL: u64 = 20_000;

/// Remembers the last question.
#[derive(Default)]
pub struct Liveness {
    asked: u64,
}

impl Liveness {
    /// Whether the last question is long ago. The caller asks now then.
    pub fn is_due(&mut self) -> bool {
        let now = sys::monotonic_ns();
        let is_due = now.saturating_sub(self.asked) >= INTERVAL;
        if is_due {
            self.asked = now;
        }
        is_due
    }
}
