//! Child programs at the other end of a pair.

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

/// How to start a program.
pub struct Options<'a> {
    /// Its environment; NULL: this process's.
    pub envp: *const *mut c_char,
    /// Its working directory, if not this process's.
    pub cwd: Option<&'a CStr>,
    /// What it gets besides its end of the pair.
    pub fds: &'a [SpawnFd],
    /// The type of the pair.
    pub kind: c_int,
    /// Where it finds its end; 0: at its standard input and output.
    pub child_fd: c_int,
    /// Whether its standard error is /dev/null.
    pub stderr_null: bool,
}

/// Starts a program; its pid, and this process's end of the pair.
///
/// # Safety
///
/// `argv` and the environment are arrays of strings that end with NULL.
pub unsafe fn start(
    file: &CStr,
    argv: *const *mut c_char,
    options: &Options,
) -> Result<(pid_t, OwnedFd)> {
    // A thread that is cancelled would leave descriptors behind.
    let _uncancelled = CancelGuard::new();
    // Before the pair is there: its numbers would be open too.
    for pass in options.fds {
        fcntl(crate::fd::borrow(pass.fd)?, FcntlArg::F_GETFD)?;
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
    let _lifted = layout.describe(&mut actions)?;
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

/// Which descriptors the child has.
struct Layout<'a> {
    ends: &'a [SpawnFd],
    fds: &'a [SpawnFd],
    stderr_null: bool,
}

impl Layout<'_> {
    fn passed(&self) -> impl Iterator<Item = SpawnFd> + Clone {
        self.ends.iter().chain(self.fds).copied()
    }

    fn is_target(&self, fd: c_int) -> bool {
        self.passed().any(|pass| pass.child_fd == fd)
    }

    /// The highest number in the child.
    fn highest(&self) -> c_int {
        self.passed()
            .map(|pass| pass.child_fd)
            .fold(STDERR_FILENO, c_int::max)
    }

    /// Each number in the child is one, and given once.
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

    /// Writes down what the child does before exec. The descriptors that are returned stay
    /// open until then.
    fn describe(&self, actions: &mut FileActions) -> Result<Vec<OwnedFd>> {
        // Each dup2 could overwrite what a later one copies: such a descriptor is copied out of
        // the way first, here. A descriptor that is never overwritten needs no memory.
        let mut lifted = Vec::new();
        lifted
            .try_reserve_exact(self.passed().count())
            .map_err(|_| Errno(libc::ENOMEM))?;
        for pass in self.passed() {
            let mut from = pass.fd;
            if self.is_target(from) {
                let copy = copy_above(from, self.highest())?;
                from = copy.as_raw_fd();
                // Reserved above; push would have to be able to abort.
                if let [free, ..] = lifted.spare_capacity_mut() {
                    free.write(copy);
                    // SAFETY: one more element is initialised.
                    unsafe { lifted.set_len(lifted.len() + 1) };
                }
            }
            actions.dup2(from, pass.child_fd)?;
        }
        for stdio in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] {
            let null = self.stderr_null && stdio == STDERR_FILENO;
            // Without one, the first file that the program opens would become it.
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
        Ok(lifted)
    }
}

fn copy_above(fd: c_int, highest: c_int) -> Result<OwnedFd> {
    duplicate(borrow(fd)?, highest + 1).map_err(|error| match error {
        Errno::EINVAL => Errno::EMFILE, // above RLIMIT_NOFILE
        other => other,
    })
}

/// Whether the child would not have it: it may be one of this library's own here.
fn is_closed_on_exec(fd: c_int) -> bool {
    borrow(fd)
        .and_then(|fd| Ok(fcntl(fd, FcntlArg::F_GETFD)?))
        .map_or(true, |flags| flags & libc::FD_CLOEXEC != 0)
}
