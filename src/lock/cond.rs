//! A condition in shared memory: a number that signals count up, and a futex on it.
//!
//! Nothing in it says who waits or how many: so a waiter that is killed leaves nothing behind,
//! and a signal wakes all, so that one that is killed just after its wake-up has taken it from
//! nobody. [`signals`] is the protocol.

use super::LockStatus;
use super::mutex::Mutex;
use super::signals;
use crate::atomic::{AtomicU32, Ordering};
use crate::deadline::Deadline;
use crate::errno::Result;
use crate::object::{Header, ObjectType};
use crate::sys::futex;
use std::mem::offset_of;

const OBJECT_TYPE: ObjectType = ObjectType::new(*b"uicd", 1);

/// The condition as it lies in shared memory.
#[repr(C)]
pub struct Cond {
    header: Header,
    /// How many signals there were, in 32 bits.
    signals: AtomicU32,
}

impl Cond {
    /// Offsets of the fields, for the golden file of layouts.
    pub const LAYOUT: [(&str, usize); 2] = [
        ("header", offset_of!(Self, header)),
        ("signals", offset_of!(Self, signals)),
    ];

    /// Makes a condition out of whatever was there.
    pub fn init(&self) {
        self.header.begin();
        self.signals.store(0, Ordering::Relaxed);
        self.header.finish(OBJECT_TYPE);
    }

    /// Unlocks the mutex, waits for a signal, and locks the mutex again, however long that takes.
    /// The mutex is held then, also when the wait failed as [`Deadline::futex`] does.
    pub fn wait(&self, mutex: &Mutex, mut wait: Deadline) -> Result<LockStatus> {
        self.header.check(OBJECT_TYPE)?;
        mutex.check_mine()?;
        let seen = signals::seen(&self.signals);
        mutex.unlock()?;
        let waited =
            signals::wait_for_another(&self.signals, seen, || wait.futex(&self.signals, seen));
        match mutex.lock(Deadline::forever())? {
            // That somebody died is what the caller has to know first.
            LockStatus::OwnerDied => Ok(LockStatus::OwnerDied),
            LockStatus::Clean => waited.map(|()| LockStatus::Clean),
        }
    }

    /// Wakes all who wait.
    pub fn signal(&self) -> Result<()> {
        self.header.check(OBJECT_TYPE)?;
        // Counts and wakes in one system call: a signaller that is killed has done both or neither.
        futex::increment_and_wake(&self.signals)
    }
}
