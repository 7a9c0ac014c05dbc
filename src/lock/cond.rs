//! A condition in shared memory: a sequence number that signals count up, and a futex on it.
//! [`signals`](super::signals) is the protocol.
//!
//! A broadcast wakes one waiter and moves the others to the futex of the mutex
//! (`FUTEX_CMP_REQUEUE`): each unlock then wakes the next one, instead of all of them running
//! into a locked mutex. The condition finds the mutex only where both lie in one page of memory: there
//! their distance is the same in every process.

use super::LockStatus;
use super::mutex::Mutex;
use super::robust_wait::MAX_SLEEP;
use super::signals::{Kernel, Signals};
use crate::atomic::{AtomicU32, Ordering};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::object::{Header, ObjectType};
use crate::sys::futex::{self, SleepEnd};
use crate::sys::{self, CancelGuard};
use libc::c_int;
use std::mem::{align_of, offset_of, size_of};
use std::ptr;
use std::sync::atomic::AtomicI32;

const OBJECT_TYPE: ObjectType = ObjectType::new(*b"uicd", 2);

/// The smallest page of any supported system: memory within one is mapped as a whole.
const PAGE: usize = 4096;

/// The condition as it lies in shared memory.
#[repr(C)]
pub struct Cond {
    header: Header,
    signals: Signals,
    /// How far the mutex of the waiters is from the condition, in bytes; 0 if it is in another page.
    mutex: AtomicI32,
}

impl Cond {
    /// Offsets of the fields, for the golden file of layouts.
    pub const LAYOUT: [(&str, usize); 3] = [
        ("header", offset_of!(Self, header)),
        ("signals", offset_of!(Self, signals)),
        ("mutex", offset_of!(Self, mutex)),
    ];

    /// Makes a condition, whatever the memory held.
    pub fn init(&self) {
        self.header.begin();
        self.signals.init();
        self.mutex.store(0, Ordering::Relaxed);
        self.header.finish(OBJECT_TYPE);
    }

    /// Unlocks the mutex, waits for a signal, and locks the mutex again, however long that takes.
    /// The mutex is then held, also when the wait failed as [`Deadline::futex`] does.
    ///
    /// A cancellation point, at which the mutex is held.
    pub fn wait(&self, mutex: &Mutex, mut deadline: Deadline) -> Result<LockStatus> {
        self.header.check(OBJECT_TYPE)?;
        mutex.check_held()?;
        sys::test_cancel();
        // A thread that is cancelled while it has unlocked the mutex would leave it so.
        let cancel = CancelGuard::new();
        let distance = self.distance_to(mutex);
        self.mutex.store(distance, Ordering::Relaxed);
        let seen = self.signals.announce();
        mutex.unlock()?;
        let mut relocked = None;
        let waited = self.signals.wait(seen, || {
            let sequence = &self.signals.sequence;
            mutex.announce_waiter();
            let end = deadline.futex_for(sequence, seen, MAX_SLEEP)?;
            if end == SleepEnd::Expired && cancel.was_enabled() {
                relocked = self.check_cancel(mutex, &cancel)?;
            }
            if relocked.is_some() {
                // Ends the wait.
                return Err(Errno::EOWNERDEAD);
            }
            Ok(())
        });
        let status = match relocked {
            Some(status) => return Ok(status),
            None => mutex.lock_again(self.signals.was_moved(seen))?,
        };
        match status {
            // The caller must know first of the death of an owner.
            LockStatus::OwnerDied => Ok(status),
            LockStatus::Clean => waited.map(|()| status),
        }
    }

    /// Lets a pending cancellation act, with the mutex held. Returns the status of the mutex if
    /// its owner died: then it stays locked.
    fn check_cancel(&self, mutex: &Mutex, cancel: &CancelGuard) -> Result<Option<LockStatus>> {
        match mutex.lock(Deadline::never()) {
            Ok(LockStatus::Clean) => {
                cancel.test();
                mutex.unlock()?;
                Ok(None)
            }
            Ok(LockStatus::OwnerDied) => Ok(Some(LockStatus::OwnerDied)),
            // Another thread holds it: the next look comes soon.
            Err(_) => Ok(None),
        }
    }

    /// Wakes at least one waiter.
    pub fn signal(&self) -> Result<()> {
        self.header.check(OBJECT_TYPE)?;
        self.signals.signal(self)
    }

    /// Wakes all waiters.
    pub fn broadcast(&self) -> Result<()> {
        self.header.check(OBJECT_TYPE)?;
        self.signals.broadcast(|| match self.waiters_futex() {
            Some(word) => self.move_waiters(word),
            None => self.increment_and_wake(c_int::MAX).map(drop),
        })
    }

    /// Wakes one waiter, and has the others wait for the mutex.
    fn move_waiters(&self, mutex: &AtomicU32) -> Result<()> {
        let sequence = &self.signals.sequence;
        let next = sequence.load(Ordering::Relaxed).wrapping_add(1);
        // Before a waiter runs that was moved. Where another signal comes between, it is a hint
        // that costs a system call.
        self.signals.moved.store(next, Ordering::Relaxed);
        sequence.fetch_add(1, Ordering::Relaxed);
        match futex::wake_one_and_requeue(sequence, next, mutex) {
            // Another signal came between, or the call is refused.
            Err(_) => self.increment_and_wake(c_int::MAX).map(drop),
            Ok(()) => Ok(()),
        }
    }

    /// The futex of the waiters' mutex, where it is known.
    fn waiters_futex(&self) -> Option<&AtomicU32> {
        let distance = self.mutex.load(Ordering::Relaxed);
        let mutex = ptr::from_ref(self)
            .wrapping_byte_offset(distance as isize)
            .cast::<Mutex>();
        if distance == 0
            || mutex.addr() % align_of::<Mutex>() != 0
            || page_of(ptr::from_ref(self)) != page_of(mutex)
        {
            return None;
        }
        // SAFETY: aligned, and in the page of the condition; any bytes are a Mutex, which all
        // processes change through shared references only.
        unsafe { &*mutex }.waiters_futex()
    }

    fn distance_to(&self, mutex: &Mutex) -> i32 {
        let (own, other) = (ptr::from_ref(self), ptr::from_ref(mutex));
        if page_of(own).is_some() && page_of(own) == page_of(other) {
            other.addr().wrapping_sub(own.addr()) as i32
        } else {
            0
        }
    }
}

impl Kernel for Cond {
    fn increment_and_wake(&self, count: i32) -> Result<u32> {
        // In one system call: a signaller that is killed has done both or neither.
        futex::increment_and_wake(&self.signals.sequence, count)
    }
}

/// The page in which an object lies. None if it lies in two.
fn page_of<T>(object: *const T) -> Option<usize> {
    let first = object.addr() / PAGE;
    let last = (object.addr() + size_of::<T>() - 1) / PAGE;
    (first == last).then_some(first)
}
