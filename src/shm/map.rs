//! Mapping a region, and allocating its pages.

use super::{check, create};
use crate::errno::{Errno, Result, errno};
use crate::sys::memory::Mapping;
use nix::sys::stat::fstat;
use std::os::fd::BorrowedFd;

/// How a process maps a region.
#[derive(Clone, Copy, Debug, Default)]
pub struct MapOptions {
    /// For reading only.
    pub read_only: bool,
    /// With huge pages, if the system has them.
    pub huge: bool,
    /// With all pages allocated and mapped in the call.
    pub prefault: bool,
    /// With all pages locked into memory.
    pub lock: bool,
}

impl MapOptions {
    /// Maps a file. The caller then calls [`MapOptions::lock`].
    pub(super) fn map(self, fd: BorrowedFd, size: usize) -> Result<Mapping> {
        let mapping = Mapping::new(fd, size, !self.read_only, false)?;
        if self.huge {
            mapping.want_huge_pages();
        }
        if !self.prefault {
            return Ok(mapping);
        }
        match mapping.populate(!self.read_only) {
            Ok(true) => Ok(mapping),
            Ok(false) => self.map_populated(fd, size),
            // An access to one of the pages would raise SIGBUS.
            Err(error) if error == Errno::EFAULT => Err(missing_page_error(fd, size)),
            Err(error) => Err(error),
        }
    }

    /// Maps all pages on a kernel without `MADV_POPULATE_WRITE`, or under a system call filter that
    /// refuses it. `MAP_POPULATE` does not report a page that it cannot allocate, so this function
    /// allocates the pages first, if the process can write to the file.
    fn map_populated(self, fd: BorrowedFd, size: usize) -> Result<Mapping> {
        if !self.read_only && check::is_in_memory(fd)? {
            match create::reserve(fd, size) {
                Err(error) if !error.is_missing_call() => return Err(error),
                _ => {}
            }
        }
        let mapping = Mapping::new(fd, size, !self.read_only, true)?;
        if self.huge {
            mapping.want_huge_pages();
        }
        Ok(mapping)
    }

    /// Whether mapping a file allocates its missing pages.
    pub(super) fn allocates_all(self) -> bool {
        self.prefault || self.lock
    }

    pub(super) fn lock(self, mapping: &Mapping) -> Result<()> {
        if self.lock { mapping.lock() } else { Ok(()) }
    }
}

/// The error for a page that cannot be mapped: the file was truncated, its file system is full, or,
/// for a file on a disk, reading failed.
fn missing_page_error(fd: BorrowedFd, size: usize) -> Errno {
    let is_truncated = fstat(fd).is_ok_and(|st| (st.st_size as u64) < size as u64);
    match check::is_in_memory(fd) {
        _ if is_truncated => errno!(EPROTO),
        Ok(false) => errno!(EIO),
        _ => errno!(ENOSPC),
    }
}
