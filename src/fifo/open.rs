//! Opening a FIFO, with a time limit for the wait for the other side.
//!
//! open(2) has no time-out, so both sides open without waiting, and then poll for the other side at
//! growing intervals ([`PollInterval`]). No efficient system call reports that a writer has opened
//! the FIFO and has not written yet: poll(2) does not, and closing an inotify(7) descriptor takes
//! milliseconds. A record, and a writer's close, wake a waiting reader at once.
//!
//! A reader that has opened the FIFO is visible to every writer, also to one that waits in open(2).
//! A writer can open the FIFO only when there is a reader (`ENXIO`), and holds no descriptor while
//! it waits. If it held the FIFO open for both sides, it would be admitted at once; but every other
//! writer would take it for a reader.

use super::poll_interval::PollInterval;
use super::reader::Reader;
use super::{check_fifo, packets, stat};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::sys::CancelGuard;
use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::stat::{Mode, fstat};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

/// The use of the descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Receiving, until the last writer has closed the FIFO.
    Read,
    /// Receiving without end: the descriptor is a writer itself.
    ReadPersistent,
    /// Sending.
    Write,
}

/// Opens a FIFO and waits for the other side. The wait is a cancellation point.
pub fn open(path: &CStr, side: Side, wait: Deadline) -> Result<OwnedFd> {
    let uncancelled = CancelGuard::new();
    let mut wait = Wait::new(wait, &uncancelled)?;
    match side {
        Side::Read => open_reader(path, &mut wait),
        // The caller can also send with this descriptor, which must send packets.
        Side::ReadPersistent => packet_mode(open_now(path, OFlag::O_RDWR)?),
        Side::Write => open_writer(path, &mut wait),
    }
}

/// Opens a FIFO, and no other type of file, without waiting.
fn open_now(path: &CStr, access: OFlag) -> Result<OwnedFd> {
    // Opening a device can have an effect, so the type is checked before the open. Another process
    // may replace the file in between, so the type is checked again after the open.
    check_fifo(&stat(path)?)?;
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let fd = nix::fcntl::open(path, flags, Mode::empty())?;
    check_fifo(&fstat(&fd)?)?;
    Ok(fd)
}

fn open_reader(path: &CStr, wait: &mut Wait) -> Result<OwnedFd> {
    loop {
        let reader = Reader::new(|| open_now(path, OFlag::O_RDONLY))?;
        let ended = wait_for_writer(&reader, path, wait);
        if ended == Ok(true) {
            return Ok(reader.keep());
        }
        // A writer may have sent a record since the last check, which must not be discarded.
        if let Some(fd) = reader.close_unless_met()? {
            return Ok(fd);
        }
        ended?;
    }
}

/// Waits for a writer. Returns false if the name now refers to another FIFO, which writers will
/// open.
fn wait_for_writer(reader: &Reader, path: &CStr, wait: &mut Wait) -> Result<bool> {
    if reader.has_met()? {
        return Ok(true);
    }
    wait.limit.remaining()?;
    reader.announce();
    let mut interval = PollInterval::new();
    loop {
        if reader.finds_writer()? {
            return Ok(true);
        }
        if interval.is_name_due() && !is_named(reader.fd(), path)? {
            return Ok(false);
        }
        if wait.pause(&interval, Some(reader))? {
            return Ok(true);
        }
    }
}

/// Whether the name refers to this FIFO.
fn is_named(fd: &OwnedFd, path: &CStr) -> Result<bool> {
    let (named, open) = (stat(path)?, fstat(fd)?);
    Ok((named.st_dev, named.st_ino) == (open.st_dev, open.st_ino))
}

fn open_writer(path: &CStr, wait: &mut Wait) -> Result<OwnedFd> {
    let interval = PollInterval::new();
    loop {
        match open_now(path, OFlag::O_WRONLY) {
            Err(error) if error == Errno::ENXIO => drop(wait.pause(&interval, None)?),
            fd => return packet_mode(fd?),
        }
    }
}

fn packet_mode(fd: OwnedFd) -> Result<OwnedFd> {
    packets(&fd, OFlag::O_NONBLOCK)?;
    Ok(fd)
}

/// The wait of one call.
struct Wait<'a> {
    limit: Deadline,
    /// The signal mask of the thread, if a signal handler ends the wait. Signals are then blocked
    /// between the pauses, so that none is missed.
    mask: Option<SigSet>,
    uncancelled: &'a CancelGuard,
}

impl<'a> Wait<'a> {
    fn new(limit: Deadline, uncancelled: &'a CancelGuard) -> Result<Self> {
        let mask = if limit.ends_with_signal() {
            Some(SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?)
        } else {
            None
        };
        Ok(Self {
            limit,
            mask,
            uncancelled,
        })
    }

    /// Sleeps until the next check. Returns true if there is something to read before that, or a
    /// writer has closed the FIFO.
    fn pause(&mut self, interval: &PollInterval, reader: Option<&Reader>) -> Result<bool> {
        let pause = interval.pause();
        let (limit, mask) = (&mut self.limit, self.mask);
        let fd = reader.map(|reader| reader.fd().as_fd());
        let held = reader.map(Reader::descriptors);
        let held = held.as_ref().map_or(&[][..], |held| &held[..]);
        self.uncancelled
            .lifted(held, || limit.pause(fd, pause, mask))
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(mask) = &self.mask {
            let _ = mask.thread_set_mask();
        }
    }
}
