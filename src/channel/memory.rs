//! What an endpoint owns in shared memory, and what it sees of its peer's.
//!
//! Each endpoint has one memfd: a page of control words (the largest that a system has), and
//! behind it the ring of what it sends. It maps it writable, and then seals it: from then on
//! nobody can map it writable, write to it or change its size any more. The peer gets the
//! descriptor and maps it read-only. All words of an endpoint are written by that endpoint alone.
//!
//! | offset | what | written |
//! |---|---|---|
//! | 0 | tail: how far the ring has been written | with each message sent |
//! | 8 | whether that is done without fences (`sleep`) | seldom |
//! | 12 | 1 when this side will send nothing any more | once |
//! | 128 | head: how far the peer's ring has been read | with each message received |
//! | 136 | whether that is done without fences | seldom |
//! | 256 | the receiving side's sleep | when it sleeps |
//! | 384 | the sending side's sleep | when it sleeps |
//! | 512 | 1 + the processor on which this side was seen last; 0 if that is not known | seldom |
//! | 65536 | the ring | |
//!
//! Everything is little-endian; the offsets keep apart what is written at different times by
//! more than a pair of cache lines.

use crate::atomic::{AtomicU32, AtomicU64};
use crate::errno::{Errno, Result};
use crate::shm::{check, create};
use crate::sys::cache;
use crate::sys::memory::Mapping;
use nix::fcntl::SealFlag;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

/// How large a page can be. The ring is mapped by itself, and so begins with a page; the memory
/// in between is never touched, and so is not there.
const PAGE_MAX: usize = 1 << 16;
/// The page of control words.
///
/// cbindgen:ignore
pub const CONTROL: usize = PAGE_MAX;
/// The smallest ring: a page of any system, and a power of two as each is.
///
/// cbindgen:ignore
pub const RING_MIN: u64 = PAGE_MAX as u64;
/// The largest one.
///
/// cbindgen:ignore
pub const RING_MAX: u64 = 1 << 40;

/// How far ahead the ring's lines are fetched for writing.
const AHEAD: usize = 128;

/// A cursor with what belongs to it.
#[repr(C, align(128))]
pub struct Cursor {
    /// How far, in bytes.
    pub at: AtomicU64,
    /// Whether it is published without fences.
    pub unfenced: AtomicU32,
    /// Whether it will not move any more.
    pub ended: AtomicU32,
}

/// Whether a side sleeps (`sleep`).
#[repr(C, align(128))]
pub struct Sleep {
    /// The word that counts its sleeps.
    pub word: AtomicU32,
}

/// Where a side runs.
#[repr(C, align(128))]
pub struct Place {
    /// 1 + the processor; 0 if it is not known.
    pub processor: AtomicU32,
}

/// The words of an endpoint.
#[repr(C)]
pub struct Control {
    /// What it has written to its ring.
    pub tail: Cursor,
    /// What it has read of its peer's.
    pub head: Cursor,
    /// Its receiver's sleep.
    pub receiver: Sleep,
    /// Its sender's sleep.
    pub sender: Sleep,
    /// Where it was seen last.
    pub place: Place,
}

const _: () = {
    assert!(size_of::<Control>() == 640);
    assert!(std::mem::offset_of!(Control, head) == 128);
    assert!(std::mem::offset_of!(Control, receiver) == 256);
    assert!(std::mem::offset_of!(Control, sender) == 384);
    assert!(std::mem::offset_of!(Control, place) == 512);
    assert!(std::mem::offset_of!(Cursor, unfenced) == 8);
    assert!(std::mem::offset_of!(Cursor, ended) == 12);
};

/// An endpoint's memory, in the process that owns it or in its peer's.
pub struct Memory {
    mapping: Mapping,
    ring_size: u64,
}

/// How an endpoint's memory is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The size of its ring, from which [`ring_size`] makes one that can be.
    pub ring_size: u64,
    /// Whether all of it is to be there before it is used.
    pub populate: bool,
    /// Whether it is to stay in memory.
    pub lock: bool,
}

/// The ring that is made where `wanted` bytes are asked for: the next power of two.
pub fn ring_size(wanted: u64) -> Result<u64> {
    match wanted.checked_next_power_of_two() {
        Some(size) if size <= RING_MAX => Ok(size.max(RING_MIN)),
        _ => Err(Errno::EINVAL),
    }
}

impl Memory {
    /// Makes an endpoint's memory, and a descriptor of it for the peer.
    pub fn create(wanted: &Wanted) -> Result<(Self, OwnedFd)> {
        let ring_size = ring_size(wanted.ring_size)?;
        let size = file_size(ring_size)?;
        let fd = create::memfd()?;
        create::set_size(fd.as_fd(), size)?;
        if wanted.populate {
            create::allocate(fd.as_fd(), size)?;
        }
        let this = Self {
            mapping: Mapping::with_repeat(fd.as_fd(), CONTROL, ring_size as usize, true)
                .map_err(lacking)?,
            ring_size,
        };
        create::seal(fd.as_fd(), true)?;
        this.prepare(wanted, true)?;
        Ok((this, fd))
    }

    /// Maps the peer's memory, which is looked at first: it must be such memory, of this
    /// size, and nobody may be able to take it away or to write it by another way.
    pub fn of_peer(fd: BorrowedFd, ring_size: u64, wanted: &Wanted) -> Result<Self> {
        let size = file_size(ring_size)?;
        if check::sealed(fd, SEALS).map_err(blame)? != size {
            return Err(Errno::EPROTO);
        }
        let mapping = Mapping::with_repeat(fd, CONTROL, ring_size as usize, false);
        let this = Self {
            mapping: mapping.map_err(blame).map_err(lacking)?,
            ring_size,
        };
        this.prepare(wanted, false)?;
        Ok(this)
    }

    fn prepare(&self, wanted: &Wanted, writable: bool) -> Result<()> {
        if wanted.populate {
            self.mapping.populate(writable)?;
        }
        if wanted.lock {
            self.mapping.lock().map_err(lacking)?;
        }
        Ok(())
    }

    /// The words.
    #[inline]
    pub fn control(&self) -> &Control {
        // SAFETY: the mapping has that page, which is there as long as self is; all of it is
        // atomic, and any bytes are such words. Where it is mapped read-only nothing is stored.
        unsafe { &*self.mapping.address().cast::<Control>() }
    }

    /// The place of a position in the ring, from which on as many bytes as the ring has follow.
    #[inline]
    pub fn ring(&self, position: u64) -> *mut u8 {
        debug_assert!(position < self.ring_size);
        self.mapping
            .address()
            .cast::<u8>()
            .wrapping_add(CONTROL + super::ring::SHIFT as usize + position as usize)
    }

    /// The place of the message at a position, behind the word of its length.
    #[inline]
    pub fn message(&self, position: u64) -> *mut u8 {
        self.ring(position)
            .wrapping_add(super::ring::LENGTH as usize)
    }

    /// Says that messages will be written from a position on. The receiver's processor has those
    /// lines: the one after the next comes meanwhile (two lines ahead was the best, measured).
    #[inline]
    pub fn expect_store(&self, position: u64) {
        // Within the mapping, which has the ring twice.
        if let Some(ahead) = NonNull::new(self.ring(position).wrapping_add(AHEAD)) {
            cache::expect_store(ahead);
        }
    }

    /// The word at the place of a position, which is a multiple of 8.
    #[inline]
    pub fn length(&self, position: u64) -> &AtomicU32 {
        // SAFETY: within the mapping, aligned to four; atomic, as `control`.
        unsafe { &*self.ring(position).cast::<AtomicU32>() }
    }

    /// The size of the ring.
    #[inline]
    pub fn ring_size(&self) -> u64 {
        self.ring_size
    }
}

/// What the system says of a descriptor that is open, but with which one cannot do this.
fn blame(error: Errno) -> Errno {
    match error {
        Errno::EBADF | Errno::EACCES | Errno::EINVAL | Errno::EPERM => Errno::EPROTO,
        error => error,
    }
}

/// Memory that may not be locked, as all that is mapped is to be after `mlockall`: `EAGAIN` would be
/// a reason to come again, for who has an event loop.
fn lacking(error: Errno) -> Errno {
    match error {
        Errno::EAGAIN => Errno::ENOMEM,
        other => other,
    }
}

/// The size of an endpoint's memory, if there can be such a ring.
fn file_size(ring: u64) -> Result<usize> {
    if !ring.is_power_of_two() || !(RING_MIN..=RING_MAX).contains(&ring) {
        return Err(Errno::EPROTO);
    }
    Ok(CONTROL + ring as usize)
}

/// What nobody may do with it.
const SEALS: SealFlag = SealFlag::F_SEAL_SHRINK
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_FUTURE_WRITE)
    .union(SealFlag::F_SEAL_SEAL);
