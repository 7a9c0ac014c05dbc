//! Time-outs: `timeout_ms` of the C interface, and waiting under it.

use crate::errno::{Errno, Result};
use crate::sys::{self, futex};
use libc::{c_int, timespec};
use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// `IPC_WAIT_INTR`: wait for ever, but not beyond a signal handler.
///
/// cbindgen:ignore
pub const WAIT_INTR: c_int = -2;

/// How long a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Forever,
    UntilSignal,
    Never,
    For(Duration),
    /// A time of the monotonic clock.
    Until(Duration),
}

/// The waiting of one call, however often it has to wait.
#[derive(Clone, Copy, Debug)]
pub struct Wait(Limit);

impl Wait {
    /// Understands `timeout_ms`: milliseconds, −1 for ever, 0 not at all, [`WAIT_INTR`].
    pub fn new(timeout_ms: c_int) -> Result<Self> {
        Ok(Self(match timeout_ms {
            -1 => Limit::Forever,
            WAIT_INTR => Limit::UntilSignal,
            0 => Limit::Never,
            1.. => Limit::For(Duration::from_millis(timeout_ms as u64)),
            _ => return Err(Errno::EINVAL),
        }))
    }

    /// True where a system call that blocks may do the waiting itself. Not under
    /// `UntilSignal`: with `SA_RESTART` such a call goes on after the handler; `poll` never does.
    pub fn may_block(&self) -> bool {
        self.0 == Limit::Forever
    }

    /// True where a signal handler ends the waiting.
    pub fn ends_with_signal(&self) -> bool {
        self.0 == Limit::UntilSignal
    }

    /// From here on a signal no longer ends the waiting: something has been done that
    /// must be brought to its end.
    pub fn commit(&mut self) {
        if self.0 == Limit::UntilSignal {
            self.0 = Limit::Forever;
        }
    }

    /// A system call was interrupted by a signal: says whether to try again.
    pub fn interrupted(&self) -> Result<()> {
        if self.0 == Limit::UntilSignal {
            Err(Errno::EINTR)
        } else {
            Ok(())
        }
    }

    /// Waits until `fd` is ready for `events`, or has an error or hang-up.
    /// Fails with `EAGAIN`, `ETIMEDOUT` or `EINTR`, as the limit says.
    pub fn ready(&mut self, fd: BorrowedFd, events: PollFlags) -> Result<()> {
        self.any(&mut [PollFd::new(fd, events)], None).map(drop)
    }

    /// Waits until one of the descriptors is ready. False if `pause` was over before that
    /// and before the limit.
    pub fn any(&mut self, fds: &mut [PollFd], pause: Option<Duration>) -> Result<bool> {
        loop {
            let left = self.left()?;
            let nap = [left, pause].into_iter().flatten().min();
            match nix::poll::ppoll(fds, nap.map(TimeSpec::from), None) {
                Ok(0) if pause.is_some() && nap == pause => return Ok(false),
                Ok(0) => {} // left() says whether the time is over
                Ok(_) => return Ok(true),
                Err(nix::errno::Errno::EINTR) if self.0 != Limit::UntilSignal => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sleeps while `word` is `seen`, until [`futex::wake`]. May return earlier, without an error.
    /// Fails with `EAGAIN`, `ETIMEDOUT` or `EINTR`, as the limit says.
    pub fn futex(&mut self, word: &AtomicU32, seen: u32) -> Result<()> {
        // Without a time the kernel goes on after a handler with SA_RESTART, with one it never does.
        const AGES: Duration = Duration::from_secs(1 << 32);
        let left = self.left()?.or(self.ends_with_signal().then_some(AGES));
        let left = left.map(|left| *TimeSpec::from(left).as_ref());
        match futex::wait(word, seen, left) {
            Err(Errno::EINTR) => self.interrupted(),
            other => other,
        }
    }

    /// The end of the time as a time of the monotonic clock, for a call that takes such a one.
    /// None if there is no end; `EAGAIN` if there is no time at all.
    pub fn deadline(&mut self) -> Result<Option<timespec>> {
        self.left()?;
        Ok(match self.0 {
            Limit::Until(deadline) => Some(*TimeSpec::from(deadline).as_ref()),
            _ => None,
        })
    }

    /// The time that is left, for a call that takes such a one; none if there is no end. The
    /// clock is read here, before the first sleep, and not earlier. Fails with `EAGAIN` if
    /// there is no time at all, with `ETIMEDOUT` if it is over.
    pub fn left(&mut self) -> Result<Option<Duration>> {
        match self.0 {
            Limit::Forever | Limit::UntilSignal => Ok(None),
            Limit::Never => Err(Errno::EAGAIN),
            Limit::For(duration) => {
                self.0 = Limit::Until(sys::monotonic_time() + duration);
                Ok(Some(duration))
            }
            Limit::Until(deadline) => match deadline.checked_sub(sys::monotonic_time()) {
                Some(left) if !left.is_zero() => Ok(Some(left)),
                _ => Err(Errno::ETIMEDOUT),
            },
        }
    }
}
