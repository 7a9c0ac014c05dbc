//! The cell: a value in shared memory. Many processes read it while others replace it, and no reader
//! ever receives a torn value.
//!
//! | module | responsibility |
//! |---|---|
//! | [`protocol`] | how a value is published, read and waited for, over atomics alone |
//! | `layout` | the layout of the memory |
//! | `lock` | excludes writers from each other |
//!
//! [`shared_copy`] copies bytes that another process may overwrite during the copy.

mod layout;
mod lock;
pub mod protocol;

use crate::atomic::AtomicU32;
use crate::deadline::Deadline;
use crate::errno::{Result, errno};
use crate::lock::announce::{self, Waiters};
use crate::shared_copy;
use crate::sys::{self, cache, futex};
use layout::{ALIGN, Layout};
use libc::c_int;
use lock::SoleWriter;
use protocol::{CellMemory, SlotHeader};
use std::mem::{self, MaybeUninit};
use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use layout::Control;
pub use protocol::Wake;

/// The longest sleep of a waiter that does not announce itself. The sleep is bounded because a
/// hostile process, even one that can only read the memory, can move waiters to another futex
/// (`FUTEX_REQUEUE`), on which no store wakes them.
const MAX_SLEEP: Duration = Duration::from_secs(1);

/// A handle to a cell in memory that this process has mapped: its address, and the layout read when
/// the cell was opened. The layout in the memory is not read again.
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
    /// Storing, while no other handle can store.
    StoreAlone(SoleWriter),
}

/// The purpose for which a handle is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Loading only.
    Load,
    /// Loading, and storing in turn with other handles.
    Store,
    /// Loading, and storing as the only writer.
    StoreAlone,
}

/// The size of the memory of a cell for values of up to this size. None if no cell can have such
/// values.
#[must_use]
pub fn memory_size(value_size: usize) -> Option<usize> {
    Layout::new(value_size, Wake::Never)?.memory_size()
}

/// `EINVAL` if the address is not aligned for a cell.
fn check_alignment(memory: NonNull<u8>) -> Result<()> {
    if memory.addr().get() % ALIGN == 0 {
        Ok(())
    } else {
        Err(errno!(EINVAL))
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
        let layout = Layout::new(value_size, wake).ok_or(errno!(EINVAL))?;
        if layout.memory_size().is_none_or(|needed| needed > size) {
            return Err(errno!(ENOSPC));
        }
        let mut cell = Self {
            memory,
            layout,
            access: Access::Load,
        };
        cell.control().init(&layout, || {
            for number in 0..=layout.mask {
                let slot = cell.header(cell.slot(number));
                slot.version.store(0, Ordering::Relaxed);
            }
        })?;
        // Before the publication: otherwise another process could open the cell first and become
        // its writer.
        cell.allow(is_for)?;
        cell.control().publish();
        Ok(cell)
    }

    /// Allows the operations of a purpose. `EBUSY` if another handle has the lock that a sole writer
    /// needs.
    fn allow(&mut self, is_for: Use) -> Result<()> {
        self.access = match is_for {
            Use::Load => Access::Load,
            Use::Store => Access::Store,
            Use::StoreAlone => Access::StoreAlone(self.control().lock.acquire()?),
        };
        Ok(())
    }

    /// Opens an existing cell.
    ///
    /// # Safety
    ///
    /// The memory has `size` bytes, stays mapped as long as the cell is used, and is writable
    /// unless it `is_for` loading. Its content may be anything.
    pub unsafe fn open(memory: NonNull<u8>, size: usize, is_for: Use) -> Result<Self> {
        check_alignment(memory)?;
        if size < mem::size_of::<Control>() {
            return Err(errno!(EPROTO));
        }
        // SAFETY: the address and the size have been checked; any bytes are a Control.
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
        // SAFETY: `init` and `open` have checked the alignment and the size. It consists of atomics,
        // which another process may write at any time.
        unsafe { self.memory.cast().as_ref() }
    }

    /// The address of the value in a slot.
    #[inline]
    fn value(&self, slot: SlotPtr) -> NonNull<u8> {
        // SAFETY: the value is within the slot.
        unsafe { slot.0.add(self.layout.value_offset) }
    }

    /// Replaces the value.
    pub fn store(&self, value: &[u8], wait: Deadline) -> Result<()> {
        if matches!(self.access, Access::Load) {
            return Err(errno!(EBADF));
        }
        if value.is_empty() {
            return Err(errno!(EINVAL));
        }
        if value.len() > self.layout.value_size {
            return Err(errno!(EMSGSIZE));
        }
        let lock = &self.control().lock;
        let _guard = match self.access {
            Access::StoreAlone(writer) => lock.check(writer).map(|()| None)?,
            _ => Some(lock.lock(wait)?),
        };
        protocol::store(self, value.len() as u64, |slot| {
            // SAFETY: the value fits into a slot, and only the owner of the lock, this thread,
            // writes to the slot.
            unsafe { shared_copy::to_shared(value, self.value(slot)) };
        })
    }

    /// Copies the value to `buffer`, and its version to `ret_version`. Returns the length. After an
    /// error the content of `buffer` is unspecified.
    #[inline]
    pub fn load(
        &self,
        buffer: &mut [MaybeUninit<u8>],
        ret_version: Option<&mut MaybeUninit<u64>>,
    ) -> Result<usize> {
        if self.layout.value_size > shared_copy::SHORT {
            return self.load_long(buffer, ret_version);
        }
        self.load_with(buffer, ret_version, |from, to| {
            // SAFETY: as `load_with` promises.
            unsafe { shared_copy::short_from_shared(from, to) }
        })
    }

    /// [`Self::load`] of a long value, which memcpy(3) copies. It is not inlined: saving registers
    /// around the call of memcpy takes as long as copying a short value.
    #[inline(never)]
    fn load_long(
        &self,
        buffer: &mut [MaybeUninit<u8>],
        ret_version: Option<&mut MaybeUninit<u64>>,
    ) -> Result<usize> {
        self.load_with(buffer, ret_version, |from, to| {
            // SAFETY: as `load_with` promises.
            unsafe { shared_copy::from_shared(from, to) }
        })
    }

    /// [`Self::load`] with a function that copies the value. Its arguments are an aligned address
    /// in a slot and a buffer that is not longer than the largest value.
    #[inline(always)]
    fn load_with(
        &self,
        buffer: &mut [MaybeUninit<u8>],
        ret_version: Option<&mut MaybeUninit<u64>>,
        copy: impl Fn(NonNull<u8>, &mut [MaybeUninit<u8>]),
    ) -> Result<usize> {
        if buffer.is_empty() {
            return Err(errno!(EINVAL));
        }
        let (len, version) = protocol::load(self, |slot, len, version| {
            let len = usize::try_from(len).unwrap_or(0);
            if len == 0 || len > self.layout.value_size {
                return Err(errno!(EPROTO));
            }
            let buffer = buffer.get_mut(..len).ok_or(errno!(EMSGSIZE))?;
            // The slot has value_size bytes for the value, and len is not larger.
            copy(self.value(slot), buffer);
            Ok((len, version))
        })?;
        if let Some(ret_version) = ret_version {
            ret_version.write(version);
        }
        Ok(len)
    }

    /// Waits until the version is not `seen`. A cancellation point, unless `wait` is a zero
    /// time-out.
    pub fn wait(&self, seen: u64, mut wait: Deadline) -> Result<()> {
        let max_sleep = match (self.layout.wake, self.access) {
            (Wake::Never, _) | (Wake::Announced, Access::Load) => return Err(errno!(EOPNOTSUPP)),
            (Wake::Announced, _) => announce::MAX_SLEEP,
            (Wake::Always, _) => MAX_SLEEP,
        };
        if wait.is_never() {
            return match protocol::is_current(self, seen)? {
                true => Err(errno!(EAGAIN)),
                false => Ok(()),
            };
        }
        sys::test_cancel();
        protocol::wait(self, seen, |published| {
            wait.futex_for_cancellable(self.published(), published, max_sleep)
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

/// The address of a slot. It is aligned, and the whole slot is within the memory.
#[derive(Clone, Copy)]
pub struct SlotPtr(NonNull<u8>);

impl CellMemory for Cell {
    type Slot = SlotPtr;

    #[inline]
    fn published(&self) -> &AtomicU32 {
        &self.control().published
    }

    #[inline]
    fn waiters(&self) -> &Waiters {
        &self.control().waiters
    }

    #[inline]
    fn slot(&self, version: u32) -> SlotPtr {
        let offset = self.layout.slot_offset(version);
        // SAFETY: within the memory, against whose size `init` and `open` have checked the layout.
        SlotPtr(unsafe { self.memory.add(offset) })
    }

    #[inline]
    fn header(&self, slot: SlotPtr) -> &SlotHeader {
        // SAFETY: aligned, because the memory, the first slot and the stride are aligned. It
        // consists of atomics, which another process may write at any time.
        unsafe { slot.0.cast().as_ref() }
    }

    #[inline]
    fn prefetch_write(&self, slot: SlotPtr) {
        cache::prefetch_write(slot.0.as_ptr());
        cache::prefetch_write(self.value(slot).as_ptr());
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
