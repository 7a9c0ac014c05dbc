//! The system calls of a child between clone(2) and execve(2). The child may share the memory of its
//! parent, so it does not call functions of the C library that keep a state: its setuid(2), for
//! example, changes the credentials of the threads of the parent.

use super::{checked, checked_int};
use crate::errno::{Errno, Result};
use libc::{c_char, c_int, c_uint, c_ulong, gid_t, pid_t, rlimit64, uid_t};
use std::ffi::CStr;
use std::ptr;

/// The number of signals, and the size of the kernel's set of them.
const SIGNALS: c_int = 64;
const SIGNAL_SET: usize = 8;

/// `struct sigaction` of the kernel: the handler, the flags, the restorer if there is one, and the
/// mask. Zeros are the default action.
const DEFAULT_ACTION: [u64; 4] = [0; 4];

/// Ends the process.
pub fn exit() -> ! {
    const STATUS: c_int = 127;
    // SAFETY: runs no handlers.
    unsafe { libc::_exit(STATUS) }
}

/// Sets the signal mask of the calling thread.
pub fn set_signal_mask(mask: u64, before: &mut u64) -> Result<()> {
    // SAFETY: the kernel reads one set and writes one.
    checked(unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            ptr::from_ref(&mask),
            ptr::from_mut(before),
            SIGNAL_SET,
        )
    })
    .map(drop)
}

/// Sets the default action for each signal.
pub fn reset_signal_actions() {
    for signal in 1..=SIGNALS {
        let action = ptr::from_ref(&DEFAULT_ACTION);
        let none = ptr::null_mut::<u64>();
        // SAFETY: the kernel reads one action. It refuses SIGKILL and SIGSTOP.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action, none, SIGNAL_SET) };
    }
}

/// `dup2(from, to)` for different numbers. The copy stays open across exec.
pub fn duplicate_to(from: c_int, to: c_int) -> Result<()> {
    // SAFETY: no pointers.
    checked(unsafe { libc::syscall(libc::SYS_dup3, from, to, 0) }).map(drop)
}

/// Duplicates a descriptor to the lowest free number that is at least `lowest`.
pub fn duplicate_above(fd: c_int, lowest: c_int) -> Result<c_int> {
    // SAFETY: no pointers.
    checked_int(unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_DUPFD_CLOEXEC, lowest) })
}

/// Keeps a descriptor open across exec.
pub fn keep_on_exec(fd: c_int) -> Result<()> {
    // SAFETY: no pointers.
    checked(unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_SETFD, 0) }).map(drop)
}

/// `open(path, flags)`.
pub fn open(path: &CStr, flags: c_int) -> Result<c_int> {
    let path = path.as_ptr();
    // SAFETY: a string.
    checked_int(unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, 0) })
}

/// `close(fd)`; the descriptor does not need to be open.
pub fn close(fd: c_int) {
    // SAFETY: the child owns its descriptors.
    unsafe { libc::syscall(libc::SYS_close, fd) };
}

/// `close_range(2)`.
pub fn close_range(first: c_uint, last: c_uint) -> Result<()> {
    // SAFETY: the child owns its descriptors.
    checked(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// `getdents64(2)`. Returns the number of bytes; 0 at the end.
pub fn directory_entries(fd: c_int, buffer: &mut [u8]) -> Result<usize> {
    let (at, len) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: the kernel writes within the buffer.
    checked(unsafe { libc::syscall(libc::SYS_getdents64, fd, at, len) }).map(|len| len as usize)
}

/// Sets a resource limit of the calling process.
pub fn set_limit(resource: c_int, limit: &rlimit64) -> Result<()> {
    const SELF: pid_t = 0;
    let (new, old) = (ptr::from_ref(limit), ptr::null_mut::<rlimit64>());
    // SAFETY: the kernel reads one limit.
    checked(unsafe { libc::syscall(libc::SYS_prlimit64, SELF, resource, new, old) }).map(drop)
}

/// `setgroups(2)`.
pub fn set_groups(groups: &[gid_t]) -> Result<()> {
    let (count, at) = (groups.len(), groups.as_ptr());
    // SAFETY: the kernel reads within the slice.
    checked(unsafe { libc::syscall(libc::SYS_setgroups, count, at) }).map(drop)
}

/// Sets the real, effective and saved group.
pub fn set_gid(gid: gid_t) -> Result<()> {
    // SAFETY: no pointers.
    checked(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) }).map(drop)
}

/// Sets the real, effective and saved user.
pub fn set_uid(uid: uid_t) -> Result<()> {
    // SAFETY: no pointers.
    checked(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

fn prctl(option: c_int, argument: c_ulong) -> Result<()> {
    // SAFETY: no pointers for the options used here.
    checked(unsafe { libc::syscall(libc::SYS_prctl, option, argument, 0, 0, 0) }).map(drop)
}

/// Clears the ambient capabilities, which exec would keep for a program without privileges.
pub fn clear_ambient_capabilities() -> Result<()> {
    match prctl(
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_CLEAR_ALL as c_ulong,
    ) {
        Err(error) if error == Errno::EINVAL => Ok(()), // a kernel before Linux 4.3 has none
        result => result,
    }
}

/// Sets the attribute no_new_privs.
pub fn set_no_new_privs() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Sets the signal that the kernel sends when the thread that made this process ends.
pub fn set_parent_death_signal(signal: c_int) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as c_ulong)
}

/// The process ID of the parent; 0 if it has none in the PID namespace of the caller.
pub fn parent() -> pid_t {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::syscall(libc::SYS_getppid) as pid_t }
}

/// Sends a signal to the calling process.
pub fn raise(signal: c_int) -> Result<()> {
    // SAFETY: no arguments, cannot fail.
    let this = unsafe { libc::syscall(libc::SYS_getpid) };
    // SAFETY: no pointers.
    checked(unsafe { libc::syscall(libc::SYS_kill, this, signal) }).map(drop)
}

/// `chdir(2)`.
pub fn change_directory(path: &CStr) -> Result<()> {
    // SAFETY: a string.
    checked(unsafe { libc::syscall(libc::SYS_chdir, path.as_ptr()) }).map(drop)
}

/// `execve(2)`, which returns only if it fails.
///
/// # Safety
///
/// `argv` and `envp` are arrays of strings that end with NULL.
pub unsafe fn execute(path: &CStr, argv: *const *mut c_char, envp: *const *mut c_char) -> Errno {
    // SAFETY: a string; the arrays are the caller's promise.
    unsafe { libc::syscall(libc::SYS_execve, path.as_ptr(), argv, envp) };
    Errno::last()
}
