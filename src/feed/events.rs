//! The descriptor of a feed for event loops: an epoll instance, which also reports the events.
//! The publisher alone changes it.

use crate::errno::Result;
use crate::sys::CancelGuard;
use libc::c_int;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The number of events that are taken at once.
const EVENTS_MAX: usize = 16;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The socket that listens.
    Listener,
    /// The socket of a client that has not been admitted yet.
    Client(u32),
    /// The pipe of a subscriber.
    Subscriber(u32),
    /// The timer.
    Timer,
}

impl Source {
    fn to_data(self) -> u64 {
        match self {
            Self::Listener => 0,
            Self::Client(id) => 1 << 32 | u64::from(id),
            Self::Subscriber(id) => 2 << 32 | u64::from(id),
            Self::Timer => 3 << 32,
        }
    }

    fn of_data(data: u64) -> Self {
        match data >> 32 {
            1 => Self::Client(data as u32),
            2 => Self::Subscriber(data as u32),
            3 => Self::Timer,
            _ => Self::Listener,
        }
    }
}

/// Something that has happened.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Its source.
    pub source: Source,
    /// Whether no process has the other end any longer.
    pub hung_up: bool,
}

/// The epoll instance.
pub struct Events(Epoll);

impl Events {
    /// Makes an instance that watches nothing.
    pub fn new() -> Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// The number of the descriptor.
    pub fn number(&self) -> c_int {
        self.0.0.as_raw_fd()
    }

    /// Watches a descriptor.
    pub fn add(&self, fd: BorrowedFd, source: Source) -> Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, source.to_data());
        Ok(self.0.add(fd, event)?)
    }

    /// Watches a descriptor no longer. Closing it would not suffice if a forked process has a copy.
    pub fn remove(&self, fd: BorrowedFd) {
        let _ = self.0.delete(fd);
    }

    /// Takes the next events, without waiting. A filter of system calls may refuse that.
    pub fn take(&self) -> Result<[Option<Event>; EVENTS_MAX]> {
        let _uncancelled = CancelGuard::new();
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        let count = match self.0.wait(&mut events, EpollTimeout::ZERO) {
            Err(nix::errno::Errno::EINTR) => 0,
            taken => taken?,
        };
        let mut taken = [None; EVENTS_MAX];
        for (to, event) in taken.iter_mut().zip(events.iter().take(count)) {
            let ends = EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
            *to = Some(Event {
                source: Source::of_data(event.data()),
                hung_up: event.events().intersects(ends),
            });
        }
        Ok(taken)
    }
}
