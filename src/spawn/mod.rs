//! Starting a child program at the other end of a socket pair, or of two pipes.

mod child;
mod descriptors;
mod program;

pub use child::{SpawnLimit, User};
pub use descriptors::SpawnFd;

use crate::errno::{Result, errno};
use crate::fd::borrow;
use crate::pair;
use crate::sys::CancelGuard;
use crate::sys::spawn::{self, ChildMemory};
use child::Child;
use descriptors::Descriptors;
use libc::{STDIN_FILENO, STDOUT_FILENO, c_char, c_int, pid_t};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use program::Program;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

/// The highest number of a signal.
const SIGNAL_MAX: c_int = 64;

/// Options of [`start`].
pub struct Options<'a> {
    /// The environment; NULL: that of this process.
    pub envp: *const *mut c_char,
    /// The working directory; none: that of this process.
    pub cwd: Option<&'a CStr>,
    /// The descriptors for the child, in addition to its end of the pair.
    pub fds: &'a [SpawnFd],
    /// The resource limits.
    pub limits: &'a [SpawnLimit],
    /// The user; none: that of this process.
    pub user: Option<User<'a>>,
    /// What connects the child with this process.
    pub connection: Connection,
    /// Whether the standard error of the child is /dev/null.
    pub stderr_null: bool,
    /// Whether execve(2) can no longer grant privileges to the child.
    pub no_new_privs: bool,
    /// The signal that the child gets when the calling thread ends; 0: none.
    pub pdeathsig: c_int,
    /// Whether to return a pidfd.
    pub want_pidfd: bool,
}

/// What connects a child with its parent.
pub enum Connection {
    /// A pair of sockets of this type. The second number is that of the child's end; 0: it is both
    /// standard input and output.
    Pair(c_int, c_int),
    /// Two pipes, from which the child reads its standard input, and into which it writes its
    /// standard output.
    Pipes,
}

/// A started child.
pub struct Started {
    /// Its process ID.
    pub pid: pid_t,
    /// The caller's end of the pair, or of the pipe to the child.
    pub end: OwnedFd,
    /// The caller's end of the pipe from the child.
    pub out: Option<OwnedFd>,
    /// The pidfd, if it was wanted.
    pub pidfd: Option<OwnedFd>,
}

/// Starts a program.
///
/// # Safety
///
/// `argv` and the environment are arrays of strings that end with NULL.
pub unsafe fn start(file: &CStr, argv: *const *mut c_char, options: &Options) -> Result<Started> {
    if !(0..=SIGNAL_MAX).contains(&options.pdeathsig) {
        return Err(errno!(EINVAL));
    }
    // A cancelled thread would leave descriptors open.
    let _uncancelled = CancelGuard::new();
    // Checked before the ends exist: the check would accept their numbers.
    for pass in options.fds {
        fcntl(borrow(pass.fd)?, FcntlArg::F_GETFD)?;
    }
    let ends = Ends::open(&options.connection)?;
    let envp = if options.envp.is_null() {
        spawn::environment()
    } else {
        options.envp
    };
    let mut child = Child {
        descriptors: Descriptors::new(ends.of_child(), options.fds, options.stderr_null)?,
        limits: options.limits,
        user: options.user,
        cwd: options.cwd,
        no_new_privs: options.no_new_privs,
        pdeathsig: options.pdeathsig,
        parent: nix::unistd::getpid().as_raw(),
        // SAFETY: the caller's promise.
        program: unsafe { Program::new(file, argv, envp) },
    };
    let memory = match options.user {
        None => ChildMemory::Shared,
        Some(_) => ChildMemory::Copied,
    };
    let (pid, pidfd) = spawn::spawn(memory, options.want_pidfd, &mut || child.run())?;
    Ok(Started {
        pid,
        end: ends.end,
        out: ends.out,
        pidfd,
    })
}

/// The descriptors of both processes.
struct Ends {
    /// The caller's end of the pair, or of the pipe to the child.
    end: OwnedFd,
    /// The caller's end of the pipe from the child.
    out: Option<OwnedFd>,
    /// The child's ends, with their numbers in the child. A pair has one end, maybe with two
    /// numbers.
    passed: [SpawnFd; 2],
    count: usize,
    _theirs: (OwnedFd, Option<OwnedFd>),
}

impl Ends {
    fn open(connection: &Connection) -> Result<Self> {
        match *connection {
            Connection::Pair(kind, child_fd) => {
                let (ours, theirs) = pair::open(kind)?;
                let end = |child_fd| SpawnFd {
                    fd: theirs.as_raw_fd(),
                    child_fd,
                };
                let (passed, count) = match child_fd {
                    0 => ([end(STDIN_FILENO), end(STDOUT_FILENO)], 2),
                    fd => ([end(fd); 2], 1),
                };
                Ok(Self {
                    end: ours,
                    out: None,
                    passed,
                    count,
                    _theirs: (theirs, None),
                })
            }
            Connection::Pipes => {
                let (stdin, end) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
                let (out, stdout) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
                let passed = [(&stdin, STDIN_FILENO), (&stdout, STDOUT_FILENO)];
                Ok(Self {
                    end,
                    out: Some(out),
                    passed: passed.map(|(fd, child_fd)| SpawnFd {
                        fd: fd.as_raw_fd(),
                        child_fd,
                    }),
                    count: 2,
                    _theirs: (stdin, Some(stdout)),
                })
            }
        }
    }

    fn of_child(&self) -> &[SpawnFd] {
        self.passed.get(..self.count).unwrap_or_default()
    }
}
