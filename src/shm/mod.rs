//! Regions of shared memory.
//!
//! A region is made without a name. It is a sealed memfd, or a nameless file on the tmpfs in
//! /dev/shm, which gets its name when its maker has filled it in ([`create()`]); whoever dies
//! before that leaves nothing. It is opened by its name ([`open()`]), by a descriptor that somebody
//! has passed ([`from_fd`]), or, where it is a System V segment, by its key ([`attach`]).

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
use crate::sys::memory::Mapping;
use libc::c_void;
use name::Name;
use nix::fcntl::{AT_FDCWD, AtFlags};
use std::ffi::CStr;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A region of shared memory as one process has it: what it says of it never changes.
pub struct Shm(Memory);

enum Memory {
    File {
        mapping: Mapping,
        fd: OwnedFd,
        /// Whether it was made to get a name.
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
    /// Maps a file; [`Usage::lock`] is for the caller to follow up.
    fn map(self, fd: BorrowedFd, size: usize) -> Result<Mapping> {
        let populated = self.prefault && !self.huge;
        let mapping = Mapping::new(fd, size, !self.read_only, populated)?;
        if self.huge {
            mapping.want_huge_pages();
            if self.prefault {
                // A wish: pages that are not there yet come when they are touched.
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
    /// Maps a file that somebody else made.
    fn of_file(fd: OwnedFd, size: usize, usage: Usage) -> Result<Self> {
        let mapping = usage.map(fd.as_fd(), size)?;
        usage.lock(&mapping)?;
        Ok(Self(Memory::File {
            mapping,
            fd,
            publishable: false,
        }))
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> *mut c_void {
        match &self.0 {
            Memory::File { mapping, .. } => mapping.address(),
            Memory::Segment(segment) => segment.address(),
        }
    }

    /// How many bytes it has.
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

    /// Gives a region that was made for it a name; `EEXIST` if that is taken.
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
            // Before Linux 6.10 that needs a privilege, and this way needs /proc.
            Err(nix::errno::Errno::ENOENT) => {}
            done => return Ok(done?),
        }
        let mut own = [0; 32];
        let _ = write!(&mut own[..], "/proc/self/fd/{}", fd.as_raw_fd());
        let own = CStr::from_bytes_until_nul(&own).map_err(|_| Errno::EBADF)?;
        let follow = AtFlags::AT_SYMLINK_FOLLOW;
        Ok(nix::unistd::linkat(
            AT_FDCWD,
            own,
            AT_FDCWD,
            name.path(),
            follow,
        )?)
    }
}
