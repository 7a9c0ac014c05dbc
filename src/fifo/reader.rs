//! A reader that has opened a FIFO and may close it again without losing a record.
//!
//! A writer that opens the FIFO finds the reader. The kernel discards the content of the FIFO when
//! its last descriptor is closed. So the reader must not simply close its descriptor after a check
//! that found nothing: a writer may arrive in between. It closes in these steps:
//!
//! 1. It opens the FIFO for writing. From now on nothing is discarded.
//! 2. It closes its reading end. From now on no writer can open the FIFO (`ENXIO`), and a writer
//!    that has opened it and not sent yet gets `EPIPE`.
//! 3. It reads the number of bytes in the FIFO (`FIONREAD`). If there are any, it opens the FIFO
//!    for reading again, and keeps it open.
//! 4. It closes the writing end.
//!
//! Other readers would take the writing end for a writer; and while they have the FIFO open,
//! nothing is discarded. So each waiting reader has a shared lock (flock(2)) on its descriptor.
//! Only a reader that gets the exclusive lock performs these steps; the others simply close. If a
//! process outside this library holds a lock on the FIFO, a record can be lost that is sent between
//! the check and the close; nothing else happens.

use super::state::{State, uninterrupted};
use crate::errno::{Errno, Result};
use crate::proc_file::ProcPath;
use crate::sys::{flock, pipe};
use libc::c_int;
use nix::fcntl::{OFlag, SpliceFFlags, tee};
use nix::sys::stat::Mode;
use nix::unistd::pipe2;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A reader, and a private pipe as the target of tee(2). For an empty FIFO the result of tee(2)
/// tells whether there is a writer.
pub struct Reader {
    fd: OwnedFd,
    probe: (OwnedFd, OwnedFd),
}

impl Reader {
    /// A reader of the FIFO that `open` opens. That is the last step that can fail.
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

    /// Makes this reader visible to other readers that close the FIFO.
    pub fn announce(&self) {
        // If this fails, another reader that closes may be taken for a writer.
        let _ = flock(self.fd.as_fd(), libc::LOCK_SH | libc::LOCK_NB);
    }

    /// Whether there is something to read, or a writer has the FIFO open, or had it open after this
    /// reader opened it.
    pub fn has_met(&self) -> Result<bool> {
        Ok(State::of(self.fd.as_fd())? != State::Empty || self.finds_writer()?)
    }

    /// Whether there is something to read, or a writer has the FIFO open.
    pub fn finds_writer(&self) -> Result<bool> {
        let nonblock = SpliceFFlags::SPLICE_F_NONBLOCK;
        match uninterrupted(|| tee(&self.fd, &self.probe.1, 1, nonblock)) {
            Ok(copied) => Ok(copied > 0),
            Err(nix::errno::Errno::EAGAIN) => Ok(true), // the FIFO is empty, and has a writer
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the descriptor, for a session.
    pub fn keep(self) -> OwnedFd {
        let _ = flock(self.fd.as_fd(), libc::LOCK_UN);
        self.fd
    }

    /// Closes the descriptor, or returns it if a writer has arrived or has sent something.
    pub fn close_unless_met(self) -> Result<Option<OwnedFd>> {
        if self.has_met()? {
            return Ok(Some(self.keep()));
        }
        let Self { fd, probe } = self;
        // Frees descriptors for the open below: the process may have no others left.
        drop(probe);
        if flock(fd.as_fd(), libc::LOCK_EX | libc::LOCK_NB) == Err(Errno::EAGAIN) {
            return Ok(None);
        }
        let Ok(writing_end) = open_again(fd.as_fd(), OFlag::O_WRONLY) else {
            return Ok(None);
        };
        drop(fd);
        if !matches!(pipe::bytes_in(writing_end.as_fd()), Ok(1..)) {
            return Ok(None);
        }
        open_again(writing_end.as_fd(), OFlag::O_RDONLY).map(Some)
    }
}

/// Opens the file of a descriptor again, without waiting, even if its name refers to another file
/// now.
pub fn open_again(fd: BorrowedFd, access: OFlag) -> Result<OwnedFd> {
    let path = ProcPath::of_fd(fd);
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    Ok(nix::fcntl::open(path.as_c_str()?, flags, Mode::empty())?)
}
