//! Opening a region that another process made.

use super::name::Name;
use super::{Shm, Usage, check};
use crate::errno::{Errno, Result};
use crate::fd::duplicate;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, SealFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

/// Opens a region by its name.
pub fn open(name: &CStr, usage: Usage) -> Result<Shm> {
    open_name(&Name::new(name)?, usage)
}

pub(super) fn open_name(name: &Name, usage: Usage) -> Result<Shm> {
    // Opening a device or a FIFO can have side effects, so check the type first. Check it again
    // afterwards, because another process may have replaced the file between the two calls.
    check_regular(&stat(name)?)?;
    let access = if usage.read_only {
        OFlag::O_RDONLY
    } else {
        OFlag::O_RDWR
    };
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let fd = nix::fcntl::open(name.path(), flags, Mode::empty())?;
    check_regular(&fstat(&fd)?)?;
    if !check::is_in_memory(fd.as_fd())? {
        return Err(Errno::EOPNOTSUPP);
    }
    let size = check::size(fd.as_fd())?;
    Shm::of_file(fd, size, usage)
}

/// Removes a region's name, and nothing else.
pub fn unlink(name: &CStr) -> Result<()> {
    let name = Name::new(name)?;
    check_regular(&stat(&name)?)?;
    Ok(nix::unistd::unlink(name.path())?)
}

/// Returns the status of the name itself: it does not follow a symbolic link.
fn stat(name: &Name) -> Result<FileStat> {
    Ok(fstatat(
        AT_FDCWD,
        name.path(),
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )?)
}

/// `ELOOP` for a symbolic link, `EINVAL` for anything else that is no regular file.
fn check_regular(st: &FileStat) -> Result<()> {
    if check::is_regular(st) {
        return Ok(());
    }
    match SFlag::from_bits_truncate(st.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFLNK => Err(Errno::ELOOP),
        _ => Err(Errno::EINVAL),
    }
}

/// Opens a region by its descriptor. Unless the peer that passed it is `trusted`, the memory must
/// be sealed against shrinking; and if this process is to map all pages, they must exist already.
pub fn from_fd(fd: BorrowedFd, usage: Usage, trusted: bool) -> Result<Shm> {
    let size = if trusted {
        check::size(fd)?
    } else if usage.touches_all() {
        check::sealed_without_holes(fd, SealFlag::F_SEAL_SHRINK)?
    } else {
        check::sealed(fd, SealFlag::F_SEAL_SHRINK)?
    };
    Shm::of_file(duplicate(fd, 0)?, size, usage)
}
