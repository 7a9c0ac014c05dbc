//! Waiting for a robust mutex that another thread holds.
//!
//! The C library's own waiting is not used: a signal handler does not end it, and it sleeps forever
//! if a wake-up is lost (see [`RobustMutex::lock_after_sleep`]).
//!
//! The kernel does not release every mutex of a thread that has ended. It misses a mutex
//!
//! - after an execve(2) by a thread other than the main one, because that thread gets another id
//!   before;
//! - in a mapping that the process had removed;
//! - if the thread held more than 2,048 mutexes;
//! - after a reboot.
//!
//! So a waiting thread checks every [`MAX_SLEEP`] whether the owner still exists.

use super::process::Process;
use super::robust_mutex::{IS_GLIBC, RobustMutex};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::sys::futex::{self, SleepEnd};
use crate::sys::is_thread_alive;
use libc::pid_t;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The longest sleep of a waiting thread. After it the thread checks the mutex and its owner.
///
/// cbindgen:ignore
pub const MAX_SLEEP: Duration = Duration::from_millis(100);

impl RobustMutex {
    /// Sleeps until the mutex is unlocked or its owner dies, for at most `max_sleep`, and then tries
    /// to lock it. `EBUSY` if another thread holds it.
    ///
    /// A thread that unlocks the mutex wakes one waiter if the futex word says that there are any;
    /// so does the kernel for a dead owner. The other waiters must not depend on the thread that
    /// was woken:
    ///
    /// - If that thread locks the mutex, it sets the bit for waiters, so its own unlock wakes the
    ///   next waiter.
    /// - If it finds the mutex locked, it sets the bit before it sleeps again.
    /// - If it is killed before either, the kernel wakes another waiter, provided that the mutex is
    ///   unlocked: `futex::robust_pending` announces this waiter to the kernel. `try_lock` or the
    ///   code after it ends the announcement.
    ///
    /// One case remains: the thread is killed after another thread has locked the mutex, or just
    /// before it sets the bit. Then no waiter is woken. So no sleep is longer than `max_sleep`.
    pub fn lock_after_sleep(
        &self,
        process: Process,
        deadline: &mut Deadline,
        max_sleep: Duration,
    ) -> Result<()> {
        let slept = self.sleep(process, deadline, max_sleep, true);
        match self.try_lock(process) {
            Err(error) if error == Errno::EBUSY => {
                if !IS_GLIBC {
                    futex::no_robust_pending();
                }
                slept.and(Err(errno!(EBUSY)))
            }
            Ok(()) => {
                self.mark_waiters();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Records that other threads may sleep, so that the unlock wakes one of them. For the owner.
    pub fn mark_waiters(&self) {
        // Relaxed: the kernel's lock on the futex queue orders all changes of this bit.
        self.futex()
            .fetch_or(libc::FUTEX_WAITERS, Ordering::Relaxed);
    }

    /// Sleeps until the mutex is unlocked or its owner dies, for at most `max_sleep`, and does not
    /// lock it. For the only thread that waits for it.
    pub fn sleep_until_unlocked(
        &self,
        process: Process,
        deadline: &mut Deadline,
        max_sleep: Duration,
    ) -> Result<()> {
        self.sleep(process, deadline, max_sleep, false)
    }

    fn sleep(
        &self,
        process: Process,
        deadline: &mut Deadline,
        max_sleep: Duration,
        will_lock: bool,
    ) -> Result<()> {
        let word = self.futex();
        // Relaxed, as a hint: FUTEX_WAIT compares the word again.
        let seen = word.load(Ordering::Relaxed);
        if seen & libc::FUTEX_TID_MASK == 0 {
            return deadline.remaining().map(drop); // unlocked, or its owner is dead
        }
        let asleep = seen | libc::FUTEX_WAITERS;
        // Relaxed: the bit orders no other access.
        let set = word.compare_exchange(seen, asleep, Ordering::Relaxed, Ordering::Relaxed);
        if seen != asleep && set.is_err() {
            return deadline.remaining().map(drop); // the word has changed
        }
        if will_lock {
            futex::robust_pending(word);
        }
        let end = deadline.futex_for(word, asleep, max_sleep)?;
        if end == SleepEnd::Expired && max_sleep >= MAX_SLEEP {
            self.recover_if_gone(process, asleep);
        }
        Ok(())
    }

    /// Declares the owner in `seen` dead if its thread no longer exists.
    ///
    /// Between the check and the exchange, the word normally changes only to a value other than
    /// `seen`. The exception is that another waiter declares the owner dead and a new thread with
    /// the same id locks the mutex; but the kernel would first have to use all other ids.
    fn recover_if_gone(&self, process: Process, seen: u32) {
        let owner = (seen & libc::FUTEX_TID_MASK) as pid_t;
        if process.can_check_threads() && !is_thread_alive(owner) {
            self.set_owner_died(seen);
        }
    }

    /// Declares the current owner dead if its thread no longer exists.
    pub fn recover_if_owner_gone(&self, process: Process) {
        let seen = self.futex().load(Ordering::Relaxed);
        if seen & libc::FUTEX_TID_MASK != 0 {
            self.recover_if_gone(process, seen);
        }
    }
}
