//! The descriptor of an object in the event loop.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use unixipc::errno::{Errno, Result};
use unixipc::fd::{borrow, duplicate};

/// Waits for the readiness of a descriptor that another object owns, of which it has a duplicate.
pub struct Readiness(AsyncFd<OwnedFd>);

impl Readiness {
    /// Watches a descriptor for reading.
    pub fn of(fd: BorrowedFd) -> Result<Self> {
        Self::with_interest(fd, Interest::READABLE)
    }

    /// Watches a descriptor for reading, by its number.
    pub fn of_number(fd: RawFd) -> Result<Self> {
        Self::of(borrow(fd)?)
    }

    /// Watches a descriptor for writing.
    pub fn for_writing(fd: BorrowedFd) -> Result<Self> {
        Self::with_interest(fd, Interest::WRITABLE)
    }

    fn with_interest(fd: BorrowedFd, interest: Interest) -> Result<Self> {
        let own = duplicate(fd, 0)?;
        // SAFETY: the descriptor belongs to the result, which never replaces it.
        let watched = unsafe { AsyncFd::register_with_interest(own, interest) };
        let error = |error: io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::new);
        watched.map(Self).map_err(|failed| error(failed.into()))
    }

    /// Waits for an event. The caller must then use the object until it fails with `EAGAIN`, before it
    /// waits again: the descriptor is edge-triggered.
    pub async fn event(&self) {
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Ok(mut guard) = self.0.ready(interest).await {
            guard.clear_ready_matching(Ready::ALL);
        }
    }
}
