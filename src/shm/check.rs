//! What a descriptor leads to: whether it is memory, and whether that can be taken away.
//!
//! A file that shrinks under a mapping raises SIGBUS in whoever touches what is gone. So memory
//! that a peer has passed is used only if it cannot shrink: a memfd with `F_SEAL_SHRINK`. Huge
//! pages of hugetlbfs take the same seals, and raise SIGBUS all the same when the system's pool
//! of them is empty; a file of another file system, when reading it fails.

use crate::errno::{Errno, Result};
use crate::sys::memory;
use nix::fcntl::SealFlag;
use nix::sys::stat::{FileStat, SFlag};
use nix::sys::statfs::{Statfs, TMPFS_MAGIC, fstatfs};
use std::os::fd::BorrowedFd;

/// The size of memory that has these seals, and that nobody can take away if one of them is
/// `F_SEAL_SHRINK`; `EPROTO` for any other file.
pub fn sealed(fd: BorrowedFd, wanted: SealFlag) -> Result<usize> {
    // The seals first: a size that was read before could still shrink. Besides, they are asked
    // without the file system, which may be a peer's own (FUSE), and never answer.
    let seals = match memory::seals(fd) {
        Err(Errno::EINVAL) => return Err(Errno::EPROTO), // a file that has none
        seals => seals?,
    };
    if !seals.contains(wanted) || !is_tmpfs(&fstatfs(fd)?) {
        return Err(Errno::EPROTO);
    }
    size(fd)
}

/// The size of a file that could be mapped; `EPROTO` if it is empty, or no regular file.
pub fn size(fd: BorrowedFd) -> Result<usize> {
    let st = nix::sys::stat::fstat(fd)?;
    match usize::try_from(st.st_size) {
        Ok(size) if size > 0 && is_regular(&st) => Ok(size),
        _ => Err(Errno::EPROTO),
    }
}

/// Whether it is a regular file.
pub fn is_regular(st: &FileStat) -> bool {
    SFlag::from_bits_truncate(st.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
}

/// Whether it is a file system of memory, memfds' own one included.
pub fn is_tmpfs(statfs: &Statfs) -> bool {
    statfs.filesystem_type() == TMPFS_MAGIC
}
