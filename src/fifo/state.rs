//! The state of a FIFO, as a reader sees it without reading.

use crate::errno::Result;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::BorrowedFd;
use std::slice;

/// The state of a FIFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is something to read.
    Filled,
    /// There is nothing to read; and there is a writer, or was none since the FIFO was opened.
    Empty,
    /// There is nothing to read, and the last writer has closed the FIFO.
    Ended,
}

impl State {
    /// Returns the state of the FIFO with the descriptor `fd`.
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

/// Makes a call that does not wait, and repeats it if a signal interrupts it.
pub fn uninterrupted<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(nix::errno::Errno::EINTR) => {}
            done => return done,
        }
    }
}
