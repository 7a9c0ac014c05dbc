//! Descriptors of processes, and process IDs that are used again.

use crate::child::{Child, set_alarm};
use crate::clock::child_limit;
use crate::descriptors::{own, poll};
use libc::{c_int, pid_t};
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{fs, io, mem, ptr};

/// Takes over the result of a call that returns a pidfd. It must be close-on-exec.
#[track_caller]
pub fn own_pidfd(fd: c_int) -> Result<OwnedFd, c_int> {
    if fd == -1 {
        return Err(io::Error::last_os_error().raw_os_error().unwrap());
    }
    let fd = own(fd);
    // SAFETY: no pointers.
    assert_eq!(
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) },
        libc::FD_CLOEXEC
    );
    Ok(fd)
}

/// The process of a pidfd: its ID in the PID namespace of /proc.
#[track_caller]
pub fn pid_of(pidfd: &OwnedFd) -> pid_t {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix("Pid:\t"));
    line.expect(&info).parse().unwrap()
}

/// Whether the process of a pidfd has ended.
pub fn has_ended(pidfd: &OwnedFd) -> bool {
    poll(pidfd.as_raw_fd(), 0) != 0
}

/// Forks a child that has this process ID, which no process has. Needs root.
pub fn fork_with_pid(pid: pid_t, run: impl FnOnce()) -> Child {
    // SAFETY: all zero bytes are the defaults.
    let mut args: libc::clone_args = unsafe { mem::zeroed() };
    args.exit_signal = libc::SIGCHLD as u64;
    args.set_tid = ptr::from_ref(&pid).addr() as u64;
    args.set_tid_size = 1;
    let size = size_of_val(&args);
    // SAFETY: the process has one thread; without CLONE_VM the call is a fork.
    let child = unsafe { libc::syscall(libc::SYS_clone3, &mut args, size) } as pid_t;
    assert_ne!(child, -1, "process {pid}: {}", io::Error::last_os_error());
    if child != 0 {
        assert_eq!(child, pid);
        return Child(child);
    }
    set_alarm(child_limit().as_secs() as u32);
    let done = catch_unwind(AssertUnwindSafe(run));
    // SAFETY: the child must not run the parent's destructors.
    unsafe { libc::_exit(if done.is_ok() { 0 } else { 101 }) }
}

/// Reaps a child, and gives its process ID to another one, which sleeps until it is killed.
pub fn reuse_pid(ended: Child) -> Child {
    let pid = ended.0;
    ended.reap();
    fork_with_pid(pid, || {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    })
}
