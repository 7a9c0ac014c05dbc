//! A reader that has opened a FIFO and may still leave it.
//!
//! # Leaving without losing a record
//!
//! Each writer that opens the FIFO finds the reader, and what it sends is discarded when the last
//! descriptor of the FIFO is closed. So the reader must not close its descriptor after a look that
//! found nothing: a writer may come in between. It leaves in these steps:
//!
//! 1. It opens the FIFO for writing: from here on nothing is discarded.
//! 2. It closes its reading end: from here on no writer can come (`ENXIO`), and a writer that has
//!    come and not sent yet gets `EPIPE`.
//! 3. It asks how many bytes there are (`FIONREAD`). If there are some, it opens the FIFO for
//!    reading again, and stays.
//! 4. It closes the writing end.
//!
//! Other readers would take it for a writer, and while they are there nothing is discarded in any
//! case. So each waiting reader has a shared lock (flock(2)) on its descriptor, and only a reader
//! that gets the exclusive one takes these steps; the others just close. Another process that
//! holds a lock on the FIFO thereby makes a record in the moment between a look and a close lose
//! its reader, and nothing else.

use super::state::{State, uninterrupted};
use crate::errno::{Errno, Result};
use crate::fd::FdPath;
use crate::sys::{flock, pipe};
use libc::c_int;
use nix::fcntl::{OFlag, SpliceFFlags, tee};
use nix::sys::stat::Mode;
use nix::unistd::pipe2;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A reader, and a private pipe into which tee(2) would copy: from an empty FIFO it says whether
/// there is a writer.
pub struct Reader {
    fd: OwnedFd,
    probe: (OwnedFd, OwnedFd),
}

impl Reader {
    /// A reader of what `open` opens, which is the last step that can fail.
    pub fn new(open: impl FnOnce() -> Result<OwnedFd>) -> Result<Self> {
        let probe = pipe2(OFlag::O_CLOEXEC)?;
        Ok(Self { fd: open()?, probe })
    }

    /// The descriptor of the FIFO.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// All descriptors.
    pub fn descriptors(&self) -> [c_int; 3] {
        let (read, write) = &self.probe;
        [&self.fd, read, write].map(AsRawFd::as_raw_fd)
    }

    /// Makes other readers that leave see that this one is there.
    pub fn announce(&self) {
        // Without it another reader that leaves may be taken for a writer.
        let _ = flock(self.fd.as_fd(), libc::LOCK_SH | libc::LOCK_NB);
    }

    /// Whether there is something to read, or a writer is there or was there since the FIFO was
    /// opened.
    pub fn has_met(&self) -> Result<bool> {
        Ok(State::of(self.fd.as_fd())? != State::Empty || self.finds_writer()?)
    }

    /// Whether there is something to read, or a writer is there.
    pub fn finds_writer(&self) -> Result<bool> {
        let nonblock = SpliceFFlags::SPLICE_F_NONBLOCK;
        match uninterrupted(|| tee(&self.fd, &self.probe.1, 1, nonblock)) {
            Ok(copied) => Ok(copied > 0),
            Err(nix::errno::Errno::EAGAIN) => Ok(true), // it is empty, and there is a writer
            Err(error) => Err(error.into()),
        }
    }

    /// The descriptor, for a session.
    pub fn stay(self) -> OwnedFd {
        let _ = flock(self.fd.as_fd(), libc::LOCK_UN);
        self.fd
    }

    /// Closes the descriptor, unless a writer is there after all or has sent something.
    pub fn leave(self) -> Result<Option<OwnedFd>> {
        if self.has_met()? {
            return Ok(Some(self.stay()));
        }
        let Self { fd, probe } = self;
        // Its descriptors may be the last ones that the process can have.
        drop(probe);
        if flock(fd.as_fd(), libc::LOCK_EX | libc::LOCK_NB) == Err(Errno::EAGAIN) {
            return Ok(None);
        }
        let Ok(keeper) = open_again(fd.as_fd(), OFlag::O_WRONLY) else {
            return Ok(None);
        };
        drop(fd);
        if !matches!(pipe::bytes_in(keeper.as_fd()), Ok(1..)) {
            return Ok(None);
        }
        open_again(keeper.as_fd(), OFlag::O_RDONLY).map(Some)
    }
}

/// Opens the file of a descriptor again, without waiting: whatever its name refers to by now.
pub fn open_again(fd: BorrowedFd, access: OFlag) -> Result<OwnedFd> {
    let path = FdPath::new(fd);
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    Ok(nix::fcntl::open(path.as_c_str()?, flags, Mode::empty())?)
}
