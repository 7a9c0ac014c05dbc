//! The cell: the current value of something, which many processes read while others replace it,
//! and which no reader ever sees in part.
//!
//! [`protocol`] is how that is done, `layout` where everything is, [`shared_copy`] how bytes are
//! copied while another process may overwrite them, `lock` excludes writers from each other.

mod layout;
mod lock;
pub mod protocol;

use crate::atomic::AtomicU32;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::shared_copy;
use crate::sys::{cache, futex};
use layout::{ALIGN, Control, Shape};
use lock::Keeper;
use protocol::{Memory, Slot};
use std::alloc::{self, Layout};
use std::mem::{self, MaybeUninit};
use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a waiter sleeps before it checks by itself. A process that can only read the memory
/// can still move the waiters to another futex (`FUTEX_REQUEUE`), where no store wakes them.
const MAX_SLEEP: Duration = Duration::from_secs(1);

/// A cell in memory that this process has mapped: its address, and the sizes read when it was
/// opened. The sizes in the memory itself are not read again.
pub struct Cell {
    memory: NonNull<u8>,
    shape: Shape,
    access: Access,
}

/// The operations that a handle allows.
#[derive(Clone, Copy)]
enum Access {
    Load,
    Store,
    /// No other handle stores while this one exists.
    StoreAlone(Keeper),
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

/// The memory that a cell needs for values of up to this many bytes. None if no cell can hold them.
#[must_use]
pub fn bytes(value_size: usize) -> Option<usize> {
    Shape::new(value_size, false)?.bytes()
}

/// `EINVAL` for memory at which no cell can be.
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
    /// The memory has `size` bytes, is writable, and stays for as long as the cell is used; it
    /// holds no cell that is in use.
    pub unsafe fn init(
        memory: NonNull<u8>,
        size: usize,
        value_size: usize,
        waitable: bool,
        is_for: Use,
    ) -> Result<Self> {
        check_alignment(memory)?;
        let shape = Shape::new(value_size, waitable).ok_or(Errno::EINVAL)?;
        if shape.bytes().is_none_or(|bytes| bytes > size) {
            return Err(Errno::ENOSPC);
        }
        let mut cell = Self {
            memory,
            shape,
            access: Access::Load,
        };
        cell.control().init(&shape, || {
            for number in 0..=shape.mask {
                let slot = cell.slot(cell.place(number));
                slot.version.store(0, Ordering::Relaxed);
            }
        })?;
        // Before another process can find it and become the writer first.
        cell.allow(is_for)?;
        cell.control().publish();
        Ok(cell)
    }

    /// Lets the handle do what it is for. `EBUSY` if another handle stores.
    fn allow(&mut self, is_for: Use) -> Result<()> {
        self.access = match is_for {
            Use::Load => Access::Load,
            Use::Store => Access::Store,
            Use::StoreAlone => Access::StoreAlone(self.control().lock.keep()?),
        };
        Ok(())
    }

    /// Opens a cell that is there. Nothing is written to the memory, except by [`Self::store`].
    ///
    /// # Safety
    ///
    /// The memory has `size` bytes, stays for as long as the cell is used, and is writable
    /// if it `is_for` storing. Its content may be anything.
    pub unsafe fn open(memory: NonNull<u8>, size: usize, is_for: Use) -> Result<Self> {
        check_alignment(memory)?;
        if size < mem::size_of::<Control>() {
            return Err(Errno::EPROTO);
        }
        // SAFETY: aligned, and large enough.
        let control = unsafe { memory.cast::<Control>().as_ref() };
        let mut cell = Self {
            memory,
            shape: control.open(size)?,
            access: Access::Load,
        };
        cell.allow(is_for)?;
        Ok(cell)
    }

    /// Moves it to the heap, for C.
    pub fn into_heap(self) -> Result<NonNull<Self>> {
        // SAFETY: the layout is not of size 0.
        let place = unsafe { alloc::alloc(Layout::new::<Self>()) };
        let place = NonNull::new(place.cast::<Self>()).ok_or(Errno::ENOMEM)?;
        // SAFETY: new memory of this layout.
        unsafe { place.write(self) };
        Ok(place)
    }

    /// The largest value.
    #[must_use]
    pub fn value_size(&self) -> usize {
        self.shape.value_size
    }

    fn control(&self) -> &Control {
        // SAFETY: the memory was checked to be aligned and large enough for it; it is made of
        // atomics, which another process may write at any time.
        unsafe { self.memory.cast().as_ref() }
    }

    /// Where the value of a slot is.
    #[inline]
    fn value(&self, place: Place) -> NonNull<u8> {
        // SAFETY: within the slot.
        unsafe { place.0.add(self.shape.value_offset) }
    }

    /// Replaces the value.
    pub fn store(&self, value: &[u8], wait: Deadline) -> Result<()> {
        if matches!(self.access, Access::Load) {
            return Err(Errno::EBADF);
        }
        if value.is_empty() {
            return Err(Errno::EINVAL);
        }
        if value.len() > self.shape.value_size {
            return Err(Errno::EMSGSIZE);
        }
        let lock = &self.control().lock;
        let _guard = match self.access {
            Access::StoreAlone(keeper) => lock.check(keeper).map(|()| None)?,
            _ => Some(lock.lock(wait)?),
        };
        protocol::store(self, value.len() as u64, |place| {
            // SAFETY: the value fits into a slot, and this one is this writer's, who has
            // the lock.
            unsafe { shared_copy::to_shared(value, self.value(place)) };
        })
    }

    /// Copies the value to `room`; its length. The version goes to `ret_version`. The
    /// content of `room` after an error is unspecified.
    #[inline]
    pub fn load(
        &self,
        room: &mut [MaybeUninit<u8>],
        ret_version: Option<&mut MaybeUninit<u64>>,
    ) -> Result<usize> {
        if self.shape.value_size > shared_copy::SHORT {
            return self.load_long(room, ret_version);
        }
        self.load_with(room, ret_version, |from, to| {
            // SAFETY: as `load_with` promises.
            unsafe { shared_copy::short_from_shared(from, to) }
        })
    }

    /// [`Self::load`] where the copy is a call: apart, because around a call registers are
    /// saved, which takes as long as copying a short value.
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

    /// `copy` gets aligned bytes, as many as there is room, and not more than a value has.
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
            if len == 0 || len > self.shape.value_size {
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

    /// Waits until the version is not `seen`.
    pub fn wait(&self, seen: u64, mut wait: Deadline) -> Result<()> {
        if !self.shape.waitable {
            return Err(Errno::EOPNOTSUPP);
        }
        protocol::wait(self, seen, |published| {
            wait.futex_for(self.published(), published, MAX_SLEEP)
                .map(drop)
        })
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        if let Access::StoreAlone(keeper) = self.access {
            self.control().lock.give_up(keeper);
        }
    }
}

/// Where a slot begins: aligned, and all of the slot is within the memory.
#[derive(Clone, Copy)]
pub struct Place(NonNull<u8>);

impl Memory for Cell {
    type Place = Place;

    #[inline]
    fn published(&self) -> &AtomicU32 {
        &self.control().published
    }

    #[inline]
    fn place(&self, version: u32) -> Place {
        let offset = self.shape.slot_offset(version);
        // SAFETY: within the memory: the shape was checked against its size.
        Place(unsafe { self.memory.add(offset) })
    }

    #[inline]
    fn slot(&self, place: Place) -> &Slot {
        // SAFETY: aligned, because the memory, the first slot and their distance are; made of
        // atomics, which another process may write at any time.
        unsafe { place.0.cast().as_ref() }
    }

    #[inline]
    fn expect_store(&self, place: Place) {
        cache::prefetch_write(place.0);
        cache::prefetch_write(self.value(place));
    }

    #[inline]
    fn is_waitable(&self) -> bool {
        self.shape.waitable
    }

    fn increment_and_wake(&self) -> Result<()> {
        futex::increment_and_wake(self.published(), libc::c_int::MAX).map(drop)
    }
}

/// Frees what [`Cell::into_heap`] gave.
///
/// # Safety
///
/// It is from there, and no longer used.
pub unsafe fn free(cell: NonNull<Cell>) {
    // SAFETY: a cell, which is no longer used.
    unsafe { cell.drop_in_place() };
    // SAFETY: allocated with this layout.
    unsafe { alloc::dealloc(cell.cast().as_ptr(), Layout::new::<Cell>()) };
}
