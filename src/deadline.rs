//! Time-outs: `timeout_ms` of the C interface, and waiting under it.

use crate::errno::{Errno, Result};
use crate::sys;
use crate::sys::futex::{self, SleepEnd};
use libc::{c_int, timespec};
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::SigSet;
use nix::sys::time::TimeSpec;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// `IPC_WAIT_INTR`: wait without limit, but not beyond a signal handler.
///
/// cbindgen:ignore
pub const WAIT_INTR: c_int = -2;

/// Longer than any sleep.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// Wait without limit.
const FOREVER: c_int = -1;
/// Do not wait.
const NEVER: c_int = 0;

/// The waiting of one call, however often it has to wait. Two words, which are passed on in
/// registers: most calls never look at them.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// As the caller has said it.
    asked: c_int,
    /// When the time-out expires, in nanoseconds of the monotonic clock; 0 before the first wait.
    deadline: u64,
}

impl Deadline {
    /// No end at all, and no signal ends it.
    #[must_use]
    pub const fn forever() -> Self {
        Self::asked(FOREVER)
    }

    /// No waiting at all.
    #[must_use]
    pub const fn never() -> Self {
        Self::asked(NEVER)
    }

    const fn asked(asked: c_int) -> Self {
        Self { asked, deadline: 0 }
    }

    /// Understands `timeout_ms`: milliseconds, −1 without limit, 0 no wait, [`WAIT_INTR`].
    #[inline]
    pub fn new(timeout_ms: c_int) -> Result<Self> {
        if timeout_ms < WAIT_INTR {
            return Err(Errno::EINVAL);
        }
        Ok(Self::asked(timeout_ms))
    }

    /// True where a system call that blocks may do the waiting itself. Not under
    /// [`WAIT_INTR`]: with `SA_RESTART` such a call goes on after the handler; `poll` never does.
    pub fn may_block(&self) -> bool {
        self.asked == FOREVER
    }

    /// True where there is no waiting at all.
    #[must_use]
    pub fn is_never(&self) -> bool {
        self.asked == NEVER
    }

    /// True where a signal handler ends the waiting.
    pub fn ends_with_signal(&self) -> bool {
        self.asked == WAIT_INTR
    }

    /// From here on a signal no longer ends the waiting: something has been done that
    /// must be brought to its end.
    pub fn commit(&mut self) {
        if self.asked == WAIT_INTR {
            self.asked = FOREVER;
        }
    }

    /// A system call was interrupted by a signal: says whether to try again.
    pub fn interrupted(&self) -> Result<()> {
        if self.asked == WAIT_INTR {
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

    /// Waits until one of the descriptors is ready. False if `pause` ended before that
    /// and before the limit.
    #[inline(never)]
    pub fn any(&mut self, fds: &mut [PollFd], pause: Option<Duration>) -> Result<bool> {
        loop {
            let left = self.remaining()?;
            let nap = [left, pause].into_iter().flatten().min();
            match nix::poll::ppoll(fds, nap.map(TimeSpec::from), None) {
                Ok(0) if pause.is_some() && nap == pause => return Ok(false),
                Ok(0) => {} // remaining() says whether the time-out has expired
                Ok(_) => return Ok(true),
                Err(nix::errno::Errno::EINTR) if self.asked != WAIT_INTR => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until `fd`, if there is one, is ready for reading, but for at most `pause`; true if it
    /// is ready. A signal handler ends the pause. `mask` is the signal mask during the wait, as for
    /// ppoll(2).
    pub fn pause(
        &mut self,
        fd: Option<BorrowedFd>,
        pause: Duration,
        mask: Option<SigSet>,
    ) -> Result<bool> {
        let pause = self.remaining()?.map_or(pause, |left| left.min(pause));
        let mut fds = fd.map(|fd| [PollFd::new(fd, PollFlags::POLLIN)]);
        let fds = fds.as_mut().map_or(&mut [][..], |fds| &mut fds[..]);
        match nix::poll::ppoll(fds, Some(TimeSpec::from(pause)), mask) {
            Err(nix::errno::Errno::EINTR) => self.interrupted().map(|()| false),
            ready => Ok(ready? > 0),
        }
    }

    /// Sleeps while `word` is `seen`, until [`futex::wake`]. May return earlier, without an error.
    /// Fails with `EAGAIN`, `ETIMEDOUT` or `EINTR`, as the limit says.
    pub fn futex(&mut self, word: &AtomicU32, seen: u32) -> Result<()> {
        self.futex_for(word, seen, LONG).map(drop)
    }

    /// [`Deadline::futex`], but for at most `most`: [`SleepEnd::Expired`] says that this
    /// time passed.
    pub fn futex_for(&mut self, word: &AtomicU32, seen: u32, most: Duration) -> Result<SleepEnd> {
        self.futex_by(futex::wait, word, seen, most)
    }

    /// [`Deadline::futex_for`] as a cancellation point, see [`futex::wait_cancellable`]. The caller
    /// must hold nothing.
    pub fn futex_for_cancellable(
        &mut self,
        word: &AtomicU32,
        seen: u32,
        most: Duration,
    ) -> Result<SleepEnd> {
        self.futex_by(futex::wait_cancellable, word, seen, most)
    }

    /// The kernel is always given a time: without one it would not end the sleep after a handler
    /// that was installed with `SA_RESTART`, which [`WAIT_INTR`] needs.
    #[inline(never)]
    fn futex_by(
        &mut self,
        wait: fn(&AtomicU32, u32, Option<timespec>) -> Result<SleepEnd>,
        word: &AtomicU32,
        seen: u32,
        most: Duration,
    ) -> Result<SleepEnd> {
        let time = self.remaining()?.map_or(most, |left| left.min(most));
        match wait(word, seen, Some(*TimeSpec::from(time).as_ref())) {
            Err(Errno::EINTR) => self.interrupted().map(|()| SleepEnd::Woken),
            other => other,
        }
    }

    /// The end of the time as a time of the monotonic clock, for a call that takes such a one.
    /// None if there is no end; `EAGAIN` if there is no time at all.
    pub fn deadline(&mut self) -> Result<Option<timespec>> {
        self.remaining()?;
        Ok((self.deadline != 0)
            .then(|| *TimeSpec::from(Duration::from_nanos(self.deadline)).as_ref()))
    }

    /// The end of something that takes `time` from `now` on, or until the limit. The time begins
    /// here at the latest.
    pub fn end_within(&mut self, now: Duration, time: Duration) -> Duration {
        let end = now.saturating_add(time);
        if self.asked <= NEVER {
            return end;
        }
        self.begin(nanoseconds(now));
        end.min(Duration::from_nanos(self.deadline))
    }

    fn begin(&mut self, now: u64) {
        if self.deadline == 0 {
            self.deadline = now + u64::from(self.asked.unsigned_abs()) * 1_000_000;
        }
    }

    /// The time that is left, for a call that takes such a one; none if there is no end. The
    /// clock is read here, before the first sleep, and not earlier. Fails with `EAGAIN` if
    /// there is no time at all, with `ETIMEDOUT` if the time-out has expired.
    #[inline(never)]
    pub fn remaining(&mut self) -> Result<Option<Duration>> {
        match self.asked {
            FOREVER | WAIT_INTR => return Ok(None),
            NEVER => return Err(Errno::EAGAIN),
            _ => {}
        }
        let now = sys::monotonic_ns();
        self.begin(now);
        match self.deadline.checked_sub(now) {
            Some(left) if left != 0 => Ok(Some(Duration::from_nanos(left))),
            _ => Err(Errno::ETIMEDOUT),
        }
    }
}

/// A u64 holds the nanoseconds of five hundred years.
fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}
