//! One call on a reader-writer lock: how it takes slots and how it waits.

use super::process::Process;
use super::robust_mutex::RobustMutex;
use super::robust_wait::MAX_SLEEP;
use super::rw_protocol::{Parts, WRITING};
use super::rwlock::{Line, Rwlock};
use crate::atomic::{AtomicU32, Ordering};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::sys;
use libc::c_int;
use std::cell::Cell;
use std::time::Duration;

/// How often a reader that found no free slot checks all slots: it sleeps on one slot only. If a
/// signal handler must end the call, it checks every [`MAX_SLEEP`]: a handler that runs during the
/// check, and not during the sleep, does not end the call.
const SLOT_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// A call by one thread.
pub struct Call<'a> {
    lock: &'a Rwlock,
    process: Process,
    deadline: Cell<Deadline>,
    /// When this call last checked whether the owners of all slots exist.
    owners_checked: Cell<Option<Duration>>,
}

impl<'a> Call<'a> {
    /// Makes a call. The process has been admitted to the lock.
    #[inline]
    pub fn new(lock: &'a Rwlock, process: Process, deadline: Deadline) -> Self {
        Self {
            lock,
            process,
            deadline: Cell::new(deadline),
            owners_checked: Cell::new(None),
        }
    }

    /// Runs `run`, which waits, with the deadline of the call.
    fn wait<T>(&self, run: impl FnOnce(&mut Deadline) -> Result<T>) -> Result<T> {
        let mut deadline = self.deadline.get();
        let result = run(&mut deadline);
        self.deadline.set(deadline);
        result
    }

    /// `EDEADLK` if this thread holds a slot: the thread for which it would wait may be waiting for
    /// that slot.
    fn check_not_reading(&self) -> Result<()> {
        let is_own = |Line(slot): &Line| slot.held_by_current_thread(self.process);
        if self.lock.slots().iter().any(is_own) {
            return Err(errno!(EDEADLK));
        }
        Ok(())
    }

    /// Sleeps until a slot is unlocked, for at most `max_sleep`.
    fn sleep_on_slot(&self, slot: &RobustMutex, max_sleep: Duration) -> Result<()> {
        if self.deadline.get().is_never()
            && self.lock.gate().recover_if_owner_gone(slot, self.process)
            && slot.is_unlocked()
        {
            return Ok(());
        }
        self.wait(|deadline| slot.sleep_until_unlocked(self.process, deadline, max_sleep))
    }

    /// Declares owners of slots dead whose threads no longer exist, every [`MAX_SLEEP`]. Perhaps no other
    /// thread does it: a thread that waits for a slot has the gate, behind which writers wait. `first` is any
    /// slot. Returns whether a slot is unlocked then.
    fn recover_slots(&self, first: &RobustMutex) -> bool {
        let is_due = if self.deadline.get().is_never() {
            self.lock.gate().recover_if_owner_gone(first, self.process)
        } else {
            let now = sys::monotonic_time();
            let began = self.owners_checked.get().unwrap_or(now);
            let is_due = now.saturating_sub(began) >= MAX_SLEEP;
            self.owners_checked
                .set(Some(if is_due { now } else { began }));
            is_due
        };
        if !is_due {
            return false;
        }
        for Line(slot) in self.lock.slots() {
            slot.recover_if_owner_gone(self.process);
        }
        self.lock
            .slots()
            .iter()
            .any(|Line(slot)| slot.is_unlocked())
    }

    /// Takes a slot after the C library has returned the error `tried` for the slot of this
    /// processor. None if no slot is free.
    #[cold]
    #[inline(never)]
    fn take_another_slot(
        &self,
        (own, number): (&'a RobustMutex, u32),
        tried: c_int,
    ) -> Result<Option<(&'a RobustMutex, u32)>> {
        let mut taken = own.finish_lock(self.process, tried).map(|()| (own, number));
        let slots = || (0..).zip(self.lock.slots());
        let (after, before) = (
            slots().skip(number as usize + 1),
            slots().take(number as usize),
        );
        let mut others = after
            .chain(before)
            .filter(|(_, Line(slot))| slot.is_unlocked());
        loop {
            match taken {
                Ok(slot) => return Ok(Some(slot)),
                // The slot is taken. If it is this thread's, the thread takes a second slot: it may
                // lock for reading more than once.
                Err(error) if error.is_one_of(&[Errno::EBUSY, Errno::EDEADLK]) => {}
                Err(error) => return Err(error),
            }
            let Some((number, Line(slot))) = others.next() else {
                return Ok(None);
            };
            taken = slot.try_lock(self.process).map(|()| (slot, number));
        }
    }

    /// For a thread that holds the gate: whether it has left a wait by siglongjmp(3), so that it
    /// does not write.
    fn has_abandoned_wait(&self) -> bool {
        let state = self.lock.control().state.load(Ordering::Relaxed);
        state & WRITING == 0
    }
}

impl<'a> Parts for Call<'a> {
    type Slot = (&'a RobustMutex, u32);

    #[inline]
    fn state(&self) -> &AtomicU32 {
        &self.lock.control().state
    }

    #[inline]
    fn slots_used(&self) -> &AtomicU32 {
        &self.lock.control().slots_used
    }

    fn progress(&self) -> &AtomicU32 {
        &self.lock.control().progress
    }

    fn lock_gate(&self, after_sleep: impl FnMut() -> Result<()>) -> Result<()> {
        let gate = self.lock.gate();
        match self.wait(|deadline| gate.try_lock(self.process, deadline)) {
            Err(error) if error == Errno::EBUSY => {}
            Err(error) if error == Errno::EDEADLK && self.has_abandoned_wait() => return Ok(()),
            tried => return tried,
        }
        self.check_not_reading()?;
        self.wait(|deadline| gate.wait(self.process, deadline, after_sleep))
    }

    fn unlock_gate(&self) {
        // It fails only if another process has overwritten the memory. The error is ignored because
        // nothing can repair that.
        let _ = self.lock.gate().robust.unlock(self.process);
    }

    #[inline]
    fn take_slot(&self) -> Result<Option<Self::Slot>> {
        let (number, Line(own)) = self.lock.own_slot();
        match own.try_lock_fast(self.process) {
            Ok(_) => Ok(Some((own, number))),
            Err(tried) => self.take_another_slot((own, number), tried),
        }
    }

    #[inline]
    fn number_of(&self, (_, number): Self::Slot) -> u32 {
        number
    }

    fn release_slot(&self, (slot, _): Self::Slot) {
        // As in `unlock_gate`.
        let _ = slot.unlock(self.process);
    }

    #[inline]
    fn is_slot_free(&self, number: u32) -> bool {
        let slot = self.lock.slots().get(number as usize);
        slot.is_none_or(|Line(slot)| slot.is_unlocked())
    }

    #[cold]
    fn wait_for_slot(&self, number: u32) -> Result<()> {
        self.check_not_reading()?;
        let Some(Line(slot)) = self.lock.slots().get(number as usize) else {
            return Ok(());
        };
        self.sleep_on_slot(slot, MAX_SLEEP)
    }

    #[cold]
    fn wait_for_any_slot(&self) -> Result<()> {
        let mut slots = self.lock.slots().iter();
        let other = slots.find(|Line(slot)| !slot.held_by_current_thread(self.process));
        // EDEADLK: this thread has all slots.
        let Line(slot) = other.ok_or(errno!(EDEADLK))?;
        if self.recover_slots(slot) {
            return Ok(());
        }
        let max_sleep = if self.deadline.get().ends_with_signal() {
            MAX_SLEEP
        } else {
            SLOT_CHECK_INTERVAL
        };
        self.sleep_on_slot(slot, max_sleep)
    }
}
