//! A timer in the descriptor of a feed for event loops: it makes the descriptor readable when the
//! publisher should try a refused publication again, although no subscriber has woken it.

use super::events::{Events, Source};
use crate::errno::Result;
use crate::sys::{self, CancelGuard};
use nix::errno::Errno;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use std::os::fd::AsFd;
use std::time::Duration;

/// The shortest time of a timer: 0 would stop it.
const TIME_MIN: Duration = Duration::from_nanos(1);

/// The timer. It does not exist until [`PollTimer::create`].
#[derive(Default)]
pub struct PollTimer {
    timer: Option<TimerFd>,
    /// When it expires, in nanoseconds of the monotonic clock, if it is set.
    expires: Option<u64>,
}

impl PollTimer {
    /// Creates the timer, and has `events` watch it. If a filter of system calls refuses timers, there
    /// is none.
    pub fn create(&mut self, events: &Events) -> Result<()> {
        if self.timer.is_some() {
            return Ok(());
        }
        let _uncancelled = CancelGuard::new();
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = match TimerFd::new(ClockId::CLOCK_MONOTONIC, flags) {
            Err(Errno::EPERM | Errno::ENOSYS) => return Ok(()),
            timer => timer?,
        };
        events.add(timer.as_fd(), Source::Timer)?;
        self.timer = Some(timer);
        Ok(())
    }

    /// Has the timer expire after this time, unless it expires earlier.
    pub fn set(&mut self, after: Duration) {
        let after = after.max(TIME_MIN);
        let expires = sys::monotonic_ns().saturating_add(after.as_nanos() as u64);
        if self.expires.is_some_and(|earlier| earlier <= expires) {
            return;
        }
        if let Some(timer) = &self.timer {
            let expiration = Expiration::OneShot(after.into());
            if timer.set(expiration, TimerSetTimeFlags::empty()).is_ok() {
                self.expires = Some(expires);
            }
        }
    }

    /// Stops the timer. If it has expired, its descriptor is no longer readable.
    pub fn clear(&mut self) {
        if self.expires.take().is_none() {
            return;
        }
        if let Some(timer) = &self.timer {
            let _ = timer.unset();
        }
    }
}
