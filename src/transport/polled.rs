//! The descriptor for event loops: an epoll instance. It watches a source of the peer's wake-ups,
//! and an eventfd through which this process makes it readable.
//!
//! The eventfd and the pipe are edge-triggered: [`Polled::take_events`] clears the descriptor by one
//! system call, and leaves the eventfd's value and the bytes of the pipe. The socket of a handshake
//! is level-triggered, because a handshake that lacks a resource leaves the hello queued.

use super::doorbell::new_eventfd;
use crate::errno::Result;
use crate::sys::CancelGuard;
use libc::c_int;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Identifies the eventfd.
const EVENT: u64 = 0;
/// Identifies the socket.
const SOCKET: u64 = 1;
/// Identifies the pipe.
const PIPE: u64 = 2;

/// The descriptor for event loops.
pub struct Polled {
    epoll: Epoll,
    readable: EventFd,
}

/// A source of the peer's wake-ups.
pub enum Source<'a> {
    /// The socket of a handshake.
    Socket(BorrowedFd<'a>),
    /// The read end of the peer's pipe.
    Pipe(BorrowedFd<'a>),
}

/// The events at the pipe since they were taken the last time.
#[derive(Clone, Copy, Debug, Default)]
pub struct PipeEvents {
    /// The peer has written bytes.
    pub written: bool,
    /// No process has the write end any longer.
    pub hung_up: bool,
}

impl Source<'_> {
    fn add_to(&self, epoll: &Epoll) -> nix::Result<()> {
        let (fd, flags, number) = match self {
            Self::Socket(fd) => (fd, EpollFlags::EPOLLIN, SOCKET),
            Self::Pipe(fd) => (fd, EpollFlags::EPOLLIN | EpollFlags::EPOLLET, PIPE),
        };
        epoll.add(fd, EpollEvent::new(flags, number))
    }
}

impl Polled {
    /// Makes the descriptor. It becomes readable also by events at `source`.
    pub fn new(source: Option<Source>) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let readable = new_eventfd()?;
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(&readable, EpollEvent::new(flags, EVENT))?;
        if let Some(source) = source {
            source.add_to(&epoll)?;
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

    /// Makes the descriptor not readable until the next event, and returns the events at the pipe
    /// that made it readable. An error is one of a system call filter: the descriptor then stays
    /// readable until the caller has called [`Polled::clear_readable`] and read the bytes of the
    /// pipe.
    pub fn take_events(&self) -> Result<PipeEvents> {
        let _uncancelled = CancelGuard::new();
        let mut events = [EpollEvent::empty(); 3];
        let count = self.epoll.wait(&mut events, EpollTimeout::ZERO)?;
        let at_pipe = |event: &&EpollEvent| event.data() == PIPE;
        let event = events.iter().take(count).find(at_pipe);
        Ok(event.map_or(PipeEvents::default(), |event| PipeEvents {
            written: event.events().contains(EpollFlags::EPOLLIN),
            hung_up: event.events().contains(EpollFlags::EPOLLHUP),
        }))
    }

    /// Cancels [`Polled::set_readable`] without epoll_wait(2).
    pub fn clear_readable(&self) {
        let _uncancelled = CancelGuard::new();
        let _ = self.readable.read();
    }

    /// Watches the pipe instead of the socket. Closing the socket would not remove it from the epoll
    /// instance if a forked process has a copy.
    pub fn replace(&self, socket: BorrowedFd, pipe: BorrowedFd) -> Result<()> {
        Source::Pipe(pipe.as_fd()).add_to(&self.epoll)?;
        let _ = self.epoll.delete(socket);
        Ok(())
    }
}
