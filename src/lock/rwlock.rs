//! A reader-writer lock in shared memory that survives the death of its readers and its writer.
//!
//! [`rw_protocol`] describes how it works, and [`rw_call`](super::rw_call) how a call waits. This
//! module has its memory. Each slot is a robust mutex on a cache line of its own. A reader takes the
//! slot of its processor if that is free, so readers on different processors write to different
//! cache lines.

use super::LockStatus;
use super::fair_mutex::FairMutex;
use super::home::{Home, Origin};
use super::process::Process;
use super::robust_mutex::RobustMutex;
use super::rw_call::Call;
use super::rw_protocol::{self, WRITING};
use crate::atomic::{AtomicU32, Ordering};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::object::{Header, ObjectType};
use crate::sys;
use std::cell::UnsafeCell;
use std::mem::{offset_of, size_of};

/// The maximum number of threads that can read at the same time.
///
/// cbindgen:ignore
pub const READERS_MAX: usize = 128;

/// The size of the lock: the header with its padding, and the lines behind it.
///
/// cbindgen:ignore
pub const SIZE: usize = LINE + size_of::<Lines>();

/// The size of a cache line.
const LINE: usize = 64;

const OBJECT_TYPE: ObjectType = ObjectType::with_c_types(*b"uirw", 2);

/// The lock in shared memory.
#[repr(C)]
pub struct Rwlock {
    header: Header,
    _reserved: u64,
    /// [`Lines`], from the next cache line on. Mappings begin at page boundaries, so the position is
    /// the same in all processes.
    rest: UnsafeCell<[u8; SIZE - 16]>,
}

// SAFETY: `rest` is only used as `Lines`, which is Sync.
unsafe impl Sync for Rwlock {}

#[repr(C)]
struct Lines {
    control: Control,
    gate: Line,
    slots: [Line; READERS_MAX],
}

/// The words that readers do not write unless a writer waits.
#[repr(C, align(64))]
pub(super) struct Control {
    pub state: AtomicU32,
    home: AtomicU32,
    pub slots_used: AtomicU32,
    pub progress: AtomicU32,
    starving: AtomicU32,
    owner_checked: AtomicU32,
    origin: Origin,
    held_since: AtomicU32,
}

/// A robust mutex on a cache line of its own.
#[repr(C, align(64))]
pub(super) struct Line(pub RobustMutex);

const _: () = assert!(size_of::<Line>() == LINE && size_of::<Control>() == LINE);
const _: () = assert!(size_of::<Rwlock>() == SIZE);
const _: () = assert!(offset_of!(Rwlock, rest) == 16 && align_of::<Rwlock>() <= 16);

impl Rwlock {
    /// The type of the object.
    ///
    /// cbindgen:ignore
    pub const TYPE: ObjectType = OBJECT_TYPE;

    /// Offsets of the fields, for the golden file of layouts.
    pub const LAYOUT: [(&str, usize); 12] = [
        ("header", offset_of!(Self, header)),
        ("rest", offset_of!(Self, rest)),
        ("rest.state", offset_of!(Lines, control.state)),
        ("rest.home", offset_of!(Lines, control.home)),
        ("rest.slots_used", offset_of!(Lines, control.slots_used)),
        ("rest.progress", offset_of!(Lines, control.progress)),
        ("rest.starving", offset_of!(Lines, control.starving)),
        (
            "rest.owner_checked",
            offset_of!(Lines, control.owner_checked),
        ),
        ("rest.origin", offset_of!(Lines, control.origin)),
        ("rest.gate", offset_of!(Lines, gate)),
        ("rest.slots", offset_of!(Lines, slots)),
        ("rest.held_since", offset_of!(Lines, control.held_since)),
    ];

    /// Initialises an unlocked lock in memory of any content.
    pub fn init(&self) -> Result<()> {
        self.header.begin();
        let control = self.control();
        for word in [
            &control.state,
            &control.slots_used,
            &control.progress,
            &control.starving,
            &control.owner_checked,
            &control.held_since,
        ] {
            word.store(0, Ordering::Relaxed);
        }
        for Line(mutex) in self.mutexes() {
            mutex.init(false)?;
        }
        self.home().init();
        self.header.finish(OBJECT_TYPE);
        Ok(())
    }

    /// Locks for reading.
    #[inline]
    pub fn rdlock(&self, deadline: Deadline) -> Result<LockStatus> {
        rw_protocol::read(&self.begin(deadline)?)
    }

    /// Unlocks after reading. `EPERM` if this thread does not hold the lock for reading.
    #[inline]
    pub fn rdunlock(&self) -> Result<()> {
        self.header.check(OBJECT_TYPE)?;
        let process = Process::current()?;
        let Line(own) = self.own_slot().1;
        match own.unlock(process) {
            Err(error) if error == Errno::EPERM => self.unlock_another_slot(process),
            unlocked => unlocked,
        }
    }

    /// Unlocks the slot of a thread that has since moved to another processor, or that found the
    /// slot of its processor taken.
    #[cold]
    #[inline(never)]
    fn unlock_another_slot(&self, process: Process) -> Result<()> {
        for Line(slot) in self.slots() {
            match slot.unlock(process) {
                Err(error) if error == Errno::EPERM => {}
                unlocked => return unlocked,
            }
        }
        Err(errno!(EPERM))
    }

    /// Locks for writing. `EDEADLK` if this thread holds the lock for reading or for writing.
    pub fn wrlock(&self, deadline: Deadline) -> Result<LockStatus> {
        rw_protocol::write(&self.begin(deadline)?)
    }

    /// Unlocks after writing. `EPERM` if this thread does not hold the lock for writing.
    pub fn wrunlock(&self) -> Result<()> {
        let call = self.check_gate()?;
        // A thread that left a wait by siglongjmp(3) still holds the gate, and unlocks it here.
        rw_protocol::unlock_writer(&call);
        Ok(())
    }

    /// Marks the guarded data as consistent. `EPERM` if this thread does not hold the lock for
    /// writing.
    pub fn consistent(&self) -> Result<()> {
        let call = self.check_gate()?;
        if self.control().state.load(Ordering::Relaxed) & WRITING == 0 {
            return Err(errno!(EPERM));
        }
        rw_protocol::mark_consistent(&call);
        Ok(())
    }

    /// Checks the lock and the process for a call that locks.
    #[inline]
    fn begin(&self, mut deadline: Deadline) -> Result<Call<'_>> {
        self.header.check(OBJECT_TYPE)?;
        let process = match Process::cached() {
            Some(process) if self.home().is_of(process) => process,
            _ => self.admit(&mut deadline)?,
        };
        Ok(Call::new(self, process, deadline))
    }

    #[cold]
    #[inline(never)]
    fn admit(&self, deadline: &mut Deadline) -> Result<Process> {
        self.home().admit(deadline, || {
            for Line(mutex) in self.mutexes() {
                mutex.declare_owner_dead();
            }
        })
    }

    /// `EPERM` if this thread does not hold the gate.
    fn check_gate(&self) -> Result<Call<'_>> {
        self.header.check(OBJECT_TYPE)?;
        let process = Process::current()?;
        if !self.gate().robust.held_by_current_thread(process) {
            return Err(errno!(EPERM));
        }
        Ok(Call::new(self, process, Deadline::forever()))
    }

    /// The slot of this processor.
    #[inline]
    pub(super) fn own_slot(&self) -> (u32, &Line) {
        let number = sys::processor() % READERS_MAX;
        (number as u32, &self.slots()[number])
    }

    #[inline]
    pub(super) fn gate(&self) -> FairMutex<'_> {
        FairMutex {
            starving: &self.control().starving,
            owner_checked: &self.control().owner_checked,
            held_since: &self.control().held_since,
            robust: &self.lines().gate.0,
        }
    }

    #[inline]
    fn home(&self) -> Home<'_> {
        Home {
            word: &self.control().home,
            origin: &self.control().origin,
        }
    }

    #[inline]
    pub(super) fn control(&self) -> &Control {
        &self.lines().control
    }

    pub(super) fn slots(&self) -> &[Line; READERS_MAX] {
        &self.lines().slots
    }

    /// The gate and the slots.
    fn mutexes(&self) -> impl Iterator<Item = &Line> {
        let lines = self.lines();
        std::iter::once(&lines.gate).chain(&lines.slots)
    }

    #[inline]
    fn lines(&self) -> &Lines {
        let rest = self.rest.get().cast::<u8>();
        // At most 48 bytes, because rest is aligned to 16.
        let gap = rest.addr().wrapping_neg() % LINE;
        let lines = rest.wrapping_add(gap).cast::<Lines>();
        // SAFETY: aligned, and inside self, whose size includes the largest gap. Any bytes are
        // Lines, and all processes change them through shared references only.
        unsafe { &*lines.cast_const() }
    }
}
