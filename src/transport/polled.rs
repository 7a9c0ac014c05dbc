//! The descriptor for event loops: an epoll instance over the kernel's notifications and an
//! eventfd, by which this process makes it readable.

use super::doorbell::new_eventfd;
use crate::errno::Result;
use crate::sys::CancelGuard;
use libc::c_int;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::EventFd;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The descriptor, once a program has asked for it.
pub struct Polled {
    epoll: Epoll,
    readable: EventFd,
}

impl Polled {
    /// Makes one that `source` makes readable too.
    pub fn new(source: Option<BorrowedFd>) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let readable = new_eventfd()?;
        for fd in [Some(readable.as_fd()), source].into_iter().flatten() {
            epoll.add(fd, readable_event())?;
        }
        Ok(Self { epoll, readable })
    }

    /// Its number.
    pub fn number(&self) -> c_int {
        self.epoll.0.as_raw_fd()
    }

    /// Makes it readable.
    pub fn set_readable(&self) {
        let _uncancelled = CancelGuard::new();
        let _ = self.readable.write(1);
    }

    /// Takes back [`Polled::set_readable`].
    pub fn clear_readable(&self) {
        let _uncancelled = CancelGuard::new();
        let _ = self.readable.read();
    }

    /// From now on `new` makes it readable instead of `old`. Closing `old` would not suffice: a
    /// forked process may have a copy.
    pub fn replace(&self, old: BorrowedFd, new: BorrowedFd) -> Result<()> {
        self.epoll.add(new, readable_event())?;
        let _ = self.epoll.delete(old);
        Ok(())
    }
}

fn readable_event() -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN, 0)
}
