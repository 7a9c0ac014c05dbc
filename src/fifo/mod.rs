//! FIFOs: creating and opening them without the pitfalls of the raw calls, [records](record), and
//! [records mixed with text](any).

pub mod any;
mod open;
mod poll_interval;
mod reader;
pub mod record;
mod state;

pub use open::{Side, open};

use crate::errno::{Errno, Result, errno};
use crate::proc_file::ProcPath;
use crate::sys::CancelGuard;
use libc::mode_t;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag};
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

/// The number of attempts after which `create` gives up, if other processes remove the FIFO each
/// time.
const ATTEMPTS: u32 = 100;

/// Creates a FIFO with exactly this mode. With `exist_ok`, an existing FIFO gets this mode.
pub fn create(path: &CStr, mode: mode_t, exist_ok: bool) -> Result<()> {
    let _uncancelled = CancelGuard::new();
    let file_mode = Mode::from_bits(mode).ok_or(errno!(EINVAL))?;
    let mut left = if exist_ok { ATTEMPTS } else { 1 };
    loop {
        let made = match nix::unistd::mkfifo(path, file_mode) {
            Ok(()) => true,
            Err(nix::errno::Errno::EEXIST) if exist_ok => false,
            Err(error) => return Err(error.into()),
        };
        let Err(error) = set_mode(path, mode, file_mode) else {
            return Ok(());
        };
        if made {
            let _ = unlink(path);
        }
        left -= 1;
        // ENOENT: another process has removed the FIFO in the meantime.
        if error != Errno::ENOENT || left == 0 {
            return Err(error);
        }
    }
}

/// Sets the mode of a FIFO. The umask only removes bits, so before this call the FIFO was open to
/// no process that the mode excludes. The umask belongs to the whole process, and is not changed
/// here.
fn set_mode(path: &CStr, mode: mode_t, file_mode: Mode) -> Result<()> {
    let st = stat(path)?;
    if !is_fifo(&st) {
        return Err(errno!(EEXIST));
    }
    if st.st_mode & 0o7777 == mode {
        Ok(())
    } else {
        chmod_fifo(path, file_mode)
    }
}

/// Removes a FIFO, and no other type of file.
pub fn unlink(path: &CStr) -> Result<()> {
    check_fifo(&stat(path)?)?;
    Ok(nix::unistd::unlink(path)?)
}

/// Returns the status of the path itself, not of the target of a symbolic link.
fn stat(path: &CStr) -> Result<FileStat> {
    Ok(nix::sys::stat::fstatat(
        nix::fcntl::AT_FDCWD,
        path,
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )?)
}

/// Makes each write to a descriptor a separate packet. `mode` is empty, or `O_NONBLOCK`.
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
        SFlag::S_IFLNK => Err(errno!(ELOOP)),
        _ => Err(errno!(EINVAL)),
    }
}

/// Changes the mode of a FIFO, but not of a file with which another process replaces it. chmod(2)
/// follows symbolic links, so the change goes through a descriptor of the FIFO itself.
fn chmod_fifo(path: &CStr, mode: Mode) -> Result<()> {
    let file = nix::fcntl::open(
        path,
        OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    check_fifo(&nix::sys::stat::fstat(&file)?)?;
    // fchmod(2) refuses a descriptor that was opened with O_PATH.
    let link = ProcPath::of_fd(file.as_fd());
    let follow = FchmodatFlags::FollowSymlink;
    Ok(nix::sys::stat::fchmodat(
        nix::fcntl::AT_FDCWD,
        link.as_c_str()?,
        mode,
        follow,
    )?)
}
