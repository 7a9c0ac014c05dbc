//! How a value is published, read and waited for: over atomics alone, so that tests/loom can run
//! the interleavings of this code.
//!
//! A cell has an array of slots, and a published word that selects the current slot. There is one
//! writer at a time. It fills the next slot, which no reader uses yet, and then publishes it. After
//! the last slot it continues with the first. A reader copies the current slot, and then checks
//! that the slot has not changed: a slot changes only if the writer fills all slots during the
//! copy. Each slot is a seqlock. With a single seqlock, a reader would retry much more often.
//!
//! The value of the first store is version 1, and so on. A version is in slot `version % slots`.
//! The published word is the low half of the version, because it is also the futex on which threads
//! wait.
//!
//! Another process may have written any bytes into the memory. So a reader checks each number
//! before it uses it, and makes a limited number of attempts.
//!
//! | in `store` | pairs with |
//! |---|---|
//! | release of BUSY into the slot's version | `attempt`, `try_load` and `is_current`, acquire of the version |
//! | release fence after BUSY | `attempt` and `try_load`, acquire fence after the copy |
//! | the publication, a release | `attempt`, `try_load` and `is_current`, acquire of the published word |
//! | the full barrier of `Waiters::notify` | `Waiters::announce`; see [`crate::lock::announce`] |

use crate::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::errno::{Result, errno};
use crate::lock::announce::{Notifier, Waiters};

/// The version of a slot that is being filled. The versions of values are smaller.
const BUSY: u64 = u64::MAX;
/// The maximum number of attempts of a reader. An attempt fails if the writer fills all slots
/// during it.
const ATTEMPTS_MAX: u32 = if cfg!(loom) { 3 } else { 64 };

/// The header of a slot, before the bytes of the value.
#[repr(C)]
pub struct SlotHeader {
    /// The version of the value, 0 if the slot never had a value, or `BUSY`.
    pub version: AtomicU64,
    /// The length of the value.
    pub len: AtomicU64,
}

/// When a store wakes the threads that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// No thread can wait.
    Never,
    /// If a waiting thread has announced itself.
    Announced,
    /// With each store, because threads may wait that cannot write to the memory.
    Always,
}

/// The memory of a cell.
pub trait CellMemory {
    /// Identifies a slot.
    type Slot: Copy;

    /// The low half of the current version.
    fn published(&self) -> &AtomicU32;
    /// The announcement of the threads that wait.
    fn waiters(&self) -> &Waiters;
    /// The slot of the version with this low half. The low half suffices, because the number of
    /// slots is a power of two of at most 2^32.
    fn slot(&self, version: u32) -> Self::Slot;
    /// The header of a slot.
    fn header(&self, slot: Self::Slot) -> &SlotHeader;
    /// When a store wakes the threads that wait.
    fn wake(&self) -> Wake;
    /// Prefetches a slot that the next store will fill.
    fn prefetch_write(&self, _: Self::Slot) {}
    /// Adds 1 to the published word and wakes all threads that sleep on it, in one system call.
    /// Returns the number of threads woken.
    fn increment_and_wake(&self) -> Result<u32>;
    /// Wakes all threads that sleep on the published word. Returns the number of threads woken.
    fn wake_all(&self) -> u32;
}

/// Whether `published` is the low half of this version, and the slot is not being filled.
#[inline]
fn matches_published(version: u64, published: u32) -> bool {
    version as u32 == published && version != BUSY
}

/// Reads the current value. `load` calls `copy` with the slot of the value, its length and its
/// version. It may call `copy` several times; the last copy is the value, and its result is
/// returned.
///
/// `ENODATA` if there is no value yet, `EAGAIN` if writers overtook each attempt, `EPROTO` if the
/// memory is not a cell.
#[inline]
pub fn load<M: CellMemory, T>(
    memory: &M,
    mut copy: impl FnMut(M::Slot, u64, u64) -> Result<T>,
) -> Result<T> {
    match try_load(memory, &mut copy) {
        Some(copied) => Ok(copied),
        None => load_slow(memory, copy),
    }
}

/// The first attempt, which nearly always succeeds. None if it failed for any reason.
#[inline(always)]
fn try_load<M: CellMemory, T>(
    memory: &M,
    copy: &mut impl FnMut(M::Slot, u64, u64) -> Result<T>,
) -> Option<T> {
    // The orderings are those of `attempt`.
    let published = memory.published().load(Ordering::Acquire);
    let slot = memory.slot(published);
    let header = memory.header(slot);
    let version = header.version.load(Ordering::Acquire);
    if !matches_published(version, published) || version == 0 {
        return None;
    }
    let copied = copy(slot, header.len.load(Ordering::Relaxed), version).ok()?;
    fence(Ordering::Acquire);
    (header.version.load(Ordering::Relaxed) == version).then_some(copied)
}

/// The attempts after the first one, which also determine the reason of a failure.
#[cold]
#[inline(never)]
fn load_slow<M: CellMemory, T>(
    memory: &M,
    mut copy: impl FnMut(M::Slot, u64, u64) -> Result<T>,
) -> Result<T> {
    (1..ATTEMPTS_MAX)
        .find_map(|_| attempt(memory, &mut copy))
        .unwrap_or(Err(errno!(EAGAIN)))
}

/// One attempt of [`load`]. None if writers overtook it.
fn attempt<M: CellMemory, T>(
    memory: &M,
    copy: &mut impl FnMut(M::Slot, u64, u64) -> Result<T>,
) -> Option<Result<T>> {
    // Pairs with the publication in `store`: a thread that sees it sees the filled slot.
    let published = memory.published().load(Ordering::Acquire);
    let slot = memory.slot(published);
    let header = memory.header(slot);
    // Pairs with the release of BUSY in `store`: a thread that sees BUSY, or a later version, sees
    // below that another version has been published.
    let version = header.version.load(Ordering::Acquire);
    if !matches_published(version, published) {
        // A writer fills only the slot after the current one. So this slot is no longer current, or
        // the memory is not a cell.
        let same = memory.published().load(Ordering::Relaxed) == published;
        return same.then_some(Err(errno!(EPROTO)));
    }
    if version == 0 {
        return Some(Err(errno!(ENODATA)));
    }
    let copied = copy(slot, header.len.load(Ordering::Relaxed), version);
    // Pairs with the release fence in `store`: a thread that has copied any part of the next value
    // of this slot sees below that the slot is BUSY, or has a later version.
    fence(Ordering::Acquire);
    (header.version.load(Ordering::Relaxed) == version).then_some(copied)
}

/// Stores a value. `fill` copies the value to a slot. The caller holds the writers' lock, which
/// orders the plain loads here after the stores of all earlier writers, living or dead. If a writer
/// died before its publication, this call fills the same slot again.
///
/// `EPROTO` if the memory is not a cell. After an error nothing has been published.
#[inline]
pub fn store<M: CellMemory>(memory: &M, len: u64, fill: impl FnOnce(M::Slot)) -> Result<()> {
    let published = memory.published().load(Ordering::Relaxed);
    let current = memory
        .header(memory.slot(published))
        .version
        .load(Ordering::Relaxed);
    if !matches_published(current, published) || current >= BUSY - 1 {
        return Err(errno!(EPROTO));
    }
    let next = current + 1;
    let slot = memory.slot(next as u32);
    let header = memory.header(slot);
    // The readers' processors have the cache lines of the slot after `next`. The prefetch transfers
    // them while this value is stored.
    memory.prefetch_write(memory.slot((next + 1) as u32));
    // Pairs with the first load of the version in `attempt` and with the one in `is_current`.
    header.version.store(BUSY, Ordering::Release);
    // Pairs with the acquire fence in `attempt`: BUSY is visible before any part of the new value.
    fence(Ordering::Release);
    fill(slot);
    header.len.store(len, Ordering::Relaxed);
    // Relaxed: the publication below is a release.
    header.version.store(next, Ordering::Relaxed);
    // Each form of the publication pairs with the acquire load of the published word in `attempt`
    // and `is_current`.
    match memory.wake() {
        Wake::Never => memory.published().store(next as u32, Ordering::Release),
        Wake::Announced => memory.waiters().notify(&Publication {
            memory,
            version: next as u32,
        }),
        Wake::Always => {
            // Neither a system call nor, on some machines, the kernel's increment is a barrier.
            // This fence makes the increment a release operation.
            fence(Ordering::SeqCst);
            memory.increment_and_wake()?;
        }
    }
    Ok(())
}

/// The publication of a version, which wakes all waiting threads.
struct Publication<'a, M> {
    memory: &'a M,
    version: u32,
}

impl<M: CellMemory> Notifier for Publication<'_, M> {
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

/// Waits until the version is not `seen`. `sleep` sleeps while the published word has the value of
/// its argument; it may return earlier. `EPROTO` if the memory is not a cell.
pub fn wait(
    memory: &impl CellMemory,
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

/// Whether the current version is `seen`. `EPROTO` if the memory is not a cell.
pub fn is_current(memory: &impl CellMemory, seen: u64) -> Result<bool> {
    // Pairs with the publication in `store`: a thread that sees it sees the slot's version.
    let published = memory.published().load(Ordering::Acquire);
    if published != seen as u32 {
        return Ok(false);
    }
    // The low halves are equal; the slot has the whole version. Pairs with the release of BUSY in
    // `store`, as in `attempt`.
    let version = memory
        .header(memory.slot(published))
        .version
        .load(Ordering::Acquire);
    if version == seen {
        return Ok(true);
    }
    // Either the slot has another version with this low half, or a writer is filling the slot again
    // and has published another version.
    let changed = matches_published(version, published)
        || memory.published().load(Ordering::Relaxed) != published;
    if changed {
        Ok(false)
    } else {
        Err(errno!(EPROTO))
    }
}
