//! Opening a FIFO: with a limit to the wait for the other side.
//!
//! open(2) itself cannot be given one. So both sides open without waiting, and then wait:
//!
//! - A reader that has opened is there for every writer, also for one that waits in open(2).
//!   A writer's open raises an inotify event on the FIFO; whether there is a writer tells tee(2),
//!   which takes nothing out of the pipe.
//! - A writer can open only once there is a reader (`ENXIO`), so it tries again whenever somebody
//!   has opened the FIFO. A reader that waits in open(2) raises no event, and is found by trying
//!   again now and then. To hold the FIFO open for both sides meanwhile would let it in at once,
//!   but would make every other writer believe that there is a reader.

use super::state::{State, look};
use super::{check_fifo, stat};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, tee};
use nix::poll::{PollFd, PollFlags};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::pipe2;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// How often a writer looks for a reader that waits in open(2), and either side for the
/// other where there is no inotify to be had (it is counted for each user).
const PAUSE: Duration = Duration::from_millis(20);

/// What the descriptor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Receiving, until the last writer is gone.
    Read,
    /// Receiving for ever: the descriptor is a writer itself.
    ReadPersistent,
    /// Sending.
    Write,
}

/// Opens a FIFO and waits for the other side.
pub fn open(path: &CStr, side: Side, wait: Deadline) -> Result<OwnedFd> {
    match side {
        Side::Read => open_reader(path, wait),
        // Whoever sends through it too sends packets.
        Side::ReadPersistent => packet_mode(open_now(path, OFlag::O_RDWR)?),
        Side::Write => open_writer(path, wait),
    }
}

/// Opens what is a FIFO, without waiting.
fn open_now(path: &CStr, access: OFlag) -> Result<OwnedFd> {
    // To open a device can have an effect, so that is looked at before; that nobody has put
    // something else there meanwhile is looked at after.
    check_fifo(&stat(path)?)?;
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let fd = nix::fcntl::open(path, flags, Mode::empty())?;
    check_fifo(&fstat(&fd)?)?;
    Ok(fd)
}

fn open_reader(path: &CStr, mut wait: Deadline) -> Result<OwnedFd> {
    loop {
        let fd = open_now(path, OFlag::O_RDONLY)?;
        if has_something(&fd, &Deadline::forever())? || writer_comes(path, &fd, &mut wait)? {
            return Ok(fd);
        }
    }
}

/// Waits for a writer. False if the name leads to another FIFO by now: writers come there.
fn writer_comes(path: &CStr, fd: &OwnedFd, wait: &mut Deadline) -> Result<bool> {
    let probe = WriterProbe::new()?;
    let watch = Watch::new(path);
    let ended = loop {
        match probe.has_met(fd, wait) {
            Ok(false) => {}
            met => break met,
        }
        match is_named(fd, path) {
            Ok(true) => {}
            left => break left,
        }
        let readable = PollFd::new(fd.as_fd(), PollFlags::POLLIN);
        if let Err(error) = watch.wait(wait, Some(readable), None) {
            break Err(error);
        }
    };
    if ended == Ok(true) {
        return ended;
    }
    // A writer that came in the last moment has found a reader, has maybe sent something, and
    // removed the name: that is not thrown away.
    if probe.has_met(fd, &Deadline::forever())? {
        return Ok(true);
    }
    ended
}

/// Whether the name leads to this FIFO.
fn is_named(fd: &OwnedFd, path: &CStr) -> Result<bool> {
    let (named, open) = (stat(path)?, fstat(fd)?);
    Ok((named.st_dev, named.st_ino) == (open.st_dev, open.st_ino))
}

fn open_writer(path: &CStr, mut wait: Deadline) -> Result<OwnedFd> {
    let mut watch = None;
    loop {
        match open_now(path, OFlag::O_WRONLY) {
            Err(Errno::ENXIO) => {}
            fd => return packet_mode(fd?),
        }
        match &watch {
            // Watched from here on; a reader may have come just before.
            None => watch = Some(Watch::new(path)),
            Some(watch) => watch.wait(&mut wait, None, Some(PAUSE))?,
        }
    }
}

/// Lets each write be a packet of its own.
fn packet_mode(fd: OwnedFd) -> Result<OwnedFd> {
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK | OFlag::O_DIRECT))?;
    Ok(fd)
}

/// Whether there is something to read, or a writer was there since `fd` was opened.
fn has_something(fd: &OwnedFd, wait: &Deadline) -> Result<bool> {
    Ok(State::of(fd.as_fd(), wait)? != State::Empty)
}

/// A pipe into which tee(2) would copy: from an empty one it says whether there is a writer.
struct WriterProbe {
    _read: OwnedFd,
    write: OwnedFd,
}

impl WriterProbe {
    fn new() -> Result<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        Ok(Self { _read: read, write })
    }

    /// Whether a writer is there, or was there since `fd` was opened.
    #[inline(never)]
    fn has_met(&self, fd: &OwnedFd, wait: &Deadline) -> Result<bool> {
        Ok(has_something(fd, wait)? || self.finds_writer(fd, wait)?)
    }

    fn finds_writer(&self, fd: &OwnedFd, wait: &Deadline) -> Result<bool> {
        let nonblock = SpliceFFlags::SPLICE_F_NONBLOCK;
        match look(wait, || tee(fd, &self.write, 1, nonblock)) {
            Ok(copied) => Ok(copied > 0),
            Err(Errno::EAGAIN) => Ok(true), // nothing there, and somebody who may write
            Err(error) => Err(error),
        }
    }
}

/// Tells when somebody has opened the FIFO.
struct Watch(Option<Inotify>);

impl Watch {
    fn new(path: &CStr) -> Self {
        let watch = || {
            let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
            // IN_ATTRIB: the name was removed, IN_MOVE_SELF: it was changed.
            let events = AddWatchFlags::IN_OPEN
                | AddWatchFlags::IN_ATTRIB
                | AddWatchFlags::IN_MOVE_SELF
                | AddWatchFlags::IN_DONT_FOLLOW;
            inotify.add_watch(path, events)?;
            Ok::<_, nix::errno::Errno>(inotify)
        };
        Self(watch().ok())
    }

    /// Waits for an event, for `also`, or for the length of the pause.
    fn wait(
        &self,
        wait: &mut Deadline,
        also: Option<PollFd>,
        pause: Option<Duration>,
    ) -> Result<()> {
        let pause = if self.0.is_some() { pause } else { Some(PAUSE) };
        let watched = self.0.as_ref().map(AsFd::as_fd);
        match (also, watched.map(|fd| PollFd::new(fd, PollFlags::POLLIN))) {
            (Some(also), Some(watched)) => wait.any(&mut [also, watched], pause),
            (Some(one), None) | (None, Some(one)) => wait.any(&mut [one], pause),
            (None, None) => wait.any(&mut [], pause),
        }?;
        if let Some(inotify) = &self.0 {
            // What happened is looked for in the FIFO itself. If there is more, the next wait is short.
            let _ = nix::unistd::read(inotify, &mut [0; 4096]);
        }
        Ok(())
    }
}
