//! How often a nonblocking call that finds nothing to do checks that the peer is alive.

use crate::sys;

/// The minimum time between two checks, in nanoseconds: a check, which is a system call, costs more
/// than a round trip between two busy sides.
const INTERVAL: u64 = 20_000;

/// The time of the last check.
#[derive(Default)]
pub struct Liveness {
    last_check: u64,
}

impl Liveness {
    /// Whether a check is due. If so, the caller must check now.
    pub fn is_due(&mut self) -> bool {
        let now = sys::monotonic_ns();
        let is_due = now.saturating_sub(self.last_check) >= INTERVAL;
        if is_due {
            self.last_check = now;
        }
        is_due
    }
}
