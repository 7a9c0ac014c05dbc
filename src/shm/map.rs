//! How a process maps a region, and has its pages allocated.

use super::{check, create};
use crate::errno::{Errno, Result};
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
    /// All pages are allocated and mapped at once.
    pub prefault: bool,
    /// Kept in memory.
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
            // The first access to a page would raise SIGBUS.
            Err(Errno::EFAULT) => Err(why_no_page(fd, size)),
            Err(error) => Err(error),
        }
    }

    /// Maps all pages on a kernel without `MADV_POPULATE_WRITE`, or under a filter that refuses
    /// it. `MAP_POPULATE` does not report a page that cannot be allocated, so they are allocated
    /// before, if this process may write the file.
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

    /// Whether mapping a file allocates the pages that the file does not have yet.
    pub(super) fn touches_all(self) -> bool {
        self.prefault || self.lock
    }

    pub(super) fn lock(self, mapping: &Mapping) -> Result<()> {
        if self.lock { mapping.lock() } else { Ok(()) }
    }
}

/// Why a page of a file cannot be had: the file was truncated, its file system is full, or, for a
/// file on a disk, reading failed.
fn why_no_page(fd: BorrowedFd, size: usize) -> Errno {
    let is_truncated = fstat(fd).is_ok_and(|st| (st.st_size as u64) < size as u64);
    match check::is_in_memory(fd) {
        _ if is_truncated => Errno::EPROTO,
        Ok(false) => Errno::EIO,
        _ => Errno::ENOSPC,
    }
}
