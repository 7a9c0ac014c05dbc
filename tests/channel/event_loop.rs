//! An event loop that watches one end, and what the tests of event loops share.

use crate::support::*;
use libc::c_int;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::fmt;
use std::hint::spin_loop;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// The time in which a descriptor must become readable, in milliseconds.
pub const SOON: c_int = 5000;

/// How an event loop watches a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    Level,
    Edge,
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{self:?}-triggered")
    }
}

pub const TRIGGERS: [Trigger; 2] = [Trigger::Level, Trigger::Edge];

/// An event loop that watches one end.
pub struct Poller(Epoll);

impl Poller {
    pub fn new(end: &End, trigger: Trigger) -> Self {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        // SAFETY: the descriptor is open as long as the end, which outlives the call.
        let fd = unsafe { BorrowedFd::borrow_raw(end.fd().unwrap()) };
        let flags = match trigger {
            Trigger::Level => EpollFlags::EPOLLIN,
            Trigger::Edge => EpollFlags::EPOLLIN | EpollFlags::EPOLLET,
        };
        epoll.add(fd, EpollEvent::new(flags, 0)).unwrap();
        Self(epoll)
    }

    /// Whether the descriptor is readable, or becomes readable within the time-out.
    #[track_caller]
    pub fn is_ready(&self, timeout_ms: c_int) -> bool {
        let timeout = EpollTimeout::try_from(timeout_ms).unwrap();
        self.0.wait(&mut [EpollEvent::empty()], timeout).unwrap() == 1
    }
}

/// Sets a flag when dropped, so that a failed test ends its helper threads.
pub struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Spins for a random short time.
pub fn pause(random: &mut Random, limit: u64) {
    for _ in 0..random.below(limit) {
        spin_loop();
    }
}
