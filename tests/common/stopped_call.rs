//! Stops system calls of a thread at their entry until another thread resumes them.

use crate::descriptors::own;
use libc::{c_int, c_long, sock_filter, sock_fprog};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Receives the stopped calls. When this is dropped, they fail with ENOSYS.
pub struct StoppedCalls(OwnedFd);

/// A call that has stopped.
#[must_use]
pub struct StoppedCall(u64);

impl StoppedCalls {
    /// Stops each later system call with this number that the calling thread makes.
    pub fn of_this_thread(syscall: c_long) -> Self {
        let instruction = |code: u32, jt, jf, k| sock_filter {
            code: code as u16,
            jt,
            jf,
            k,
        };
        let action = libc::BPF_RET | libc::BPF_K;
        let mut program = [
            // The number of the call is at offset 0.
            instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            instruction(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                0,
                1,
                syscall as u32,
            ),
            instruction(action, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
            instruction(action, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = sock_fprog {
            len: program.len() as u16,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: no pointers.
        let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        assert_eq!(done, 0);
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        // SAFETY: the program is ours; the kernel copies it.
        let fd = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) };
        Self(own(fd as c_int))
    }

    /// Waits for a call until the time-out expires.
    pub fn next(&self, timeout_ms: c_int) -> Option<StoppedCall> {
        let mut poll = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, ours.
        let count = unsafe { libc::poll(&mut poll, 1, timeout_ms) };
        assert!(count >= 0, "{}", io::Error::last_os_error());
        if poll.revents & libc::POLLIN == 0 {
            return None;
        }
        // SAFETY: all zero bytes are a notification.
        let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
        // SAFETY: the struct is ours.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), request, &mut call) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
        Some(StoppedCall(call.id))
    }

    /// Lets a call continue.
    pub fn resume(&self, call: StoppedCall) {
        let mut response = libc::seccomp_notif_resp {
            id: call.0,
            val: 0,
            error: 0,
            flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        };
        let request = libc::SECCOMP_IOCTL_NOTIF_SEND;
        // SAFETY: the struct is ours.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), request, &mut response) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    }
}
