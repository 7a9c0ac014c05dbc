//! How a publisher waits for space in its ring: the condition, and its doorbell. `tests/loom` runs both
//! with a model of the subscribers and of the events.

use crate::errno::Result;
use crate::transport::wait::{Condition, Doorbell, Progress, Role};
use std::cell::Cell;
use std::time::Duration;

/// The longest sleep of a publisher whose announcement the subscribers may miss.
const FALLBACK_SLEEP: Duration = Duration::from_millis(1);

/// The subscribers that a publisher waits for, and its ring.
pub trait Subscribers {
    /// Handles the events at the descriptors, and may consume wake-ups. Does not wait.
    fn service(&mut self);

    /// Whether there is space for a record of `need` bytes.
    fn find_space(&mut self, need: u64) -> bool;

    /// Ceases to wait for the subscribers that have exceeded their time. Returns after how much time
    /// to check again; none if no subscriber has a time limit.
    fn check_stalls(&mut self, need: u64) -> Option<Duration>;

    /// Whether wake-ups were consumed since the last call. If so, their subscribers may have handled
    /// the present announcement, and send no other wake-up for it.
    fn take_woken(&mut self) -> bool;
}

/// The condition that a publisher waits for: the subscribers leave space for a record.
pub struct SpaceCondition<'a, S> {
    /// The subscribers.
    pub subscribers: S,
    /// The size of the record.
    pub need: u64,
    /// After what time to check again. A sleep must not be longer.
    pub check_again: &'a Cell<Option<Duration>>,
}

impl<S: Subscribers> SpaceCondition<'_, S> {
    /// Whether there is space, after the limits of the subscribers that leave none.
    pub fn is_free(&mut self) -> Result<bool> {
        let next = self.subscribers.check_stalls(self.need);
        self.check_again.set(next);
        self.poll()
    }
}

impl<S: Subscribers> Condition for SpaceCondition<'_, S> {
    fn poll(&mut self) -> Result<bool> {
        Ok(self.subscribers.find_space(self.need))
    }

    fn check(&mut self) -> Result<Progress> {
        self.subscribers.service();
        if self.is_free()? {
            return Ok(Progress::Ready);
        }
        if self.subscribers.take_woken() {
            // Do not sleep before the next announcement.
            self.check_again.set(Some(Duration::ZERO));
        }
        Ok(Progress::Pending)
    }

    fn arm(&self) {}
}

/// The events at the descriptors of a feed.
pub trait Events {
    /// The time limit of a call.
    type Deadline;

    /// Sleeps until there is an event, for at most this time. Fails as [`Doorbell::sleep`].
    fn sleep(&self, deadline: &mut Self::Deadline, most: Option<Duration>) -> Result<()>;

    /// As [`Doorbell::barrier`].
    fn barrier(&self) -> bool;
}

/// How a publisher sleeps: until there is an event. The next check consumes it.
pub struct SpaceBell<'a, E> {
    /// The events.
    pub events: E,
    /// That of the condition.
    pub check_again: &'a Cell<Option<Duration>>,
}

impl<E> SpaceBell<'_, E> {
    /// After what time to check the condition again, even if nothing has happened; none without limit.
    pub fn longest_sleep(&self, woken_by_peer: bool) -> Option<Duration> {
        let fallback = (!woken_by_peer).then_some(FALLBACK_SLEEP);
        [self.check_again.get(), fallback]
            .into_iter()
            .flatten()
            .min()
    }
}

impl<E: Events> Doorbell for SpaceBell<'_, E> {
    type Deadline = E::Deadline;

    fn epoch(&self) -> u32 {
        0
    }

    fn sleep(
        &self,
        _role: Role,
        deadline: &mut E::Deadline,
        _epoch: u32,
        woken_by_peer: bool,
    ) -> Result<()> {
        self.events
            .sleep(deadline, self.longest_sleep(woken_by_peer))
    }

    fn is_peer_gone(&self) -> bool {
        false
    }

    fn check_peer(&self) -> bool {
        false
    }

    fn is_polled(&self) -> bool {
        false
    }

    fn set_readable(&self) {}

    fn drain(&self) {}

    fn barrier(&self) -> bool {
        self.events.barrier()
    }
}
