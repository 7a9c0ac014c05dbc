//! Layer 2: children.

use super::pointer::{
    ExtensibleStruct, copy_struct_from, elements, non_null, optional_string, out_ptr, string,
};
use crate::errno::{Errno, Result, or_errno_of};
use crate::spawn::{self, Options, SpawnFd};
use libc::{c_char, c_int, c_uint, pid_t, size_t};
use std::os::fd::IntoRawFd;

/// A flag of struct ipc_spawn_opts: the child's standard error is /dev/null.
pub const IPC_SPAWN_F_STDERR_NULL: c_uint = 1;

/// How ipc_spawn starts a program. All zero bytes are the defaults.
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct ipc_spawn_opts {
    /// the environment, as execve(2) takes it; NULL: the caller's
    pub envp: *const *mut c_char,
    /// the working directory; NULL: the caller's. A file or path without a leading slash counts from here.
    pub cwd: *const c_char,
    /// descriptors that the child gets besides its end of the pair
    pub fds: *const SpawnFd,
    /// how many
    pub nfds: size_t,
    /// the type of the pair, without flags; 0: SOCK_STREAM
    pub r#type: c_int,
    /// the number of the child's end of the pair; 0: it is standard input and output.
    /// With another number, standard input and output are the caller's unless fds says otherwise.
    pub child_fd: c_int,
    /// IPC_SPAWN_F_STDERR_NULL, or 0: standard error is the caller's unless fds says otherwise
    pub flags: c_uint,
    /// 0
    pub reserved: c_uint,
}

// SAFETY: numbers and pointers, which any bytes are, and the size below leaves no padding.
unsafe impl ExtensibleStruct for ipc_spawn_opts {
    const FIRST_SIZE: usize = 48;
}
const _: () = assert!(size_of::<ipc_spawn_opts>() == ipc_spawn_opts::FIRST_SIZE);

/// cbindgen:ptrs-as-arrays=[[argv; ]]
/// Starts a program that has the other end of a pair as its standard input and output.
///
/// file is looked for as execvp(3) does it; argv is what the program gets, argv[0] its name by
/// custom, with a NULL at the end. opts (NULL: the defaults; opts_size is sizeof(*opts)) says
/// more. *ret_fd becomes the caller's end of the pair, which is close-on-exec and blocking.
/// The pid is the caller's to wait for.
///
/// The child begins as a fresh program does: no signal is blocked, each has its default
/// action, and it has no descriptor but its end, its standard input, output and error
/// (/dev/null where the caller has them closed or close-on-exec), and those of opts->fds.
///
/// Blocks until the program has begun. May be called from any thread of a program with several,
/// and in the child after fork; not from a signal handler.
///
/// Returns the pid, or -1 with errno and ret_fd as it was; no child is left then:
///   E2BIG    argv and the environment are too long; or opts is from a newer version of the
///            library, and asks for what this one does not have
///   EACCES   the program or a folder of its path may not be used
///   EAGAIN   RLIMIT_NPROC
///   EBADF    a descriptor of opts->fds is not open, or a number for the child is too high
///            for RLIMIT_NOFILE
///   EINVAL   file, argv, argv[0] or ret_fd is NULL, a flag, type or number in opts is not
///            one, two descriptors get the same number, or opts_size is smaller than the
///            structure's first version
///   EMFILE   the process has no descriptor left, or none above the child's numbers
///   ENFILE   the system has no open file left
///   ENOENT   the program, its interpreter or opts->cwd does not exist
///   ENOEXEC  the file is not a program (and no shell is tried)
///   ENOMEM   no memory is left
///   and what else execve(2) and chdir(2) say
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_spawn(
    file: *const c_char,
    argv: *const *mut c_char,
    opts: *const ipc_spawn_opts,
    opts_size: size_t,
    ret_fd: *mut c_int,
) -> pid_t {
    let start = || -> Result<pid_t> {
        // SAFETY: the caller's string.
        let file = unsafe { string(file) }?;
        // SAFETY: the caller's place for the result.
        let ret_fd = unsafe { out_ptr(ret_fd) }?;
        non_null(argv)?;
        // SAFETY: argv ends with a NULL, so it has a first element.
        non_null(unsafe { *argv })?;
        // SAFETY: the caller's options; pointers may be NULL and numbers anything.
        let opts = unsafe { copy_struct_from(opts, opts_size) }?;
        if opts.flags & !IPC_SPAWN_F_STDERR_NULL != 0
            || opts.reserved != 0
            || opts.child_fd < 0
            // No program expects that of its standard input.
            || opts.r#type & libc::SOCK_NONBLOCK != 0
        {
            return Err(Errno::EINVAL);
        }
        let options = Options {
            envp: opts.envp,
            // SAFETY: the caller's string, or NULL.
            cwd: unsafe { optional_string(opts.cwd) },
            // SAFETY: the caller's array.
            fds: unsafe { elements(opts.fds, opts.nfds) }?,
            kind: if opts.r#type == 0 {
                libc::SOCK_STREAM
            } else {
                opts.r#type
            },
            child_fd: opts.child_fd,
            stderr_null: opts.flags & IPC_SPAWN_F_STDERR_NULL != 0,
        };
        // SAFETY: the caller's arrays end with NULL.
        let (pid, ours) = unsafe { spawn::start(file, argv, &options) }?;
        ret_fd.write(ours.into_raw_fd());
        Ok(pid)
    };
    or_errno_of(start, -1)
}
