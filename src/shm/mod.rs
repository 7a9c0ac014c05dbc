//! Regions of shared memory.
//!
//! A new region has no name ([`create()`]). It is a sealed memfd, or an unnamed file on the tmpfs in
//! /dev/shm, which gets its name after the creating process has initialised it. If that process
//! dies before, the kernel removes the file. A process opens a region by its name ([`open()`]), by
//! its descriptor ([`from_fd`]), or, if it is a System V segment, by its key ([`attach`]).
//!
//! No call is a cancellation point. Each call defers the cancellation of its thread
//! ([`CancelGuard`]), because a cancelled thread would leak descriptors and leave files behind.

pub mod check;
pub mod create;
mod file;
mod map;
mod name;
mod open;
mod open_or_create;
mod sysv;
pub mod trailer;
pub mod unused;
mod users;

pub use create::{CreateOptions, create};
pub use file::FileId;
pub use map::MapOptions;
pub use open::{from_fd, open, unlink};
pub use open_or_create::{Begun, NewRegion, OpenOrCreate};
pub use sysv::attach;

use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::init_once::InitOnce;
use crate::name_lock::NameLock;
use crate::proc_file::ProcPath;
use crate::sys::CancelGuard;
use crate::sys::memory::Mapping;
use file::RegionFile;
use libc::c_void;
use name::Name;
use nix::fcntl::{AT_FDCWD, AtFlags};
use open::Lookup;
use std::ffi::CStr;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd};
use trailer::Attributes;

/// A handle to a region of shared memory. The address and the size never change.
pub struct Shm(ManuallyDrop<Backing>);

/// The kernel object that has the memory of a region.
#[allow(clippy::large_enum_variant)] // the handle is allocated once
enum Backing {
    File(FileRegion),
    Segment(sysv::Segment),
}

/// A region that is a file.
struct FileRegion {
    mapping: Mapping,
    file: RegionFile,
    attributes: Attributes,
    /// Whether it can get a name.
    publishable: bool,
    /// Whether it is mapped for reading only. If so, this process is not a user of it (`users`).
    read_only: bool,
    /// The name by which it was opened, or the first name that this process gave it.
    name: InitOnce<Name>,
}

impl Shm {
    fn from_file(region: FileRegion) -> Self {
        Self(ManuallyDrop::new(Backing::File(region)))
    }

    fn from_segment(segment: sysv::Segment) -> Self {
        Self(ManuallyDrop::new(Backing::Segment(segment)))
    }

    /// The address of the region.
    #[must_use]
    pub fn address(&self) -> *mut c_void {
        match &*self.0 {
            Backing::File(region) => region.mapping.address(),
            Backing::Segment(segment) => segment.address(),
        }
    }

    /// The size of the region in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match &*self.0 {
            Backing::File(region) => region.attributes.size,
            Backing::Segment(segment) => segment.size(),
        }
    }

    /// The layout tag; 0 for none.
    #[must_use]
    pub fn layout(&self) -> u64 {
        match &*self.0 {
            Backing::File(region) => region.attributes.layout,
            Backing::Segment(_) => 0,
        }
    }

    /// The descriptor. `EOPNOTSUPP` for a System V segment, which has none.
    pub fn fd(&self) -> Result<BorrowedFd<'_>> {
        match &*self.0 {
            Backing::File(region) => Ok(region.file.as_fd()),
            Backing::Segment(_) => Err(errno!(EOPNOTSUPP)),
        }
    }

    /// Whether a process that opens the region's name or key now opens this region. `EOPNOTSUPP` for
    /// a region without a name.
    pub fn is_current(&self) -> Result<bool> {
        let _uncancelled = CancelGuard::new();
        let region = match &*self.0 {
            Backing::File(region) => region,
            Backing::Segment(segment) => return segment.is_current(),
        };
        let name = region.name.get().ok_or(errno!(EOPNOTSUPP))?;
        if !name.leads_to(region.file.id())? {
            return Ok(false);
        }
        // A handle that can only read does not keep a transient region alive.
        let depends_on_users = region.attributes.transient && region.read_only;
        Ok(!(depends_on_users && users::is_abandoned(region.file.checked_fd()?)?))
    }

    /// Gives the region a name. `EEXIST` if the name exists. The name of a transient region without
    /// users counts as free.
    pub fn publish(&self, name: &CStr) -> Result<()> {
        let _uncancelled = CancelGuard::new();
        let name = Name::for_new_region(name)?;
        match self.link(&name) {
            Err(error) if error == Errno::EEXIST => {}
            linked => return linked,
        }
        remove_dead(&name)?;
        self.link(&name)
    }

    /// The name that may have to be removed when this handle is closed.
    fn transient_name(&self) -> Option<Name> {
        match &*self.0 {
            Backing::File(region) if region.attributes.transient && !region.read_only => {
                region.name.get().cloned()
            }
            _ => None,
        }
    }

    fn link(&self, name: &Name) -> Result<()> {
        let Backing::File(region) = &*self.0 else {
            return Err(errno!(EINVAL));
        };
        if !region.publishable {
            return Err(errno!(EINVAL));
        }
        link(region.file.checked_fd()?, name)?;
        self.set_name(name);
        Ok(())
    }

    /// Records the name, unless one is already recorded.
    fn set_name(&self, name: &Name) {
        if let Backing::File(region) = &*self.0 {
            let _ = region.name.set(name.clone());
        }
    }
}

impl Drop for Shm {
    fn drop(&mut self) {
        let _uncancelled = CancelGuard::new();
        let name = self.transient_name();
        // SAFETY: dropped only here, and not used afterwards.
        unsafe { ManuallyDrop::drop(&mut self.0) };
        // After the drop: before it this process is still a user. Another process, for instance a
        // forked child, may be one.
        if let Some(name) = name {
            let _ = remove_dead(&name);
        }
    }
}

/// Removes the name of a transient region without users. `EEXIST` if the name is that of another
/// file, or if another process has the name lock, since that process is replacing the region.
fn remove_dead(name: &Name) -> Result<()> {
    find_dead(name).ok_or(errno!(EEXIST))?;
    let lock = NameLock::acquire(name.path(), Deadline::new(0)?);
    let _lock = lock.map_err(|_| errno!(EEXIST))?;
    name.unlink_if(find_dead(name).ok_or(errno!(EEXIST))?)
}

/// The file with this name, if it is a transient region without users.
fn find_dead(name: &Name) -> Option<FileId> {
    match open::look_up(name, true, &mut Deadline::new(0).ok()?) {
        Ok(Lookup::Dead(file)) => Some(file),
        _ => None,
    }
}

/// Gives a file a name.
fn link(fd: BorrowedFd, name: &Name) -> Result<()> {
    match nix::unistd::linkat(fd, c"", AT_FDCWD, name.path(), AtFlags::AT_EMPTY_PATH) {
        // Before Linux 6.10 `AT_EMPTY_PATH` needs a privilege, and a system call filter can refuse
        // it. The fallback needs /proc.
        Err(error)
            if error == nix::errno::Errno::ENOENT || Errno::from(error).is_missing_call() => {}
        linked => return Ok(linked?),
    }
    let own = ProcPath::of_fd(fd);
    let follow = AtFlags::AT_SYMLINK_FOLLOW;
    Ok(nix::unistd::linkat(
        AT_FDCWD,
        own.as_c_str()?,
        AT_FDCWD,
        name.path(),
        follow,
    )?)
}
