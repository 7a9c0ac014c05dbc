//! The shared memory of a side that sends: its control words, and the ring of its messages.
//!
//! It is a memfd: first the control words, then, at [`CONTROL`], the ring. The side maps it writable
//! and then seals it: from then on no process can map it writable, write to it in another way, or
//! change its size. Other processes receive the descriptor and map it read-only. The ring is mapped
//! twice in a row, so that a message is never in two parts.

use super::broadcast::{HEADER, Headers};
use super::label::{self, Kind, Label};
use super::ring::{self, Geometry};
use crate::atomic::AtomicU32;
use crate::errno::{Errno, Result, errno};
use crate::shm::{check, create};
use crate::sys::cache;
use crate::sys::memory::Mapping;
use libc::c_void;
use nix::fcntl::SealFlag;
use std::marker::PhantomData;
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

/// How far ahead of a message, in bytes, the ring is prefetched for writing. Two lines were fastest
/// in measurements.
const AHEAD: usize = 128;

/// The seals of the memory.
pub const SEALS: SealFlag = SealFlag::F_SEAL_SHRINK
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_FUTURE_WRITE)
    .union(SealFlag::F_SEAL_SEAL);

/// Control words: atomics, for which any bytes are valid.
///
/// # Safety
///
/// The type consists of atomics only.
pub unsafe trait ControlWords {}

/// The memory, mapped by the process that sends or by one that receives.
pub struct RingMemory<C> {
    mapping: Mapping,
    /// The address of the length field of the record at position 0.
    first_length: *mut u8,
    geometry: Geometry,
    /// The inode number of the file, if it is the memory of another process; otherwise 0.
    inode: u64,
    control: PhantomData<C>,
}

/// How the pages of a new memory are allocated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pages {
    /// Whether all of them are allocated and mapped when the memory is created.
    pub populate: bool,
    /// Whether they are locked into memory.
    pub lock: bool,
}

impl<C: ControlWords> RingMemory<C> {
    /// Creates the memory. Also returns its descriptor, for the processes that receive.
    pub fn create(kind: &Kind, geometry: Geometry, pages: Pages) -> Result<(Self, OwnedFd)> {
        let fd = create_file(kind, file_size(geometry.size())?, pages.populate)?;
        let this = Self::map(fd.as_fd(), 0, geometry, true, ptr::null_mut())?;
        create::seal(fd.as_fd(), true)?;
        this.prepare(pages)?;
        Ok((this, fd))
    }

    /// Checks and maps the memory of another process. `EPROTO` unless it has this size and all
    /// [`SEALS`], so that no process can truncate it or map it writable. Its pages are neither
    /// populated nor locked: if the peer sent a sparse file, this process would allocate the pages.
    pub fn of_peer(fd: BorrowedFd, geometry: Geometry) -> Result<Self> {
        let size = file_size(geometry.size())?;
        let st = check::sealed_stat(fd, SEALS).map_err(to_eproto)?;
        if check::regular_size(&st)? != size {
            return Err(errno!(EPROTO));
        }
        let mut this = Self::map(fd, 0, geometry, false, ptr::null_mut()).map_err(to_eproto)?;
        this.inode = st.st_ino;
        Ok(this)
    }

    /// Maps a memory that begins at this offset of a file, if possible before the address `end`.
    pub fn map(
        fd: BorrowedFd,
        offset: usize,
        geometry: Geometry,
        writable: bool,
        end: *mut c_void,
    ) -> Result<Self> {
        let size = geometry.size() as usize;
        let mapping = Mapping::with_repeat(fd, offset, CONTROL, size, writable, end);
        let mapping = mapping.map_err(to_enomem)?;
        Ok(Self {
            first_length: first_length(&mapping, geometry),
            mapping,
            geometry,
            inode: 0,
            control: PhantomData,
        })
    }

    /// Populates and locks new memory, if `pages` says so. `create_file` has allocated the pages to
    /// populate.
    pub fn prepare(&self, pages: Pages) -> Result<()> {
        if pages.populate && !self.mapping.populate(true)? {
            self.mapping.touch();
        }
        if pages.lock {
            self.mapping.lock().map_err(to_enomem)?;
        }
        Ok(())
    }

    /// The control words.
    #[inline]
    pub fn control(&self) -> &C {
        const { assert!(size_of::<C>() <= label::OFFSET) };
        // SAFETY: the mapping begins with the control words and lives as long as self. They are
        // atomics, for which any bytes are valid. In a read-only mapping no caller stores to them.
        unsafe { &*self.mapping.address().cast::<C>() }
    }
}

impl<C> RingMemory<C> {
    /// The label.
    pub fn label(&self) -> &Label {
        const { assert!(label::OFFSET + size_of::<Label>() <= CONTROL) };
        let at = self.mapping.address().wrapping_byte_add(label::OFFSET);
        // SAFETY: before the ring, and as in `control`.
        unsafe { &*at.cast::<Label>() }
    }

    /// The inode number of the memory of another process; otherwise 0.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// The address at which it is mapped.
    pub fn start(&self) -> *mut c_void {
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

    /// This memory, whose ring is empty and has this geometry of the same size.
    pub fn with_geometry(mut self, geometry: Geometry) -> Self {
        self.geometry = geometry;
        self.first_length = first_length(&self.mapping, geometry);
        self
    }

    /// The geometry of the ring.
    #[inline]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The size of the ring.
    #[inline]
    pub fn ring_size(&self) -> u64 {
        self.geometry.size()
    }

    /// The address of the length field at a position. At least the size of the ring follows it,
    /// because the ring is mapped twice.
    #[inline]
    fn field(&self, position: u64) -> *mut u8 {
        debug_assert!(position < self.geometry.size());
        self.first_length.wrapping_add(position as usize)
    }

    /// The address of the message at a position, after its length field.
    #[inline]
    pub fn message(&self, position: u64) -> NonNull<u8> {
        let at = self.field(position).wrapping_add(ring::LENGTH as usize);
        // SAFETY: the address is within the mapping, so it is not null.
        unsafe { NonNull::new_unchecked(at) }
    }

    /// The length field at a position, which is a multiple of 8.
    #[inline]
    pub fn length(&self, position: u64) -> &AtomicU32 {
        // SAFETY: within the mapping and aligned to four. It is an atomic, as in `control`.
        unsafe { &*self.field(position).cast::<AtomicU32>() }
    }
}

/// Prefetches a cache line for writing, before messages are written from `at` on: the processors of
/// the receivers have the line.
#[inline]
pub fn prefetch_write(at: *const u8) {
    cache::prefetch_write(at.wrapping_add(AHEAD));
}

impl<C> Headers for RingMemory<C> {
    #[inline]
    fn length(&self, position: u64) -> &AtomicU32 {
        self.length(position)
    }

    #[inline]
    fn sequence(&self, position: u64) -> &AtomicU32 {
        let before = (HEADER - ring::LENGTH) as usize;
        // SAFETY: as for the length; the header does not begin before its record.
        unsafe {
            &*self
                .field(position)
                .wrapping_sub(before)
                .cast::<AtomicU32>()
        }
    }
}

/// The address of the length field of the record at position 0.
fn first_length(mapping: &Mapping, geometry: Geometry) -> *mut u8 {
    let offset = CONTROL + geometry.length_offset() as usize;
    mapping.address().cast::<u8>().wrapping_add(offset)
}

/// Creates the file of new memory. With `populate`, its pages are allocated.
pub fn create_file(kind: &Kind, size: usize, populate: bool) -> Result<OwnedFd> {
    let fd = create::memfd(kind.file_name)?;
    create::set_size(fd.as_fd(), size)?;
    if populate {
        create::allocate(fd.as_fd(), size)?;
    }
    Ok(fd)
}

/// The size of the ring for a request of `requested` bytes: the next power of two, and at least
/// [`RING_MIN`].
pub fn ring_size(requested: u64) -> Result<u64> {
    match requested.checked_next_power_of_two() {
        Some(size) if size <= RING_MAX => Ok(size.max(RING_MIN)),
        _ => Err(errno!(EINVAL)),
    }
}

/// An error of an operation that the peer's descriptor does not allow becomes `EPROTO`.
pub fn to_eproto(error: Errno) -> Errno {
    match error.code() {
        libc::EBADF | libc::EACCES | libc::EINVAL | libc::EPERM => errno!(EPROTO),
        _ => error,
    }
}

/// `EAGAIN` becomes `ENOMEM`: mmap(2) and mlock(2) report a limit by it, for instance after
/// `mlockall`, but an event loop would try again later.
pub fn to_enomem(error: Errno) -> Errno {
    match error.code() {
        libc::EAGAIN => errno!(ENOMEM),
        _ => error,
    }
}

/// The size of the memory with a ring of this size. `EPROTO` if no ring can have it.
pub fn file_size(ring: u64) -> Result<usize> {
    if !ring.is_power_of_two() || !(RING_MIN..=RING_MAX).contains(&ring) {
        return Err(errno!(EPROTO));
    }
    Ok(CONTROL + ring as usize)
}
