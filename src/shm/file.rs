//! The file of a region: its descriptor and its identity.
//!
//! A daemon that closes all descriptors also closes those of its regions. The kernel then reuses
//! their numbers for other files. So a region records the device and inode number of its file, and
//! uses or closes its descriptor only if it still refers to that file.

use crate::errno::{Errno, Result, errno};
use nix::sys::stat::{FileStat, fstat};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The identity of a file, unique while the file exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: libc::dev_t,
    inode: libc::ino_t,
}

impl FileId {
    /// The identity of the file with these numbers.
    #[must_use]
    pub fn new(device: libc::dev_t, inode: libc::ino_t) -> Self {
        Self { device, inode }
    }

    /// The identity of a file, from its status.
    pub fn of(st: &FileStat) -> Self {
        Self {
            device: st.st_dev,
            inode: st.st_ino,
        }
    }
}

/// The descriptor of a region. Dropping it closes the descriptor if that still refers to the
/// region's file.
pub struct RegionFile {
    fd: ManuallyDrop<OwnedFd>,
    id: FileId,
}

impl RegionFile {
    /// Takes ownership of a descriptor. `st` is the status of its file.
    pub fn new(fd: OwnedFd, st: &FileStat) -> Self {
        Self {
            fd: ManuallyDrop::new(fd),
            id: FileId::of(st),
        }
    }

    pub fn id(&self) -> FileId {
        self.id
    }

    /// The descriptor. `EBADF` if it has been closed or now refers to another file.
    pub fn checked_fd(&self) -> Result<BorrowedFd<'_>> {
        let st = fstat(self.as_fd())?;
        if FileId::of(&st) == self.id {
            Ok(self.as_fd())
        } else {
            Err(errno!(EBADF))
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
        if !self.checked_fd().is_err_and(|error| error == Errno::EBADF) {
            // SAFETY: dropped only here, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}
