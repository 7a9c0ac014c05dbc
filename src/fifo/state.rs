//! What a reader finds at its end of a FIFO, without reading.

use crate::errno::Result;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::BorrowedFd;
use std::slice;

/// The state of a FIFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Something to read.
    Filled,
    /// Nothing, and there are writers, or none was there since it was opened.
    Empty,
    /// Nothing, and the last writer has closed it.
    Ended,
}

impl State {
    /// The one that `fd` is in.
    pub fn of(fd: BorrowedFd) -> Result<Self> {
        let mut fd = PollFd::new(fd, PollFlags::POLLIN);
        uninterrupted(|| poll(slice::from_mut(&mut fd), PollTimeout::ZERO))?;
        let seen = fd.revents().unwrap_or(PollFlags::empty());
        Ok(if seen.contains(PollFlags::POLLIN) {
            Self::Filled
        } else if seen.is_empty() {
            Self::Empty
        } else {
            Self::Ended
        })
    }
}

/// Makes a call that does not wait, again where a signal interrupts it.
pub fn uninterrupted<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(nix::errno::Errno::EINTR) => {}
            done => return done,
        }
    }
}
