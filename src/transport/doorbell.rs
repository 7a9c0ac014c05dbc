//! The doorbell: how one side sleeps until the other wakes it, and how it notices the other's death.
//!
//! Each side makes a pipe, keeps the write end and passes the read end to its peer. A byte wakes the
//! peer. A hang-up (`POLLHUP`) means that no process has the write end any longer, for whatever
//! reason. A process never owns a copy of its peer's write end, so a fork cannot hide the peer's
//! death. The two sides share the open file description of a read end. So no read relies on its
//! `O_NONBLOCK`, and a peer that steals bytes loses only its own wake-ups.
//!
//! Two threads of a process may sleep on one end at the same time: one waits for a message, the
//! other for space. Both poll the pipe, so the kernel wakes both. A byte may be meant for either
//! thread, or for an event loop. So a thread that reads bytes from the pipe notifies the others:
//! a sleeping thread through the eventfd of that thread, an event loop through the descriptor that
//! it polls. A process with a single thread needs no eventfd. An event loop seldom reads the bytes:
//! its descriptor is edge-triggered.

use super::pipe_ends::ReadEnd;
use super::polled::{Polled, Source};
use super::sleepers::{Event, Sleepers};
use super::wait::{self, Role};
use crate::atomic::{AtomicU32, Ordering};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::init_once::InitOnce;
use crate::sys::{self, CancelGuard, membarrier, pipe};
use libc::c_int;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The longest sleep of a thread whose announcement the peer may miss.
const FALLBACK_SLEEP: Duration = Duration::from_millis(1);
/// The longest sleep of a thread without an eventfd, because the process has no descriptor left.
const UNNOTIFIED_SLEEP: Duration = Duration::from_millis(100);

/// The number of events at the pipe after which an event loop reads its bytes. Between two calls of
/// an event loop the peer writes at most two, and the smallest pipe holds 4096.
const UNREAD_MAX: u32 = 256;

/// How often a thread yields to another thread that is setting the descriptor for event loops.
const YIELDS_MAX: usize = 1000;

/// The waiting side of one end, in one process.
pub struct Doorbell {
    /// The read end of the peer's pipe; not set until the handshake has ended.
    pipe: InitOnce<OwnedFd>,
    /// 1 if the peer is known to be dead, or is treated as dead.
    gone: AtomicU32,
    sleepers: Sleepers<LazyEvent>,
    /// The descriptor for event loops, if the program has requested it.
    polled: InitOnce<Polled>,
    /// The number of events at the pipe since an event loop has read its bytes.
    unread: AtomicU32,
    /// 1 if both sides can use `membarrier`, so that the peer may use the asymmetric fence.
    uses_membarrier: AtomicU32,
}

/// An eventfd that is created before the first sleep in a process with several threads.
struct LazyEvent(InitOnce<EventFd>);

impl LazyEvent {
    /// The eventfd. None if the process has no descriptor left.
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

/// Creates a nonblocking, close-on-exec eventfd.
pub fn new_eventfd() -> Result<EventFd> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    Ok(EventFd::from_flags(flags)?)
}

impl Doorbell {
    /// Makes the doorbell of an end whose peer is not known yet.
    pub fn new() -> Self {
        Self {
            pipe: InitOnce::new(),
            gone: AtomicU32::new(0),
            sleepers: Sleepers::new(|_| LazyEvent(InitOnce::new())),
            polled: InitOnce::new(),
            unread: AtomicU32::new(0),
            uses_membarrier: AtomicU32::new(0),
        }
    }

    /// Sets the peer's pipe. `EPROTO` if it is already set.
    pub fn attach(&self, pipe: ReadEnd, uses_membarrier: bool) -> Result<()> {
        self.uses_membarrier
            .store(uses_membarrier.into(), Ordering::Relaxed);
        self.pipe.set(pipe.into_fd()).map_err(|_| errno!(EPROTO))
    }

    /// Treats the peer as dead.
    pub fn set_gone(&self) {
        // Pairs with the acquire load in `is_peer_gone`.
        self.gone.store(1, Ordering::Release);
    }

    /// As [`wait::Doorbell::is_peer_gone`], without its ordering: for the fast path.
    #[inline]
    pub fn seems_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed) != 0
    }

    /// Whether no wake-up has arrived, and no event loop may have consumed one.
    pub fn is_unused(&self) -> bool {
        let is_empty = |pipe: &OwnedFd| pipe::bytes_in(pipe.as_fd()) == Ok(0);
        self.polled.get().is_none() && self.pipe.get().is_some_and(is_empty)
    }

    /// How often calls on this end have slept.
    pub fn sleeps(&self) -> u64 {
        self.sleepers.count()
    }

    /// Wakes the sleeping threads of this process, and makes the descriptor for event loops
    /// readable.
    pub fn notify_self(&self) {
        self.sleepers.notify(std::process::id(), None);
        wait::Doorbell::set_readable(self);
    }

    /// Sleeps until `socket` is readable, or a thread of this process notifies. For the handshake.
    pub fn sleep_on_socket(
        &self,
        role: Role,
        wait: &mut Deadline,
        epoch: u32,
        socket: BorrowedFd,
    ) -> Result<()> {
        self.sleep_with_event(role, wait, epoch, socket, None)
            .map(drop)
    }

    /// Sleeps until `fd` is readable, or a thread of this process notifies, or `max_sleep` has
    /// passed. Returns whether `fd` is readable.
    #[inline(never)]
    fn sleep_with_event(
        &self,
        role: Role,
        wait: &mut Deadline,
        epoch: u32,
        fd: BorrowedFd,
        max_sleep: Option<Duration>,
    ) -> Result<bool> {
        let (event, max_sleep) = if sys::is_single_threaded() {
            (None, max_sleep)
        } else {
            match self.sleepers.event(role).get() {
                None => (None, max_sleep.or(Some(UNNOTIFIED_SLEEP))),
                event => (event, max_sleep),
            }
        };
        let process = std::process::id();
        let block = || poll_both(wait, fd, event, max_sleep);
        let slept = self.sleepers.sleep(role, process, epoch, block);
        slept.unwrap_or(Ok(false))
    }

    /// The fastest way to sleep: a blocking read. For a process with one thread, which no other
    /// thread can notify.
    fn sleep_alone(&self, pipe: &OwnedFd) -> Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 64];
        match pipe::read(pipe.as_fd(), &mut buffer) {
            Ok(0) => self.set_gone(),
            Ok(_) => wait::Doorbell::set_readable(self),
            Err(error) if error == Errno::EINTR => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn consume_wake_ups(&self, except: Option<Role>) -> bool {
        let consume = || self.drain_pipe();
        self.sleepers
            .consume_wake_ups(std::process::id(), except, consume)
    }

    /// Counts events whose bytes stay in the pipe. Returns whether the bytes must be read now: a full
    /// pipe would take no further wake-ups.
    fn count_unread(&self) -> bool {
        let unread = self.unread.load(Ordering::Relaxed) + 1;
        let is_due = unread >= UNREAD_MAX;
        let unread = if is_due { 0 } else { unread };
        self.unread.store(unread, Ordering::Relaxed);
        is_due
    }

    /// Reads bytes from the pipe. Returns whether there were any, or the end of file.
    #[inline(never)]
    fn drain_pipe(&self) -> bool {
        let Some(pipe) = self.pipe.get() else {
            return false;
        };
        let _uncancelled = CancelGuard::new();
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let read = pipe::read_without_waiting(pipe.as_fd(), &mut buffer);
        match read {
            Ok(0) => self.set_gone(),
            // A hang-up may have come after the bytes. An edge-triggered event loop gets no further
            // event for it.
            Ok(_) if self.polled.get().is_some() => {
                wait::Doorbell::check_peer(self);
            }
            _ => {}
        }
        read.is_ok()
    }

    /// Returns the descriptor for event loops, and whether this call created it. Until
    /// [`Doorbell::poll_pipe`] it watches `socket`, if there is one, instead of the pipe.
    #[inline(never)]
    pub fn epoll(&self, socket: Option<BorrowedFd>) -> Result<(c_int, bool)> {
        if let Some(polled) = self.polled.get() {
            return Ok((polled.number(), false));
        }
        let pipe = || self.pipe.get().map(|pipe| Source::Pipe(pipe.as_fd()));
        let source = socket.map(Source::Socket).or_else(pipe);
        let is_new = self.polled.set(Polled::new(source)?).is_ok();
        // Another thread may be setting it.
        for _ in 0..YIELDS_MAX {
            if let Some(polled) = self.polled.get() {
                return Ok((polled.number(), is_new));
            }
            std::thread::yield_now();
        }
        // The thread that was setting it exists only in the parent of this process.
        Err(errno!(EBUSY))
    }

    /// Has the descriptor for event loops watch the pipe instead of `socket`.
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

/// Sleeps until `fd` or `event` is readable, or `max_sleep` has passed. Returns whether `fd` is
/// readable.
fn poll_both(
    wait: &mut Deadline,
    fd: BorrowedFd,
    event: Option<&EventFd>,
    max_sleep: Option<Duration>,
) -> Result<bool> {
    let mut one = [PollFd::new(fd, PollFlags::POLLIN)];
    let Some(event) = event else {
        wait.any(&mut one, max_sleep)?;
        return Ok(one[0].any().unwrap_or(true));
    };
    let mut both = [fd, event.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    wait.any(&mut both, max_sleep)?;
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
            return Err(errno!(EPROTO)); // the handshake comes first
        };
        self.sleepers.count_sleep(role);
        if wait.may_block() && woken_by_peer && sys::is_single_threaded() {
            match self.sleep_alone(pipe) {
                // The peer has made the shared description nonblocking.
                Err(error) if error == Errno::EAGAIN => {}
                slept => return slept,
            }
        }
        let max_sleep = (!woken_by_peer).then_some(FALLBACK_SLEEP);
        if self.sleep_with_event(role, wait, epoch, pipe.as_fd(), max_sleep)? {
            if self.consume_wake_ups(Some(role)) {
                self.set_readable();
            }
        } else if !woken_by_peer {
            self.check_peer();
        }
        Ok(())
    }

    fn is_peer_gone(&self) -> bool {
        // Pairs with the release in `set_gone`.
        self.gone.load(Ordering::Acquire) != 0
    }

    #[inline(never)] // large, with several callers
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

    #[inline(never)] // large, with several callers
    fn set_readable(&self) {
        if let Some(polled) = self.polled.get() {
            polled.set_readable();
        }
    }

    fn drain(&self) {
        let Some(polled) = self.polled.get() else {
            return;
        };
        match polled.take_events() {
            Ok(events) => {
                if events.hung_up {
                    self.set_gone();
                }
                if events.written && self.count_unread() {
                    self.consume_wake_ups(None);
                }
            }
            Err(_) => {
                polled.clear_readable();
                self.consume_wake_ups(None);
            }
        }
    }

    fn barrier(&self) -> bool {
        // A peer that uses the asymmetric fence although the handshake did not agree on it risks
        // only its own wake-ups.
        self.uses_membarrier.load(Ordering::Relaxed) == 0 || membarrier::issue()
    }
}
