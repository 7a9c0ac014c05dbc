//! How one side wakes the other, and how it learns that the other is gone.
//!
//! Each side makes a pipe and gives its write end to the other, which is the only one to have
//! it: a byte wakes, and the end of the pipe tells of the other's end, however it came. The
//! reader's end is nobody else's, and whoever wakes writes without waiting whatever the mode of
//! the descriptor, so that neither can make the other wait.
//!
//! Two threads of a process may wait at once, one for messages and one for room. A byte is for
//! both of them, so only one sleeps at the pipe; the other sleeps at a word, and the first one
//! wakes it when it has been woken itself.
//!
//! A byte is for who polls too. So each who takes bytes out of the pipe passes that on: the
//! thread that slept shows it at an eventfd for pollers, and a thread that polls rings at
//! another one for the thread that sleeps.

use crate::atomic::{AtomicU32, Ordering};
use crate::errno::{Errno, Result};
use crate::sys::{futex, pipe};
use crate::wait::Wait;
use libc::c_int;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

/// The waiting side of one process's end of a channel.
pub struct Bell {
    pipe: OwnedFd,
    /// What this process rings itself, for the thread that sleeps.
    own: EventFd,
    /// The other side is gone.
    gone: AtomicBool,
    /// The process in which a thread sleeps at the descriptors; 0 if none does. After fork the
    /// child finds its parent's number, and knows that this thread is none of its own.
    sleeper: AtomicU32,
    /// Counts the times that somebody woke there, or took away what would have woken.
    woken: AtomicU32,
    /// How many wait for that.
    followers: AtomicU32,
    /// There once it was asked for.
    polled: OnceLock<Polled>,
}

/// For event loops.
struct Polled {
    /// The descriptor: it waits for the pipe and for `shown`.
    epoll: Epoll,
    /// What this process shows who polls.
    shown: EventFd,
}

/// The end of a bell that the other side pulls.
pub struct Rope(OwnedFd);

impl Bell {
    /// Makes a bell, and what the other side is to get of it.
    pub fn new() -> Result<(Self, OwnedFd)> {
        let (pipe, rope) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        let own = new_eventfd()?;
        let this = Self {
            pipe,
            own,
            gone: AtomicBool::new(false),
            sleeper: AtomicU32::new(0),
            woken: AtomicU32::new(0),
            followers: AtomicU32::new(0),
            polled: OnceLock::new(),
        };
        Ok((this, rope))
    }

    /// Whether the other side is known to be gone.
    #[inline]
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Notes that the other side is gone.
    pub fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }

    /// Asks the system whether the other side is gone.
    #[inline(never)] // long, and often called
    pub fn look(&self) -> bool {
        let mut pipe = [PollFd::new(self.pipe.as_fd(), PollFlags::empty())];
        let hung_up = |pipe: &PollFd| {
            pipe.revents()
                .is_some_and(|is| is.contains(PollFlags::POLLHUP))
        };
        if nix::poll::poll(&mut pipe, PollTimeout::ZERO).is_ok() && hung_up(&pipe[0]) {
            self.set_gone();
        }
        self.is_gone()
    }

    /// Rings this process's own end: for threads that sleep, and for who polls.
    pub fn ring_own(&self) {
        let _ = self.own.write(1);
        self.show();
        self.wake_followers();
    }

    /// Makes the descriptor for event loops readable.
    #[inline(never)] // long, and often called
    pub fn show(&self) {
        if let Some(polled) = self.polled.get() {
            let _ = polled.shown.write(1);
        }
    }

    /// Takes back what `show` has shown.
    pub fn hide(&self) {
        if let Some(polled) = self.polled.get() {
            let _ = polled.shown.read();
        }
    }

    /// Makes the descriptor for event loops not readable. What has rung may have been for a
    /// thread that sleeps, or is about to: it is told.
    pub fn silence(&self) {
        self.hide();
        if self.empty_pipe() {
            self.wake_followers();
            // Pairs with the exchange in `sleep`: who is not seen here finds another number.
            if self.sleeper.load(Ordering::SeqCst) == std::process::id() {
                let _ = self.own.write(1);
            }
        }
    }

    /// Takes what is in the pipe; whether there was anything.
    fn empty_pipe(&self) -> bool {
        let mut room = [MaybeUninit::uninit(); 64];
        let read = match pipe::read_without_waiting(self.pipe.as_fd(), &mut room) {
            Err(Errno::EOPNOTSUPP) => self.silence_old_kernel(&mut room),
            read => read,
        };
        match read {
            Ok(0) => self.set_gone(),
            // Behind the bytes can be the end, which an edge-triggered poller is not told again.
            Ok(_) if self.is_polled() => {
                self.look();
            }
            _ => {}
        }
        read.is_ok()
    }

    fn silence_old_kernel(&self, room: &mut [MaybeUninit<u8>]) -> Result<usize> {
        // Not poll, and then read: a peer that has opened the pipe for reading too could take
        // away in between what poll has seen. This description is nobody else's.
        nix::fcntl::fcntl(&self.pipe, nix::fcntl::F_SETFL(OFlag::O_NONBLOCK))?;
        pipe::read(self.pipe.as_fd(), room)
    }

    /// A number to be given to `sleep`: what rings after it was taken ends that sleep.
    pub fn count(&self) -> u32 {
        // Pairs with the addition in `wake_followers`.
        self.woken.load(Ordering::Acquire)
    }

    /// Sleeps until somebody rings, or `beside` is readable. May return earlier.
    pub fn sleep(&self, wait: &mut Wait, count: u32, beside: Option<BorrowedFd>) -> Result<()> {
        if wait.may_block() && beside.is_none() && is_single_threaded() {
            match self.sleep_alone() {
                Err(Errno::EAGAIN) => {} // as `silence_old_kernel` has left the pipe
                slept => return slept,
            }
        }
        let me = std::process::id();
        let other = self.sleeper.load(Ordering::Relaxed);
        let sleeps_here = other != me
            && self
                .sleeper
                .compare_exchange(other, me, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok();
        if !sleeps_here {
            self.followers.fetch_add(1, Ordering::SeqCst);
            let result = wait.futex(&self.woken, count);
            self.followers.fetch_sub(1, Ordering::SeqCst);
            return result;
        }
        // Pairs with `silence`: a thread that polls may have taken what has rung for this one.
        let result = if self.woken.load(Ordering::SeqCst) == count {
            self.sleep_here(wait, beside)
        } else {
            Ok(())
        };
        self.sleeper.store(0, Ordering::Release);
        self.wake_followers();
        result
    }

    fn wake_followers(&self) {
        // Pairs with the load in `count`, and with the additions in `sleep`: who is not seen
        // here finds another number.
        self.woken.fetch_add(1, Ordering::SeqCst);
        if self.followers.load(Ordering::SeqCst) > 0 {
            futex::wake(&self.woken, c_int::MAX);
        }
    }

    /// Without another thread nobody can ring this process's own end, and there is nobody to
    /// share the pipe with: the shortest way to sleep.
    fn sleep_alone(&self) -> Result<()> {
        let mut room = [MaybeUninit::uninit(); 64];
        match pipe::read(self.pipe.as_fd(), &mut room) {
            Ok(0) => self.set_gone(),
            Ok(_) => self.show(),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn sleep_here(&self, wait: &mut Wait, beside: Option<BorrowedFd>) -> Result<()> {
        let (pipe, own) = (self.pipe.as_fd(), self.own.as_fd());
        let mut fds =
            [pipe, own, beside.unwrap_or(own)].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let count = if beside.is_some() { 3 } else { 2 };
        wait.any(&mut fds[..count], None)?;
        let _ = self.own.read();
        if self.empty_pipe() {
            self.show();
        }
        Ok(())
    }

    /// Whether somebody may poll this end.
    #[inline]
    pub fn is_polled(&self) -> bool {
        self.polled.get().is_some()
    }

    /// The descriptor for event loops, and whether it has just been made. `extra` is one more
    /// that makes it readable.
    pub fn epoll(&self, extra: Option<BorrowedFd>) -> Result<(c_int, bool)> {
        let number = |polled: &Polled| polled.epoll.0.as_raw_fd();
        if let Some(polled) = self.polled.get() {
            return Ok((number(polled), false));
        }
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let shown = new_eventfd()?;
        for fd in [self.pipe.as_fd(), shown.as_fd()].into_iter().chain(extra) {
            epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        }
        let mut new = false;
        let polled = self.polled.get_or_init(|| {
            new = true;
            Polled { epoll, shown }
        });
        Ok((number(polled), new))
    }

    /// The descriptor for event loops does not tell of `extra` any more. That it is closed would
    /// not do: a process that was forked before may have it too.
    pub fn forget(&self, extra: BorrowedFd) {
        if let Some(polled) = self.polled.get() {
            let _ = polled.epoll.delete(extra);
        }
    }
}

fn new_eventfd() -> Result<EventFd> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    Ok(EventFd::from_flags(flags)?)
}

impl Rope {
    /// Takes what a peer has sent, which must be a pipe to write to.
    pub fn new(fd: OwnedFd) -> Result<Self> {
        // Not fstat: that may ask a file system of the peer's own (FUSE), which never answers.
        let is_pipe = nix::fcntl::fcntl(&fd, nix::fcntl::F_GETPIPE_SZ).is_ok();
        let mode = OFlag::from_bits_retain(nix::fcntl::fcntl(&fd, nix::fcntl::F_GETFL)?);
        if !is_pipe || mode & OFlag::O_ACCMODE == OFlag::O_RDONLY {
            return Err(Errno::EPROTO);
        }
        // For systems on which a write cannot say that it will not wait.
        nix::fcntl::fcntl(&fd, nix::fcntl::F_SETFL(mode | OFlag::O_NONBLOCK))?;
        Ok(Self(fd))
    }

    /// Wakes the other side; `EPIPE` if there is none any more. One who has not heard the last
    /// thousands of times will hear those, so a full pipe is no failure.
    pub fn pull(&self) -> Result<()> {
        static BYTE: [u8; 1] = [0];
        let written = loop {
            match pipe::write_without_waiting(self.0.as_fd(), &BYTE) {
                Err(Errno::EINTR) => {}
                written => break written,
            }
        };
        match written {
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether this process certainly has no other thread.
#[cfg(target_env = "gnu")]
fn is_single_threaded() -> bool {
    unsafe extern "C" {
        /// Of glibc 2.32 and later.
        static __libc_single_threaded: std::sync::atomic::AtomicI8;
    }
    // SAFETY: the C library's own byte, which it changes while it is the only thread.
    unsafe { &__libc_single_threaded }.load(Ordering::Relaxed) != 0
}

#[cfg(not(target_env = "gnu"))]
fn is_single_threaded() -> bool {
    false
}
