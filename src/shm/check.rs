//! Checks of a descriptor: whether it refers to memory, and whether that memory can shrink.
//!
//! If a mapped file shrinks, an access to the removed part raises SIGBUS. So the library uses memory
//! from a peer only if it cannot shrink: a memfd with `F_SEAL_SHRINK`. hugetlbfs has the same seals,
//! but an access raises SIGBUS if its pool of pages is empty. Files of other file systems raise
//! SIGBUS on read errors.
//!
//! A memfd can have holes, whatever its seals are. A process that maps all its pages allocates the
//! missing pages. So a peer could make this process allocate memory that the peer never had.

use super::create::memfd;
use crate::errno::{Errno, Result, errno};
use crate::sys::memory;
use nix::fcntl::SealFlag;
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::sys::statfs::{Statfs, TMPFS_MAGIC, fstatfs};
use std::os::fd::{AsFd, BorrowedFd};

/// The size of the blocks that `st_blocks` counts; see stat(3type).
const STAT_BLOCK: usize = 512;

/// Returns the size of a memfd with all `wanted` seals; `EPROTO` for any other file. With
/// `F_SEAL_SHRINK` among them, the memory cannot be taken away.
pub fn sealed(fd: BorrowedFd, wanted: SealFlag) -> Result<usize> {
    regular_size(&sealed_stat(fd, wanted)?)
}

/// As [`sealed`], and `EPROTO` also for a memfd with holes. A peer that can write to the memory can
/// still punch a hole after this check, but only into memory that it has allocated.
pub fn sealed_without_holes(fd: BorrowedFd, wanted: SealFlag) -> Result<usize> {
    let st = sealed_stat(fd, wanted)?;
    let size = regular_size(&st)?;
    // tmpfs also counts pages that are in swap space.
    let blocks = usize::try_from(st.st_blocks).unwrap_or(0);
    if blocks.saturating_mul(STAT_BLOCK) < size {
        return Err(errno!(EPROTO));
    }
    Ok(size)
}

/// As [`sealed`], and returns the status of the file.
pub fn sealed_stat(fd: BorrowedFd, wanted: SealFlag) -> Result<FileStat> {
    // The seals are read first: a size that is read before them could still shrink. Reading the
    // seals also does not query the file system, which may be a FUSE file system of the peer that
    // never answers.
    let seals = match memory::seals(fd) {
        Err(error) if error == Errno::EINVAL => return Err(errno!(EPROTO)), // the file cannot have seals
        seals => seals?,
    };
    if !seals.contains(wanted) {
        return Err(errno!(EPROTO));
    }
    let is_memory = match file_system(fd)? {
        Some(file_system) => is_tmpfs(&file_system),
        None => is_on_memfd_file_system(fd)?,
    };
    if !is_memory {
        return Err(errno!(EPROTO));
    }
    Ok(fstat(fd)?)
}

/// Whether a file is on the file system of memfds, according to its device number. It needs no
/// fstatfs(2), but creates a memfd.
fn is_on_memfd_file_system(fd: BorrowedFd) -> Result<bool> {
    let memfd = memfd(c"unixipc")?;
    Ok(fstat(fd)?.st_dev == fstat(memfd.as_fd())?.st_dev)
}

/// Returns the size of a file to map; `EPROTO` if it is empty, or not a regular file.
pub fn size(fd: BorrowedFd) -> Result<usize> {
    regular_size(&fstat(fd)?)
}

/// As [`size`], from the status of the file.
pub fn regular_size(st: &FileStat) -> Result<usize> {
    match usize::try_from(st.st_size) {
        Ok(size) if size > 0 && is_regular(st) => Ok(size),
        _ => Err(errno!(EPROTO)),
    }
}

/// Whether a file is a regular file.
pub fn is_regular(st: &FileStat) -> bool {
    SFlag::from_bits_truncate(st.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
}

/// The file system of a file. None if a system call filter refuses fstatfs(2).
pub fn file_system(fd: BorrowedFd) -> Result<Option<Statfs>> {
    match fstatfs(fd).map_err(Errno::from) {
        Err(error) if error.is_missing_call() => Ok(None),
        result => result.map(Some),
    }
}

/// Whether a file in the directory of names is in memory. If the file system cannot be queried, the
/// answer is true, because the directory is a tmpfs on nearly every system.
pub fn is_in_memory(fd: BorrowedFd) -> Result<bool> {
    Ok(file_system(fd)?.as_ref().is_none_or(is_tmpfs))
}

/// Whether a file system is a tmpfs, as the internal file system of memfds is.
fn is_tmpfs(statfs: &Statfs) -> bool {
    statfs.filesystem_type() == TMPFS_MAGIC
}
