//! The user that a test runs as.

use crate::child::fork;
use std::io;

/// The unprivileged user that tests of root become.
pub const NOBODY: u32 = 65534;

/// Whether this process is root in its user namespace.
pub fn is_root() -> bool {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Makes this process an unprivileged one.
pub fn become_nobody() -> io::Result<()> {
    let groups = std::ptr::null();
    // SAFETY: no group is read; the other calls take no pointers.
    let failed = unsafe {
        libc::setgroups(0, groups) == -1
            || libc::setresgid(NOBODY, NOBODY, NOBODY) == -1
            || libc::setresuid(NOBODY, NOBODY, NOBODY) == -1
    };
    if failed {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Runs `run` in a child, as an unprivileged user.
#[track_caller]
pub fn as_nobody(run: impl FnOnce()) {
    let child = fork(|| {
        become_nobody().unwrap();
        run();
    });
    child.join();
}
