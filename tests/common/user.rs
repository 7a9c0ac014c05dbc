//! The user that a test runs as.

use crate::child::fork;
use crate::process::change_limit;
use std::io;

/// The unprivileged user that tests of root become.
pub const NOBODY: u32 = 65534;

/// Whether this process is root in its user namespace.
pub fn is_root() -> bool {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Raises the limit to which this process may raise its limit of locked memory. Before Linux 5.16 it
/// is 64 KiB, which is too low for some tests.
fn allow_locked_memory() {
    // Root in a container may not be permitted to.
    change_limit(libc::RLIMIT_MEMLOCK, |limit| {
        limit.rlim_max = limit.rlim_max.max(64 << 20);
    });
}

/// Makes this process an unprivileged one.
pub fn become_nobody() -> io::Result<()> {
    allow_locked_memory();
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
