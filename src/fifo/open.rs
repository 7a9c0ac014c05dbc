//! Opening a FIFO, with a limit to the wait for the other side.
//!
//! open(2) has no time-out, so both sides open without waiting, and then look for the other side
//! at growing intervals ([`Pace`]). No call of the system reports that a writer has opened the
//! FIFO and has not written yet: poll(2) does not, and inotify(7) takes milliseconds to be closed
//! again. A record and a writer's close wake a waiting reader at once.
//!
//! A reader that has opened the FIFO is visible to every writer, also to one that waits in open(2).
//! A writer can open only once there is a reader (`ENXIO`), and holds nothing while it waits. To
//! hold the FIFO open for both sides during the wait would let the writer in at once, but would make
//! every other writer believe that there is a reader.

use super::pace::Pace;
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
    /// Receiving forever: the descriptor is a writer itself.
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
        // It can also send through its descriptor, and then sends packets.
        Side::ReadPersistent => packet_mode(open_now(path, OFlag::O_RDWR)?),
        Side::Write => open_writer(path, &mut wait),
    }
}

/// Opens a FIFO, and no other type of file, without waiting.
fn open_now(path: &CStr, access: OFlag) -> Result<OwnedFd> {
    // Opening a device can have an effect, so the type is checked before. Another process may
    // have replaced the file since, so the type is checked again after.
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
            return Ok(reader.stay());
        }
        // A writer may have sent a record since the last look: it must not be discarded.
        if let Some(fd) = reader.leave()? {
            return Ok(fd);
        }
        ended?;
    }
}

/// Waits for a writer. False if the name refers to another FIFO by now: writers come there.
fn wait_for_writer(reader: &Reader, path: &CStr, wait: &mut Wait) -> Result<bool> {
    if reader.has_met()? {
        return Ok(true);
    }
    wait.limit.remaining()?;
    reader.announce();
    let mut pace = Pace::new();
    loop {
        if reader.finds_writer()? {
            return Ok(true);
        }
        if pace.is_name_due() && !is_named(reader.fd(), path)? {
            return Ok(false);
        }
        if wait.pause(&pace, Some(reader))? {
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
    let pace = Pace::new();
    loop {
        match open_now(path, OFlag::O_WRONLY) {
            Err(Errno::ENXIO) => drop(wait.pause(&pace, None)?),
            fd => return packet_mode(fd?),
        }
    }
}

fn packet_mode(fd: OwnedFd) -> Result<OwnedFd> {
    packets(&fd, OFlag::O_NONBLOCK)?;
    Ok(fd)
}

/// The waiting of one call.
struct Wait<'a> {
    limit: Deadline,
    /// The thread's signal mask, where a signal handler ends the wait: such signals are blocked
    /// between the pauses, or one that comes there would be missed.
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

    /// Sleeps until the next look, or until there is something to read or a writer has closed the
    /// FIFO; true for these.
    fn pause(&mut self, pace: &Pace, reader: Option<&Reader>) -> Result<bool> {
        let pause = pace.pause();
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
