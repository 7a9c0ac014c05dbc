//! Regions of shared memory.
//!
//! A new region has no name. It is a sealed memfd, or an unnamed file on the tmpfs in /dev/shm,
//! which gets its name after its maker has filled it in ([`create()`]). If the maker dies before
//! that, it leaves nothing. A region can be opened by its name ([`open()`]), by its descriptor
//! ([`from_fd`]), or, if it is a System V segment, by its key ([`attach`]).

pub mod check;
mod claim;
pub mod create;
mod name;
mod once;
mod open;
mod sysv;

pub use create::{Creation, create};
pub use once::open_or_create;
pub use open::{from_fd, open, unlink};
pub use sysv::attach;

use crate::errno::{Errno, Result};
use crate::fd::FdPath;
use crate::sys::memory::Mapping;
use libc::c_void;
use name::Name;
use nix::fcntl::{AT_FDCWD, AtFlags};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A region of shared memory in one process. Its properties never change.
pub struct Shm(Memory);

enum Memory {
    File {
        mapping: Mapping,
        fd: OwnedFd,
        /// Whether it can get a name.
        publishable: bool,
    },
    Segment(sysv::Segment),
}

/// How a process maps a region.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// For reading only.
    pub read_only: bool,
    /// With huge pages where the system has them.
    pub huge: bool,
    /// All pages mapped at once.
    pub prefault: bool,
    /// Kept in memory.
    pub lock: bool,
}

impl Usage {
    /// Maps a file. The caller then calls [`Usage::lock`].
    fn map(self, fd: BorrowedFd, size: usize) -> Result<Mapping> {
        let populated = self.prefault && !self.huge;
        let mapping = Mapping::new(fd, size, !self.read_only, populated)?;
        if self.huge {
            mapping.want_huge_pages();
            if self.prefault {
                // Optional: a missing page is allocated on first access.
                let _ = mapping.populate(!self.read_only);
            }
        }
        Ok(mapping)
    }

    /// Whether mapping a file allocates the pages that the file does not have yet.
    fn touches_all(self) -> bool {
        self.prefault || self.lock
    }

    fn lock(self, mapping: &Mapping) -> Result<()> {
        if self.lock { mapping.lock() } else { Ok(()) }
    }
}

impl Shm {
    /// Maps a file that another process made.
    fn of_file(fd: OwnedFd, size: usize, usage: Usage) -> Result<Self> {
        let mapping = usage.map(fd.as_fd(), size)?;
        usage.lock(&mapping)?;
        Ok(Self(Memory::File {
            mapping,
            fd,
            publishable: false,
        }))
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> *mut c_void {
        match &self.0 {
            Memory::File { mapping, .. } => mapping.address(),
            Memory::Segment(segment) => segment.address(),
        }
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match &self.0 {
            Memory::File { mapping, .. } => mapping.len(),
            Memory::Segment(segment) => segment.size(),
        }
    }

    /// Its descriptor; `EOPNOTSUPP` for a System V segment, which has none.
    pub fn fd(&self) -> Result<BorrowedFd<'_>> {
        match &self.0 {
            Memory::File { fd, .. } => Ok(fd.as_fd()),
            Memory::Segment(_) => Err(Errno::EOPNOTSUPP),
        }
    }

    /// Gives the region a name; `EEXIST` if the name exists.
    pub fn publish(&self, name: &CStr) -> Result<()> {
        self.link(&Name::new(name)?)
    }

    fn link(&self, name: &Name) -> Result<()> {
        let Memory::File {
            fd,
            publishable: true,
            ..
        } = &self.0
        else {
            return Err(Errno::EINVAL);
        };
        match nix::unistd::linkat(fd, c"", AT_FDCWD, name.path(), AtFlags::AT_EMPTY_PATH) {
            // Before Linux 6.10 that needs a privilege, and a filter can refuse it; this way needs
            // /proc.
            Err(error)
                if error == nix::errno::Errno::ENOENT || Errno::from(error).is_missing_call() => {}
            done => return Ok(done?),
        }
        let own = FdPath::new(fd.as_fd());
        let follow = AtFlags::AT_SYMLINK_FOLLOW;
        Ok(nix::unistd::linkat(
            AT_FDCWD,
            own.as_c_str()?,
            AT_FDCWD,
            name.path(),
            follow,
        )?)
    }
}
