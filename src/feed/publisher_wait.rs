//! The parts of a feed by which a publisher waits for space: the subscribers that it waits for, and the
//! events at its descriptors.

use super::audience::{Audience, Feeding, WakeUps};
use super::space::{Events, Subscribers};
use crate::deadline::Deadline;
use crate::errno::Result;
use crate::fd::borrow;
use crate::sys::membarrier;
use libc::c_int;
use nix::poll::{PollFd, PollFlags};
use std::os::fd::BorrowedFd;
use std::time::Duration;

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

/// The events at the descriptors of a feed, which its epoll instance reports.
pub struct FeedEvents<'a>(BorrowedFd<'a>);

impl FeedEvents<'_> {
    /// Watches the epoll instance.
    pub fn new(epoll: c_int) -> Result<Self> {
        Ok(Self(borrow(epoll)?))
    }
}

impl Events for FeedEvents<'_> {
    type Deadline = Deadline;

    fn sleep(&self, deadline: &mut Deadline, most: Option<Duration>) -> Result<()> {
        let mut fds = [PollFd::new(self.0, PollFlags::POLLIN)];
        deadline.any(&mut fds, most).map(drop)
    }

    fn barrier(&self) -> bool {
        membarrier::issue()
    }
}
