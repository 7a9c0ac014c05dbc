//! A reader-writer lock in shared memory that outlives its readers and its writer.
//!
//! [`rw_protocol`] says how it works; here are its memory and its waits. Each slot is a robust
//! mutex on a cache line of its own, and a reader takes the slot of the processor that it runs
//! on if that is free: readers on different processors write to no common line.

use super::LockStatus;
use super::fair_mutex::FairMutex;
use super::home::{Home, Origin};
use super::process::Process;
use super::robust_mutex::{MAX_SLEEP, RobustMutex};
use super::rw_protocol::{self, Parts, WRITING};
use crate::atomic::{AtomicU32, Ordering};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::object::{Header, ObjectType};
use crate::sys;
use libc::c_int;
use std::cell::{Cell, UnsafeCell};
use std::mem::{offset_of, size_of};
use std::time::Duration;

/// How many threads can read at once.
///
/// cbindgen:ignore
pub const READERS_MAX: usize = 128;

/// The size of the lock: the header with its padding, and the lines.
///
/// cbindgen:ignore
pub const SIZE: usize = LINE + size_of::<Lines>();

/// A cache line.
const LINE: usize = 64;

/// How often a reader that found no slot free checks the slots other than that at which it
/// sleeps. Less often where a signal handler must end the call: one that runs during the check
/// does not.
const SLOT_LOOK: Duration = Duration::from_millis(5);

const OBJECT_TYPE: ObjectType = ObjectType::with_c_types(*b"uirw", 2);

/// The lock as it lies in shared memory.
#[repr(C)]
pub struct Rwlock {
    header: Header,
    _reserved: u64,
    /// [`Lines`], from the next cache line on. Mappings begin at pages, so this is the same for
    /// all processes.
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

/// What readers only read, as long as no writer comes.
#[repr(C, align(64))]
struct Control {
    state: AtomicU32,
    home: AtomicU32,
    slots_used: AtomicU32,
    progress: AtomicU32,
    starving: AtomicU32,
    origin: Origin,
}

#[repr(C, align(64))]
struct Line(RobustMutex);

const _: () = assert!(size_of::<Line>() == LINE && size_of::<Control>() == LINE);
const _: () = assert!(size_of::<Rwlock>() == SIZE);
const _: () = assert!(offset_of!(Rwlock, rest) == 16 && align_of::<Rwlock>() <= 16);

impl Rwlock {
    /// Offsets of the fields, for the golden file of layouts.
    pub const LAYOUT: [(&str, usize); 10] = [
        ("header", offset_of!(Self, header)),
        ("rest", offset_of!(Self, rest)),
        ("rest.state", offset_of!(Lines, control.state)),
        ("rest.home", offset_of!(Lines, control.home)),
        ("rest.slots_used", offset_of!(Lines, control.slots_used)),
        ("rest.progress", offset_of!(Lines, control.progress)),
        ("rest.starving", offset_of!(Lines, control.starving)),
        ("rest.origin", offset_of!(Lines, control.origin)),
        ("rest.gate", offset_of!(Lines, gate)),
        ("rest.slots", offset_of!(Lines, slots)),
    ];

    /// Makes an unlocked lock, whatever the memory held.
    pub fn init(&self) -> Result<()> {
        self.header.begin();
        let control = self.control();
        for word in [
            &control.state,
            &control.slots_used,
            &control.progress,
            &control.starving,
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

    /// Locks it for reading.
    #[inline]
    pub fn rdlock(&self, deadline: Deadline) -> Result<LockStatus> {
        rw_protocol::read(&self.begin(deadline)?)
    }

    /// Unlocks it after reading. `EPERM` if this thread does not read.
    #[inline]
    pub fn rdunlock(&self) -> Result<()> {
        self.header.check(OBJECT_TYPE)?;
        let process = Process::current()?;
        let Line(own) = self.own_slot().1;
        match own.unlock(process) {
            Err(Errno::EPERM) => self.unlock_another_slot(process),
            unlocked => unlocked,
        }
    }

    /// For a thread that has moved to another processor since, or that found its slot taken.
    #[cold]
    #[inline(never)]
    fn unlock_another_slot(&self, process: Process) -> Result<()> {
        for Line(slot) in self.slots() {
            match slot.unlock(process) {
                Err(Errno::EPERM) => {}
                unlocked => return unlocked,
            }
        }
        Err(Errno::EPERM)
    }

    /// Locks it for writing. `EDEADLK` if this thread has it in any way.
    pub fn wrlock(&self, deadline: Deadline) -> Result<LockStatus> {
        rw_protocol::write(&self.begin(deadline)?)
    }

    /// Unlocks it after writing. `EPERM` if this thread does not write.
    pub fn wrunlock(&self) -> Result<()> {
        let call = self.check_gate()?;
        // After a siglongjmp(3) out of a wait, the thread still has the gate, and gives it up.
        rw_protocol::unlock_writer(&call);
        Ok(())
    }

    /// Marks what it guards as consistent. `EPERM` if this thread does not write.
    pub fn consistent(&self) -> Result<()> {
        let call = self.check_gate()?;
        if self.control().state.load(Ordering::Relaxed) & WRITING == 0 {
            return Err(Errno::EPERM);
        }
        rw_protocol::mark_consistent(&call);
        Ok(())
    }

    /// Begins a call that locks.
    #[inline]
    fn begin(&self, mut deadline: Deadline) -> Result<Call<'_>> {
        self.header.check(OBJECT_TYPE)?;
        let process = match Process::known() {
            Some(process) if self.home().is_of(process) => process,
            _ => self.admit(&mut deadline)?,
        };
        Ok(self.call(process, deadline))
    }

    #[cold]
    #[inline(never)]
    fn admit(&self, deadline: &mut Deadline) -> Result<Process> {
        self.home().admit(deadline, || {
            for Line(mutex) in self.mutexes() {
                mutex.bury_owner();
            }
        })
    }

    #[inline]
    fn call(&self, process: Process, deadline: Deadline) -> Call<'_> {
        Call {
            lock: self,
            process,
            deadline: Cell::new(deadline),
        }
    }

    /// `EPERM` if this thread does not hold the gate.
    fn check_gate(&self) -> Result<Call<'_>> {
        self.header.check(OBJECT_TYPE)?;
        let process = Process::current()?;
        if !self.gate().robust.held_by_current_thread(process) {
            return Err(Errno::EPERM);
        }
        Ok(self.call(process, Deadline::forever()))
    }

    /// The slot of this processor.
    #[inline]
    fn own_slot(&self) -> (u32, &Line) {
        let number = sys::processor() % READERS_MAX;
        (number as u32, &self.slots()[number])
    }

    #[inline]
    fn gate(&self) -> FairMutex<'_> {
        FairMutex {
            starving: &self.control().starving,
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
    fn control(&self) -> &Control {
        &self.lines().control
    }

    fn slots(&self) -> &[Line; READERS_MAX] {
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
        // At most 48 bytes, for rest is aligned to 16.
        let gap = rest.addr().wrapping_neg() % LINE;
        let lines = rest.wrapping_add(gap).cast::<Lines>();
        // SAFETY: aligned now, and inside self, whose size allows for the gap. Any bytes are
        // Lines, which all processes change through shared references only.
        unsafe { &*lines.cast_const() }
    }
}

/// One call by one thread.
struct Call<'a> {
    lock: &'a Rwlock,
    process: Process,
    deadline: Cell<Deadline>,
}

impl<'a> Call<'a> {
    /// Runs a wait with the deadline of the call.
    fn wait<T>(&self, run: impl FnOnce(&mut Deadline) -> Result<T>) -> Result<T> {
        let mut deadline = self.deadline.get();
        let result = run(&mut deadline);
        self.deadline.set(deadline);
        result
    }

    /// `EDEADLK` if this thread reads: what it would wait for can wait for this very thread.
    fn check_not_reading(&self) -> Result<()> {
        let is_own = |Line(slot): &Line| slot.held_by_current_thread(self.process);
        if self.lock.slots().iter().any(is_own) {
            return Err(Errno::EDEADLK);
        }
        Ok(())
    }

    /// For a thread to which the C library returned `tried` for its own slot.
    #[cold]
    #[inline(never)]
    fn take_another_slot(
        &self,
        (own, number): (&'a RobustMutex, u32),
        tried: c_int,
    ) -> Result<Option<(&'a RobustMutex, u32)>> {
        let mut taken = own.conclude(self.process, tried).map(|()| (own, number));
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
                // This thread reads already. It may do so more than once.
                Err(Errno::EBUSY | Errno::EDEADLK) => {}
                Err(error) => return Err(error),
            }
            let Some((number, Line(slot))) = others.next() else {
                return Ok(None);
            };
            taken = slot.try_lock(self.process).map(|()| (slot, number));
        }
    }

    /// Whether this thread has the gate from a wait that a siglongjmp(3) has abandoned.
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

    fn lock_gate(&self, on_look: impl FnMut() -> Result<()>) -> Result<()> {
        let gate = self.lock.gate();
        match self.wait(|deadline| gate.try_lock(self.process, deadline)) {
            Err(Errno::EBUSY) => {}
            Err(Errno::EDEADLK) if self.has_abandoned_wait() => return Ok(()),
            tried => return tried,
        }
        self.check_not_reading()?;
        self.wait(|deadline| gate.wait(self.process, deadline, on_look))
    }

    fn unlock_gate(&self) {
        // It is this thread's, unless another process has overwritten it.
        let _ = self.lock.gate().robust.unlock(self.process);
    }

    #[inline]
    fn take_slot(&self) -> Result<Option<Self::Slot>> {
        let (number, Line(own)) = self.lock.own_slot();
        match own.try_lock_at_once(self.process) {
            Ok(()) => Ok(Some((own, number))),
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
        self.wait(|deadline| slot.sleep_until_unlocked(self.process, deadline, MAX_SLEEP))
    }

    #[cold]
    fn wait_for_any_slot(&self) -> Result<()> {
        let mut slots = self.lock.slots().iter();
        let other = slots.find(|Line(slot)| !slot.held_by_current_thread(self.process));
        // All are this thread's.
        let Line(slot) = other.ok_or(Errno::EDEADLK)?;
        self.wait(|deadline| {
            let look = if deadline.ends_with_signal() {
                MAX_SLEEP
            } else {
                SLOT_LOOK
            };
            slot.sleep_until_unlocked(self.process, deadline, look)
        })
    }
}
