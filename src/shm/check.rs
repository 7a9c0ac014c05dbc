//! Checks of a descriptor: whether it refers to memory, and whether that memory can be taken away.
//!
//! If a file shrinks under a mapping, an access to the removed part raises SIGBUS. The library
//! therefore uses memory from a peer only if it cannot shrink: a memfd with `F_SEAL_SHRINK`.
//! hugetlbfs has the same seals, but an access raises SIGBUS if its pool of pages is empty; files
//! of other file systems raise SIGBUS on read errors.
//!
//! A memfd can have holes, whatever its seals. A process that maps all its pages allocates the
//! missing ones: a peer could make it allocate memory that the peer itself never had.

use crate::errno::{Errno, Result};
use crate::sys::memory;
use nix::fcntl::SealFlag;
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::sys::statfs::{Statfs, TMPFS_MAGIC, fstatfs};
use std::os::fd::BorrowedFd;

/// Size of the blocks that `st_blocks` counts, see `stat(3type)`.
const STAT_BLOCK: usize = 512;

/// Returns the size of a memfd with all `wanted` seals; `EPROTO` for any other file. With
/// `F_SEAL_SHRINK` among them, the memory cannot be taken away.
pub fn sealed(fd: BorrowedFd, wanted: SealFlag) -> Result<usize> {
    regular_size(&sealed_stat(fd, wanted)?)
}

/// As [`sealed`]; a memfd with holes is `EPROTO` too. A peer that can write the memory can still
/// punch a hole after this check, but only into memory that it had allocated.
pub fn sealed_without_holes(fd: BorrowedFd, wanted: SealFlag) -> Result<usize> {
    let st = sealed_stat(fd, wanted)?;
    let size = regular_size(&st)?;
    // tmpfs also counts pages that are in swap space.
    let blocks = usize::try_from(st.st_blocks).unwrap_or(0);
    if blocks.saturating_mul(STAT_BLOCK) < size {
        return Err(Errno::EPROTO);
    }
    Ok(size)
}

fn sealed_stat(fd: BorrowedFd, wanted: SealFlag) -> Result<FileStat> {
    // Read the seals first: a size read before them could still shrink. Reading the seals also
    // does not call the file system, which may be a peer's own (FUSE) and never answer.
    let seals = match memory::seals(fd) {
        Err(Errno::EINVAL) => return Err(Errno::EPROTO), // the file cannot have seals
        seals => seals?,
    };
    if !seals.contains(wanted) || !is_tmpfs(&fstatfs(fd)?) {
        return Err(Errno::EPROTO);
    }
    Ok(fstat(fd)?)
}

/// Returns the size of a file to map; `EPROTO` if it is empty, or not a regular file.
pub fn size(fd: BorrowedFd) -> Result<usize> {
    regular_size(&fstat(fd)?)
}

fn regular_size(st: &FileStat) -> Result<usize> {
    match usize::try_from(st.st_size) {
        Ok(size) if size > 0 && is_regular(st) => Ok(size),
        _ => Err(Errno::EPROTO),
    }
}

/// Tells whether a file is a regular file.
pub fn is_regular(st: &FileStat) -> bool {
    SFlag::from_bits_truncate(st.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
}

/// Tells whether a file system is a tmpfs. The internal file system of memfds is one.
pub fn is_tmpfs(statfs: &Statfs) -> bool {
    statfs.filesystem_type() == TMPFS_MAGIC
}
