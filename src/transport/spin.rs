//! Spinning: how long a blocking call checks its condition before it sleeps.

use super::cpu_hint::CpuHint;
use super::wait::{Condition, Doorbell, Progress};
use crate::deadline::Deadline;
use crate::errno::Result;
use crate::sys;
use std::hint;
use std::time::Duration;

/// How long a blocking call spins.
#[derive(Clone, Copy, Debug)]
pub enum SpinPolicy {
    /// For this duration, unless the last spins failed.
    Adaptive(Duration),
    /// For this duration.
    For(Duration),
}

/// The usual length of an adaptive spin: about the cost of sleeping and being woken.
pub const ADAPTIVE_SPIN: Duration = Duration::from_micros(10);
/// The number of checks between two reads of the clock.
const SPINS_PER_CLOCK_READ: u32 = 32;
/// How often a long spin checks that the peer is alive.
const LIVENESS_INTERVAL: Duration = Duration::from_millis(1);
/// The number of failed spins in a row after which most calls do not spin.
const SPIN_FAIL_LIMIT: u32 = 4;
/// After [`SPIN_FAIL_LIMIT`] failures, one call out of this number spins.
const SPIN_RETRY_EVERY: u32 = 32;

/// The processor hints of the two sides.
#[derive(Clone, Copy)]
pub struct Cpus<'a> {
    /// This side's.
    pub mine: &'a CpuHint,
    /// The peer's.
    pub theirs: &'a CpuHint,
}

/// The spinning of one thread, with the number of its last failures.
pub struct Spinner {
    policy: SpinPolicy,
    failed_spins: u32,
}

impl Spinner {
    /// Makes a spinner that has not failed yet.
    pub const fn new(policy: SpinPolicy) -> Self {
        Self {
            policy,
            failed_spins: 0,
        }
    }

    /// How long to spin now; none to skip the spin. If both sides run on the same processor, the
    /// peer cannot make progress while this side spins.
    fn budget(&mut self, cpus: Cpus) -> Option<Duration> {
        let (here, there) = (cpus.mine.publish(), cpus.theirs.get());
        if here == there {
            return None;
        }
        match self.policy {
            SpinPolicy::For(time) => Some(time).filter(|time| !time.is_zero()),
            SpinPolicy::Adaptive(time) => {
                let is_skipped = self.failed_spins >= SPIN_FAIL_LIMIT
                    && self.failed_spins % SPIN_RETRY_EVERY != 0;
                if is_skipped {
                    self.count_failure();
                }
                (!is_skipped && there != 0).then_some(time)
            }
        }
    }

    fn count_failure(&mut self) {
        self.failed_spins = self.failed_spins.saturating_add(1);
    }

    /// Spins until the condition holds or has ended. Returns [`Progress::Pending`] if the duration
    /// of the policy or the deadline has expired first, or if the policy skips the spin.
    pub fn spin(
        &mut self,
        cpus: Cpus,
        bell: &impl Doorbell,
        condition: &mut dyn Condition,
        wait: &mut Deadline,
    ) -> Result<Progress> {
        let Some(time) = self.budget(cpus) else {
            return Ok(Progress::Pending);
        };
        // The clock is read only after the first checks have failed, which is rare while both
        // sides are busy.
        let mut times = None;
        loop {
            for _ in 0..SPINS_PER_CLOCK_READ {
                if condition.poll()? {
                    self.failed_spins = 0;
                    return Ok(Progress::Ready);
                }
                if times.is_some() {
                    hint::spin_loop();
                }
            }
            let now = sys::monotonic_time();
            let (end, next_check) =
                times.get_or_insert_with(|| (wait.end_within(now, time), check_after(now)));
            if now >= *end {
                self.count_failure();
                return Ok(Progress::Pending);
            }
            if now >= *next_check {
                bell.check_peer();
                match condition.check()? {
                    Progress::Pending => {}
                    done => return Ok(done),
                }
                *next_check = check_after(now);
            }
        }
    }
}

/// The time at which a spin next checks that the peer is alive.
fn check_after(now: Duration) -> Duration {
    now.saturating_add(LIVENESS_INTERVAL)
}
