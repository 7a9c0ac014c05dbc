//! The doorbell: how one side wakes the other, and how it notices the other's death.
//!
//! Each side makes a pipe, keeps the write end and hands the read end to its peer. A byte wakes the
//! peer. The hang-up reports that no process has the write end any longer, however that came about.
//! A process never owns a copy of its peer's write end, so a fork cannot hide the peer's death. Both
//! sides share the description of a read end. So no read relies on its `O_NONBLOCK`, and a peer
//! that steals bytes only loses its own wake-ups.
//!
//! Two threads of a process may sleep on one end at the same time, one for a message and one for
//! room. Both poll the pipe, so the kernel wakes each of them. A byte may have been meant for
//! either, or for an event loop. So a thread that takes bytes out of the pipe notifies the
//! others first: a sleeping thread through an eventfd of its own, an event loop through the
//! descriptor that it polls. A process with a single thread needs no eventfd.

use super::pipe_ends::ReadEnd;
use super::polled::Polled;
use super::sleepers::{Event, Sleepers};
use super::wait::{self, Role};
use crate::atomic::{AtomicU32, Ordering};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::init_once::InitOnce;
use crate::sys::{self, CancelGuard, membarrier, pipe};
use libc::c_int;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long a thread sleeps at most if the peer may fail to see that it sleeps.
const FALLBACK_SLEEP: Duration = Duration::from_millis(1);
/// How long a thread sleeps at most if no descriptor was left for its eventfd.
const UNNOTIFIED_SLEEP: Duration = Duration::from_millis(100);

/// How often a thread waits for another one that makes the descriptor for event loops.
const SET_ATTEMPTS: usize = 1000;

/// The waiting side of one end, in one process.
pub struct Doorbell {
    /// The read end of the peer's pipe; unknown until the handshake has ended.
    pipe: InitOnce<OwnedFd>,
    /// Whether the peer is known to be dead, or treated as such.
    gone: AtomicU32,
    /// The threads that sleep.
    sleepers: Sleepers<LazyEvent>,
    polled: InitOnce<Polled>,
    /// Whether the peer skips fences because this side issues barriers.
    uses_membarrier: AtomicU32,
}

/// An eventfd that is made before the first sleep in a process with several threads.
struct LazyEvent(InitOnce<EventFd>);

impl LazyEvent {
    /// None if no descriptor is left.
    fn get(&self) -> Option<&EventFd> {
        if self.0.get().is_none() {
            let _ = self.0.set(new_eventfd().ok()?);
        }
        self.0.get()
    }
}

impl Event for LazyEvent {
    fn set(&self) {
        if let Some(event) = self.0.get() {
            let _uncancelled = CancelGuard::new();
            let _ = event.write(1);
        }
    }

    fn clear(&self) {
        if let Some(event) = self.0.get() {
            let _uncancelled = CancelGuard::new();
            let _ = event.read();
        }
    }
}

/// A nonblocking, close-on-exec eventfd.
pub fn new_eventfd() -> Result<EventFd> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    Ok(EventFd::from_flags(flags)?)
}

impl Doorbell {
    /// The doorbell of an end whose peer is not known yet.
    pub fn new() -> Self {
        Self {
            pipe: InitOnce::new(),
            gone: AtomicU32::new(0),
            sleepers: Sleepers::new(|_| LazyEvent(InitOnce::new())),
            polled: InitOnce::new(),
            uses_membarrier: AtomicU32::new(0),
        }
    }

    /// Takes the peer's pipe. `EPROTO` if there is one already.
    pub fn attach(&self, pipe: ReadEnd, uses_membarrier: bool) -> Result<()> {
        self.uses_membarrier
            .store(uses_membarrier.into(), Ordering::Relaxed);
        self.pipe.set(pipe.into_fd()).map_err(|_| Errno::EPROTO)
    }

    /// Treats the peer as dead.
    pub fn set_gone(&self) {
        // Pairs with the load in `is_peer_gone`.
        self.gone.store(1, Ordering::Release);
    }

    /// The same as [`wait::Doorbell::is_peer_gone`], without its ordering: for the fast path.
    #[inline]
    pub fn seems_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed) != 0
    }

    /// The number of sleeps of calls on this end.
    pub fn sleeps(&self) -> u64 {
        self.sleepers.count()
    }

    /// Wakes the threads of this process that sleep, and makes the descriptor for event loops
    /// readable.
    pub fn notify_self(&self) {
        self.sleepers.notify(std::process::id(), None);
        wait::Doorbell::set_readable(self);
    }

    /// Sleeps until `socket` is readable, or a thread of this process notifies; for the handshake.
    pub fn sleep_at(
        &self,
        role: Role,
        wait: &mut Deadline,
        epoch: u32,
        at: BorrowedFd,
    ) -> Result<()> {
        self.sleep_with_event(role, wait, epoch, at, None).map(drop)
    }

    /// Sleeps at `fd`; whether that is readable.
    #[inline(never)]
    fn sleep_with_event(
        &self,
        role: Role,
        wait: &mut Deadline,
        epoch: u32,
        fd: BorrowedFd,
        most: Option<Duration>,
    ) -> Result<bool> {
        let (event, most) = if sys::is_single_threaded() {
            (None, most)
        } else {
            match self.sleepers.event(role).get() {
                None => (None, most.or(Some(UNNOTIFIED_SLEEP))),
                event => (event, most),
            }
        };
        let process = std::process::id();
        let block = || poll_both(wait, fd, event, most);
        let slept = self.sleepers.sleep(role, process, epoch, block);
        slept.unwrap_or(Ok(false))
    }

    /// The shortest sleep, for a process with one thread: nothing else can notify it.
    fn sleep_alone(&self, pipe: &OwnedFd) -> Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 64];
        match pipe::read(pipe.as_fd(), &mut buffer) {
            Ok(0) => self.set_gone(),
            Ok(_) => wait::Doorbell::set_readable(self),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn take_wake_ups(&self, except: Option<Role>) -> bool {
        let take = || self.drain_pipe();
        self.sleepers
            .take_wake_ups(std::process::id(), except, take)
    }

    /// Takes the bytes that are in the pipe. Returns whether there were any, or the end.
    #[inline(never)]
    fn drain_pipe(&self) -> bool {
        let Some(pipe) = self.pipe.get() else {
            return false;
        };
        let _uncancelled = CancelGuard::new();
        let mut buffer = [MaybeUninit::uninit(); 64];
        let read = pipe::read_without_waiting(pipe.as_fd(), &mut buffer);
        match read {
            Ok(0) => self.set_gone(),
            // The end may follow the bytes. An edge-triggered event loop is not notified of it
            // again.
            Ok(_) if self.polled.get().is_some() => {
                wait::Doorbell::check_peer(self);
            }
            _ => {}
        }
        read.is_ok()
    }

    /// The descriptor for event loops, and whether this call has made it. `socket` makes it
    /// readable too, until [`Doorbell::poll_pipe`].
    #[inline(never)]
    pub fn epoll(&self, socket: Option<BorrowedFd>) -> Result<(c_int, bool)> {
        if let Some(polled) = self.polled.get() {
            return Ok((polled.number(), false));
        }
        let source = socket.or(self.pipe.get().map(AsFd::as_fd));
        let is_new = self.polled.set(Polled::new(source)?).is_ok();
        // Another thread may be about to set it.
        for _ in 0..SET_ATTEMPTS {
            if let Some(polled) = self.polled.get() {
                return Ok((polled.number(), is_new));
            }
            std::thread::yield_now();
        }
        // It was, in the parent of this process.
        Err(Errno::EBUSY)
    }

    /// From now on the pipe makes the descriptor for event loops readable, and `socket` does not.
    #[inline(never)]
    pub fn poll_pipe(&self, socket: BorrowedFd) -> Result<()> {
        match (self.polled.get(), self.pipe.get()) {
            (Some(polled), Some(pipe)) => polled.replace(socket, pipe.as_fd()),
            _ => Ok(()),
        }
    }
}

impl Default for Doorbell {
    fn default() -> Self {
        Self::new()
    }
}

/// Sleeps until `fd` or `event` is readable; whether `fd` is.
fn poll_both(
    wait: &mut Deadline,
    fd: BorrowedFd,
    event: Option<&EventFd>,
    most: Option<Duration>,
) -> Result<bool> {
    let mut own = [PollFd::new(fd, PollFlags::POLLIN)];
    let Some(event) = event else {
        wait.any(&mut own, most)?;
        return Ok(own[0].any().unwrap_or(true));
    };
    let mut both = [fd, event.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    wait.any(&mut both, most)?;
    Ok(both[0].any().unwrap_or(true))
}

impl wait::Doorbell for Doorbell {
    type Deadline = Deadline;

    fn epoch(&self) -> u32 {
        self.sleepers.epoch()
    }

    fn sleep(
        &self,
        role: Role,
        wait: &mut Deadline,
        epoch: u32,
        woken_by_peer: bool,
    ) -> Result<()> {
        let Some(pipe) = self.pipe.get() else {
            return Err(Errno::EPROTO); // the handshake comes first
        };
        self.sleepers.count_sleep(role);
        if wait.may_block() && woken_by_peer && sys::is_single_threaded() {
            match self.sleep_alone(pipe) {
                // The peer has made the description nonblocking.
                Err(Errno::EAGAIN) => {}
                slept => return slept,
            }
        }
        let most = (!woken_by_peer).then_some(FALLBACK_SLEEP);
        if self.sleep_with_event(role, wait, epoch, pipe.as_fd(), most)? {
            if self.take_wake_ups(Some(role)) {
                self.set_readable();
            }
        } else if !woken_by_peer {
            self.check_peer();
        }
        Ok(())
    }

    fn is_peer_gone(&self) -> bool {
        // Pairs with the store in `set_gone`.
        self.gone.load(Ordering::Acquire) != 0
    }

    #[inline(never)] // long, and called from several places
    fn check_peer(&self) -> bool {
        let Some(pipe) = self.pipe.get() else {
            return self.is_peer_gone();
        };
        let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::empty())];
        let _uncancelled = CancelGuard::new();
        let polled = nix::poll::poll(&mut fds, PollTimeout::ZERO);
        let is_hung_up = fds[0]
            .revents()
            .is_some_and(|events| events.contains(PollFlags::POLLHUP));
        if polled.is_ok() && is_hung_up {
            self.set_gone();
        }
        self.is_peer_gone()
    }

    #[inline]
    fn is_polled(&self) -> bool {
        self.polled.get().is_some()
    }

    #[inline(never)] // long, and called from several places
    fn set_readable(&self) {
        if let Some(polled) = self.polled.get() {
            polled.set_readable();
        }
    }

    fn drain(&self) {
        if let Some(polled) = self.polled.get() {
            polled.clear_readable();
        }
        // A sleeping thread is not disturbed without need.
        if !self.sleepers.any(std::process::id())
            || self
                .pipe
                .get()
                .is_some_and(|pipe| pipe::is_readable(pipe.as_fd()) == Ok(true))
        {
            self.take_wake_ups(None);
        }
    }

    fn barrier(&self) -> bool {
        // A peer that skips fences although that was not agreed harms only itself.
        self.uses_membarrier.load(Ordering::Relaxed) == 0 || membarrier::issue()
    }
}
