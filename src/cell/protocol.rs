//! How a value is published and read: over atomics alone, so that tests/loom can run every
//! interleaving of it.
//!
//! A cell has a row of slots, and a word that says which of them is current. There is one writer
//! at a time. It fills the next slot in the row, which no reader uses yet, and then publishes it.
//! A reader copies the current slot, and then checks that the slot has not changed: it changes only
//! if the writer fills the whole row during the copy. Each slot is a seqlock; unlike with a single
//! seqlock, a reader hardly ever meets the writer.
//!
//! Values are numbered: version 1 is the first one. Slot `version % slots` has it. The
//! published word is the low half of the version, because it is a futex too.
//!
//! Another process can have written anything into the memory. A reader checks each number before
//! it uses it, and the number of its attempts is limited.

use crate::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::errno::{Errno, Result};
use crate::lock::announce::{Notifier, Waiters};

/// The version of a slot that is being filled. The versions of values stay below it.
const BUSY: u64 = u64::MAX;
/// The number of attempts of a reader. One fails if the writer fills the whole row during it.
const TRIES: u32 = if cfg!(loom) { 3 } else { 64 };

/// The beginning of a slot, before the bytes of the value.
#[repr(C)]
pub struct Slot {
    /// The version of the value, 0 if the slot never had one, or `BUSY`.
    pub version: AtomicU64,
    /// The length of the value.
    pub len: AtomicU64,
}

/// When a store wakes the threads that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// No thread can wait.
    Never,
    /// If a thread has announced itself.
    Announced,
    /// With each store: threads wait that cannot write to the memory.
    Always,
}

/// The memory of a cell.
pub trait Memory {
    /// Identifies a slot.
    type Place: Copy;

    /// The low half of the current version.
    fn published(&self) -> &AtomicU32;
    /// The announcement of the threads that wait.
    fn waiters(&self) -> &Waiters;
    /// The slot of a version. The low half is enough: the number of slots is a power of
    /// two that is not larger than 2^32.
    fn place(&self, version: u32) -> Self::Place;
    /// The beginning of a slot.
    fn slot(&self, place: Self::Place) -> &Slot;
    /// When a store wakes the threads that wait.
    fn wake(&self) -> Wake;
    /// Hints that the next store will fill this slot.
    fn expect_store(&self, _: Self::Place) {}
    /// Adds 1 to the published word and wakes all threads that sleep on it, in one system call.
    /// Returns how many.
    fn increment_and_wake(&self) -> Result<u32>;
    /// Wakes all threads that sleep on the published word. Returns how many.
    fn wake_all(&self) -> u32;
}

/// Whether a slot has the value of which `published` is the low half of the version.
#[inline]
fn is_of(version: u64, published: u32) -> bool {
    version as u32 == published && version != BUSY
}

/// Reads the current value: `copy` gets its slot, the length in the slot, and the version. `load`
/// may call it several times, and returns its last result; the last copy is the value.
///
/// `ENODATA` if there is no value yet, `EAGAIN` if writers overtook each attempt, `EPROTO` if
/// this is not a cell.
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

/// The first attempt, which nearly always succeeds. None if anything is unusual.
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

/// The attempts after the first one, which find the reason of a failure.
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

/// One attempt of [`load`]. None if writers overtook it.
fn attempt<M: Memory, T>(
    memory: &M,
    copy: &mut impl FnMut(M::Place, u64, u64) -> Result<T>,
) -> Option<Result<T>> {
    // Pairs with the publication in `store`: a thread that sees it sees the slot filled.
    let published = memory.published().load(Ordering::Acquire);
    let place = memory.place(published);
    let slot = memory.slot(place);
    // Pairs with the store of BUSY in `store`: a thread that sees BUSY, or a later version, sees
    // below that another version has been published.
    let version = slot.version.load(Ordering::Acquire);
    if !is_of(version, published) {
        // A writer fills only the slot after the current one. So this slot is no longer current,
        // or this is not a cell.
        let same = memory.published().load(Ordering::Relaxed) == published;
        return same.then_some(Err(Errno::EPROTO));
    }
    if version == 0 {
        return Some(Err(Errno::ENODATA));
    }
    let copied = copy(place, slot.len.load(Ordering::Relaxed), version);
    // Pairs with the fence in `store`: a thread that has copied any part of the next value of this
    // slot sees below that the slot is BUSY, or has a later version.
    fence(Ordering::Acquire);
    (slot.version.load(Ordering::Relaxed) == version).then_some(copied)
}

/// Stores a value: `fill` copies it to a slot. The caller holds the writers' lock, so the last
/// writer wrote the words that are read here, whether it lives or not. The slot of a writer that died
/// before its publication is filled again.
///
/// `EPROTO` if this is not a cell. After an error nothing has been published.
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
    // The readers' processors have its lines: they arrive while this value is stored.
    memory.expect_store(memory.place((next + 1) as u32));
    // Pairs with the first load of the version in `attempt` and the one in `is_current`.
    slot.version.store(BUSY, Ordering::Release);
    // Pairs with the fence in `attempt`: BUSY is visible before any part of the new value.
    fence(Ordering::Release);
    fill(place);
    slot.len.store(len, Ordering::Relaxed);
    // The publication orders this store and the value.
    slot.version.store(next, Ordering::Relaxed);
    // Each publication pairs with the first load of the published word in `attempt` and
    // `is_current`.
    match memory.wake() {
        Wake::Never => memory.published().store(next as u32, Ordering::Release),
        Wake::Announced => memory.waiters().notify(&Publication {
            memory,
            version: next as u32,
        }),
        Wake::Always => {
            // A system call is no barrier by itself, and on some machines the kernel's increment
            // is none either: this fence makes the increment a release operation.
            fence(Ordering::SeqCst);
            memory.increment_and_wake()?;
        }
    }
    Ok(())
}

/// The publication of a version, which wakes all threads that wait.
struct Publication<'a, M> {
    memory: &'a M,
    version: u32,
}

impl<M: Memory> Notifier for Publication<'_, M> {
    fn wake_limit(&self) -> u32 {
        u32::MAX
    }

    fn publish(&self) {
        let published = self.memory.published();
        published.swap(self.version, Ordering::SeqCst);
    }

    fn wake(&self) -> u32 {
        self.memory.wake_all()
    }

    fn publish_and_wake(&self) -> Result<u32> {
        self.memory.increment_and_wake()
    }
}

/// Returns when the version is not `seen`. `sleep` sleeps while the published word has the value
/// that it gets; it may return earlier. `EPROTO` if this is not a cell.
pub fn wait(
    memory: &impl Memory,
    seen: u64,
    mut sleep: impl FnMut(u32) -> Result<()>,
) -> Result<()> {
    while is_current(memory, seen)? {
        if memory.wake() == Wake::Announced {
            memory.waiters().announce();
            if !is_current(memory, seen)? {
                break;
            }
        }
        sleep(seen as u32)?;
    }
    Ok(())
}

/// Whether the current version is `seen`. `EPROTO` if this is not a cell.
pub fn is_current(memory: &impl Memory, seen: u64) -> Result<bool> {
    // Pairs with the publication in `store`: a thread that sees it sees the version in the slot.
    let published = memory.published().load(Ordering::Acquire);
    if published != seen as u32 {
        return Ok(false);
    }
    // The low half is that of `seen`. The other half is in the slot. Pairs with the store of
    // BUSY in `store`, as in `attempt`.
    let version = memory
        .slot(memory.place(published))
        .version
        .load(Ordering::Acquire);
    if version == seen {
        return Ok(true);
    }
    // Another version; or a writer fills the slot again, so that it has published another one.
    let changed =
        is_of(version, published) || memory.published().load(Ordering::Relaxed) != published;
    if changed {
        Ok(false)
    } else {
        Err(Errno::EPROTO)
    }
}
