use super::checked_int;
use crate::errno::{Errno, Result};
use core::mem::MaybeUninit;
use libc::{c_char, c_int, c_long, key_t, mode_t};
use std::os::fd::{AsRawFd, BorrowedFd};

/// `mkfifo(3)`: the system call that the C library makes for it, with the type FIFO. That is
/// `mknodat(2)`, and `mknod(2)` in musl where the architecture has it.
///
/// # Safety
///
/// None beyond the kernel's own checks: it reads `path` and answers `EFAULT` where it cannot.
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

/// `ftok(3)`: eight bits of `proj_id`, eight of the device, sixteen of the inode,
/// from the highest down, as both glibc and musl have it: keys must agree with
/// those of programs that call the C library's.
///
/// # Safety
///
/// None beyond the kernel's own checks: it reads `path` and answers `EFAULT` where it cannot.
pub unsafe fn ftok(path: *const c_char, proj_id: c_int) -> Result<key_t> {
    let mut st = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel only reads `path`, and checks it; `st` is ours.
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

/// `flock(2)`, again after a signal: nix has it only for a descriptor that is given away.
pub fn flock(fd: BorrowedFd, operation: c_int) -> Result<()> {
    loop {
        // SAFETY: no pointers.
        let done = checked_int(c_long::from(unsafe {
            libc::flock(fd.as_raw_fd(), operation)
        }));
        match done {
            Err(Errno::EINTR) => {}
            done => return done.map(drop),
        }
    }
}
