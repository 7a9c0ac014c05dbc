//! Calls on files by path, and file locks.

use super::checked_int;
use crate::errno::{Errno, Result};
use core::mem::MaybeUninit;
use libc::{c_char, c_int, c_long, key_t, mode_t};
use std::os::fd::{AsRawFd, BorrowedFd};

/// `F_SETSIG` of fcntl(2).
const F_SETSIG: c_int = 10;

/// `mkfifo(3)`, by the same system call as the C library's: `mknodat(2)`, or in musl `mknod(2)` if
/// the architecture has it.
///
/// # Safety
///
/// No requirements: the kernel checks `path`, and fails with `EFAULT` if it cannot read it.
pub unsafe fn mkfifo(path: *const c_char, mode: mode_t) -> Result<c_int> {
    let mode = mode | libc::S_IFIFO;
    #[cfg(all(target_env = "musl", target_arch = "x86_64"))]
    // SAFETY: the kernel only reads `path`, and checks it.
    let made = unsafe { libc::syscall(libc::SYS_mknod, path, mode, 0) };
    #[cfg(not(all(target_env = "musl", target_arch = "x86_64")))]
    // SAFETY: the kernel only reads `path`, and checks it.
    let made = unsafe { libc::syscall(libc::SYS_mknodat, libc::AT_FDCWD, path, mode, 0) };
    checked_int(made)
}

/// `ftok(3)`: from the highest bit down, eight bits of `proj_id`, eight of the device, and sixteen
/// of the inode. glibc and musl do the same, and the keys must agree with theirs.
///
/// # Safety
///
/// No requirements: the kernel checks `path`, and fails with `EFAULT` if it cannot read it.
pub unsafe fn ftok(path: *const c_char, proj_id: c_int) -> Result<key_t> {
    let mut st = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel only reads `path`, and checks it; it writes one stat, to `st`.
    if unsafe { libc::stat(path, st.as_mut_ptr()) } == -1 {
        return Err(Errno::last());
    }
    // SAFETY: stat succeeded, so it filled `st`.
    let st = unsafe { st.assume_init() };
    let project = (proj_id as u32 & 0xff) << 24;
    let device = (st.st_dev as u32 & 0xff) << 16;
    let inode = st.st_ino as u32 & 0xffff;
    Ok((project | device | inode) as key_t)
}

/// `flock(2)`, repeated after a signal. That of nix takes ownership of the descriptor.
pub fn flock(fd: BorrowedFd, operation: c_int) -> Result<()> {
    loop {
        // SAFETY: no pointers.
        let done = checked_int(c_long::from(unsafe {
            libc::flock(fd.as_raw_fd(), operation)
        }));
        match done {
            Err(error) if error == Errno::EINTR => {}
            done => return done.map(drop),
        }
    }
}

/// Takes a write lease on the file of a descriptor (`F_SETLEASE`, fcntl(2)). `EAGAIN` if any other
/// description of the file is open. The kernel signals a process that opens the file by SIGURG, whose
/// default action is none.
pub fn lease(fd: BorrowedFd) -> Result<()> {
    let control = |command: c_int, argument: c_int| {
        // SAFETY: no pointers.
        let done = unsafe { libc::fcntl(fd.as_raw_fd(), command, argument) };
        checked_int(c_long::from(done)).map(drop)
    };
    control(F_SETSIG, libc::SIGURG)?;
    control(libc::F_SETLEASE, c_int::from(libc::F_WRLCK))
}

/// Whether the write lease on the file of a descriptor still exists. If another process wants to open
/// the file, the kernel asks for the lease, and removes it after some time.
pub fn has_lease(fd: BorrowedFd) -> bool {
    // SAFETY: no pointers.
    let lease = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETLEASE) };
    lease == c_int::from(libc::F_WRLCK)
}
