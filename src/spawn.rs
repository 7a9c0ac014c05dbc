//! Starting a child program at the other end of a socket pair.

use crate::errno::{Errno, Result};
use crate::fd::{borrow, duplicate};
use crate::pair;
use crate::sys::CancelGuard;
use crate::sys::spawn::{self, FileActions};
use libc::{STDERR_FILENO, STDIN_FILENO, STDOUT_FILENO, c_char, c_int, pid_t};
use nix::fcntl::{FcntlArg, fcntl};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

/// A descriptor for a started program, in addition to its end of the pair.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SpawnFd {
    /// the number in this process
    pub fd: c_int,
    /// the number in the child
    pub child_fd: c_int,
}

/// Options of [`start`].
pub struct Options<'a> {
    /// The environment; NULL: that of this process.
    pub envp: *const *mut c_char,
    /// The working directory; none: that of this process.
    pub cwd: Option<&'a CStr>,
    /// The descriptors for the child, in addition to its end of the pair.
    pub fds: &'a [SpawnFd],
    /// The type of the pair.
    pub kind: c_int,
    /// The number of the child's end; 0: it is both standard input and output.
    pub child_fd: c_int,
    /// Whether the standard error of the child is /dev/null.
    pub stderr_null: bool,
}

/// Starts a program. Returns its pid, and this process's end of the pair.
///
/// # Safety
///
/// `argv` and the environment are arrays of strings that end with NULL.
pub unsafe fn start(
    file: &CStr,
    argv: *const *mut c_char,
    options: &Options,
) -> Result<(pid_t, OwnedFd)> {
    // A cancelled thread would leave descriptors open.
    let _uncancelled = CancelGuard::new();
    // Checked before the pair exists: the check would accept the numbers of the pair.
    for pass in options.fds {
        fcntl(borrow(pass.fd)?, FcntlArg::F_GETFD)?;
    }
    let (ours, theirs) = pair::open(options.kind)?;
    let end = |child_fd| SpawnFd {
        fd: theirs.as_raw_fd(),
        child_fd,
    };
    let ends = match options.child_fd {
        0 => [end(STDIN_FILENO), end(STDOUT_FILENO)],
        fd => [end(fd); 2],
    };
    let count = if options.child_fd == 0 { 2 } else { 1 };
    let ends = ends.get(..count).unwrap_or_default();
    let layout = Layout {
        ends,
        fds: options.fds,
        stderr_null: options.stderr_null,
    };
    layout.check()?;

    let mut actions = FileActions::new()?;
    let _copies = layout.add_to(&mut actions)?;
    if let Some(cwd) = options.cwd {
        actions.chdir(cwd)?;
    }
    let envp = if options.envp.is_null() {
        spawn::environment()
    } else {
        options.envp
    };
    // SAFETY: the caller's promise.
    let pid = unsafe { spawn::spawn(file, &actions, argv, envp) }?;
    Ok((pid, ours))
}

/// The descriptors of the child.
struct Layout<'a> {
    ends: &'a [SpawnFd],
    fds: &'a [SpawnFd],
    stderr_null: bool,
}

impl Layout<'_> {
    /// All descriptors that the child gets from this process.
    fn passed(&self) -> impl Iterator<Item = SpawnFd> + Clone {
        self.ends.iter().chain(self.fds).copied()
    }

    /// Whether the child gets a descriptor with the number `fd`.
    fn is_target(&self, fd: c_int) -> bool {
        self.passed().any(|pass| pass.child_fd == fd)
    }

    /// The highest number of a descriptor in the child.
    fn highest(&self) -> c_int {
        self.passed()
            .map(|pass| pass.child_fd)
            .fold(STDERR_FILENO, c_int::max)
    }

    /// Checks that no number in the child is negative or used twice.
    fn check(&self) -> Result<()> {
        for (i, pass) in self.passed().enumerate() {
            let twice = self
                .passed()
                .take(i)
                .any(|other| other.child_fd == pass.child_fd);
            let taken = self.stderr_null && pass.child_fd == STDERR_FILENO;
            if pass.child_fd < 0 || twice || taken {
                return Err(Errno::EINVAL);
            }
        }
        Ok(())
    }

    /// Adds the actions of the child before exec. The caller keeps the returned descriptors open
    /// until then.
    fn add_to(&self, actions: &mut FileActions) -> Result<Vec<OwnedFd>> {
        // A dup2 in the child could overwrite a descriptor that a later dup2 copies. So each
        // descriptor whose number is a target is duplicated first, above all targets.
        let mut copies = Vec::new();
        copies
            .try_reserve_exact(self.passed().count())
            .map_err(|_| Errno(libc::ENOMEM))?;
        for pass in self.passed() {
            let mut from = pass.fd;
            if self.is_target(from) {
                let copy = copy_above(from, self.highest())?;
                from = copy.as_raw_fd();
                // The memory is reserved; push would contain code that aborts when memory is
                // exhausted.
                if let [free, ..] = copies.spare_capacity_mut() {
                    free.write(copy);
                    // SAFETY: one more element is initialised.
                    unsafe { copies.set_len(copies.len() + 1) };
                }
            }
            actions.dup2(from, pass.child_fd)?;
        }
        for stdio in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] {
            let null = self.stderr_null && stdio == STDERR_FILENO;
            // If it were closed, the first file that the program opens would take its number.
            if null || (!self.is_target(stdio) && is_closed_on_exec(stdio)) {
                actions.open(stdio, c"/dev/null", libc::O_RDWR)?;
            }
        }
        for fd in STDERR_FILENO + 1..self.highest() {
            if !self.is_target(fd) {
                actions.close(fd)?;
            }
        }
        actions.close_from(self.highest() + 1)?;
        Ok(copies)
    }
}

fn copy_above(fd: c_int, highest: c_int) -> Result<OwnedFd> {
    duplicate(borrow(fd)?, highest + 1).map_err(|error| match error {
        Errno::EINVAL => Errno::EMFILE, // above RLIMIT_NOFILE
        other => other,
    })
}

/// Whether a descriptor is closed or close-on-exec in this process. Its number may belong to an
/// internal descriptor of this library.
fn is_closed_on_exec(fd: c_int) -> bool {
    borrow(fd)
        .and_then(|fd| Ok(fcntl(fd, FcntlArg::F_GETFD)?))
        .map_or(true, |flags| flags & libc::FD_CLOEXEC != 0)
}
