//! How a value is published and read: over atomics and nothing else, so that tests/loom can
//! run every interleaving of it.
//!
//! A cell has a row of slots, and a word that says which of them is current. The writer, of
//! whom there is one at a time, fills the next slot in the row, which no reader is told of,
//! and then publishes it. A reader copies the current slot, and looks again whether the slot is
//! still what it was: it is, unless the writer came round the whole row meanwhile. The slots
//! are a seqlock each; what differs from one seqlock is that a reader hardly ever meets the
//! writer.
//!
//! Values are numbered: version 1 is the first one. Slot `version % slots` has it. The
//! published word is the low half of the version, because it is a futex too.
//!
//! Whatever a reader finds can have been written by anybody. It is checked before it is used,
//! and the number of tries has an end.

use crate::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::errno::{Errno, Result};

/// The version of a slot that is being filled. No version comes so far.
const BUSY: u64 = u64::MAX;
/// How often a reader tries. It fails once if it is overtaken by a whole row of stores.
const TRIES: u32 = if cfg!(loom) { 3 } else { 64 };

/// What stands before the bytes of a slot.
#[repr(C)]
pub struct Slot {
    /// The version of the value, 0 if there never was one, or that of a slot that is
    /// being filled.
    pub version: AtomicU64,
    /// The length of the value.
    pub len: AtomicU64,
}

/// Where a cell is.
pub trait Memory {
    /// Says which slot.
    type Place: Copy;

    /// The low half of the current version.
    fn published(&self) -> &AtomicU32;
    /// Where the slot of a version is. The low half will do: the number of slots is a power of
    /// two that is not larger than 2^32.
    fn place(&self, version: u32) -> Self::Place;
    /// What stands before the bytes there.
    fn slot(&self, place: Self::Place) -> &Slot;
    /// Whether there can be sleepers.
    fn is_waitable(&self) -> bool;
    /// Says that the next store will fill this slot.
    fn expect_store(&self, _: Self::Place) {}
    /// Adds 1 to the published word and wakes all who sleep on it, at once.
    fn increment_and_wake(&self) -> Result<()>;
}

/// Whether a slot has the value of which `published` is the low half of the version.
#[inline]
fn is_of(version: u64, published: u32) -> bool {
    version as u32 == published && version != BUSY
}

/// Reads the current value: `copy` is told in which slot it is, the length that is written
/// there, and the version. It can be called several times; what it returned last is returned
/// here, and what it copied then is the value.
///
/// `ENODATA` if there is none yet, `EAGAIN` if writers came round again and again, `EPROTO` if
/// this is no cell.
#[inline]
pub fn load<M: Memory, T>(
    memory: &M,
    mut copy: impl FnMut(M::Place, u64, u64) -> Result<T>,
) -> Result<T> {
    match load_at_once(memory, &mut copy) {
        Some(copied) => Ok(copied),
        None => load_again(memory, copy),
    }
}

/// The first try, which is mostly the last: none where anything is not as usual, whatever it is.
#[inline(always)]
fn load_at_once<M: Memory, T>(
    memory: &M,
    copy: &mut impl FnMut(M::Place, u64, u64) -> Result<T>,
) -> Option<T> {
    // The orders are those of `attempt`.
    let published = memory.published().load(Ordering::Acquire);
    let place = memory.place(published);
    let slot = memory.slot(place);
    let version = slot.version.load(Ordering::Acquire);
    if !is_of(version, published) || version == 0 {
        return None;
    }
    let copied = copy(place, slot.len.load(Ordering::Relaxed), version).ok()?;
    fence(Ordering::Acquire);
    (slot.version.load(Ordering::Relaxed) == version).then_some(copied)
}

/// The tries after the first one, which tell what is the matter.
#[cold]
#[inline(never)]
fn load_again<M: Memory, T>(
    memory: &M,
    mut copy: impl FnMut(M::Place, u64, u64) -> Result<T>,
) -> Result<T> {
    (1..TRIES)
        .find_map(|_| attempt(memory, &mut copy))
        .unwrap_or(Err(Errno::EAGAIN))
}

/// One try of [`load`]. None if it was overtaken by a whole row of stores.
fn attempt<M: Memory, T>(
    memory: &M,
    copy: &mut impl FnMut(M::Place, u64, u64) -> Result<T>,
) -> Option<Result<T>> {
    // Pairs with the publication in `store`: who sees it sees the slot filled.
    let published = memory.published().load(Ordering::Acquire);
    let place = memory.place(published);
    let slot = memory.slot(place);
    // Pairs with the store of BUSY in `store`: who sees that, or what came after it, sees below
    // that another version is published by now.
    let version = slot.version.load(Ordering::Acquire);
    if !is_of(version, published) {
        // Only the slot after the current one is ever being filled, so this one is not current
        // any more, or this is no cell.
        let same = memory.published().load(Ordering::Relaxed) == published;
        return same.then_some(Err(Errno::EPROTO));
    }
    if version == 0 {
        return Some(Err(Errno::ENODATA));
    }
    let copied = copy(place, slot.len.load(Ordering::Relaxed), version);
    // Pairs with the fence in `store`: who has copied anything of the next value of this slot
    // sees below that the slot is busy, or already that value's.
    fence(Ordering::Acquire);
    (slot.version.load(Ordering::Relaxed) == version).then_some(copied)
}

/// Stores a value: `fill` copies it to a slot. The caller holds the writers' lock, so what is read
/// here is the last writer's, dead or alive. A writer that dies before it has published leaves what
/// its successor overwrites.
///
/// `EPROTO` if this is no cell. Any error says that nothing has been published.
#[inline]
pub fn store<M: Memory>(memory: &M, len: u64, fill: impl FnOnce(M::Place)) -> Result<()> {
    let published = memory.published().load(Ordering::Relaxed);
    let current = memory
        .slot(memory.place(published))
        .version
        .load(Ordering::Relaxed);
    if !is_of(current, published) || current >= BUSY - 1 {
        return Err(Errno::EPROTO);
    }
    let next = current + 1;
    let place = memory.place(next as u32);
    let slot = memory.slot(place);
    // The readers' processors have its lines: they come while this value is stored.
    memory.expect_store(memory.place((next + 1) as u32));
    // Pairs with the first load of the version in `attempt` and the one in `wait`.
    slot.version.store(BUSY, Ordering::Release);
    // Pairs with the fence in `attempt`: BUSY is seen before anything of the new value.
    fence(Ordering::Release);
    fill(place);
    slot.len.store(len, Ordering::Relaxed);
    // What publishes it orders it, and the value.
    slot.version.store(next, Ordering::Relaxed);
    if memory.is_waitable() {
        // The kernel publishes, and wakes. A system call is no barrier by itself, and on some
        // machines the kernel's increment is not one either: the fence makes of it the release
        // store that pairs with the load of the published word in `attempt` and `wait`.
        fence(Ordering::SeqCst);
        return memory.increment_and_wake();
    }
    // Pairs with the first load of the published word in `attempt` and `wait`.
    memory.published().store(next as u32, Ordering::Release);
    Ok(())
}

/// Returns when the version is not `seen`. `sleep` sleeps while the published word is what it
/// is told; it may return earlier. `EPROTO` if this is no cell.
pub fn wait(
    memory: &impl Memory,
    seen: u64,
    mut sleep: impl FnMut(u32) -> Result<()>,
) -> Result<()> {
    loop {
        // Pairs with the publication in `store`: who sees it sees the version in the slot.
        let published = memory.published().load(Ordering::Acquire);
        if published != seen as u32 {
            return Ok(());
        }
        // The low half is that of `seen`. The other half is in the slot. Pairs with the store of
        // BUSY in `store`, as in `attempt`.
        let version = memory
            .slot(memory.place(published))
            .version
            .load(Ordering::Acquire);
        if version != seen {
            // Another version; or the slot is being filled again, so that another one is
            // published by now.
            let changed = is_of(version, published)
                || memory.published().load(Ordering::Relaxed) != published;
            return changed.then_some(()).ok_or(Errno::EPROTO);
        }
        sleep(published)?;
    }
}
