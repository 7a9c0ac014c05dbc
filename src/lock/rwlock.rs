//! A reader-writer lock in shared memory that outlives its readers and its writer.
//!
//! A row of robust mutexes, the slots, each on a cache line of its own. A reader has one of
//! them: the one of the processor that it runs on if that is free, so that readers on different
//! processors write to no line that the other uses. A writer has all. So whoever dies, the
//! kernel gives up what it had.
//!
//! Before the slots there is a gate, one more robust mutex. A writer has it from before its
//! first slot until after its last, and `gate_shut` says so meanwhile; a reader that sees
//! `gate_shut` goes through the gate, and so comes after the writer. `gate_shut` only directs
//! traffic: that it is old for a moment, or that one who died has left it, lets nobody in who
//! must not be in. From one writer's unlocking until the next writer has the gate, it is open: to
//! leave it shut would send readers through a gate that nobody may be waiting at, where one that
//! reads already gets `EDEADLK` for nothing.
//!
//! `state` tells of a writer that died. It is `WRITING` exactly while a writer has all slots; so
//! whoever has a slot and sees it knows that its writer is dead.
//!
//! The slots are the lock of brlock and of Hsieh and Weihl's "Scalable Reader-Writer Locks for
//! Parallel Systems" (1992), bounded in number, and made of mutexes that survive their owners.

use super::LockStatus;
use super::robust_mutex::{MAX_SLEEP, RobustMutex};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::object::{Header, ObjectType};
use crate::sys;
use std::cell::UnsafeCell;
use std::mem::{offset_of, size_of};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How many can read at once.
///
/// cbindgen:ignore
pub const READERS_MAX: usize = 16;

/// The size of the lock: 16 bytes, up to 48 until the next line, and the lines.
///
/// cbindgen:ignore
pub const SIZE: usize = LINE + size_of::<Lines>();

/// A cache line.
const LINE: usize = 64;

/// How often a reader that found no slot free looks whether one other than that at which it
/// sleeps is. Less often where a signal handler is to end the call: one that runs meanwhile
/// does not.
const LOOK: Duration = Duration::from_millis(5);
const LOOK_UNTIL_SIGNAL: Duration = MAX_SLEEP;

const OBJECT_TYPE: ObjectType = ObjectType::with_c_types(*b"uirw", 1);

/// A bit of `state`: a writer has all slots, or had them when it died.
const WRITING: u32 = 1;
/// A bit of `state`: a writer died, and none has said since that all is consistent.
const DAMAGED: u32 = 2;

/// The lock as it lies in shared memory.
#[repr(C)]
pub struct Rwlock {
    header: Header,
    state: AtomicU32,
    gate_shut: AtomicU32,
    /// [`Lines`], from the next border of a cache line on. Mappings begin at pages, so this is
    /// the same for all processes.
    rest: UnsafeCell<[u8; SIZE - 16]>,
}

// SAFETY: `rest` is only used as `Lines`, which is Sync.
unsafe impl Sync for Rwlock {}

#[repr(C, align(64))]
struct Line(RobustMutex);

#[repr(C)]
struct Lines {
    gate: Line,
    slots: [Line; READERS_MAX],
}

const _: () = assert!(size_of::<Line>() == LINE && size_of::<Rwlock>() == SIZE);
const _: () = assert!(offset_of!(Rwlock, rest) == 16 && align_of::<Rwlock>() <= 16);

impl Rwlock {
    /// Offsets of the fields, for the golden file of layouts.
    pub const LAYOUT: [(&str, usize); 6] = [
        ("header", offset_of!(Self, header)),
        ("state", offset_of!(Self, state)),
        ("gate_shut", offset_of!(Self, gate_shut)),
        ("rest", offset_of!(Self, rest)),
        ("rest.gate", offset_of!(Lines, gate)),
        ("rest.slots", offset_of!(Lines, slots)),
    ];

    /// Makes a lock that is free out of whatever was there.
    pub fn init(&self) -> Result<()> {
        self.header.begin();
        self.state.store(0, Ordering::Relaxed);
        self.gate_shut.store(0, Ordering::Relaxed);
        self.gate().init()?;
        for Line(slot) in self.slots() {
            slot.init()?;
        }
        self.header.finish(OBJECT_TYPE);
        Ok(())
    }

    /// Locks it for reading.
    #[inline]
    pub fn rdlock(&self, mut wait: Deadline) -> Result<LockStatus> {
        self.header.check(OBJECT_TYPE)?;
        // Old or not, this only says which way to go.
        if self.gate_shut.load(Ordering::Relaxed) != 0 || !self.take_slot()? {
            self.rdlock_through_gate(&mut wait)?;
        }
        Ok(self.held())
    }

    /// Takes a free slot. False if there is none.
    #[inline]
    fn take_slot(&self) -> Result<bool> {
        let (before, own) = self.slots_from_own();
        for Line(slot) in own.iter().chain(before) {
            match slot.try_lock() {
                Ok(()) => return Ok(true),
                // This thread reads already. It may do so more than once.
                Err(Errno::EBUSY | Errno::EDEADLK) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    #[cold]
    fn rdlock_through_gate(&self, wait: &mut Deadline) -> Result<()> {
        self.enter_gate(wait)?;
        let taken = self.wait_for_slot(wait);
        self.leave_gate();
        taken
    }

    /// For whoever has the gate: takes a slot that readers give up. `EDEADLK` if all are this
    /// thread's.
    fn wait_for_slot(&self, wait: &mut Deadline) -> Result<()> {
        let thread = sys::thread_id();
        let look = if wait.ends_with_signal() {
            LOOK_UNTIL_SIGNAL
        } else {
            LOOK
        };
        while !self.take_slot()? {
            // Nobody is to overtake.
            self.gate_shut.store(1, Ordering::Relaxed);
            let (before, own) = self.slots_from_own();
            let mut others = own.iter().chain(before);
            let Some(Line(slot)) = others.find(|Line(slot)| slot.owner() != thread) else {
                return Err(Errno::EDEADLK);
            };
            match slot.lock_after_sleep(wait, look) {
                Err(Errno::EBUSY) => {}
                tried => return tried,
            }
        }
        Ok(())
    }

    /// Locks the gate. Whoever has it may wait for the slot of this very thread: `EDEADLK`.
    fn enter_gate(&self, wait: &mut Deadline) -> Result<()> {
        match self.gate().try_lock() {
            Err(Errno::EBUSY) => {}
            tried => return tried,
        }
        let thread = sys::thread_id();
        if self.slots().iter().any(|Line(slot)| slot.owner() == thread) {
            return Err(Errno::EDEADLK);
        }
        self.gate().lock(wait)
    }

    /// Opens the gate, also after one who died and left it shut.
    fn leave_gate(&self) {
        self.gate_shut.store(0, Ordering::Relaxed);
        // It is this thread's, unless somebody has overwritten it.
        let _ = self.gate().unlock();
    }

    /// Unlocks it after reading. `EPERM` if this thread does not read.
    #[inline]
    pub fn rdunlock(&self) -> Result<()> {
        self.header.check(OBJECT_TYPE)?;
        // The writer's slots are not a reader's.
        if self.is_marked() && self.gate().held_by_current_thread() {
            return Err(Errno::EPERM);
        }
        let (before, own) = self.slots_from_own();
        for Line(slot) in own.iter().chain(before) {
            match slot.unlock() {
                Err(Errno::EPERM) => {}
                unlocked => return unlocked,
            }
        }
        Err(Errno::EPERM)
    }

    /// Locks it for writing. `EDEADLK` if this thread has it in any way.
    pub fn wrlock(&self, mut wait: Deadline) -> Result<LockStatus> {
        self.header.check(OBJECT_TYPE)?;
        self.enter_gate(&mut wait)?;
        self.gate_shut.store(1, Ordering::Relaxed);
        if let Err(error) = self.take_all_slots(&mut wait) {
            self.leave_gate();
            return Err(error);
        }
        // All slots are ours, so what is written here is ordered by them, as is what they guard.
        let held = self.held();
        let damage = if held == LockStatus::Clean {
            0
        } else {
            DAMAGED
        };
        self.state.store(WRITING | damage, Ordering::Relaxed);
        Ok(held)
    }

    /// For whoever has the gate: takes all slots, or none.
    fn take_all_slots(&self, wait: &mut Deadline) -> Result<()> {
        let mut taken = [false; READERS_MAX];
        let slots = || self.slots().iter();
        let mut take = || {
            // First those that are free: if one is this thread's, that is found before any wait.
            for (Line(slot), taken) in slots().zip(&mut taken) {
                match slot.try_lock() {
                    Ok(()) => *taken = true,
                    Err(Errno::EBUSY) => {}
                    Err(error) => return Err(error),
                }
            }
            for (Line(slot), taken) in slots().zip(&mut taken).filter(|(_, taken)| !**taken) {
                slot.lock(wait)?;
                *taken = true;
            }
            Ok(())
        };
        take().inspect_err(|_| {
            for (Line(slot), _) in slots().zip(taken).filter(|(_, taken)| *taken) {
                let _ = slot.unlock();
            }
        })
    }

    /// Unlocks it after writing. `EPERM` if this thread does not write.
    pub fn wrunlock(&self) -> Result<()> {
        let state = self.check_writer()?;
        // Before the first slot is given up: see `WRITING`.
        self.state.store(state & DAMAGED, Ordering::Relaxed);
        for Line(slot) in self.slots().iter().rev() {
            let _ = slot.unlock(); // it is this thread's
        }
        self.leave_gate();
        Ok(())
    }

    /// What it guards is consistent. `EPERM` if this thread does not write.
    pub fn consistent(&self) -> Result<()> {
        self.check_writer()?;
        self.state.store(WRITING, Ordering::Relaxed);
        Ok(())
    }

    /// `EPERM` if this thread does not write. The state.
    fn check_writer(&self) -> Result<u32> {
        self.header.check(OBJECT_TYPE)?;
        if self.gate().held_by_current_thread() {
            Ok(self.state.load(Ordering::Relaxed))
        } else {
            Err(Errno::EPERM)
        }
    }

    /// For whoever has a slot, and is no writer yet.
    fn held(&self) -> LockStatus {
        if self.is_marked() {
            LockStatus::OwnerDied
        } else {
            LockStatus::Clean
        }
    }

    /// Whether a writer is at work or has died. Ordered by the slots.
    #[inline]
    fn is_marked(&self) -> bool {
        self.state.load(Ordering::Relaxed) != 0
    }

    /// The slots before the one of this processor, and that one with those behind it.
    #[inline]
    fn slots_from_own(&self) -> (&[Line], &[Line]) {
        self.slots().split_at(sys::processor() % READERS_MAX)
    }

    fn gate(&self) -> &RobustMutex {
        &self.lines().gate.0
    }

    fn slots(&self) -> &[Line; READERS_MAX] {
        &self.lines().slots
    }

    #[inline]
    fn lines(&self) -> &Lines {
        let rest = self.rest.get().cast::<u8>();
        // At most 48 bytes, for rest is aligned to 16.
        let gap = rest.addr().wrapping_neg() % LINE;
        let lines = rest.wrapping_add(gap).cast::<Lines>();
        // SAFETY: aligned now, and inside self, whose size allows for the gap. Whatever bytes
        // are there, they are Lines, which all processes change through shared references only.
        unsafe { &*lines.cast_const() }
    }
}
