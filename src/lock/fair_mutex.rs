//! A robust mutex whose waiters do not starve.
//!
//! A thread that unlocks the mutex and immediately locks it again usually succeeds before the
//! waiter that it woke has run. So a waiter that has waited for a millisecond requests precedence:
//! it stores its thread id in a word. Another thread that wants to lock the mutex sleeps until that
//! waiter has locked it, for at most 25 ms.
//!
//! The word is a hint; mutual exclusion does not depend on it. If the waiter has ended, the next
//! thread clears the word. If the waiter is stopped, the next thread sleeps for the whole time,
//! once, and then clears the word.

use super::process::Process;
use super::robust_mutex::RobustMutex;
use super::robust_wait::MAX_SLEEP;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, code_of, errno};
use crate::sys::{self, futex, is_thread_alive};
use libc::{c_int, pid_t};
use probe::probe;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a waiter waits before it requests precedence. Without this delay, two threads that use
/// the mutex would alternate at every lock, each time with a context switch.
const FAIRNESS_DELAY: Duration = Duration::from_millis(1);
/// The first sleep of a thread that yields to a waiter. Each next sleep is twice as long, 25 ms in
/// all. Before each sleep the thread checks that the waiter still exists.
const FIRST_YIELD: Duration = Duration::from_micros(200);
/// The maximum number of these sleeps.
const YIELDS_MAX: u32 = 7;

/// The parts of a fair mutex in shared memory.
#[derive(Clone, Copy)]
pub struct FairMutex<'a> {
    /// The thread id of a waiter that requests precedence; 0 for none.
    pub starving: &'a AtomicU32,
    /// The time, in milliseconds, at which a nonblocking call last checked whether the owner still
    /// exists.
    pub owner_checked: &'a AtomicU32,
    /// A time in milliseconds. While the futex word has the bit for waiters, its owner has held the
    /// mutex since then, or longer. For observers; no thread of the lock reads it.
    pub held_since: &'a AtomicU32,
    /// The mutex.
    pub robust: &'a RobustMutex,
}

impl FairMutex<'_> {
    /// Whether a waiter requests precedence.
    #[inline]
    #[must_use]
    pub fn is_waiter_starving(&self) -> bool {
        // Relaxed: the word is a hint.
        self.starving.load(Ordering::Relaxed) != 0
    }

    /// Locks the mutex if it is unlocked. First yields to a waiter that requests precedence.
    #[inline]
    pub fn try_lock(&self, process: Process, deadline: &mut Deadline) -> Result<()> {
        if self.is_waiter_starving() {
            return self.try_lock_after_waiter(process, deadline);
        }
        self.try_lock_at_once(process)
    }

    /// As [`RobustMutex::try_lock`].
    #[inline]
    fn try_lock_at_once(&self, process: Process) -> Result<()> {
        match self.robust.try_lock_fast(process) {
            Ok(_) => Ok(()),
            Err(tried) => self.finish_lock(process, tried),
        }
    }

    /// As [`RobustMutex::finish_lock`].
    #[cold]
    pub fn finish_lock(&self, process: Process, tried: c_int) -> Result<()> {
        self.robust.finish_lock(process, tried)?;
        // The bit for waiters stays set when an owner dies.
        self.record_hold();
        Ok(())
    }

    /// Records that the present owner holds the mutex. For the owner, or for a thread that is about
    /// to set the bit for waiters.
    pub fn record_hold(&self) {
        self.held_since
            .store(sys::coarse_ms() as u32, Ordering::Relaxed);
    }

    /// Records that the present owner holds the mutex, if no other waiter has done so. For a thread
    /// that is about to wait.
    pub fn record_wait(&self) {
        if !self.robust.has_waiters() {
            self.record_hold();
        }
    }

    /// For a nonblocking call that has found `robust` locked: declares its owner dead if the owner
    /// no longer exists. One call in each [`MAX_SLEEP`] checks that; returns whether this call did.
    /// `robust` is the mutex itself or one that belongs to the same lock.
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
        match self.try_lock_at_once(process) {
            Err(error) if error == Errno::EBUSY => slept.and(Err(errno!(EBUSY))),
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
    /// sleep that did not lock the mutex, at least every [`MAX_SLEEP`]. Its error ends the wait.
    #[cold]
    pub fn wait(
        &self,
        process: Process,
        deadline: &mut Deadline,
        mut after_sleep: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let robust = self.robust;
        // A nonblocking call, or one whose time-out has expired, does not change the futex word.
        if let Err(error) = deadline.remaining() {
            if !self.recover_if_owner_gone(robust, process) {
                return Err(error);
            }
            return match self.try_lock_at_once(process) {
                Err(tried) if tried == Errno::EBUSY => Err(error),
                tried => tried,
            };
        }
        let word = ptr::from_ref(robust.futex());
        probe!(unixipc, lock_wait, word, robust.owner_id());
        self.record_wait();
        let mut waited = robust.lock_after_sleep(process, deadline, FAIRNESS_DELAY);
        let thread = sys::thread_id() as u32;
        let is_starving = waited == Err(Errno::EBUSY);
        while waited == Err(Errno::EBUSY) {
            if let Err(error) = after_sleep() {
                waited = Err(error);
                break;
            }
            self.starving.store(thread, Ordering::Relaxed);
            self.record_wait();
            waited = robust.lock_after_sleep(process, deadline, MAX_SLEEP);
        }
        if waited.is_ok() {
            self.record_hold();
        }
        if is_starving {
            self.starving.store(0, Ordering::Relaxed);
            futex::wake(self.starving, c_int::MAX);
        }
        probe!(unixipc, lock_waited, word, code_of(&waited));
        waited
    }
}
