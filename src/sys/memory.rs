//! Memory that is a file: how it is made, and mappings of it.

use super::{checked_int, checked_len};
use crate::errno::{Errno, Result};
use crate::fd::own;
use libc::{c_int, c_long, c_uint, c_void};
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag};
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};

/// `memfd_create(2)`: an empty file of memory, without a path.
pub fn memfd_create(name: &CStr, flags: c_uint) -> Result<OwnedFd> {
    // SAFETY: the kernel reads the name, a string.
    let fd = checked_int(c_long::from(unsafe {
        libc::memfd_create(name.as_ptr(), flags)
    }))?;
    // SAFETY: the kernel has just given us this descriptor.
    unsafe { own(fd) }
}

/// Adds seals to a memfd.
pub fn add_seals(fd: BorrowedFd, seals: SealFlag) -> Result<()> {
    nix::fcntl::fcntl(fd, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(())
}

/// The seals of a file of memory; `EINVAL` for other files.
pub fn seals(fd: BorrowedFd) -> Result<SealFlag> {
    let seals = nix::fcntl::fcntl(fd, FcntlArg::F_GET_SEALS)?;
    Ok(SealFlag::from_bits_truncate(seals))
}

/// Has the kernel find the memory for a part of a file (`fallocate(2)`). `EINTR` says that a
/// signal is pending, and that nothing has changed.
pub fn allocate(fd: BorrowedFd, from: usize, len: usize) -> Result<()> {
    let offset = |value: usize| i64::try_from(value).map_err(|_| Errno::EFBIG);
    nix::fcntl::fallocate(fd, FallocateFlags::empty(), offset(from)?, offset(len)?)?;
    Ok(())
}

/// `pwrite(2)`. `EINTR` says that a signal is pending, and that nothing was written.
pub fn write_at(fd: BorrowedFd, bytes: &[u8], at: usize) -> Result<usize> {
    let offset = libc::off_t::try_from(at).map_err(|_| Errno::EFBIG)?;
    let (from, len) = (bytes.as_ptr().cast(), bytes.len());
    // SAFETY: the kernel reads within `bytes`.
    checked_len(unsafe { libc::pwrite(fd.as_raw_fd(), from, len, offset) })
}

/// How large a file this process may make (`RLIMIT_FSIZE`). One that it makes larger costs it
/// a SIGXFSZ.
pub fn file_size_limit() -> Result<u64> {
    let mut limit = MaybeUninit::<libc::rlimit>::zeroed();
    // SAFETY: the kernel writes the limit, for which there is room.
    checked_int(c_long::from(unsafe {
        libc::getrlimit(libc::RLIMIT_FSIZE, limit.as_mut_ptr())
    }))?;
    // SAFETY: zeros are a limit too.
    Ok(unsafe { limit.assume_init() }.rlim_cur)
}

/// All memory that the machine has, with its swap space, in bytes.
pub fn total() -> Result<u64> {
    let mut info = MaybeUninit::<libc::sysinfo>::zeroed();
    // SAFETY: the kernel writes the information, for which there is room.
    checked_int(c_long::from(unsafe { libc::sysinfo(info.as_mut_ptr()) }))?;
    // SAFETY: zeros are such a structure too.
    let info = unsafe { info.assume_init() };
    let units = info.totalram.saturating_add(info.totalswap);
    Ok(units.saturating_mul(info.mem_unit.into()))
}

/// A shared mapping of a file from its beginning, undone when dropped.
#[derive(Debug)]
pub struct Mapping {
    address: NonNull<c_void>,
    len: usize,
}

impl Mapping {
    /// Maps `len` bytes where the kernel likes. Where `populated`, pages that exist are mapped
    /// at once.
    pub fn new(fd: BorrowedFd, len: usize, writable: bool, populated: bool) -> Result<Self> {
        let write = if writable { libc::PROT_WRITE } else { 0 };
        let populate = if populated { libc::MAP_POPULATE } else { 0 };
        // SAFETY: a new mapping, which replaces none.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | write,
                libc::MAP_SHARED | populate,
                fd.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let address = NonNull::new(address).ok_or(Errno::ENOMEM)?;
        Ok(Self { address, len })
    }

    /// Maps `head` bytes of a file and the `repeated` bytes behind them, and these once more
    /// behind that: what is written across the end of them is found at their beginning.
    #[inline(never)]
    pub fn with_repeat(
        fd: BorrowedFd,
        head: usize,
        repeated: usize,
        writable: bool,
    ) -> Result<Self> {
        let once = head.checked_add(repeated).ok_or(Errno::ENOMEM)?;
        let len = once.checked_add(repeated).ok_or(Errno::ENOMEM)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, which replaces none: room for the two.
        let address = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let address = NonNull::new(address).ok_or(Errno::ENOMEM)?;
        let room = Self { address, len };
        let write = if writable { libc::PROT_WRITE } else { 0 };
        let protection = libc::PROT_READ | write;
        for (at, len, offset) in [(0, once, 0), (once, repeated, head)] {
            // SAFETY: within the mapping just made, which is ours alone and is replaced here.
            let mapped = unsafe {
                libc::mmap(
                    room.address.as_ptr().wrapping_byte_add(at),
                    len,
                    protection,
                    libc::MAP_SHARED | libc::MAP_FIXED,
                    fd.as_raw_fd(),
                    offset as libc::off_t,
                )
            };
            if mapped == libc::MAP_FAILED {
                return Err(Errno::last());
            }
        }
        Ok(room)
    }

    /// Where it begins. What is there is shared, and other processes may change it at any time.
    #[must_use]
    pub fn address(&self) -> *mut c_void {
        self.address.as_ptr()
    }

    /// How many bytes were mapped.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes; the kernel makes no such mapping.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Asks for huge pages; whether there are such is the system's to say (`MADV_HUGEPAGE`).
    pub fn want_huge_pages(&self) {
        let _ = self.advise(libc::MADV_HUGEPAGE);
    }

    /// Makes and maps all pages, as touching them would (Linux 5.14). Memory that is not to be
    /// had is an error, and no SIGBUS. Under a system call filter that refuses it nothing happens:
    /// the kernel then maps each page when it is first touched.
    #[inline(never)]
    pub fn populate(&self, writable: bool) -> Result<()> {
        let populated = self.advise(if writable {
            libc::MADV_POPULATE_WRITE
        } else {
            libc::MADV_POPULATE_READ
        });
        match populated {
            Err(error) if error.is_missing_call() => Ok(()),
            other => other,
        }
    }

    fn advise(&self, advice: c_int) -> Result<()> {
        // SAFETY: the mapping is ours, and none of these changes what is in it.
        let done = unsafe { libc::madvise(self.address.as_ptr(), self.len, advice) };
        checked_int(done.into()).map(drop)
    }

    /// Keeps all of it in memory, and out of swap space (`mlock(2)`).
    #[inline(never)]
    pub fn lock(&self) -> Result<()> {
        // SAFETY: changes nothing that is in the mapping.
        let done = unsafe { libc::mlock(self.address.as_ptr(), self.len) };
        checked_int(done.into()).map(drop)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours; who has its address was told until when it is there.
        unsafe { libc::munmap(self.address.as_ptr(), self.len) };
    }
}
