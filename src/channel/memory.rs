//! The shared memory of an end, and the mapping of its peer's.
//!
//! Each end has one memfd: first its control words, then the ring of the messages that it sends.
//! The end maps the memfd writable and then seals it: from then on no process can map it writable,
//! write to it in another way, or change its size. The peer receives the descriptor and maps it
//! read-only. So only the end itself writes its words. The two ends of a pair in one process share a
//! memfd, the memory of the second behind that of the first.
//!
//! | offset | content | written |
//! |---|---|---|
//! | 0 | tail: the cursor up to which this end has written its ring | with each message sent |
//! | 8 | 1 while the tail is published with the asymmetric fence (`event_count`) | rarely |
//! | 12 | the process that sends | once |
//! | 128 | head: the cursor up to which this end has read the peer's ring | with each message received |
//! | 136 | 1 while the head is published with the asymmetric fence | rarely |
//! | 140 | the process that receives | once |
//! | 256 | the receiver's event count | when it sleeps |
//! | 260 | the sender's event count | when it sleeps |
//! | 264 | 1 + the processor on which this side ran last; 0 if unknown | rarely |
//! | 268 | 1 when this side will send nothing from now on | once |
//! | 272 | 1 when this side will receive nothing from now on | once |
//! | 65536 | the ring | |
//!
//! All numbers are little-endian. A busy side writes the two cursors often. They are a pair of cache
//! lines (128 bytes) apart from each other and from the other words.

use super::control::Control;
use super::state::PeerRing;
use crate::atomic::{AtomicU32, Ordering};
use crate::errno::{Errno, Result};
use crate::shm::{check, create};
use crate::sys::cache;
use crate::sys::memory::Mapping;
use crate::transport::ring::{self, ALIGN_MIN, Geometry};
use libc::c_void;
use nix::fcntl::SealFlag;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};

/// The size of the largest page of any system. The ring is mapped separately, so it begins at a
/// page boundary. The pages between the control words and the ring are never accessed, so they
/// occupy no memory.
const PAGE_MAX: usize = 1 << 16;
/// The size of the control words with their padding.
///
/// cbindgen:ignore
pub const CONTROL: usize = PAGE_MAX;
/// The smallest ring. It is a multiple of the page size on every system, and a power of two like
/// all rings.
///
/// cbindgen:ignore
pub const RING_MIN: u64 = PAGE_MAX as u64;
/// The largest ring.
///
/// cbindgen:ignore
pub const RING_MAX: u64 = 1 << 40;

/// How far ahead of a message, in bytes, the ring is prefetched for writing.
const AHEAD: usize = 128;

/// The memory of an end, mapped by its own process or by the peer's.
pub struct EndMemory {
    mapping: Mapping,
    /// The address of the length field of the record at position 0.
    first_length: *mut u8,
    geometry: Geometry,
}

/// The parameters of a new memory.
#[derive(Clone, Copy, Debug)]
pub struct RingParams {
    /// The size of its ring; see [`ring_size`].
    pub ring_size: u64,
    /// The alignment of messages that this side asks for.
    pub align: u64,
    /// Whether all of its pages are allocated and mapped when it is created.
    pub populate: bool,
    /// Whether its pages are locked into memory.
    pub lock: bool,
}

impl RingParams {
    /// Fails if this process certainly cannot create such a memory. Creates nothing.
    pub fn check(&self) -> Result<()> {
        create::check_size(file_size(self.ring_size)? as u64)
    }
}

/// The size of the ring for a request of `requested` bytes: the next power of two, and at least
/// [`RING_MIN`].
pub fn ring_size(requested: u64) -> Result<u64> {
    match requested.checked_next_power_of_two() {
        Some(size) if size <= RING_MAX => Ok(size.max(RING_MIN)),
        _ => Err(Errno::EINVAL),
    }
}

impl EndMemory {
    /// Creates the memory of this end. Also returns its descriptor, for the peer.
    pub fn create(params: &RingParams) -> Result<(Self, OwnedFd)> {
        let size = file_size(params.ring_size)?;
        let fd = create_file(size, params.populate)?;
        let this = Self::map(fd.as_fd(), 0, params.ring_size, true, ptr::null_mut())?;
        create::seal(fd.as_fd(), true)?;
        this.prepare(params)?;
        Ok((this, fd))
    }

    /// Creates the memory of both ends of a pair in one file, which costs less than two. Returns for
    /// each end its memory, and the same memory as its peer maps it.
    pub fn create_pair(params: [&RingParams; 2]) -> Result<[(Self, Self); 2]> {
        let [a, b] = params;
        let a_size = file_size(a.ring_size)?;
        let size = a_size
            .checked_add(file_size(b.ring_size)?)
            .ok_or(Errno::EINVAL)?;
        let fd = create_file(size, a.populate || b.populate)?;
        let map = |offset, params: &RingParams, writable, end| {
            Self::map(fd.as_fd(), offset, params.ring_size, writable, end)
        };
        // In descending order: the memory of `a`, that of `b` for `a`, and the same for `b`. So each
        // end can unmap both of its memories together. Only what is mapped after the seals is
        // read-only for ever.
        let a_own = map(0, a, true, ptr::null_mut())?;
        let gap = a_own
            .start()
            .wrapping_byte_sub(CONTROL + 2 * b.ring_size as usize);
        let b_own = map(a_size, b, true, gap)?;
        create::seal(fd.as_fd(), true)?;
        let b_peers = map(a_size, b, false, a_own.start())?;
        let a_peers = map(0, a, false, b_own.start())?;
        a_own.prepare(a)?;
        b_own.prepare(b)?;
        Ok([(a_own, a_peers), (b_own, b_peers)])
    }

    /// Checks and maps the peer's memory. `EPROTO` unless it has this size and all [`SEALS`], so
    /// that no process can truncate it or map it writable. Its pages are neither populated nor
    /// locked: if the peer sent a sparse file, this process would allocate the pages.
    pub fn of_peer(fd: BorrowedFd, ring_size: u64) -> Result<Self> {
        let size = file_size(ring_size)?;
        if check::sealed(fd, SEALS).map_err(to_eproto)? != size {
            return Err(Errno::EPROTO);
        }
        Self::map(fd, 0, ring_size, false, ptr::null_mut()).map_err(to_eproto)
    }

    /// Maps the memory of an end, which begins at this offset of a file, if possible before the
    /// address `end`.
    fn map(
        fd: BorrowedFd,
        offset: usize,
        ring_size: u64,
        writable: bool,
        end: *mut c_void,
    ) -> Result<Self> {
        let size = ring_size as usize;
        let mapping = Mapping::with_repeat(fd, offset, CONTROL, size, writable, end);
        Ok(Self::new(mapping.map_err(to_enomem)?, ring_size))
    }

    /// The address at which it is mapped.
    fn start(&self) -> *mut c_void {
        self.mapping.address()
    }

    /// Unmaps both memories with one system call when both are dropped, if they are neighbours.
    ///
    /// # Safety
    ///
    /// The caller drops both at the same time.
    pub unsafe fn unmap_with(&mut self, other: &mut Self) {
        self.mapping.absorb(&mut other.mapping);
        other.mapping.absorb(&mut self.mapping);
    }

    /// Allocates the pages that the first message needs. The memory is new.
    pub fn touch(&self) {
        self.control().tail.owner.store(0, Ordering::Relaxed);
        self.length(0).store(0, Ordering::Relaxed);
    }

    /// Populates and locks new memory, if its parameters ask for that.
    fn prepare(&self, params: &RingParams) -> Result<()> {
        if params.populate {
            self.mapping.populate(true)?;
        }
        if params.lock {
            self.mapping.lock().map_err(to_enomem)?;
        }
        Ok(())
    }

    fn new(mapping: Mapping, ring_size: u64) -> Self {
        let geometry = Geometry::new(ring_size, ALIGN_MIN);
        Self {
            first_length: first_length(&mapping, geometry),
            mapping,
            geometry,
        }
    }

    /// This memory, in whose ring messages are aligned to `align`. The ring is empty.
    pub fn with_alignment(mut self, align: u64) -> Self {
        self.geometry = Geometry::new(self.ring_size(), align);
        self.first_length = first_length(&self.mapping, self.geometry);
        self
    }

    /// The geometry of the ring.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The control words.
    #[inline]
    pub fn control(&self) -> &Control {
        // SAFETY: the mapping begins with the control words and lives as long as self. They are
        // atomics, for which any bytes are valid. In a read-only mapping no caller stores to them.
        unsafe { &*self.mapping.address().cast::<Control>() }
    }

    /// The address of the length field at a position. At least `ring_size` bytes follow it, because
    /// the ring is mapped twice.
    #[inline]
    fn ring(&self, position: u64) -> *mut u8 {
        debug_assert!(position < self.ring_size());
        self.first_length.wrapping_add(position as usize)
    }

    /// The address of the message at a position, after its length field.
    #[inline]
    pub fn message(&self, position: u64) -> NonNull<u8> {
        let at = self.ring(position).wrapping_add(ring::LENGTH as usize);
        // SAFETY: the address is within the mapping, so it is not null.
        unsafe { NonNull::new_unchecked(at) }
    }

    /// Prefetches a cache line for writing before messages are written from the length field `next`
    /// on, because the receiver's processor has the line. A distance of two lines was fastest in
    /// measurements.
    #[inline]
    pub fn prefetch_write(next: &AtomicU32) {
        cache::prefetch_write(ptr::from_ref(next).cast::<u8>().wrapping_add(AHEAD));
    }

    /// The length field at a position, which is a multiple of 8.
    #[inline]
    pub fn length(&self, position: u64) -> &AtomicU32 {
        // SAFETY: within the mapping and aligned to four. It is an atomic, as in `control`.
        unsafe { &*self.ring(position).cast::<AtomicU32>() }
    }

    /// The size of the ring.
    #[inline]
    pub fn ring_size(&self) -> u64 {
        self.geometry.size()
    }
}

impl PeerRing for EndMemory {
    fn length_at(&self, cursor: u64) -> &AtomicU32 {
        self.length(self.geometry.position(cursor))
    }
}

/// The address of the length field of the record at position 0.
fn first_length(mapping: &Mapping, geometry: Geometry) -> *mut u8 {
    let offset = CONTROL + geometry.length_offset() as usize;
    mapping.address().cast::<u8>().wrapping_add(offset)
}

/// Creates the file of new memory. With `populate`, its pages are allocated.
fn create_file(size: usize, populate: bool) -> Result<OwnedFd> {
    let fd = create::memfd()?;
    create::set_size(fd.as_fd(), size)?;
    if populate {
        create::allocate(fd.as_fd(), size)?;
    }
    Ok(fd)
}

/// An error of an operation that the peer's descriptor does not allow becomes `EPROTO`.
fn to_eproto(error: Errno) -> Errno {
    match error {
        Errno::EBADF | Errno::EACCES | Errno::EINVAL | Errno::EPERM => Errno::EPROTO,
        error => error,
    }
}

/// `EAGAIN` becomes `ENOMEM`: mmap(2) and mlock(2) report a limit by it, for instance after
/// `mlockall`, but an event loop would try again later.
fn to_enomem(error: Errno) -> Errno {
    match error {
        Errno::EAGAIN => Errno::ENOMEM,
        other => other,
    }
}

/// The size of the memory of an end with a ring of this size. `EPROTO` if no ring can have it.
fn file_size(ring: u64) -> Result<usize> {
    if !ring.is_power_of_two() || !(RING_MIN..=RING_MAX).contains(&ring) {
        return Err(Errno::EPROTO);
    }
    Ok(CONTROL + ring as usize)
}

/// The seals of an end's memory.
const SEALS: SealFlag = SealFlag::F_SEAL_SHRINK
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_FUTURE_WRITE)
    .union(SealFlag::F_SEAL_SEAL);
