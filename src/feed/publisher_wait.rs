//! How a publisher waits for space: the subscribers that it waits for, and its doorbell, which is the
//! epoll instance of the feed.

use super::audience::{Audience, Feeding, WakeUps};
use super::space::Subscribers;
use crate::deadline::Deadline;
use crate::errno::Result;
use crate::fd::borrow;
use crate::sys::membarrier;
use crate::transport::wait::{Doorbell, Role};
use libc::c_int;
use nix::poll::{PollFd, PollFlags};
use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// The longest sleep of a publisher whose announcement the subscribers may miss.
const FALLBACK_SLEEP: Duration = Duration::from_millis(1);

/// The subscribers of a feed, and its ring.
pub struct Awaited<'a> {
    /// The feed.
    pub feeding: Feeding<'a>,
    /// Its subscribers.
    pub audience: &'a mut Audience,
    /// What a check does with the wake-ups: a wait must consume them.
    pub wake_ups: WakeUps,
}

impl Subscribers for Awaited<'_> {
    fn service(&mut self) {
        // A client that cannot be accepted is not a reason to refuse the message.
        let _ = self.audience.service(&mut self.feeding, self.wake_ups);
    }

    fn find_space(&mut self, need: u64) -> bool {
        let ring = &mut *self.feeding.ring;
        let (head, _) = self.audience.slowest(ring.tail());
        let is_free = ring.is_free(need, head);
        if is_free {
            ring.set_limit(need, head, &self.feeding.memory.control().words);
            self.audience.end_stalls();
        }
        is_free
    }

    fn check_stalls(&mut self, need: u64) -> Option<Duration> {
        self.audience.check_stalls(need, &self.feeding)
    }

    fn take_woken(&mut self) -> bool {
        self.audience.take_woken()
    }
}

/// How a publisher sleeps: until something has happened at a descriptor of the feed.
pub struct SpaceBell<'a> {
    epoll: BorrowedFd<'a>,
    check_again: &'a Cell<Option<Duration>>,
}

impl<'a> SpaceBell<'a> {
    /// The doorbell of a feed whose epoll instance has the number `epoll`.
    pub fn new(epoll: c_int, check_again: &'a Cell<Option<Duration>>) -> Result<Self> {
        Ok(Self {
            epoll: borrow(epoll)?,
            check_again,
        })
    }

    /// After what time to check the condition again, even if nothing has happened; none without limit.
    pub fn longest_sleep(&self, woken_by_peer: bool) -> Option<Duration> {
        let fallback = (!woken_by_peer).then_some(FALLBACK_SLEEP);
        [self.check_again.get(), fallback]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Doorbell for SpaceBell<'_> {
    type Deadline = Deadline;

    fn epoch(&self) -> u32 {
        0
    }

    fn sleep(
        &self,
        _role: Role,
        deadline: &mut Deadline,
        _epoch: u32,
        woken_by_peer: bool,
    ) -> Result<()> {
        let most = self.longest_sleep(woken_by_peer);
        let mut fds = [PollFd::new(self.epoll, PollFlags::POLLIN)];
        deadline.any(&mut fds, most).map(drop)
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
        membarrier::issue()
    }
}
