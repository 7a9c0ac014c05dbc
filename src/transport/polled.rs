//! The descriptor for event loops: an epoll instance. It watches a source of the peer's wake-ups,
//! and an eventfd through which this process makes it readable.

use super::doorbell::new_eventfd;
use crate::errno::Result;
use crate::sys::CancelGuard;
use libc::c_int;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::EventFd;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The descriptor for event loops.
pub struct Polled {
    epoll: Epoll,
    readable: EventFd,
}

impl Polled {
    /// Makes the descriptor. It is readable also while `source` is readable.
    pub fn new(source: Option<BorrowedFd>) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let readable = new_eventfd()?;
        for fd in [Some(readable.as_fd()), source].into_iter().flatten() {
            epoll.add(fd, readable_event())?;
        }
        Ok(Self { epoll, readable })
    }

    /// The number of the descriptor.
    pub fn number(&self) -> c_int {
        self.epoll.0.as_raw_fd()
    }

    /// Makes the descriptor readable.
    pub fn set_readable(&self) {
        let _uncancelled = CancelGuard::new();
        let _ = self.readable.write(1);
    }

    /// Cancels [`Polled::set_readable`].
    pub fn clear_readable(&self) {
        let _uncancelled = CancelGuard::new();
        let _ = self.readable.read();
    }

    /// Watches `new` instead of `old`. Closing `old` would not remove it from the epoll instance if
    /// a forked process has a copy.
    pub fn replace(&self, old: BorrowedFd, new: BorrowedFd) -> Result<()> {
        self.epoll.add(new, readable_event())?;
        let _ = self.epoll.delete(old);
        Ok(())
    }
}

fn readable_event() -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN, 0)
}
