//! Time-outs: `timeout_ms` of the C interface, and the waits that it limits.

use crate::errno::{Errno, Result, errno};
use crate::sys;
use crate::sys::futex::{self, SleepEnd};
use libc::{c_int, timespec};
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::SigSet;
use nix::sys::time::TimeSpec;
use probe::probe;
use std::os::fd::BorrowedFd;
use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// `IPC_WAIT_INTR`: wait without limit, but only until a signal handler has run.
///
/// cbindgen:ignore
pub const WAIT_INTR: c_int = -2;

/// Longer than any sleep.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// Wait without limit.
const FOREVER: c_int = -1;
/// Do not wait.
const NEVER: c_int = 0;

/// The time limit of one call, which may wait several times. Its two words are passed in registers;
/// most calls never read them.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// The caller's `timeout_ms`.
    timeout_ms: c_int,
    /// When the time-out expires, in nanoseconds of the monotonic clock; 0 before the first wait.
    deadline: u64,
}

impl Deadline {
    /// No time limit, and no signal ends the wait.
    #[must_use]
    pub const fn forever() -> Self {
        Self::from_timeout(FOREVER)
    }

    /// No wait.
    #[must_use]
    pub const fn never() -> Self {
        Self::from_timeout(NEVER)
    }

    const fn from_timeout(timeout_ms: c_int) -> Self {
        Self {
            timeout_ms,
            deadline: 0,
        }
    }

    /// Converts `timeout_ms`: milliseconds, −1 for no limit, 0 for no wait, or [`WAIT_INTR`]. Fails
    /// with `EINVAL` for other values.
    #[inline]
    pub fn new(timeout_ms: c_int) -> Result<Self> {
        if timeout_ms < WAIT_INTR {
            return Err(errno!(EINVAL));
        }
        Ok(Self::from_timeout(timeout_ms))
    }

    /// Whether a blocking system call may do the waiting itself. Not with [`WAIT_INTR`]: after a
    /// handler with `SA_RESTART` such a call continues, while poll(2) never does.
    pub fn may_block(&self) -> bool {
        self.timeout_ms == FOREVER
    }

    /// Whether the call must not wait.
    #[must_use]
    pub fn is_never(&self) -> bool {
        self.timeout_ms == NEVER
    }

    /// Whether a signal handler ends the wait.
    pub fn ends_with_signal(&self) -> bool {
        self.timeout_ms == WAIT_INTR
    }

    /// From now on a signal no longer ends the wait, because the call has begun something that it
    /// must complete.
    pub fn commit(&mut self) {
        if self.timeout_ms == WAIT_INTR {
            self.timeout_ms = FOREVER;
        }
    }

    /// After a system call was interrupted by a signal: succeeds if the caller must repeat it,
    /// fails with `EINTR` if not.
    pub fn interrupted(&self) -> Result<()> {
        if self.timeout_ms == WAIT_INTR {
            Err(errno!(EINTR))
        } else {
            Ok(())
        }
    }

    /// Waits until `fd` is ready for `events`, or has an error or hang-up.
    /// Fails with `EAGAIN`, `ETIMEDOUT` or `EINTR`, as the limit says.
    pub fn ready(&mut self, fd: BorrowedFd, events: PollFlags) -> Result<()> {
        self.any(&mut [PollFd::new(fd, events)], None).map(drop)
    }

    /// Waits until one of the descriptors is ready. Returns false if `pause` ended before that and
    /// before the limit. Signals do not lengthen the pause.
    #[inline(never)]
    pub fn any(&mut self, fds: &mut [PollFd], pause: Option<Duration>) -> Result<bool> {
        let end = pause.map(|pause| sys::monotonic_ns().saturating_add(nanoseconds(pause)));
        loop {
            let left = self.remaining()?;
            let now_left = |end: u64| Duration::from_nanos(end.saturating_sub(sys::monotonic_ns()));
            let pause = end.map(now_left);
            let time = [left, pause].into_iter().flatten().min();
            match nix::poll::ppoll(fds, time.map(TimeSpec::from), None) {
                Ok(0) if pause.is_some() && time == pause => return Ok(false),
                Ok(0) => {} // remaining() fails if the time-out has expired
                Ok(_) => return Ok(true),
                Err(nix::errno::Errno::EINTR) if self.timeout_ms != WAIT_INTR => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits until `fd`, if there is one, is ready for reading, but for at most `pause`. Returns
    /// whether it is ready. A signal handler ends the pause. `mask` is the signal mask during the
    /// wait, as for ppoll(2).
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

    /// Sleeps while `word` is `seen`, until [`futex::wake`]. May return earlier without an error.
    /// Fails with `EAGAIN`, `ETIMEDOUT` or `EINTR`, as the limit says.
    pub fn futex(&mut self, word: &AtomicU32, seen: u32) -> Result<()> {
        self.futex_for(word, seen, LONG).map(drop)
    }

    /// As [`Deadline::futex`], but sleeps for at most `most`; [`SleepEnd::Expired`] if that time
    /// has passed.
    pub fn futex_for(&mut self, word: &AtomicU32, seen: u32, most: Duration) -> Result<SleepEnd> {
        self.futex_by(futex::wait, word, seen, most)
    }

    /// As [`Deadline::futex_for`], but a cancellation point, see [`futex::wait_cancellable`]. The
    /// caller must hold nothing.
    pub fn futex_for_cancellable(
        &mut self,
        word: &AtomicU32,
        seen: u32,
        most: Duration,
    ) -> Result<SleepEnd> {
        self.futex_by(futex::wait_cancellable, word, seen, most)
    }

    /// The kernel always gets a time limit: without one, a handler that was installed with
    /// `SA_RESTART` would not end the sleep, as [`WAIT_INTR`] requires.
    #[inline(never)]
    fn futex_by(
        &mut self,
        wait: fn(&AtomicU32, u32, Option<timespec>) -> Result<SleepEnd>,
        word: &AtomicU32,
        seen: u32,
        most: Duration,
    ) -> Result<SleepEnd> {
        let time = self.remaining()?.map_or(most, |left| left.min(most));
        probe!(unixipc, futex_sleep, ptr::from_ref(word), seen);
        let slept = wait(word, seen, Some(*TimeSpec::from(time).as_ref()));
        probe!(unixipc, futex_awake, ptr::from_ref(word));
        match slept {
            Err(error) if error == Errno::EINTR => self.interrupted().map(|()| SleepEnd::Woken),
            other => other,
        }
    }

    /// Returns when the time-out expires, for a call that takes a time of the monotonic clock. None
    /// if there is no limit. Fails with `EAGAIN` if the call must not wait, and with `ETIMEDOUT` if
    /// the time-out has expired.
    pub fn deadline(&mut self) -> Result<Option<timespec>> {
        self.remaining()?;
        Ok((self.deadline != 0)
            .then(|| *TimeSpec::from(Duration::from_nanos(self.deadline)).as_ref()))
    }

    /// Returns `now` plus `time`, or the end of the time-out if that is earlier. The time-out
    /// starts with this call at the latest.
    pub fn end_within(&mut self, now: Duration, time: Duration) -> Duration {
        let end = now.saturating_add(time);
        if self.timeout_ms <= NEVER {
            return end;
        }
        self.begin(nanoseconds(now));
        end.min(Duration::from_nanos(self.deadline))
    }

    /// Starts the time-out, unless it has started. Returns when it expires, in nanoseconds of the
    /// monotonic clock; 0 if the caller set no limit, or must not wait.
    pub fn start(&mut self) -> u64 {
        if self.timeout_ms > NEVER && self.deadline == 0 {
            self.begin(sys::monotonic_ns());
        }
        self.deadline
    }

    /// Returns a limit that expires after `time`, or with this one if that is earlier. A signal
    /// handler ends a wait as it does under this limit.
    pub fn within(&mut self, time: Duration) -> Self {
        let end = nanoseconds(sys::monotonic_time().saturating_add(time));
        match self.timeout_ms {
            NEVER => *self,
            FOREVER => Self {
                timeout_ms: c_int::MAX,
                deadline: end,
            },
            timeout_ms => Self {
                timeout_ms,
                deadline: match self.start() {
                    0 => end,
                    own => own.min(end),
                },
            },
        }
    }

    fn begin(&mut self, now: u64) {
        if self.deadline == 0 {
            self.deadline = now + u64::from(self.timeout_ms.unsigned_abs()) * 1_000_000;
        }
    }

    /// Returns the remaining time; none if there is no limit. The first call starts the time-out,
    /// so that the clock is read only if the caller has to wait. Fails with `EAGAIN` if the call
    /// must not wait, and with `ETIMEDOUT` if the time-out has expired.
    #[inline(never)]
    pub fn remaining(&mut self) -> Result<Option<Duration>> {
        match self.timeout_ms {
            FOREVER => return Ok(None),
            // Limited by `within`, if it has a deadline.
            WAIT_INTR if self.deadline == 0 => return Ok(None),
            NEVER => return Err(errno!(EAGAIN)),
            _ => {}
        }
        let now = sys::monotonic_ns();
        self.begin(now);
        match self.deadline.checked_sub(now) {
            Some(left) if left != 0 => Ok(Some(Duration::from_nanos(left))),
            _ => Err(errno!(ETIMEDOUT)),
        }
    }
}

/// Converts to nanoseconds; 64 bits hold five hundred years.
fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}
