//! Removing the names of regions that no process uses: for unixipc(1).
//!
//! A region that is not transient keeps its name until a program removes it. No call records its
//! users, so only the kernel knows them: it grants a write lease (`F_SETLEASE`) on a file only if no
//! other process has it open or mapped, in any namespace. While the lease exists, an open(2) of the
//! file with `O_NONBLOCK` fails with `EAGAIN`. The library tries again then (`look_up`), and finds
//! that the name has gone. An open(2) that had looked the name up before the lease, and that comes to
//! the file only after its end, succeeds. The library sees then that the file has no name, and tries
//! again too. A program that unlinks the name and publishes another region under it just before the
//! removal loses the new name (`Name::unlink_if`).

use super::check::{is_in_memory, is_regular, regular_size};
use super::file::FileId;
use super::name::{Name, check_regular};
use super::trailer::Attributes;
use super::users;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::name_lock::NameLock;
use crate::sys::{self, CancelGuard};
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fstat};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

/// Whether a process uses a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// No process has it open or mapped.
    Unused,
    /// A process has it open or mapped, or is creating a region of its name.
    Used,
    /// The name is that of another file, or of none.
    Gone,
}

/// Returns whether a process uses the region `file` with this name. The answer can be outdated when
/// the call returns. `EACCES` or `EPERM` if the file belongs to another user.
pub fn usage(name: &CStr, file: FileId) -> Result<Usage> {
    let name = Name::new(name)?;
    let _uncancelled = CancelGuard::new();
    with_lease(&name, file, || Ok(()))
}

/// Removes the name of the region `file` if no process uses the region. Returns the usage before
/// that.
pub fn remove_unused(name: &CStr, file: FileId) -> Result<Usage> {
    let name = Name::new(name)?;
    let _uncancelled = CancelGuard::new();
    // Another process that has the lock is creating or replacing the region.
    let _lock = match NameLock::acquire(name.path(), Deadline::new(0)?) {
        Err(error) if error == Errno::EAGAIN => return Ok(Usage::Used),
        lock => lock?,
    };
    with_lease(&name, file, || name.unlink_if(file))
}

/// Runs `run` while no other process can open the file.
fn with_lease(name: &Name, file: FileId, run: impl FnOnce() -> Result<()>) -> Result<Usage> {
    let Some(fd) = open(name, file)? else {
        return Ok(Usage::Gone);
    };
    match sys::lease(fd.as_fd()) {
        Err(error) if error == Errno::EAGAIN => return Ok(Usage::Used),
        leased => leased?,
    }
    if !name.leads_to(file)? {
        return Ok(Usage::Gone);
    }
    if !is_abandoned(&fd)? {
        return Ok(Usage::Used);
    }
    // Another process waits for the lease, or this process was stopped until the kernel removed the
    // lease.
    if !sys::has_lease(fd.as_fd()) {
        return Ok(Usage::Used);
    }
    // The lease ends when the descriptor is closed.
    run().map(|()| Usage::Unused)
}

/// Whether a transient region has no users. True for any other region.
fn is_abandoned(fd: &OwnedFd) -> Result<bool> {
    let len = match regular_size(&fstat(fd)?) {
        Ok(len) => len,
        Err(_) => return Ok(true), // empty
    };
    match Attributes::read(fd.as_fd(), len) {
        Ok(attributes) if attributes.transient => users::is_abandoned(fd.as_fd()),
        // A region of another version has users as this one, if any: they have it open.
        Err(error) if error != Errno::ESTALE => Err(error),
        _ => Ok(true),
    }
}

/// Opens the file for reading. None if the name is that of another file.
fn open(name: &Name, file: FileId) -> Result<Option<OwnedFd>> {
    let st = match name.stat() {
        Err(error) if error == Errno::ENOENT => return Ok(None),
        st => st?,
    };
    check_regular(&st)?;
    if FileId::of(&st) != file {
        return Ok(None);
    }
    let flags = OFlag::O_RDONLY
        | OFlag::O_NONBLOCK
        | OFlag::O_NOFOLLOW
        | OFlag::O_CLOEXEC
        | OFlag::O_NOCTTY;
    let fd = match nix::fcntl::open(name.path(), flags, Mode::empty()).map_err(Errno::from) {
        Err(error) if error == Errno::ENOENT => return Ok(None),
        fd => fd?,
    };
    let st = fstat(&fd)?;
    let is_region = is_regular(&st) && is_in_memory(fd.as_fd())?;
    Ok((is_region && FileId::of(&st) == file).then_some(fd))
}
