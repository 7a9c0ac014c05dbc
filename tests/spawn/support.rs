//! The call with Rust types.

pub use common::child::{fork, kill};
pub use common::descriptors::{pipe, poll}; // libc has these names too
pub use common::prelude::*;
pub use libc::*;
use std::ffi::CString;
pub use std::fs::{self, File};
pub use std::io::{self, Read, Write};
pub use std::mem::size_of;
pub use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
pub use std::ptr;
pub use unixipc::ffi::spawn::*;
pub use unixipc::spawn::{SpawnFd, SpawnLimit};

/// The result of a start: the process and its descriptor, or the errno of ipc_spawn.
pub type Started = Result<(pid_t, OwnedFd), c_int>;

pub fn defaults() -> ipc_spawn_opts {
    // SAFETY: all zero bytes are the defaults.
    unsafe { std::mem::zeroed() }
}

/// Starts a program; on failure the outputs must be unchanged.
pub fn start_sized(program: &[&str], opts: *const ipc_spawn_opts, size: usize) -> Started {
    let words: Vec<CString> = program
        .iter()
        .map(|word| CString::new(*word).unwrap())
        .collect();
    let mut argv: Vec<*mut c_char> = words.iter().map(|word| word.as_ptr().cast_mut()).collect();
    argv.push(ptr::null_mut());
    let mut fd = -77;
    // SAFETY: strings, an array of them with its NULL, and options of that size.
    let pid = unsafe { ipc_spawn(argv[0], argv.as_ptr(), opts, size, &mut fd) };
    if pid == -1 {
        let errno = io::Error::last_os_error().raw_os_error().unwrap();
        assert_eq!(fd, -77, "ret_fd after a failure");
        return Err(errno);
    }
    assert!(pid > 0 && fd >= 0);
    // SAFETY: the call has just returned this descriptor.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(fd) }))
}

pub fn start(program: &[&str], opts: &ipc_spawn_opts) -> Started {
    start_sized(program, opts, size_of::<ipc_spawn_opts>())
}

pub fn sh(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

/// The exit status of a child.
pub fn end_of(pid: pid_t) -> c_int {
    let mut status = 0;
    // SAFETY: the status is ours.
    assert_eq!(unsafe { waitpid(pid, &mut status, 0) }, pid);
    assert!(WIFEXITED(status), "status {status:#x}");
    WEXITSTATUS(status)
}

/// The output of a program until its end.
#[track_caller]
pub fn output(started: Started) -> String {
    let (pid, fd) = started.unwrap();
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).unwrap();
    assert_eq!(end_of(pid), 0, "output: {text}");
    text
}

/// The call fails, and leaves neither a child nor a descriptor.
#[track_caller]
pub fn assert_fails(started: impl FnOnce() -> Started, errno: c_int) {
    let before = descriptors();
    assert_eq!(started().map(|(pid, _)| pid), Err(errno));
    assert_eq!(descriptors(), before, "descriptors");
    // SAFETY: a null status is allowed.
    let child = unsafe { waitpid(-1, ptr::null_mut(), WNOHANG) };
    let errno = io::Error::last_os_error().raw_os_error();
    assert_eq!((child, errno), (-1, Some(ECHILD)), "a child is left");
}

/// Pairs of descriptor numbers: in the child and in this process.
pub fn passed(fd: RawFd, child_fd: c_int) -> SpawnFd {
    SpawnFd { fd, child_fd }
}

pub fn with_fds(fds: &[SpawnFd]) -> ipc_spawn_opts {
    ipc_spawn_opts {
        fds: fds.as_ptr(),
        nfds: fds.len(),
        ..defaults()
    }
}

pub fn temporary(text: &str) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// A copy of a descriptor at this number or above, without close-on-exec.
pub fn copy_at(fd: &impl AsRawFd, at: c_int) -> OwnedFd {
    // SAFETY: no pointers.
    let copy = unsafe { fcntl(fd.as_raw_fd(), F_DUPFD, at) };
    assert!(copy >= at);
    // SAFETY: a new descriptor of ours.
    unsafe { OwnedFd::from_raw_fd(copy) }
}

/// Lists the descriptors of the shell. The shell must not exec ls, which opens the directory.
pub const LIST: &str = "ls /proc/$$/fd; true";
