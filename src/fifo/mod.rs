//! FIFOs: creating and opening them without the pitfalls of the raw calls, [records](record), and
//! [records beside text](any).

pub mod any;
mod open;
mod pace;
mod reader;
pub mod record;
mod state;

pub use open::{Side, open};

use crate::errno::{Errno, Result};
use crate::fd::FdPath;
use crate::sys::CancelGuard;
use libc::mode_t;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

/// How often a FIFO that exists may be removed before it is opened, until `create` gives up.
const ATTEMPTS: u32 = 100;

/// Creates a FIFO with exactly this mode. Where `exist_ok`, an existing FIFO gets this mode.
pub fn create(path: &CStr, mode: mode_t, exist_ok: bool) -> Result<()> {
    let _uncancelled = CancelGuard::new();
    let exactly = Mode::from_bits(mode).ok_or(Errno::EINVAL)?;
    let mut left = if exist_ok { ATTEMPTS } else { 1 };
    loop {
        let made = match nix::unistd::mkfifo(path, exactly) {
            Ok(()) => true,
            Err(nix::errno::Errno::EEXIST) if exist_ok => false,
            Err(error) => return Err(error.into()),
        };
        let Err(error) = set_mode(path, mode, exactly) else {
            return Ok(());
        };
        if made {
            let _ = unlink(path);
        }
        left -= 1;
        // ENOENT: another process has removed it in between.
        if error != Errno::ENOENT || left == 0 {
            return Err(error);
        }
    }
}

/// Gives a FIFO its mode. The umask only removes bits, so until then the FIFO was open to no
/// process that the mode excludes. The umask belongs to the whole process and is not changed here.
fn set_mode(path: &CStr, mode: mode_t, exactly: Mode) -> Result<()> {
    let st = stat(path)?;
    if !is_fifo(&st) {
        return Err(Errno::EEXIST);
    }
    if st.st_mode & 0o7777 == mode {
        Ok(())
    } else {
        chmod_fifo(path, exactly)
    }
}

/// Removes a FIFO, and nothing else.
pub fn unlink(path: &CStr) -> Result<()> {
    check_fifo(&stat(path)?)?;
    Ok(nix::unistd::unlink(path)?)
}

/// The status of the path itself, not of the target of a symbolic link.
fn stat(path: &CStr) -> Result<FileStat> {
    Ok(nix::sys::stat::fstatat(
        nix::fcntl::AT_FDCWD,
        path,
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )?)
}

/// Makes each write of a descriptor a packet of its own. `mode` is empty, or `O_NONBLOCK`.
fn packets(fd: &OwnedFd, mode: OFlag) -> Result<()> {
    fcntl(fd, FcntlArg::F_SETFL(mode | OFlag::O_DIRECT))?;
    Ok(())
}

fn is_fifo(st: &FileStat) -> bool {
    SFlag::from_bits_truncate(st.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO
}

/// `ELOOP` for a symbolic link, `EINVAL` for anything else that is not a FIFO.
fn check_fifo(st: &FileStat) -> Result<()> {
    match SFlag::from_bits_truncate(st.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFIFO => Ok(()),
        SFlag::S_IFLNK => Err(Errno::ELOOP),
        _ => Err(Errno::EINVAL),
    }
}

/// Changes the mode of a FIFO and of nothing that another process puts in its place: chmod follows
/// links, so it is done through a descriptor of the file itself.
fn chmod_fifo(path: &CStr, mode: Mode) -> Result<()> {
    let file = nix::fcntl::open(
        path,
        OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    check_fifo(&nix::sys::stat::fstat(&file)?)?;
    // A descriptor made with O_PATH takes no fchmod.
    let link = FdPath::new(file.as_fd());
    let follow = FchmodatFlags::FollowSymlink;
    Ok(nix::sys::stat::fchmodat(
        nix::fcntl::AT_FDCWD,
        link.as_c_str()?,
        mode,
        follow,
    )?)
}
