//! Files in memory, and memory mappings.

use super::{checked_int, checked_len};
use crate::errno::{Errno, Result, errno};
use crate::fd::own;
use libc::{c_int, c_long, c_uint, c_void};
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};

/// `memfd_create(2)`: makes an empty file in memory, without a path.
pub fn memfd_create(name: &CStr, flags: c_uint) -> Result<OwnedFd> {
    // SAFETY: the kernel reads the name, a string.
    let fd = checked_int(c_long::from(unsafe {
        libc::memfd_create(name.as_ptr(), flags)
    }))?;
    // SAFETY: the kernel has just opened this descriptor.
    unsafe { own(fd) }
}

/// Adds seals to a memfd.
pub fn add_seals(fd: BorrowedFd, seals: SealFlag) -> Result<()> {
    nix::fcntl::fcntl(fd, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(())
}

/// Returns the seals of a file in memory; `EINVAL` for other files.
pub fn seals(fd: BorrowedFd) -> Result<SealFlag> {
    let seals = nix::fcntl::fcntl(fd, FcntlArg::F_GET_SEALS)?;
    Ok(SealFlag::from_bits_truncate(seals))
}

/// Allocates the memory of a part of a file (`fallocate(2)`). `EINTR` means that a signal is
/// pending and nothing has changed.
pub fn allocate(fd: BorrowedFd, from: usize, len: usize) -> Result<()> {
    let offset = |value: usize| i64::try_from(value).map_err(|_| errno!(EFBIG));
    nix::fcntl::fallocate(fd, FallocateFlags::empty(), offset(from)?, offset(len)?)?;
    Ok(())
}

/// `pwrite(2)`. `EINTR` means that a signal is pending and nothing was written.
pub fn write_at(fd: BorrowedFd, bytes: &[u8], at: usize) -> Result<usize> {
    let offset = libc::off_t::try_from(at).map_err(|_| errno!(EFBIG))?;
    let (from, len) = (bytes.as_ptr().cast(), bytes.len());
    // SAFETY: the kernel reads within `bytes`.
    checked_len(unsafe { libc::pwrite(fd.as_raw_fd(), from, len, offset) })
}

/// `pread(2)`. `EINTR` means that a signal is pending and nothing was read.
pub fn read_at(fd: BorrowedFd, bytes: &mut [u8], at: usize) -> Result<usize> {
    let offset = libc::off_t::try_from(at).map_err(|_| errno!(EFBIG))?;
    let (to, len) = (bytes.as_mut_ptr().cast(), bytes.len());
    // SAFETY: the kernel writes within `bytes`.
    checked_len(unsafe { libc::pread(fd.as_raw_fd(), to, len, offset) })
}

/// Returns the size of a page.
#[must_use]
pub fn page_size() -> usize {
    // SAFETY: no pointers.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// The maximum size of a file that this process makes (`RLIMIT_FSIZE`). Exceeding it raises
/// SIGXFSZ.
pub fn file_size_limit() -> Result<u64> {
    let mut limit = MaybeUninit::<libc::rlimit>::zeroed();
    // SAFETY: the kernel writes one rlimit.
    checked_int(c_long::from(unsafe {
        libc::getrlimit(libc::RLIMIT_FSIZE, limit.as_mut_ptr())
    }))?;
    // SAFETY: zeros are a valid rlimit.
    Ok(unsafe { limit.assume_init() }.rlim_cur)
}

/// Returns the size of the memory and swap space of the machine, in bytes.
pub fn total() -> Result<u64> {
    let mut info = MaybeUninit::<libc::sysinfo>::zeroed();
    // SAFETY: the kernel writes one sysinfo.
    checked_int(c_long::from(unsafe { libc::sysinfo(info.as_mut_ptr()) }))?;
    // SAFETY: zeros are a valid sysinfo.
    let info = unsafe { info.assume_init() };
    let units = info.totalram.saturating_add(info.totalswap);
    Ok(units.saturating_mul(info.mem_unit.into()))
}

/// Private memory for one call, of any size. Unlike malloc(3), a signal handler may use it.
pub struct Scratch {
    at: NonNull<MaybeUninit<u8>>,
    len: usize,
}

impl Scratch {
    /// Maps `len` bytes.
    pub fn new(len: usize) -> Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: new memory, at an address that the kernel chooses.
        let at = mapped(unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) })?;
        Ok(Self { at: at.cast(), len })
    }

    /// The memory.
    pub fn bytes(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: mapped until the drop, and borrowed like self.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: this mapping, which no reference uses after the drop.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.len) };
    }
}

/// A shared mapping of the beginning of a file. Drop unmaps it.
#[derive(Debug)]
pub struct Mapping {
    address: NonNull<c_void>,
    len: usize,
}

impl Mapping {
    /// Maps `len` bytes at an address that the kernel chooses. With `populated`, it maps all pages
    /// at once; a page that cannot be allocated is not an error.
    pub fn new(fd: BorrowedFd, len: usize, writable: bool, populated: bool) -> Result<Self> {
        let populate = if populated { libc::MAP_POPULATE } else { 0 };
        Self::new_at(ptr::null_mut(), len, fd, writable, populate, 0)
    }

    /// Maps `len` bytes of a file from `offset` on, with `flags` of mmap(2) in addition to
    /// `MAP_SHARED`. Without `MAP_FIXED` it replaces no mapping; with it, the caller owns the memory
    /// at `at`.
    ///
    /// Before Linux 6.7, the kernel refuses to share memory that is sealed against writing. A private
    /// mapping for reading shows the same bytes, because no process can change them.
    fn new_at(
        at: *mut c_void,
        len: usize,
        fd: BorrowedFd,
        writable: bool,
        flags: c_int,
        offset: usize,
    ) -> Result<Self> {
        let write = if writable { libc::PROT_WRITE } else { 0 };
        let map = |sharing| {
            let protection = libc::PROT_READ | write;
            let (flags, offset) = (sharing | flags, offset as libc::off_t);
            // SAFETY: a new mapping; with MAP_FIXED it replaces memory of the caller.
            let at = unsafe { libc::mmap(at, len, protection, flags, fd.as_raw_fd(), offset) };
            mapped(at)
        };
        let address = match map(libc::MAP_SHARED) {
            Err(error) if error == Errno::EPERM && !writable && is_sealed_against_writing(fd) => {
                map(libc::MAP_PRIVATE)?
            }
            shared => shared?,
        };
        Ok(Self { address, len })
    }

    /// Maps a part of a file that begins at `offset`: `head` bytes, the next `repeated` bytes, and
    /// these `repeated` bytes a second time. Bytes that are written across their end thus appear at
    /// their beginning. The mapping ends at the address `end` if that is not null, the addresses
    /// before it are free, and the kernel knows how to map there.
    #[inline(never)]
    pub fn with_repeat(
        fd: BorrowedFd,
        offset: usize,
        head: usize,
        repeated: usize,
        writable: bool,
        end: *mut c_void,
    ) -> Result<Self> {
        let once = head.checked_add(repeated).ok_or(errno!(ENOMEM))?;
        let len = once.checked_add(repeated).ok_or(errno!(ENOMEM))?;
        let map = |at: *mut c_void, len, flags, offset| {
            Self::new_at(at, len, fd, writable, flags, offset)
        };
        // The repetition first: the kernel usually assigns descending addresses, so those before it
        // are free. Two mappings side by side cost less than one that replaces a part of another.
        let mut next = map_before(end, repeated, |at, flags| {
            map(at, repeated, flags, offset + head)
        });
        if next.is_none() {
            next = Some(map(ptr::null_mut(), repeated, 0, offset + head)?);
        }
        if let Some(mut repetition) = next {
            let first = map_before(repetition.address(), once, |at, flags| {
                map(at, once, flags, offset)
            });
            if let Some(mut first) = first {
                first.absorb(&mut repetition);
                return Ok(first);
            }
        }
        // This reserves the addresses of the repetition too. It may map more than the file has, but
        // the second mapping replaces that.
        let first = map(ptr::null_mut(), len, 0, offset)?;
        let at = first.address().wrapping_byte_add(once);
        let mut repetition = map(at, repeated, libc::MAP_FIXED, offset + head)?;
        repetition.len = 0; // `first` unmaps it
        Ok(first)
    }

    /// Takes over the mapping `next` if it follows this one and is not empty: this one then unmaps
    /// both, and `next` is empty.
    pub fn absorb(&mut self, next: &mut Self) {
        if self.len != 0 && self.address().wrapping_byte_add(self.len) == next.address() {
            self.len += std::mem::take(&mut next.len);
        }
    }

    /// The address. The memory is shared, and other processes may change it at any time.
    #[must_use]
    pub fn address(&self) -> *mut c_void {
        self.address.as_ptr()
    }

    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the length is 0; the kernel makes no such mapping.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Requests huge pages (`MADV_HUGEPAGE`), if the system has them.
    pub fn want_huge_pages(&self) {
        let _ = self.advise(libc::MADV_HUGEPAGE);
    }

    /// Allocates and maps all pages, as an access to each would. Fails if a page cannot be
    /// allocated, with `EFAULT` if an access would raise SIGBUS. Returns false if it did nothing:
    /// on a kernel before Linux 5.14, or with a system call filter that refuses the call.
    #[inline(never)]
    pub fn populate(&self, writable: bool) -> Result<bool> {
        let populated = self.advise(if writable {
            libc::MADV_POPULATE_WRITE
        } else {
            libc::MADV_POPULATE_READ
        });
        match populated {
            Err(error) if error == Errno::EINVAL || error.is_missing_call() => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Reads a byte of each page, which maps it. For memory that is allocated and cannot shrink.
    pub fn touch(&self) {
        let page = page_size().max(1);
        for offset in (0..self.len).step_by(page) {
            let at = self.address().wrapping_byte_add(offset).cast::<u8>();
            // SAFETY: within this mapping. Another process may change the byte, which is not used.
            let _ = unsafe { at.read_volatile() };
        }
    }

    fn advise(&self, advice: c_int) -> Result<()> {
        // SAFETY: this mapping; none of these changes its content.
        let done = unsafe { libc::madvise(self.address.as_ptr(), self.len, advice) };
        checked_int(done.into()).map(drop)
    }

    /// Locks all of it in memory, so that it is not swapped out (`mlock(2)`).
    #[inline(never)]
    pub fn lock(&self) -> Result<()> {
        // SAFETY: does not change the content.
        let done = unsafe { libc::mlock(self.address.as_ptr(), self.len) };
        checked_int(done.into()).map(drop)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.len != 0 {
            // SAFETY: this mapping, which is no longer used.
            unsafe { libc::munmap(self.address.as_ptr(), self.len) };
        }
    }
}

fn is_sealed_against_writing(fd: BorrowedFd) -> bool {
    seals(fd).is_ok_and(|seals| seals.contains(SealFlag::F_SEAL_WRITE))
}

/// Calls `map` with the address `len` bytes before `end`, unless `end` is null, and with the flag
/// that replaces no mapping. None if the kernel has not mapped there.
fn map_before(
    end: *mut c_void,
    len: usize,
    map: impl FnOnce(*mut c_void, c_int) -> Result<Mapping>,
) -> Option<Mapping> {
    if end.addr() <= len {
        return None;
    }
    let at = end.wrapping_byte_sub(len);
    let mapping = map(at, libc::MAP_FIXED_NOREPLACE).ok()?;
    // A kernel before Linux 4.17 does not know the flag, and may choose another address.
    (mapping.address() == at).then_some(mapping)
}

/// Returns the address that mmap(2) returned, or its error. `EAGAIN`, which it returns when
/// `mlockall(MCL_FUTURE)` would lock more than `RLIMIT_MEMLOCK`, becomes `ENOMEM`.
fn mapped(address: *mut c_void) -> Result<NonNull<c_void>> {
    if address == libc::MAP_FAILED {
        let error = Errno::last();
        return Err(match error.code() {
            libc::EAGAIN => errno!(ENOMEM),
            _ => error,
        });
    }
    NonNull::new(address).ok_or(errno!(ENOMEM))
}
