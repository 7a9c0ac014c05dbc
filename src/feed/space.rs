//! The condition for which a publisher waits: space in its ring. `tests/loom` runs it with a model of
//! the subscribers.

use crate::errno::Result;
use crate::transport::wait::{Condition, Progress};
use std::cell::Cell;
use std::time::Duration;

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
