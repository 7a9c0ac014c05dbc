//! The protocol of the reader-writer lock, over its parts: so tests/loom runs this very code.
//!
//! There is a gate, which one thread holds at a time, and a row of slots, one for each reader.
//! A reader takes a free slot and then checks that no writer has barred the way; if one has, it
//! gives the slot back and goes through the gate. A writer locks the gate, bars the way and waits
//! until every slot that was ever used is free. The gate and the slots are robust mutexes: the
//! kernel releases those of a killed thread.
//!
//! # The state
//!
//! | bit | meaning | set by | cleared by |
//! |---|---|---|---|
//! | [`PENDING`] | the holder of the gate waits for slots | the holder of the gate | the holder; a reader, if the holder has stopped |
//! | [`WRITING`] | the holder of the gate writes, or died writing | the holder of the gate | the holder; the next holder, which sets [`DAMAGED`] |
//! | [`DAMAGED`] | a writer died, and no writer has marked the data consistent | the next holder of the gate | a writer |
//!
//! # Why a reader and a writer exclude each other
//!
//! A reader takes its slot, passes a full barrier and reads the state; a writer sets `PENDING`,
//! passes a full barrier and reads the slots. So the reader sees `PENDING`, or the writer sees the
//! slot (Dekker's algorithm). A writer that is stopped while it waits would bar the way to all
//! readers; a reader that sees no progress for [`STALLED_CHECKS_MAX`] looks clears `PENDING`. Therefore a
//! writer that has found all slots free changes `PENDING` to `WRITING` in one exchange, and starts
//! again if a reader has cleared it.
//!
//! The slots are the lock of brlock and of Hsieh and Weihl's "Scalable Reader-Writer Locks for
//! Parallel Systems" (1992), with slots that survive their readers. That a writer checks the slots
//! instead of locking them is Dekker's algorithm, as in Linux's percpu-rwsem.

use super::LockStatus;
use crate::atomic::{AtomicU32, Ordering, fence};
use crate::errno::{Errno, Result};

/// A bit of the state: the holder of the gate waits for slots.
///
/// cbindgen:ignore
pub const PENDING: u32 = 1;
/// A bit of the state: the holder of the gate writes, or died writing.
///
/// cbindgen:ignore
pub const WRITING: u32 = 2;
/// A bit of the state: a writer died, and no writer has marked the data consistent since.
///
/// cbindgen:ignore
pub const DAMAGED: u32 = 4;
/// With one of these a reader does not enter past the gate.
const READERS_BLOCKED: u32 = PENDING | WRITING;

/// How many looks in a row a reader makes at the gate without progress of its holder before it
/// takes the holder for stopped. A waiting holder makes progress at every look of its own.
///
/// cbindgen:ignore
pub const STALLED_CHECKS_MAX: u32 = 4;

/// The parts of the lock.
pub trait Parts {
    /// Names a slot.
    type Slot: Copy;

    /// The state.
    fn state(&self) -> &AtomicU32;
    /// How many slots, counted from the first, have ever been used.
    fn slots_used(&self) -> &AtomicU32;
    /// Changes whenever the holder of the gate looks for free slots.
    fn progress(&self) -> &AtomicU32;
    /// Locks the gate, and waits for it. `after_sleep` runs now and then during the wait and can end the
    /// wait with an error.
    fn lock_gate(&self, after_sleep: impl FnMut() -> Result<()>) -> Result<()>;
    /// Unlocks the gate.
    fn unlock_gate(&self);
    /// Takes a free slot: with an atomic read-modify-write. None if there is none.
    fn take_slot(&self) -> Result<Option<Self::Slot>>;
    /// The number of a slot.
    fn number_of(&self, slot: Self::Slot) -> u32;
    /// Gives a slot back.
    fn release_slot(&self, slot: Self::Slot);
    /// Whether no reader has the slot of this number. The caller then sees all that its
    /// last reader did.
    fn is_slot_free(&self, number: u32) -> bool;
    /// Sleeps until the slot of this number may be free, or for one look.
    fn wait_for_slot(&self, number: u32) -> Result<()>;
    /// Sleeps until some slot may be free, or for one look.
    fn wait_for_any_slot(&self) -> Result<()>;
}

/// Locks for reading.
#[inline]
pub fn read<P: Parts>(parts: &P) -> Result<LockStatus> {
    // Old or not, it only says which way to go.
    if parts.state().load(Ordering::Relaxed) & READERS_BLOCKED == 0
        && let Some(status) = try_read(parts)?
    {
        return Ok(status);
    }
    read_slow(parts)
}

/// Locks for reading past the gate. None if the way is barred, or no slot is free.
#[inline(always)]
fn try_read<P: Parts>(parts: &P) -> Result<Option<LockStatus>> {
    let Some(slot) = parts.take_slot()? else {
        return Ok(None);
    };
    record_use(parts, slot);
    slot_barrier();
    // Pairs with the stores to the state in `unlock_writer` and `read_slow`.
    let state = parts.state().load(Ordering::Acquire);
    if state & READERS_BLOCKED == 0 {
        return Ok(Some(status(state)));
    }
    parts.release_slot(slot);
    Ok(None)
}

/// Has writers look at the slot too.
#[inline]
fn record_use<P: Parts>(parts: &P, slot: P::Slot) {
    let used = parts.number_of(slot) + 1;
    if parts.slots_used().load(Ordering::Relaxed) < used {
        // Before the barrier of the reader.
        parts.slots_used().fetch_max(used, Ordering::Relaxed);
    }
}

/// The reader's full barrier between taking a slot and reading the state. Pairs with the fence in
/// `wait_for_readers`. On x86-64 the read-modify-write that took the slot is one. On AArch64 and
/// the others it is not: a later load can pass its store.
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
            // The way is no longer barred.
            Err(Errno::EBUSY) => {
                if let Some(status) = try_read(parts)? {
                    return Ok(status);
                }
            }
            Err(error) => return Err(error),
        }
    }
    let damage = inherited_damage(parts);
    let slot = wait_to_take_slot(parts, damage);
    // Before the gate opens; see `inherited_damage` for the order.
    parts.state().store(damage, Ordering::Release);
    parts.unlock_gate();
    slot.map(|_| status(damage))
}

/// What a reader at the gate has seen of its holder.
#[derive(Default)]
pub struct GateProgress {
    progress: Option<u32>,
    stalled_checks: u32,
}

/// Locks the gate. `EBUSY` if the way is not barred, or no longer.
fn lock_gate_as_reader<P: Parts>(parts: &P) -> Result<()> {
    let mut seen = GateProgress::default();
    parts.lock_gate(|| check_as_reader(parts, &mut seen))
}

/// A look of a reader at the gate. `EBUSY` if the way is not barred, or no longer.
pub fn check_as_reader<P: Parts>(parts: &P, seen: &mut GateProgress) -> Result<()> {
    let state = parts.state().load(Ordering::Relaxed);
    if state & READERS_BLOCKED == 0 {
        return Err(Errno::EBUSY);
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
    // Pairs with the stores to the state, as in `try_read`, and passes them on.
    let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
    let opened = parts
        .state()
        .compare_exchange(state, state & !PENDING, success, failure);
    if opened.is_ok() {
        Err(Errno::EBUSY)
    } else {
        Ok(())
    }
}

/// For the holder of the gate: takes a slot.
fn wait_to_take_slot<P: Parts>(parts: &P, damage: u32) -> Result<P::Slot> {
    loop {
        if let Some(slot) = parts.take_slot()? {
            record_use(parts, slot);
            return Ok(slot);
        }
        // Later readers do not overtake this one.
        parts.state().store(PENDING | damage, Ordering::Release);
        parts.wait_for_any_slot()?;
        note_progress(parts);
    }
}

/// For the holder of the gate, the only thread that writes the number.
fn note_progress<P: Parts>(parts: &P) {
    let progress = parts.progress();
    let next = progress.load(Ordering::Relaxed).wrapping_add(1);
    progress.store(next, Ordering::Relaxed);
}

/// For the new holder of the gate: the damage that the state reports. The other bits are left from
/// a holder that died, or that abandoned its wait.
///
/// A thread that reads the state without the gate reads the store of a holder of the gate. That
/// holder saw the changes by all writers before it, and every store to the state is a release.
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
        // Pairs with `slot_barrier`.
        fence(Ordering::SeqCst);
        let used = parts.slots_used().load(Ordering::Relaxed);
        let busy = (0..used).find(|number| !parts.is_slot_free(*number));
        if let Some(number) = busy {
            // It bars the way again afterwards, if a reader has let others in.
            parts.wait_for_slot(number)?;
            continue;
        }
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        let writing = WRITING | damage;
        // It fails if a reader has let others in.
        if parts
            .state()
            .compare_exchange(pending, writing, success, failure)
            .is_ok()
        {
            return Ok(());
        }
    }
}

/// For the writer: unlocks.
pub fn unlock_writer<P: Parts>(parts: &P) {
    let state = parts.state().load(Ordering::Relaxed);
    parts.state().store(state & DAMAGED, Ordering::Release);
    parts.unlock_gate();
}

/// For the writer: the data is consistent.
pub fn mark_consistent<P: Parts>(parts: &P) {
    parts.state().store(WRITING, Ordering::Release);
}
