//! Layer 2: child processes.

use super::pointer::{
    ExtensibleStruct, copy_struct_from, elements, non_null, optional_string, out_ptr, string,
};
use crate::errno::{Errno, Result, or_errno_of};
use crate::spawn::{self, Options, SpawnFd};
use libc::{c_char, c_int, c_uint, pid_t, size_t};
use std::os::fd::IntoRawFd;

/// Flag of struct ipc_spawn_opts: the standard error of the child is /dev/null.
pub const IPC_SPAWN_F_STDERR_NULL: c_uint = 1;

/// Options of ipc_spawn. All zeros are the defaults.
#[repr(C)]
pub struct ipc_spawn_opts {
    /// the environment, as for execve(2); NULL: the environment of the caller
    pub envp: *const *mut c_char,
    /// the working directory; NULL: that of the caller. If file is a relative path, it is relative
    /// to this directory
    pub cwd: *const c_char,
    /// further descriptors for the child, in addition to its end of the pair
    pub fds: *const SpawnFd,
    /// the number of elements of fds
    pub nfds: size_t,
    /// the type of the pair, without flags; 0: SOCK_STREAM
    pub r#type: c_int,
    /// the number of the child's end of the pair; 0: it is both standard input and output. With
    /// another number, standard input and output are those of the caller unless fds contains 0 or 1
    pub child_fd: c_int,
    /// IPC_SPAWN_F_STDERR_NULL, or 0: standard error is that of the caller unless fds contains 2
    pub flags: c_uint,
    /// must be 0
    pub reserved: c_uint,
}

// SAFETY: numbers and pointers: any bytes are valid, and the size below leaves no padding.
unsafe impl ExtensibleStruct for ipc_spawn_opts {
    const FIRST_SIZE: usize = 48;
}
const _: () = assert!(size_of::<ipc_spawn_opts>() == ipc_spawn_opts::FIRST_SIZE);

/// cbindgen:ptrs-as-arrays=[[argv; ]]
/// Starts a program that has one end of a socket pair as its standard input and output.
///
/// The call searches for file as execvp(3) does. argv is an array of arguments that ends with NULL;
/// by convention argv[0] is the name of the program. opts points to options of opts_size bytes
/// (sizeof(*opts)); NULL means the defaults. *ret_fd becomes the caller's end of the pair, which is
/// close-on-exec and blocking; the caller closes it. The caller waits for the child with
/// waitpid(2).
///
/// The child starts with no signal blocked and with the default action for each signal. Its
/// descriptors are its end of the pair; standard input, output and error (/dev/null if the caller
/// has them closed or close-on-exec); and those of opts->fds.
///
/// A socket cannot be opened by name, so an open of /dev/stdin or /dev/stdout in the child fails
/// with ENXIO. For a program that opens these names, pass pipes in opts->fds and set opts->child_fd
/// to another number.
///
/// Blocks until the child has executed the program. May be called from any thread of a
/// multithreaded program and in the child after fork; not from a signal handler. Not a cancellation
/// point.
///
/// Returns the pid, or -1 with errno, ret_fd unchanged and no child left:
///   E2BIG    argv and the environment are too long; or opts is from a newer version of the library
///            and sets an option that this version does not have
///   EACCES   the permissions of the program, or of a directory in its path, do not allow it
///   EAGAIN   the number of processes would exceed RLIMIT_NPROC
///   EBADF    a descriptor of opts->fds is not open, or a number for the child exceeds
///            RLIMIT_NOFILE
///   EINVAL   file, argv, argv[0] or ret_fd is NULL; a flag, type or number in opts is not valid;
///            two descriptors get the same number; or opts_size is smaller than the structure's
///            first version
///   EMFILE   the process has no descriptor left, or none above the numbers for the child
///   ENFILE   the system has no open file left
///   ENOENT   the program, its interpreter or opts->cwd does not exist
///   ENOEXEC  the file is not a program; the call does not try a shell
///   ENOMEM   no memory is left and the other errors of execve(2) and chdir(2)
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
        // SAFETY: the caller's output parameter.
        let ret_fd = unsafe { out_ptr(ret_fd) }?;
        non_null(argv)?;
        // SAFETY: argv is not NULL and ends with NULL, so it has a first element.
        non_null(unsafe { *argv })?;
        // SAFETY: the caller's options.
        let opts = unsafe { copy_struct_from(opts, opts_size) }?;
        if opts.flags & !IPC_SPAWN_F_STDERR_NULL != 0
            || opts.reserved != 0
            || opts.child_fd < 0
            // Programs do not expect a non-blocking standard input.
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
