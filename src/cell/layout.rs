//! Where what is in a cell's memory.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | [`Control::header`]: the magic `cell`, the version of the layout |
//! | 8 | flags, the number of slots (32 bits each), the value's size, the distance of the slots |
//! | 64 | the published word; it has a line of its own |
//! | 128 | the writers' lock |
//! | 256 | the slots: version, length, and the value |
//!
//! A value of up to 48 bytes is in one line with its version. A longer one begins with a line
//! of its own, which makes copying it a third faster (measured at 4 KiB).
//!
//! The numbers after the header are written once, before the header. A process that opens the
//! cell reads them once, checks them, and keeps what it read.

use super::lock::Lock;
use super::protocol::Slot;
use crate::errno::{Errno, Result};
use crate::object::{Header, ObjectType};
use std::mem::{offset_of, size_of};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Changes with anything in this file.
const OBJECT_TYPE: ObjectType = ObjectType::new(*b"cell", 1);
/// What the memory has to be aligned to.
///
/// cbindgen:ignore
pub const ALIGN: usize = 16;
const LINE: usize = 64;
/// No cell of any version has more.
const SLOTS_MAX: u32 = 1 << 16;
/// A cell with this flag wakes those who wait.
const WAITABLE: u32 = 1;

/// What stands before the slots.
#[repr(C, align(16))]
pub struct Control {
    header: Header,
    flags: AtomicU32,
    slots: AtomicU32,
    value_size: AtomicU64,
    stride: AtomicU64,
    _reserved: [AtomicU64; 4],
    /// The low half of the current version.
    pub published: AtomicU32,
    _own_line: [AtomicU32; 15],
    /// Excludes the writers from each other.
    pub lock: Lock,
}

const _: () = assert!(offset_of!(Control, flags) == 8);
const _: () = assert!(offset_of!(Control, value_size) == 16);
const _: () = assert!(offset_of!(Control, stride) == 24);
const _: () = assert!(offset_of!(Control, published) == LINE);
const _: () = assert!(offset_of!(Control, lock) == 2 * LINE);
const _: () = assert!(size_of::<Control>() == 4 * LINE);
const _: () = assert!(align_of::<Control>() == ALIGN);
const _: () = assert!(size_of::<Slot>() == 16);

/// The numbers that describe a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The largest value.
    pub value_size: usize,
    /// The number of slots less 1: a power of two less 1.
    pub mask: u32,
    /// How far the slots are apart.
    pub stride: usize,
    /// How far the value is from the beginning of its slot.
    pub value_offset: usize,
    /// Whether a store wakes those who wait.
    pub waitable: bool,
}

impl Shape {
    /// Of a new cell. None if there is no memory so large.
    pub fn new(value_size: usize, waitable: bool) -> Option<Self> {
        // A reader is overtaken only when the writer comes round all slots while it copies one.
        // Measured with both at full speed: the smaller the value, the more this is worth.
        let slots = match value_size {
            0 => return None,
            1..=1024 => 16,
            1025..=65536 => 8,
            _ => 4,
        };
        let value_offset = value_offset(value_size);
        let shape = Self {
            value_size,
            mask: slots - 1,
            stride: value_size
                .checked_add(value_offset)?
                .checked_next_multiple_of(LINE)?,
            value_offset,
            waitable,
        };
        shape.bytes().map(|_| shape)
    }

    /// How much memory it takes. None if there is no memory so large.
    pub fn bytes(&self) -> Option<usize> {
        self.stride
            .checked_mul(self.mask as usize + 1)?
            .checked_add(size_of::<Control>())
            .filter(|bytes| *bytes <= isize::MAX as usize)
    }

    /// Where the slot of a version begins.
    #[inline]
    pub fn slot_offset(&self, version: u32) -> usize {
        // No overflow: less than bytes().
        size_of::<Control>() + (version & self.mask) as usize * self.stride
    }
}

/// How far a value is from the beginning of its slot.
fn value_offset(value_size: usize) -> usize {
    if value_size <= LINE - size_of::<Slot>() {
        size_of::<Slot>()
    } else {
        LINE
    }
}

impl Control {
    /// Makes it a cell without a value, which nobody finds before [`Self::publish`]; `clear` is to
    /// clear the slots.
    pub fn init(&self, shape: &Shape, clear: impl FnOnce()) -> Result<()> {
        self.header.begin();
        let flags = if shape.waitable { WAITABLE } else { 0 };
        self.flags.store(flags, Ordering::Relaxed);
        self.slots.store(shape.mask + 1, Ordering::Relaxed);
        self.value_size
            .store(shape.value_size as u64, Ordering::Relaxed);
        self.stride.store(shape.stride as u64, Ordering::Relaxed);
        for word in &self._reserved {
            word.store(0, Ordering::Relaxed);
        }
        for word in &self._own_line {
            word.store(0, Ordering::Relaxed);
        }
        self.published.store(0, Ordering::Relaxed);
        clear();
        self.lock.init()
    }

    /// From here on it is a cell.
    pub fn publish(&self) {
        self.header.finish(OBJECT_TYPE);
    }

    /// Reads what it is. `EPROTO` if it is no cell that fits into `mem_size` bytes, `ESTALE` if
    /// it is one of another layout.
    pub fn open(&self, mem_size: usize) -> Result<Shape> {
        self.header.check(OBJECT_TYPE)?;
        let flags = self.flags.load(Ordering::Relaxed);
        let slots = self.slots.load(Ordering::Relaxed);
        let value_size = usize_of(&self.value_size)?;
        let shape = Shape {
            value_size,
            mask: slots.wrapping_sub(1),
            stride: usize_of(&self.stride)?,
            value_offset: value_offset(value_size),
            waitable: flags & WAITABLE != 0,
        };
        let slot_fits = shape
            .stride
            .checked_sub(shape.value_offset)
            .is_some_and(|room| (1..=room).contains(&value_size));
        let is_cell = flags & !WAITABLE == 0
            && (2..=SLOTS_MAX).contains(&slots)
            && slots.is_power_of_two()
            && shape.stride.is_multiple_of(LINE)
            && slot_fits
            && shape.bytes().is_some_and(|bytes| bytes <= mem_size);
        is_cell.then_some(shape).ok_or(Errno::EPROTO)
    }
}

fn usize_of(number: &AtomicU64) -> Result<usize> {
    usize::try_from(number.load(Ordering::Relaxed)).map_err(|_| Errno::EPROTO)
}
