//! A timer in the descriptor of a feed for event loops: it expires when a subscriber has held the
//! publisher up for the whole `stall_ms`.

use super::events::{Events, Source};
use crate::errno::Result;
use crate::sys::CancelGuard;
use nix::errno::Errno;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use std::os::fd::AsFd;
use std::time::Duration;

/// The timer. It does not exist until [`StallTimer::create`].
#[derive(Default)]
pub struct StallTimer {
    timer: Option<TimerFd>,
    is_set: bool,
}

impl StallTimer {
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
        events.add(timer.as_fd(), Source::StallTimer)?;
        self.timer = Some(timer);
        Ok(())
    }

    /// Has the timer expire after this time, unless it is already set. No later subscriber reaches its
    /// limit before an earlier one.
    pub fn set(&mut self, after: Duration) {
        if self.is_set {
            return;
        }
        if let Some(timer) = &self.timer {
            let expiration = Expiration::OneShot(after.into());
            self.is_set = timer.set(expiration, TimerSetTimeFlags::empty()).is_ok();
        }
    }

    /// Stops the timer. If it has expired, its descriptor is no longer readable.
    pub fn clear(&mut self) {
        if !self.is_set {
            return;
        }
        self.is_set = false;
        if let Some(timer) = &self.timer {
            let _ = timer.unset();
        }
    }
}
