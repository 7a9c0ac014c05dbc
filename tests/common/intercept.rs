//! System calls that stop until the test lets them continue, see seccomp_unotify(2).

use crate::descriptors::{own, poll};
use crate::filter;
use libc::{c_int, c_long, seccomp_notif, seccomp_notif_resp};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::{mem, ptr};

/// Receives the intercepted system calls of this process and of its later children.
pub struct Intercepted(OwnedFd);

/// A process that has stopped at the beginning of a system call.
pub struct Stopped {
    pub pid: u32,
    id: u64,
}

impl Intercepted {
    /// Intercepts a system call if the low half of its first argument is `argument`.
    pub fn install(syscall: c_long, argument: u32) -> Self {
        Self(own(filter::listen(syscall, argument)))
    }

    /// Waits for the next system call.
    #[track_caller]
    pub fn next(&self) -> Stopped {
        assert_ne!(poll(self.0.as_raw_fd(), 10_000), 0, "no system call");
        // SAFETY: all zero bytes are a valid value, and what the kernel expects.
        let mut call: seccomp_notif = unsafe { mem::zeroed() };
        self.ioctl(libc::SECCOMP_IOCTL_NOTIF_RECV, &mut call);
        Stopped {
            pid: call.pid,
            id: call.id,
        }
    }

    /// Lets the system call continue.
    #[track_caller]
    pub fn allow(&self, stopped: &Stopped) {
        let mut answer = seccomp_notif_resp {
            id: stopped.id,
            val: 0,
            error: 0,
            flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        };
        self.ioctl(libc::SECCOMP_IOCTL_NOTIF_SEND, &mut answer);
    }

    #[track_caller]
    fn ioctl<T>(&self, request: libc::Ioctl, value: &mut T) {
        // SAFETY: the number of the request contains the size of the value.
        let done: c_int = unsafe { libc::ioctl(self.0.as_raw_fd(), request, ptr::from_mut(value)) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    }
}
