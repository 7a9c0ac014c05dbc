//! The shared memory of an end, and the mapping of its peer's.
//!
//! Each end has one memfd: control words in the first bytes, and behind them the ring of what it
//! sends. It maps the memfd writable and then seals it: from then on no process can map it
//! writable, write to it otherwise, or change its size. The peer receives the descriptor and maps
//! it read-only. Every word of an end is written by that end alone.
//!
//! | offset | content | written |
//! |---|---|---|
//! | 0 | tail: how far the ring has been written | with each message sent |
//! | 8 | 1 while the tail is published without fences (`event_count`) | rarely |
//! | 12 | the process that sends | once |
//! | 128 | head: how far the peer's ring has been read | with each message received |
//! | 136 | 1 while the head is published without fences | rarely |
//! | 140 | the process that receives | once |
//! | 256 | the receiver's event count | when it sleeps |
//! | 384 | the sender's event count | when it sleeps |
//! | 512 | 1 + the processor on which this side ran last; 0 if unknown | rarely |
//! | 640 | 1 when this side will send nothing from now on | once |
//! | 644 | 1 when this side will receive nothing from now on | once |
//! | 65536 | the ring | |
//!
//! Everything is little-endian. Words that are written at different times are more than a pair of
//! cache lines apart.

use super::control::Control;
use super::state::PeerRing;
use crate::atomic::AtomicU32;
use crate::errno::{Errno, Result};
use crate::shm::{check, create};
use crate::sys::cache;
use crate::sys::memory::Mapping;
use crate::transport::ring;
use nix::fcntl::SealFlag;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

/// The size of the largest page of any system. The ring is mapped separately, so it begins at a
/// page. The memory between the control words and the ring is never touched, so it takes no space.
const PAGE_MAX: usize = 1 << 16;
/// The size of the control words with their padding.
///
/// cbindgen:ignore
pub const CONTROL: usize = PAGE_MAX;
/// The smallest ring: a page of any system, and a power of two as each ring is.
///
/// cbindgen:ignore
pub const RING_MIN: u64 = PAGE_MAX as u64;
/// The largest ring.
///
/// cbindgen:ignore
pub const RING_MAX: u64 = 1 << 40;

/// How far ahead of a message the ring's cache lines are fetched for writing.
const AHEAD: usize = 128;

/// An end's memory, in the process that owns it or in its peer's.
pub struct Memory {
    mapping: Mapping,
    ring_size: u64,
}

/// How to make an end's memory.
#[derive(Clone, Copy, Debug)]
pub struct RingParams {
    /// The size of its ring; see [`ring_size`].
    pub ring_size: u64,
    /// Whether all of its pages are allocated and mapped at once.
    pub populate: bool,
    /// Whether its pages are locked into memory.
    pub lock: bool,
}

impl RingParams {
    /// Fails if this process certainly cannot make such a memory; makes nothing.
    pub fn check(&self) -> Result<()> {
        create::check_size(file_size(self.ring_size)? as u64)
    }
}

/// The size of the ring for a request of `requested` bytes: the next power of two.
pub fn ring_size(requested: u64) -> Result<u64> {
    match requested.checked_next_power_of_two() {
        Some(size) if size <= RING_MAX => Ok(size.max(RING_MIN)),
        _ => Err(Errno::EINVAL),
    }
}

impl Memory {
    /// Makes an end's memory, and a descriptor of it for the peer.
    pub fn create(params: &RingParams) -> Result<(Self, OwnedFd)> {
        let ring_size = ring_size(params.ring_size)?;
        let size = file_size(ring_size)?;
        let fd = create::memfd()?;
        create::set_size(fd.as_fd(), size)?;
        if params.populate {
            create::allocate(fd.as_fd(), size)?;
        }
        let this = Self {
            mapping: Mapping::with_repeat(fd.as_fd(), CONTROL, ring_size as usize, true)
                .map_err(to_enomem)?,
            ring_size,
        };
        create::seal(fd.as_fd(), true)?;
        if params.populate {
            this.mapping.populate(true)?;
        }
        if params.lock {
            this.mapping.lock().map_err(to_enomem)?;
        }
        Ok((this, fd))
    }

    /// Maps the peer's memory. It is checked first: it must be such memory, of this size, and no
    /// process may be able to truncate it or to write it in another way. Its pages are not
    /// populated or locked: a sparse file would make this process allocate them.
    pub fn of_peer(fd: BorrowedFd, ring_size: u64) -> Result<Self> {
        let size = file_size(ring_size)?;
        if check::sealed(fd, SEALS).map_err(to_eproto)? != size {
            return Err(Errno::EPROTO);
        }
        let mapping = Mapping::with_repeat(fd, CONTROL, ring_size as usize, false);
        Ok(Self {
            mapping: mapping.map_err(to_eproto).map_err(to_enomem)?,
            ring_size,
        })
    }

    /// The control words.
    #[inline]
    pub fn control(&self) -> &Control {
        // SAFETY: the mapping begins with them and lives as long as self. They are atomics, for
        // which any bytes are valid. If the mapping is read-only, nothing is stored.
        unsafe { &*self.mapping.address().cast::<Control>() }
    }

    /// The address of a position in the ring; as many bytes as the ring has follow it.
    #[inline]
    pub fn ring(&self, position: u64) -> *mut u8 {
        debug_assert!(position < self.ring_size);
        self.mapping
            .address()
            .cast::<u8>()
            .wrapping_add(CONTROL + ring::SHIFT as usize + position as usize)
    }

    /// The address of the message at a position, behind its length field.
    #[inline]
    pub fn message(&self, position: u64) -> NonNull<u8> {
        let at = self.ring(position).wrapping_add(ring::LENGTH as usize);
        // SAFETY: within the mapping, so it is not null.
        unsafe { NonNull::new_unchecked(at) }
    }

    /// Messages will be written from a position on: fetches a cache line for writing, since the
    /// receiver's processor has it. Two lines ahead was fastest in measurements.
    #[inline]
    pub fn prefetch_write(&self, position: u64) {
        // Within the mapping, which has the ring twice.
        if let Some(ahead) = NonNull::new(self.ring(position).wrapping_add(AHEAD)) {
            cache::prefetch_write(ahead);
        }
    }

    /// The length field at a position, which is a multiple of 8.
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

impl PeerRing for Memory {
    fn length_at(&self, cursor: u64) -> &AtomicU32 {
        self.length(cursor & (self.ring_size - 1))
    }
}

/// A descriptor that is open but does not allow this operation is the peer's fault.
fn to_eproto(error: Errno) -> Errno {
    match error {
        Errno::EBADF | Errno::EACCES | Errno::EINVAL | Errno::EPERM => Errno::EPROTO,
        error => error,
    }
}

/// `EAGAIN` of mmap and mlock reports a limit (after `mlockall`, for instance). An event loop would
/// take it for a reason to try again later.
fn to_enomem(error: Errno) -> Errno {
    match error {
        Errno::EAGAIN => Errno::ENOMEM,
        other => other,
    }
}

/// The size of an end's memory; `EPROTO` if there can be no such ring.
fn file_size(ring: u64) -> Result<usize> {
    if !ring.is_power_of_two() || !(RING_MIN..=RING_MAX).contains(&ring) {
        return Err(Errno::EPROTO);
    }
    Ok(CONTROL + ring as usize)
}

/// The operations that no process may do with it.
const SEALS: SealFlag = SealFlag::F_SEAL_SHRINK
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_FUTURE_WRITE)
    .union(SealFlag::F_SEAL_SEAL);
