//! The file of a region: its descriptor, and which file that is.
//!
//! A daemon that closes all descriptors closes those of its regions too. The kernel then gives
//! their numbers to other files. A region therefore remembers the device and inode number of its
//! file, and uses and closes its descriptor only while that is the same file.

use crate::errno::{Errno, Result};
use nix::sys::stat::{FileStat, fstat};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Identifies a file while it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: libc::dev_t,
    inode: libc::ino_t,
}

impl FileId {
    /// The identity of a file, from its status.
    pub fn of(st: &FileStat) -> Self {
        Self {
            device: st.st_dev,
            inode: st.st_ino,
        }
    }
}

/// A region's descriptor. It is closed when dropped, if it still refers to the region's file.
pub struct RegionFile {
    fd: ManuallyDrop<OwnedFd>,
    id: FileId,
}

impl RegionFile {
    /// Takes over a descriptor, of whose file this is the status.
    pub fn new(fd: OwnedFd, st: &FileStat) -> Self {
        Self {
            fd: ManuallyDrop::new(fd),
            id: FileId::of(st),
        }
    }

    pub fn id(&self) -> FileId {
        self.id
    }

    /// The descriptor; `EBADF` if it was closed, or refers to another file now.
    pub fn checked_fd(&self) -> Result<BorrowedFd<'_>> {
        let st = fstat(self.as_fd())?;
        if FileId::of(&st) == self.id {
            Ok(self.as_fd())
        } else {
            Err(Errno::EBADF)
        }
    }
}

impl AsFd for RegionFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for RegionFile {
    fn drop(&mut self) {
        if !matches!(self.checked_fd(), Err(Errno::EBADF)) {
            // SAFETY: dropped once, here, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}
