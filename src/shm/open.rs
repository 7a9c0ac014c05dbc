//! Opening a region that another process has created.

use super::file::{FileId, RegionFile};
use super::name::{Name, check_regular};
use super::trailer::Attributes;
use super::{FileRegion, MapOptions, Shm, check, users};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::fd::duplicate;
use crate::init_once::InitOnce;
use crate::sys::CancelGuard;
use libc::c_int;
use nix::fcntl::{OFlag, SealFlag};
use nix::sys::stat::{Mode, fstat};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// How long to wait for another process that is stopped while it opens a transient region, or has a
/// lease on the file.
const JOIN_TIMEOUT_MS: c_int = 1000;

/// The pause before the next attempt while another process has a lease on the file.
const LEASE_PAUSE: Duration = Duration::from_micros(50);

/// The open file of a region, which this process can map.
pub(super) struct Opened {
    pub file: RegionFile,
    pub attributes: Attributes,
}

/// The outcome of opening a name.
pub(super) enum Lookup {
    Living(Opened),
    /// A transient region without users.
    Dead(FileId),
    /// A region of another version of the library.
    Unknown(FileId),
}

impl Opened {
    pub fn map(self, map: MapOptions) -> Result<Shm> {
        let mapping = map.map(self.file.as_fd(), self.attributes.size)?;
        map.lock(&mapping)?;
        Ok(Shm::from_file(FileRegion {
            mapping,
            file: self.file,
            attributes: self.attributes,
            publishable: false,
            read_only: map.read_only,
            name: InitOnce::new(),
        }))
    }

    pub fn map_named(self, map: MapOptions, name: &Name) -> Result<Shm> {
        let shm = self.map(map)?;
        shm.set_name(name);
        Ok(shm)
    }
}

/// Opens a region by its name.
pub fn open(name: &CStr, map: MapOptions) -> Result<Shm> {
    let name = Name::new(name)?;
    let _uncancelled = CancelGuard::new();
    let mut wait = Deadline::new(JOIN_TIMEOUT_MS)?;
    match look_up(&name, map.read_only, &mut wait) {
        Ok(Lookup::Living(opened)) => opened.map_named(map, &name),
        Ok(Lookup::Dead(_)) => Err(errno!(ENOENT)),
        Ok(Lookup::Unknown(_)) => Err(errno!(ESTALE)),
        Err(error) if error == Errno::ETIMEDOUT => Err(errno!(EBUSY)),
        Err(error) => Err(error),
    }
}

/// Opens the file of a name. If the region is transient, the open file becomes a user.
pub(super) fn look_up(name: &Name, read_only: bool, wait: &mut Deadline) -> Result<Lookup> {
    loop {
        // Opening a device or a FIFO can have side effects, so the type is checked first. It is
        // checked again after open(2), because another process may have replaced the file.
        check_regular(&name.stat()?)?;
        let access = if read_only {
            OFlag::O_RDONLY
        } else {
            OFlag::O_RDWR
        };
        let flags =
            access | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
        let fd = match nix::fcntl::open(name.path(), flags, Mode::empty()).map_err(Errno::from) {
            // A lease: unixipc(1) checks whether a process uses the region.
            Err(error) if error == Errno::EAGAIN => {
                wait.any(&mut [], Some(LEASE_PAUSE))?;
                continue;
            }
            fd => fd?,
        };
        let st = fstat(&fd)?;
        check_regular(&st)?;
        if st.st_nlink == 0 {
            // The name was removed after open(2) had looked it up, and before the file was open.
            continue;
        }
        let file = RegionFile::new(fd, &st);
        if !check::is_in_memory(file.as_fd())? {
            return Err(errno!(EOPNOTSUPP));
        }
        let attributes = match Attributes::read(file.as_fd(), check::regular_size(&st)?) {
            Err(error) if error == Errno::ESTALE => return Ok(Lookup::Unknown(file.id())),
            attributes => attributes?,
        };
        if !attributes.transient || users::join(file.as_fd(), read_only, wait)? {
            return Ok(Lookup::Living(Opened { file, attributes }));
        }
        // Another process may have replaced the dead region by now.
        if name.leads_to(file.id())? {
            return Ok(Lookup::Dead(file.id()));
        }
    }
}

/// Removes a region's name, and nothing else.
pub fn unlink(name: &CStr) -> Result<()> {
    let name = Name::new(name)?;
    let _uncancelled = CancelGuard::new();
    check_regular(&name.stat()?)?;
    name.unlink()
}

/// Opens a region by its descriptor. Unless the peer that passed the descriptor is `trusted`, the
/// memory must be sealed against shrinking. If `map` allocates all pages, they must also exist
/// already.
pub fn from_fd(fd: BorrowedFd, map: MapOptions, trusted: bool) -> Result<Shm> {
    let _uncancelled = CancelGuard::new();
    let size = if trusted {
        check::size(fd)?
    } else if map.allocates_all() {
        check::sealed_without_holes(fd, SealFlag::F_SEAL_SHRINK)?
    } else {
        check::sealed(fd, SealFlag::F_SEAL_SHRINK)?
    };
    let attributes = Attributes::read(fd, size)?;
    let fd = duplicate(fd, 0)?;
    let st = fstat(&fd)?;
    let file = RegionFile::new(fd, &st);
    Opened { file, attributes }.map(map)
}
