//! A robust mutex behind which no waiter starves.
//!
//! A thread that unlocks the mutex and locks it again at once would always come before the waiter
//! that it woke. So a waiter that has waited for a millisecond says so in a word, and a thread that
//! comes to lock the mutex sleeps until that waiter has locked it, for at most 25 ms.
//! The word only directs traffic. It holds the id of the waiter: if that has ended, the next thread
//! clears it; if that is stopped, the next thread sleeps for the whole time, once.

use super::process::Process;
use super::robust_mutex::RobustMutex;
use super::robust_wait::MAX_SLEEP;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::sys::{self, futex, is_thread_alive};
use libc::{c_int, pid_t};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a waiter waits before it asks to go first. To ask at once would make two threads
/// that use the mutex in turn change places, and processors, at every lock.
const FAIRNESS_DELAY: Duration = Duration::from_millis(1);
/// How long a thread lets a waiter go first, in sleeps of this length, which doubles: in all 25 ms.
/// Before each it checks that the waiter still exists.
const FIRST_YIELD: Duration = Duration::from_micros(200);
const YIELDS_MAX: u32 = 7;

/// The parts of such a mutex in shared memory.
#[derive(Clone, Copy)]
pub struct FairMutex<'a> {
    /// The id of a waiter that asks to go first; 0 for none.
    pub starving: &'a AtomicU32,
    /// When a call that must not wait last checked whether the owner still exists, in
    /// milliseconds.
    pub owner_checked: &'a AtomicU32,
    /// The mutex.
    pub robust: &'a RobustMutex,
}

impl FairMutex<'_> {
    /// Whether a waiter asks to go first.
    #[inline]
    #[must_use]
    pub fn is_waiter_starving(&self) -> bool {
        // Old or not, it only directs traffic.
        self.starving.load(Ordering::Relaxed) != 0
    }

    /// Locks it if it is unlocked, after a waiter that asks to go first.
    #[inline]
    pub fn try_lock(&self, process: Process, deadline: &mut Deadline) -> Result<()> {
        if self.is_waiter_starving() {
            return self.try_lock_after_waiter(process, deadline);
        }
        self.robust.try_lock(process)
    }

    /// For a call that must not wait for a mutex, this one or one that belongs to it: every
    /// [`MAX_SLEEP`] such a call checks whether the owner still exists. True if it checked.
    pub fn recover_if_owner_gone(&self, robust: &RobustMutex, process: Process) -> bool {
        let now = sys::coarse_ms() as u32;
        let last = self.owner_checked.load(Ordering::Relaxed);
        if u128::from(now.wrapping_sub(last)) < MAX_SLEEP.as_millis() {
            return false;
        }
        self.owner_checked.store(now, Ordering::Relaxed);
        robust.recover_if_owner_gone(process);
        true
    }

    #[cold]
    fn try_lock_after_waiter(&self, process: Process, deadline: &mut Deadline) -> Result<()> {
        let slept = if deadline.is_never() || !self.robust.is_unlocked() {
            Ok(())
        } else {
            self.yield_to_waiter(deadline)
        };
        match self.robust.try_lock(process) {
            Err(Errno::EBUSY) => slept.and(Err(Errno::EBUSY)),
            tried => tried,
        }
    }

    fn yield_to_waiter(&self, deadline: &mut Deadline) -> Result<()> {
        let waiter = self.starving.load(Ordering::Relaxed);
        let mut time = FIRST_YIELD;
        for _ in 0..YIELDS_MAX {
            let is_waiting = self.starving.load(Ordering::Relaxed) == waiter;
            if !is_waiting || waiter == 0 || !is_thread_alive(waiter as pid_t) {
                break;
            }
            deadline.futex_for(self.starving, waiter, time)?;
            time = time.saturating_mul(2);
        }
        let relaxed = Ordering::Relaxed;
        let _ = self.starving.compare_exchange(waiter, 0, relaxed, relaxed);
        Ok(())
    }

    /// Waits for a mutex that another thread holds, and locks it. `after_sleep` runs after each
    /// sleep, at least every [`MAX_SLEEP`], and can end the wait with an error.
    #[cold]
    pub fn wait(
        &self,
        process: Process,
        deadline: &mut Deadline,
        mut after_sleep: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let robust = self.robust;
        // A call that must not wait leaves no trace in the word.
        if let Err(error) = deadline.remaining() {
            if !self.recover_if_owner_gone(robust, process) {
                return Err(error);
            }
            return match robust.try_lock(process) {
                Err(Errno::EBUSY) => Err(error),
                tried => tried,
            };
        }
        let mut waited = robust.lock_after_sleep(process, deadline, FAIRNESS_DELAY);
        let thread = sys::thread_id() as u32;
        let asked = waited == Err(Errno::EBUSY);
        while waited == Err(Errno::EBUSY) {
            if let Err(error) = after_sleep() {
                waited = Err(error);
                break;
            }
            self.starving.store(thread, Ordering::Relaxed);
            waited = robust.lock_after_sleep(process, deadline, MAX_SLEEP);
        }
        if asked {
            self.starving.store(0, Ordering::Relaxed);
            futex::wake(self.starving, c_int::MAX);
        }
        waited
    }
}
