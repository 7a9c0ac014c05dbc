//! Descriptors: making them, counting them, and limiting their number.

use crate::call::errno;
use crate::directory::c_path;
use crate::process::set_soft_limit;
use libc::{c_int, c_short, c_uint};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Takes over a descriptor that a call has returned.
#[track_caller]
pub fn own(fd: c_int) -> OwnedFd {
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: a new descriptor, which has no other owner.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The numbers of the open descriptors.
pub fn open_numbers() -> Vec<c_int> {
    let mut open: Vec<c_int> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .map(|name| name.to_str().unwrap().parse().unwrap())
        .collect();
    // The directory itself had a descriptor while it was read.
    // SAFETY: no pointers.
    open.retain(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } != -1);
    open.sort_unstable();
    open
}

/// The number of open descriptors.
pub fn descriptors() -> usize {
    open_numbers().len()
}

/// A limit on this process's descriptors. Dropping it restores the old limit.
pub struct DescriptorLimit {
    old: u64,
    _gaps: Vec<OwnedFd>,
}

/// Lets this process open exactly `count` more descriptors.
#[must_use]
pub fn leave_descriptors(count: u64) -> DescriptorLimit {
    let highest = *open_numbers().last().unwrap();
    let mut gaps = Vec::new();
    loop {
        // SAFETY: no pointers.
        let next = own(unsafe { libc::dup(0) });
        if next.as_raw_fd() > highest {
            break;
        }
        gaps.push(next);
    }
    let old = set_soft_limit(libc::RLIMIT_NOFILE, highest as u64 + 1 + count);
    DescriptorLimit { old, _gaps: gaps }
}

impl Drop for DescriptorLimit {
    fn drop(&mut self) {
        set_soft_limit(libc::RLIMIT_NOFILE, self.old);
    }
}

/// Runs `run` while this process may open exactly `count` more descriptors.
pub fn with_room_for<T>(count: u64, run: impl FnOnce() -> T) -> T {
    let _limit = leave_descriptors(count);
    run()
}

/// A pipe: the read end and the write end.
pub fn pipe() -> (File, File) {
    let mut fds = [-1; 2];
    // SAFETY: an array of two.
    assert_eq!(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    (own(fds[0]).into(), own(fds[1]).into())
}

/// An unconnected local socket.
pub fn local_socket(socket_type: c_int) -> OwnedFd {
    // SAFETY: no pointers.
    own(unsafe { libc::socket(libc::AF_UNIX, socket_type | libc::SOCK_CLOEXEC, 0) })
}

/// A connected pair of local sockets.
pub fn sockets(socket_type: c_int) -> (OwnedFd, OwnedFd) {
    let mut fds = [-1; 2];
    let socket_type = socket_type | libc::SOCK_CLOEXEC;
    // SAFETY: an array of two.
    let done = unsafe { libc::socketpair(libc::AF_UNIX, socket_type, 0, fds.as_mut_ptr()) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
    (own(fds[0]), own(fds[1]))
}

/// A memfd of this size, filled with zeros.
pub fn memfd(size: usize) -> File {
    memfd_with(size, 0)
}

/// Like [`memfd`], with flags for memfd_create(2).
pub fn memfd_with(size: usize, flags: c_uint) -> File {
    // SAFETY: a string.
    let fd = unsafe { libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC | flags) };
    let file = File::from(own(fd));
    file.set_len(size as u64).unwrap();
    file
}

/// `open(2)`, close-on-exec.
pub fn plain_open(path: &str, flags: c_int) -> Result<OwnedFd, c_int> {
    // SAFETY: a string.
    let fd = unsafe { libc::open(c_path(path).as_ptr(), flags | libc::O_CLOEXEC, 0o600) };
    if fd == -1 { Err(errno()) } else { Ok(own(fd)) }
}

/// Polls a descriptor for POLLIN. Returns its `revents`.
#[track_caller]
pub fn poll(fd: c_int, timeout_ms: c_int) -> c_short {
    poll_for(fd, libc::POLLIN, timeout_ms)
}

/// Polls a descriptor. Returns its `revents`.
#[track_caller]
pub fn poll_for(fd: c_int, events: c_short, timeout_ms: c_int) -> c_short {
    let mut poll = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: one pollfd, ours.
    let count = unsafe { libc::poll(&mut poll, 1, timeout_ms) };
    assert!(count >= 0, "{}", io::Error::last_os_error());
    poll.revents
}
