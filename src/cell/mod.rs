//! The cell: the current value of something. Many processes read it while others replace it, and
//! no reader ever sees a part of a value.
//!
//! | module | responsibility |
//! |---|---|
//! | [`protocol`] | how a value is published, read and waited for, over atomics alone |
//! | `layout` | the layout of the memory |
//! | `lock` | excludes writers from each other |
//!
//! [`shared_copy`] copies bytes that another process may overwrite meanwhile.

mod layout;
mod lock;
pub mod protocol;

use crate::atomic::AtomicU32;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::lock::announce::{self, Waiters};
use crate::shared_copy;
use crate::sys::{self, cache, futex};
use layout::{ALIGN, Layout};
use libc::c_int;
use lock::SoleWriter;
use protocol::{Memory, Slot};
use std::mem::{self, MaybeUninit};
use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use layout::Control;
pub use protocol::Wake;

/// The longest sleep of a waiter that announces nothing. A process that can only read the memory
/// can still move the waiters to another futex (`FUTEX_REQUEUE`), where no store wakes them.
const MAX_SLEEP: Duration = Duration::from_secs(1);

/// A cell in memory that this process has mapped: its address, and the sizes read when it was
/// opened. The sizes in the memory itself are not read again.
pub struct Cell {
    memory: NonNull<u8>,
    layout: Layout,
    access: Access,
}

/// The operations that a handle allows.
#[derive(Clone, Copy)]
enum Access {
    Load,
    Store,
    /// No other handle stores while this one exists.
    StoreAlone(SoleWriter),
}

/// The purpose for which a handle is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Loading only.
    Load,
    /// Storing too, by turns with others.
    Store,
    /// Storing, as the only writer.
    StoreAlone,
}

/// The size of the memory that a cell needs for values of up to this size. None if no cell can hold
/// them.
#[must_use]
pub fn memory_size(value_size: usize) -> Option<usize> {
    Layout::new(value_size, Wake::Never)?.memory_size()
}

/// `EINVAL` if the address is not aligned for a cell.
fn check_alignment(memory: NonNull<u8>) -> Result<()> {
    if memory.addr().get().is_multiple_of(ALIGN) {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

impl Cell {
    /// Creates a cell without a value.
    ///
    /// # Safety
    ///
    /// The memory has `size` bytes, is writable, and stays mapped as long as the cell is used; it
    /// contains no cell that is in use.
    pub unsafe fn init(
        memory: NonNull<u8>,
        size: usize,
        value_size: usize,
        wake: Wake,
        is_for: Use,
    ) -> Result<Self> {
        check_alignment(memory)?;
        let layout = Layout::new(value_size, wake).ok_or(Errno::EINVAL)?;
        if layout.memory_size().is_none_or(|needed| needed > size) {
            return Err(Errno::ENOSPC);
        }
        let mut cell = Self {
            memory,
            layout,
            access: Access::Load,
        };
        cell.control().init(&layout, || {
            for number in 0..=layout.mask {
                let slot = cell.slot(cell.place(number));
                slot.version.store(0, Ordering::Relaxed);
            }
        })?;
        // Before another process can find it and become the writer first.
        cell.allow(is_for)?;
        cell.control().publish();
        Ok(cell)
    }

    /// Allows the operations of a purpose. `EBUSY` if another handle stores.
    fn allow(&mut self, is_for: Use) -> Result<()> {
        self.access = match is_for {
            Use::Load => Access::Load,
            Use::Store => Access::Store,
            Use::StoreAlone => Access::StoreAlone(self.control().lock.acquire()?),
        };
        Ok(())
    }

    /// Opens an existing cell. Only [`Self::store`] and [`Self::wait`] write to the memory.
    ///
    /// # Safety
    ///
    /// The memory has `size` bytes, stays mapped as long as the cell is used, and is writable
    /// unless it `is_for` loading. Its content may be anything.
    pub unsafe fn open(memory: NonNull<u8>, size: usize, is_for: Use) -> Result<Self> {
        check_alignment(memory)?;
        if size < mem::size_of::<Control>() {
            return Err(Errno::EPROTO);
        }
        // SAFETY: aligned, and large enough.
        let control = unsafe { memory.cast::<Control>().as_ref() };
        let mut cell = Self {
            memory,
            layout: control.open(size)?,
            access: Access::Load,
        };
        cell.allow(is_for)?;
        Ok(cell)
    }

    /// The size of the largest value.
    #[must_use]
    pub fn value_size(&self) -> usize {
        self.layout.value_size
    }

    fn control(&self) -> &Control {
        // SAFETY: the memory was checked to be aligned and large enough for it; it is made of
        // atomics, which another process may write at any time.
        unsafe { self.memory.cast().as_ref() }
    }

    /// The address of the value in a slot.
    #[inline]
    fn value(&self, place: Place) -> NonNull<u8> {
        // SAFETY: within the slot.
        unsafe { place.0.add(self.layout.value_offset) }
    }

    /// Replaces the value.
    pub fn store(&self, value: &[u8], wait: Deadline) -> Result<()> {
        if matches!(self.access, Access::Load) {
            return Err(Errno::EBADF);
        }
        if value.is_empty() {
            return Err(Errno::EINVAL);
        }
        if value.len() > self.layout.value_size {
            return Err(Errno::EMSGSIZE);
        }
        let lock = &self.control().lock;
        let _guard = match self.access {
            Access::StoreAlone(writer) => lock.check(writer).map(|()| None)?,
            _ => Some(lock.lock(wait)?),
        };
        protocol::store(self, value.len() as u64, |place| {
            // SAFETY: the value fits into a slot. Only this thread writes to the slot: it holds
            // the lock.
            unsafe { shared_copy::to_shared(value, self.value(place)) };
        })
    }

    /// Copies the value to `room`, and its version to `ret_version`. Returns the length. After an
    /// error the content of `room` is unspecified.
    #[inline]
    pub fn load(
        &self,
        room: &mut [MaybeUninit<u8>],
        ret_version: Option<&mut MaybeUninit<u64>>,
    ) -> Result<usize> {
        if self.layout.value_size > shared_copy::SHORT {
            return self.load_long(room, ret_version);
        }
        self.load_with(room, ret_version, |from, to| {
            // SAFETY: as `load_with` promises.
            unsafe { shared_copy::short_from_shared(from, to) }
        })
    }

    /// [`Self::load`] of a long value, which a function call copies. A function of its own: saving
    /// registers around a call takes as long as copying a short value.
    #[inline(never)]
    fn load_long(
        &self,
        room: &mut [MaybeUninit<u8>],
        ret_version: Option<&mut MaybeUninit<u64>>,
    ) -> Result<usize> {
        self.load_with(room, ret_version, |from, to| {
            // SAFETY: as `load_with` promises.
            unsafe { shared_copy::from_shared(from, to) }
        })
    }

    /// `copy` gets an aligned address and a buffer that is not longer than the largest value.
    #[inline(always)]
    fn load_with(
        &self,
        room: &mut [MaybeUninit<u8>],
        ret_version: Option<&mut MaybeUninit<u64>>,
        copy: impl Fn(NonNull<u8>, &mut [MaybeUninit<u8>]),
    ) -> Result<usize> {
        if room.is_empty() {
            return Err(Errno::EINVAL);
        }
        let (len, version) = protocol::load(self, |place, len, version| {
            let len = usize::try_from(len).unwrap_or(0);
            if len == 0 || len > self.layout.value_size {
                return Err(Errno::EPROTO);
            }
            let room = room.get_mut(..len).ok_or(Errno::EMSGSIZE)?;
            // The slot has room for value_size bytes, which are not fewer than len.
            copy(self.value(place), room);
            Ok((len, version))
        })?;
        if let Some(ret_version) = ret_version {
            ret_version.write(version);
        }
        Ok(len)
    }

    /// Waits until the version is not `seen`. A cancellation point, unless it may not wait.
    pub fn wait(&self, seen: u64, mut wait: Deadline) -> Result<()> {
        let most = match (self.layout.wake, self.access) {
            (Wake::Never, _) | (Wake::Announced, Access::Load) => return Err(Errno::EOPNOTSUPP),
            (Wake::Announced, _) => announce::MAX_SLEEP,
            (Wake::Always, _) => MAX_SLEEP,
        };
        if wait.is_never() {
            return match protocol::is_current(self, seen)? {
                true => Err(Errno::EAGAIN),
                false => Ok(()),
            };
        }
        sys::test_cancel();
        protocol::wait(self, seen, |published| {
            wait.futex_for_cancellable(self.published(), published, most)
                .map(drop)
        })
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        if let Access::StoreAlone(writer) = self.access {
            self.control().lock.release(writer);
        }
    }
}

/// The address of a slot: aligned, and all of the slot is within the memory.
#[derive(Clone, Copy)]
pub struct Place(NonNull<u8>);

impl Memory for Cell {
    type Place = Place;

    #[inline]
    fn published(&self) -> &AtomicU32 {
        &self.control().published
    }

    #[inline]
    fn waiters(&self) -> &Waiters {
        &self.control().waiters
    }

    #[inline]
    fn place(&self, version: u32) -> Place {
        let offset = self.layout.slot_offset(version);
        // SAFETY: within the memory: the layout was checked against its size.
        Place(unsafe { self.memory.add(offset) })
    }

    #[inline]
    fn slot(&self, place: Place) -> &Slot {
        // SAFETY: aligned, because the memory, the first slot and the stride are; made of
        // atomics, which another process may write at any time.
        unsafe { place.0.cast().as_ref() }
    }

    #[inline]
    fn expect_store(&self, place: Place) {
        cache::prefetch_write(place.0);
        cache::prefetch_write(self.value(place));
    }

    #[inline]
    fn wake(&self) -> Wake {
        self.layout.wake
    }

    fn increment_and_wake(&self) -> Result<u32> {
        futex::increment_and_wake(self.published(), c_int::MAX)
    }

    fn wake_all(&self) -> u32 {
        futex::wake(self.published(), c_int::MAX)
    }
}
