//! The protocol of the reader-writer lock: over a trait, so that tests/loom can run this code.
//!
//! The lock has a gate, which one thread holds at a time, and an array of slots, one for each
//! reader. A reader takes a free slot and then checks that no writer blocks readers. If a writer
//! does, the reader releases the slot and locks the gate. A writer locks the gate, blocks readers,
//! and waits until every slot that was ever used is free. The gate and the slots are robust mutexes:
//! the kernel releases those of a killed thread.
//!
//! # The state
//!
//! | bit | meaning | set by | cleared by |
//! |---|---|---|---|
//! | [`PENDING`] | the holder of the gate waits for slots | the holder of the gate | the holder; a reader, if the holder is stopped |
//! | [`WRITING`] | the holder of the gate writes, or died while writing | the holder of the gate | the holder; the next holder, which sets [`DAMAGED`] |
//! | [`DAMAGED`] | a writer died, and no writer has marked the data as consistent | the next holder of the gate | a writer |
//!
//! # Why a reader and a writer exclude each other
//!
//! A reader takes its slot, executes a full barrier and reads the state. A writer sets `PENDING`,
//! executes a full barrier and reads the slots. So the reader sees `PENDING`, or the writer sees the
//! slot (Dekker's algorithm).
//!
//! A writer that is stopped while it waits would block all readers. So a reader whose last
//! [`STALLED_CHECKS_MAX`] checks found no progress clears `PENDING`. Therefore a writer that has
//! found all slots free changes `PENDING` to `WRITING` in one exchange, and starts again if a reader
//! has cleared `PENDING`.
//!
//! | barrier or release | pairs with |
//! |---|---|
//! | `slot_barrier`, full barrier after a slot is taken | `wait_for_readers`, full fence after `PENDING` is set |
//! | every store to the state by a holder of the gate, a release | `try_read` and `check_as_reader`, acquire of the state |
//! | the release of a slot by its reader | `Parts::is_slot_free`, acquire |
//!
//! Slots for readers are known from Linux's brlock and from Hsieh and Weihl's "Scalable
//! Reader-Writer Locks for Parallel Systems" (1992); here the slots survive their readers. A writer
//! checks the slots instead of locking them, as in Linux's percpu-rwsem.

use super::LockStatus;
use crate::atomic::{AtomicU32, Ordering, fence};
use crate::errno::{Errno, Result, errno};

/// A bit of the state: the holder of the gate waits for slots.
///
/// cbindgen:ignore
pub const PENDING: u32 = 1;
/// A bit of the state: the holder of the gate writes, or died while writing.
///
/// cbindgen:ignore
pub const WRITING: u32 = 2;
/// A bit of the state: a writer died, and no writer has marked the data as consistent since.
///
/// cbindgen:ignore
pub const DAMAGED: u32 = 4;
/// The bits that block readers: a reader that sees one of them must lock the gate.
const READERS_BLOCKED: u32 = PENDING | WRITING;

/// The number of checks in a row without progress after which a reader treats the holder of the
/// gate as stopped. A holder that waits makes progress whenever it checks the slots.
///
/// cbindgen:ignore
pub const STALLED_CHECKS_MAX: u32 = 4;

/// The parts of the lock.
pub trait Parts {
    /// Identifies a slot.
    type Slot: Copy;

    /// The state.
    fn state(&self) -> &AtomicU32;
    /// 1 + the largest number of a slot that has ever been used; 0 if none has.
    fn slots_used(&self) -> &AtomicU32;
    /// A counter that the holder of the gate increments whenever it checks the slots.
    fn progress(&self) -> &AtomicU32;
    /// Waits for the gate and locks it. `after_sleep` runs periodically during the wait. Its error
    /// ends the wait.
    fn lock_gate(&self, after_sleep: impl FnMut() -> Result<()>) -> Result<()>;
    /// Unlocks the gate.
    fn unlock_gate(&self);
    /// Takes a free slot by an atomic read-modify-write operation. None if no slot is free.
    fn take_slot(&self) -> Result<Option<Self::Slot>>;
    /// The number of a slot.
    fn number_of(&self, slot: Self::Slot) -> u32;
    /// Releases a slot.
    fn release_slot(&self, slot: Self::Slot);
    /// Whether the slot with this number is free. If so, the caller's later accesses are ordered
    /// after those of the last reader (acquire).
    fn is_slot_free(&self, number: u32) -> bool;
    /// Sleeps until the slot with this number may be free, for a limited time.
    fn wait_for_slot(&self, number: u32) -> Result<()>;
    /// Sleeps until any slot may be free, for a limited time.
    fn wait_for_any_slot(&self) -> Result<()>;
}

/// Locks for reading.
#[inline]
pub fn read<P: Parts>(parts: &P) -> Result<LockStatus> {
    // Relaxed, as a hint: `try_read` checks the state again.
    if parts.state().load(Ordering::Relaxed) & READERS_BLOCKED != 0 {
        return read_slow(parts);
    }
    match try_read(parts)? {
        Some(status) => Ok(status),
        None => read_slow(parts),
    }
}

/// Locks for reading without the gate. None if a writer blocks readers, or if no slot is free.
#[inline(always)]
fn try_read<P: Parts>(parts: &P) -> Result<Option<LockStatus>> {
    let Some(slot) = parts.take_slot()? else {
        return Ok(None);
    };
    record_use(parts, slot);
    slot_barrier();
    // Pairs with the releases of the state by the holders of the gate.
    let state = parts.state().load(Ordering::Acquire);
    if state & READERS_BLOCKED == 0 {
        return Ok(Some(status(state)));
    }
    parts.release_slot(slot);
    Ok(None)
}

/// Records that a slot is used, so that writers check it.
#[inline]
fn record_use<P: Parts>(parts: &P, slot: P::Slot) {
    let used = parts.number_of(slot) + 1;
    if parts.slots_used().load(Ordering::Relaxed) < used {
        // Relaxed: `slot_barrier` follows, or the caller holds the gate.
        parts.slots_used().fetch_max(used, Ordering::Relaxed);
    }
}

/// The reader's full barrier between taking a slot and reading the state. Pairs with the full fence
/// in `wait_for_readers`. On x86-64 the read-modify-write operation that took the slot is a full
/// barrier. On AArch64 and others it is not: a later load can be reordered before its store.
#[inline]
fn slot_barrier() {
    if cfg!(all(target_arch = "x86_64", not(loom))) {
        crate::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

fn status(state: u32) -> LockStatus {
    LockStatus::of(state & DAMAGED != 0)
}

#[cold]
fn read_slow<P: Parts>(parts: &P) -> Result<LockStatus> {
    loop {
        match lock_gate_as_reader(parts) {
            Ok(()) => break,
            // The writer no longer blocks readers.
            Err(error) if error == Errno::EBUSY => {
                if let Some(status) = try_read(parts)? {
                    return Ok(status);
                }
            }
            Err(error) => return Err(error),
        }
    }
    let damage = inherited_damage(parts);
    let slot = wait_to_take_slot(parts, damage);
    // Before the gate is unlocked; see `inherited_damage` for the ordering.
    parts.state().store(damage, Ordering::Release);
    parts.unlock_gate();
    slot.map(|_| status(damage))
}

/// The progress of the holder of the gate, as a waiting reader has seen it.
#[derive(Default)]
pub struct GateProgress {
    /// The value of the counter at the last check.
    progress: Option<u32>,
    /// The number of checks in a row without progress.
    stalled_checks: u32,
}

/// Locks the gate for a reader. `EBUSY` if no writer blocks readers any longer.
fn lock_gate_as_reader<P: Parts>(parts: &P) -> Result<()> {
    let mut seen = GateProgress::default();
    parts.lock_gate(|| check_as_reader(parts, &mut seen))
}

/// A check by a reader that waits for the gate. Clears `PENDING` if the holder is stopped. `EBUSY`
/// if no writer blocks readers any longer.
pub fn check_as_reader<P: Parts>(parts: &P, seen: &mut GateProgress) -> Result<()> {
    let state = parts.state().load(Ordering::Relaxed);
    if state & READERS_BLOCKED == 0 {
        return Err(errno!(EBUSY));
    }
    let progress = Some(parts.progress().load(Ordering::Relaxed));
    if state & WRITING != 0 || seen.progress != progress {
        (seen.progress, seen.stalled_checks) = (progress, 0);
        return Ok(());
    }
    seen.stalled_checks += 1;
    if seen.stalled_checks < STALLED_CHECKS_MAX {
        return Ok(());
    }
    seen.stalled_checks = 0;
    // Pairs with the releases of the state as in `try_read`, and is a release for later readers.
    let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
    let opened = parts
        .state()
        .compare_exchange(state, state & !PENDING, success, failure);
    if opened.is_ok() {
        Err(errno!(EBUSY))
    } else {
        Ok(())
    }
}

/// For the holder of the gate: waits for a free slot and takes it.
fn wait_to_take_slot<P: Parts>(parts: &P, damage: u32) -> Result<P::Slot> {
    loop {
        if let Some(slot) = parts.take_slot()? {
            record_use(parts, slot);
            return Ok(slot);
        }
        // Blocks later readers, so that they do not overtake this one.
        parts.state().store(PENDING | damage, Ordering::Release);
        parts.wait_for_any_slot()?;
        note_progress(parts);
    }
}

/// For the holder of the gate: increments the counter, which no other thread writes.
fn note_progress<P: Parts>(parts: &P) {
    let progress = parts.progress();
    let next = progress.load(Ordering::Relaxed).wrapping_add(1);
    progress.store(next, Ordering::Relaxed);
}

/// For the new holder of the gate: `DAMAGED` if the state has it, or if the last holder died while
/// writing. Other bits of the state are left from a holder that died or abandoned its wait.
///
/// A thread that reads the state without the gate reads a value that a holder of the gate has
/// stored. That holder saw the changes of all earlier writers, and every store to the state is a
/// release.
fn inherited_damage<P: Parts>(parts: &P) -> u32 {
    let state = parts.state().load(Ordering::Relaxed);
    if state & WRITING != 0 {
        DAMAGED
    } else {
        state & DAMAGED
    }
}

/// Locks for writing.
pub fn write<P: Parts>(parts: &P) -> Result<LockStatus> {
    parts.lock_gate(|| Ok(()))?;
    let damage = inherited_damage(parts);
    match wait_for_readers(parts, damage) {
        Ok(()) => Ok(status(damage)),
        Err(error) => {
            parts.state().store(damage, Ordering::Release);
            parts.unlock_gate();
            Err(error)
        }
    }
}

/// For the holder of the gate: waits until no reader has a slot, and sets `WRITING`.
fn wait_for_readers<P: Parts>(parts: &P, damage: u32) -> Result<()> {
    let pending = PENDING | damage;
    loop {
        note_progress(parts);
        parts.state().store(pending, Ordering::Release);
        // Pairs with the full barrier in `slot_barrier`.
        fence(Ordering::SeqCst);
        let used = parts.slots_used().load(Ordering::Relaxed);
        let busy = (0..used).find(|number| !parts.is_slot_free(*number));
        if let Some(number) = busy {
            // If a reader clears `PENDING` during the sleep, the next iteration sets it again.
            parts.wait_for_slot(number)?;
            continue;
        }
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        let writing = WRITING | damage;
        // The exchange fails if a reader has cleared `PENDING`.
        if parts
            .state()
            .compare_exchange(pending, writing, success, failure)
            .is_ok()
        {
            return Ok(());
        }
    }
}

/// Unlocks. For the writer.
pub fn unlock_writer<P: Parts>(parts: &P) {
    let state = parts.state().load(Ordering::Relaxed);
    parts.state().store(state & DAMAGED, Ordering::Release);
    parts.unlock_gate();
}

/// Marks the guarded data as consistent. For the writer.
pub fn mark_consistent<P: Parts>(parts: &P) {
    parts.state().store(WRITING, Ordering::Release);
}
