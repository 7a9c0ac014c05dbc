//! A condition in shared memory: a sequence number that each signal increments, and on which waiters
//! sleep. [`signals`](super::signals) is the protocol.
//!
//! A broadcast wakes one waiter and moves the others to the futex of the mutex
//! (`FUTEX_CMP_REQUEUE`). Each unlock then wakes the next waiter; otherwise all of them would wake
//! and contend for the mutex. The condition can find the mutex only if both are in the same page of
//! memory, because then the distance between them is the same in every process.

use super::LockStatus;
use super::mutex::Mutex;
use super::robust_wait::MAX_SLEEP;
use super::signals::{Kernel, Signals};
use crate::atomic::{AtomicU32, Ordering};
use crate::deadline::Deadline;
use crate::errno::{Result, errno};
use crate::object::{Header, ObjectType};
use crate::sys::futex::{self, SleepEnd};
use crate::sys::{self, CancelGuard};
use libc::c_int;
use std::mem::{align_of, offset_of, size_of};
use std::ptr;
use std::sync::atomic::AtomicI32;

const OBJECT_TYPE: ObjectType = ObjectType::new(*b"uicd", 2);

/// The smallest page size of any supported system. A page is always mapped as a whole.
const PAGE: usize = 4096;

/// The condition in shared memory.
#[repr(C)]
pub struct Cond {
    header: Header,
    signals: Signals,
    /// The distance of the waiters' mutex from the condition, in bytes; 0 if the mutex is in another
    /// page.
    mutex: AtomicI32,
}

impl Cond {
    /// The type of the object.
    ///
    /// cbindgen:ignore
    pub const TYPE: ObjectType = OBJECT_TYPE;

    /// Offsets of the fields, for the golden file of layouts.
    pub const LAYOUT: [(&str, usize); 3] = [
        ("header", offset_of!(Self, header)),
        ("signals", offset_of!(Self, signals)),
        ("mutex", offset_of!(Self, mutex)),
    ];

    /// Initialises a condition in memory of any content.
    pub fn init(&self) {
        self.header.begin();
        self.signals.init();
        self.mutex.store(0, Ordering::Relaxed);
        self.header.finish(OBJECT_TYPE);
    }

    /// Unlocks the mutex, waits for a signal, and locks the mutex again without a time-out. The
    /// mutex is held on return, also if the wait failed as [`Deadline::futex_for`] does.
    ///
    /// A cancellation point. The mutex is held when the cancellation acts.
    pub fn wait(&self, mutex: &Mutex, mut deadline: Deadline) -> Result<LockStatus> {
        self.header.check(OBJECT_TYPE)?;
        mutex.check_held()?;
        sys::test_cancel();
        // Cancellation is disabled while the mutex is unlocked: cleanup handlers expect it locked.
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
                return Err(errno!(EOWNERDEAD));
            }
            Ok(())
        });
        let status = match relocked {
            Some(status) => return Ok(status),
            None => mutex.lock_again(self.signals.was_moved(seen))?,
        };
        match status {
            // The death of an owner takes precedence over the error of the wait.
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
            // Another thread holds the mutex; the next check is at most `MAX_SLEEP` later.
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

    /// Wakes one waiter, and moves the others to the futex of the mutex.
    fn move_waiters(&self, mutex: &AtomicU32) -> Result<()> {
        let sequence = &self.signals.sequence;
        let next = sequence.load(Ordering::Relaxed).wrapping_add(1);
        // Before a moved waiter runs. If another signal comes in between, the number is wrong, but
        // it only causes a system call that wakes no thread.
        self.signals.moved.store(next, Ordering::Relaxed);
        sequence.fetch_add(1, Ordering::Relaxed);
        match futex::wake_one_and_requeue(sequence, next, mutex) {
            // Another signal came in between, or the kernel refuses the call.
            Err(_) => self.increment_and_wake(c_int::MAX).map(drop),
            Ok(()) => Ok(()),
        }
    }

    /// The futex of the waiters' mutex, if the mutex is in the same page.
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
        // SAFETY: aligned, and in the same page as the condition. Any bytes are a Mutex, and all
        // processes change it through shared references only.
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
        // In one system call, so that a killed signaller has done both or neither.
        futex::increment_and_wake(&self.signals.sequence, count)
    }
}

/// The number of the page that contains an object. None if the object crosses a page boundary.
fn page_of<T>(object: *const T) -> Option<usize> {
    let first = object.addr() / PAGE;
    let last = (object.addr() + size_of::<T>() - 1) / PAGE;
    (first == last).then_some(first)
}
