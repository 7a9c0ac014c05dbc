//! The memory layout of a cell.
//!
//! | bytes | content |
//! |---|---|
//! | 0 | [`Control::header`]: the magic `cell`, the version of the layout |
//! | 8 | flags, the number of slots (32 bits each), the size of the largest value, the stride of the slots |
//! | 64 | the published word and the announcement of the waiters, on a cache line of their own |
//! | 128 | the writers' lock |
//! | 256 | the slots, each with its version, length and value |
//!
//! A value of up to 48 bytes shares a cache line with its version. A longer value begins on a new
//! cache line, which makes copying it a third faster (measured at 4 KiB).
//!
//! The announcement is next to the published word, which each store writes. So a store reads the
//! announcement without a further cache miss.
//!
//! The numbers after the header are written once, before the header. A process that opens the cell
//! reads them once, checks them, and does not read them again.

use super::lock::Lock;
use super::protocol::{SlotHeader, Wake};
use crate::errno::{Result, errno};
use crate::lock::announce::Waiters;
use crate::object::{Header, ObjectType};
use std::mem::{offset_of, size_of};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The type of a cell. Its version changes with the layout.
const OBJECT_TYPE: ObjectType = ObjectType::new(*b"cell", 2);
/// Alignment of the memory of a cell.
///
/// cbindgen:ignore
pub const ALIGN: usize = 16;
const LINE: usize = 64;
/// The maximum number of slots of a cell of any version.
const SLOTS_MAX: u32 = 1 << 16;
/// A flag in the memory: a store wakes the waiting threads.
const WAITABLE: u32 = 1;
/// A flag in the memory, only together with [`WAITABLE`]: a store makes the system call that wakes
/// them even if no thread has announced itself.
const WAITABLE_RDONLY: u32 = 2;

/// The control part of the memory, before the slots.
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
    /// The announcement of the threads that wait for the next version.
    pub waiters: Waiters,
    _line_padding: [AtomicU32; 14],
    /// Excludes the writers from each other.
    pub lock: Lock,
}

const _: () = assert!(offset_of!(Control, flags) == 8);
const _: () = assert!(offset_of!(Control, value_size) == 16);
const _: () = assert!(offset_of!(Control, stride) == 24);
const _: () = assert!(offset_of!(Control, published) == LINE);
const _: () = assert!(offset_of!(Control, waiters) == LINE + 4);
const _: () = assert!(offset_of!(Control, lock) == 2 * LINE);
const _: () = assert!(size_of::<Control>() == 4 * LINE);
const _: () = assert!(align_of::<Control>() == ALIGN);
const _: () = assert!(size_of::<SlotHeader>() == 16);

impl Control {
    /// The type of the object.
    ///
    /// cbindgen:ignore
    pub const TYPE: ObjectType = OBJECT_TYPE;

    /// Offsets of the fields, for the golden file of layouts.
    pub const LAYOUT: [(&str, usize); 8] = [
        ("header", offset_of!(Self, header)),
        ("flags", offset_of!(Self, flags)),
        ("slots", offset_of!(Self, slots)),
        ("value_size", offset_of!(Self, value_size)),
        ("stride", offset_of!(Self, stride)),
        ("published", offset_of!(Self, published)),
        ("waiters", offset_of!(Self, waiters)),
        ("lock", offset_of!(Self, lock)),
    ];
}

/// The numbers that define the layout of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The size of the largest value.
    pub value_size: usize,
    /// The number of slots, a power of two, less 1.
    pub mask: u32,
    /// The distance between the beginnings of two slots.
    pub stride: usize,
    /// The offset of a value from the beginning of its slot.
    pub value_offset: usize,
    /// When a store wakes the waiting threads.
    pub wake: Wake,
}

impl Layout {
    /// The layout of a new cell. None if the memory would be larger than `isize::MAX`.
    pub fn new(value_size: usize, wake: Wake) -> Option<Self> {
        // A writer overtakes a reader only if it fills all slots while the reader copies one. In
        // measurements with both at full speed, smaller values benefited from more slots.
        let slots = match value_size {
            0 => return None,
            1..=1024 => 16,
            1025..=65536 => 8,
            _ => 4,
        };
        let value_offset = value_offset(value_size);
        let layout = Self {
            value_size,
            mask: slots - 1,
            stride: value_size
                .checked_add(value_offset)?
                .checked_next_multiple_of(LINE)?,
            value_offset,
            wake,
        };
        layout.memory_size().map(|_| layout)
    }

    /// The size of the memory. None if it is larger than `isize::MAX`.
    pub fn memory_size(&self) -> Option<usize> {
        self.stride
            .checked_mul(self.mask as usize + 1)?
            .checked_add(size_of::<Control>())
            .filter(|size| *size <= isize::MAX as usize)
    }

    /// The offset of the slot of a version.
    #[inline]
    pub fn slot_offset(&self, version: u32) -> usize {
        // No overflow: the result is less than memory_size().
        size_of::<Control>() + (version & self.mask) as usize * self.stride
    }
}

/// The offset of a value from the beginning of its slot.
fn value_offset(value_size: usize) -> usize {
    if value_size <= LINE - size_of::<SlotHeader>() {
        size_of::<SlotHeader>()
    } else {
        LINE
    }
}

/// The flags in the memory.
fn flags_of(wake: Wake) -> u32 {
    match wake {
        Wake::Never => 0,
        Wake::Announced => WAITABLE,
        Wake::Always => WAITABLE | WAITABLE_RDONLY,
    }
}

/// The meaning of the flags in the memory. `EPROTO` for flags that no cell can have.
fn wake_of(flags: u32) -> Result<Wake> {
    [Wake::Never, Wake::Announced, Wake::Always]
        .into_iter()
        .find(|wake| flags_of(*wake) == flags)
        .ok_or(errno!(EPROTO))
}

impl Control {
    /// Initialises a cell without a value. Other processes do not recognise the cell before
    /// [`Self::publish`]. `clear` clears the slots.
    pub fn init(&self, layout: &Layout, clear: impl FnOnce()) -> Result<()> {
        self.header.begin();
        self.flags.store(flags_of(layout.wake), Ordering::Relaxed);
        self.slots.store(layout.mask + 1, Ordering::Relaxed);
        self.value_size
            .store(layout.value_size as u64, Ordering::Relaxed);
        self.stride.store(layout.stride as u64, Ordering::Relaxed);
        for word in &self._reserved {
            word.store(0, Ordering::Relaxed);
        }
        for word in &self._line_padding {
            word.store(0, Ordering::Relaxed);
        }
        self.published.store(0, Ordering::Relaxed);
        self.waiters.init();
        clear();
        self.lock.init()
    }

    /// Writes the header by which other processes recognise the cell.
    pub fn publish(&self) {
        self.header.finish(OBJECT_TYPE);
    }

    /// Reads and checks the layout. `EPROTO` if this is not a cell that fits into `mem_size` bytes,
    /// `ESTALE` if it is a cell of another version of the layout.
    pub fn open(&self, mem_size: usize) -> Result<Layout> {
        self.header.check(OBJECT_TYPE)?;
        let wake = wake_of(self.flags.load(Ordering::Relaxed))?;
        let slots = self.slots.load(Ordering::Relaxed);
        let value_size = usize_of(&self.value_size)?;
        let layout = Layout {
            value_size,
            mask: slots.wrapping_sub(1),
            stride: usize_of(&self.stride)?,
            value_offset: value_offset(value_size),
            wake,
        };
        let slot_fits = layout
            .stride
            .checked_sub(layout.value_offset)
            .is_some_and(|space| (1..=space).contains(&value_size));
        let is_cell = (2..=SLOTS_MAX).contains(&slots)
            && slots.is_power_of_two()
            && layout.stride % LINE == 0
            && slot_fits
            && layout.memory_size().is_some_and(|size| size <= mem_size);
        is_cell.then_some(layout).ok_or(errno!(EPROTO))
    }
}

fn usize_of(number: &AtomicU64) -> Result<usize> {
    usize::try_from(number.load(Ordering::Relaxed)).map_err(|_| errno!(EPROTO))
}
