//! Layer 2: child processes.

use super::pointer::{
    ExtensibleStruct, copy_struct_from, elements, non_null, optional_string, out_ptr, string,
};
use crate::errno::{Result, errno, or_errno_of};
use crate::spawn::{self, Connection, Options, SpawnFd, SpawnLimit, User};
use libc::{c_char, c_int, c_uint, gid_t, pid_t, size_t, uid_t};
use std::os::fd::{IntoRawFd, OwnedFd};

/// Flag of struct ipc_spawn_opts: the standard error of the child is /dev/null.
pub const IPC_SPAWN_F_STDERR_NULL: c_uint = 1;
/// Flag of struct ipc_spawn_opts: no program that the child executes, or one of its descendants,
/// gets privileges from a set-user-ID bit, a set-group-ID bit or file capabilities (no_new_privs,
/// see prctl(2)).
pub const IPC_SPAWN_F_NO_NEW_PRIVS: c_uint = 2;
/// Flag of struct ipc_spawn_opts: two pipes instead of the socket pair; see ret_out_fd.
pub const IPC_SPAWN_F_PIPES: c_uint = 4;

/// All flags.
const FLAGS: c_uint = IPC_SPAWN_F_STDERR_NULL | IPC_SPAWN_F_NO_NEW_PRIVS | IPC_SPAWN_F_PIPES;

/// The user of a child, with all its groups.
#[repr(C)]
pub struct ipc_spawn_user {
    /// the real, effective and saved user ID
    pub uid: uid_t,
    /// the real, effective and saved group ID
    pub gid: gid_t,
    /// the supplementary groups
    pub groups: *const gid_t,
    /// the number of elements of groups; 0: the child has none
    pub ngroups: size_t,
}

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
    /// resource limits of the child
    pub limits: *const SpawnLimit,
    /// the number of elements of limits
    pub nlimits: size_t,
    /// the user and groups of the child; NULL: those of the caller
    pub user: *const ipc_spawn_user,
    /// if not NULL, *ret_pidfd becomes a pidfd of the child, which the caller closes
    pub ret_pidfd: *mut c_int,
    /// with IPC_SPAWN_F_PIPES, *ret_out_fd becomes the read end of the pipe from the standard
    /// output of the child, and *ret_fd the write end of the pipe to its standard input; else NULL
    pub ret_out_fd: *mut c_int,
    /// the type of the pair, without flags; 0: SOCK_STREAM
    pub r#type: c_int,
    /// the number of the child's end of the pair; 0: it is both standard input and output. With
    /// another number, standard input and output are those of the caller unless fds contains 0 or 1
    pub child_fd: c_int,
    /// IPC_SPAWN_F_..., or 0: standard error is that of the caller unless fds contains 2
    pub flags: c_uint,
    /// the signal that the child gets when the thread that called ipc_spawn ends; 0: none
    pub pdeathsig: c_int,
}

// SAFETY: numbers and pointers: any bytes are valid, and the size below leaves no padding.
unsafe impl ExtensibleStruct for ipc_spawn_opts {
    const FIRST_SIZE: usize = 88;
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
/// with ENXIO. For a program that opens these names, set IPC_SPAWN_F_PIPES. A write(2) to *ret_fd
/// then raises SIGPIPE when the child has closed its end.
///
/// The options are applied in this order: descriptors, limits, user, cwd, IPC_SPAWN_F_NO_NEW_PRIVS,
/// pdeathsig. So limits can be raised with the privileges of the caller, and the program and cwd
/// must be accessible to opts->user. The kernel cancels pdeathsig if the program is set-user-ID,
/// set-group-ID or has capabilities.
///
/// Blocks until the child has executed the program. May be called from any thread of a
/// multithreaded program and in the child after fork; not from a signal handler. Not a cancellation
/// point.
///
/// Returns the pid, or -1 with errno, the output parameters unchanged and no child left:
///   E2BIG    argv and the environment are too long; or opts is from a newer version of the library
///            and sets an option that this version does not have
///   EACCES   the permissions of the program, or of a directory in its path, do not allow it
///   EAGAIN   the number of processes would exceed RLIMIT_NPROC
///   EBADF    a descriptor of opts->fds is not open, or a number for the child exceeds
///            RLIMIT_NOFILE
///   EINVAL   file, argv, argv[0] or ret_fd is NULL; a flag, type, number, limit, signal or user in
///            opts is not valid; two descriptors get the same number; only one of IPC_SPAWN_F_PIPES
///            and ret_out_fd is set, or type or child_fd is set with them; or opts_size is smaller
///            than the structure's first version
///   EMFILE   the process has no descriptor left, or none above the numbers for the child
///   ENFILE   the system has no open file left
///   ENOENT   the program, its interpreter or opts->cwd does not exist
///   ENOEXEC  the file is not a program; the call does not try a shell
///   ENOMEM   no memory is left
///   ENOSYS   ret_pidfd is set, and the kernel is older than Linux 5.2
///   EPERM    the caller may not raise a limit, or not change the user or the groups
/// and the other errors of execve(2) and chdir(2)
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
        // SAFETY: the caller's arrays, strings and structures.
        let options = unsafe { options(&opts) }?;
        // SAFETY: the caller's arrays end with NULL.
        let started = unsafe { spawn::start(file, argv, &options) }?;
        ret_fd.write(started.end.into_raw_fd());
        // SAFETY: the caller's output parameters, or NULL.
        unsafe { give(opts.ret_out_fd, started.out) };
        // SAFETY: as above.
        unsafe { give(opts.ret_pidfd, started.pidfd) };
        Ok(started.pid)
    };
    or_errno_of(start, -1)
}

/// Converts the options.
///
/// # Safety
///
/// The pointers in the options are NULL, or point to the objects that the members describe while the
/// result is used.
unsafe fn options<'a>(opts: &ipc_spawn_opts) -> Result<Options<'a>> {
    let has_flag = |flag| opts.flags & flag != 0;
    // SAFETY: the caller's structure, or NULL.
    let user = match unsafe { opts.user.as_ref() } {
        None => None,
        // SAFETY: the caller's structure.
        Some(user) => Some(unsafe { convert_user(user) }?),
    };
    if opts.flags & !FLAGS != 0 || has_flag(IPC_SPAWN_F_PIPES) == opts.ret_out_fd.is_null() {
        return Err(errno!(EINVAL));
    }
    Ok(Options {
        envp: opts.envp,
        // SAFETY: the caller's string, or NULL.
        cwd: unsafe { optional_string(opts.cwd) },
        // SAFETY: the caller's array.
        fds: unsafe { elements(opts.fds, opts.nfds) }?,
        // SAFETY: the caller's array.
        limits: unsafe { elements(opts.limits, opts.nlimits) }?,
        user,
        connection: if has_flag(IPC_SPAWN_F_PIPES) {
            pipes(opts)?
        } else {
            pair(opts)?
        },
        stderr_null: has_flag(IPC_SPAWN_F_STDERR_NULL),
        no_new_privs: has_flag(IPC_SPAWN_F_NO_NEW_PRIVS),
        pdeathsig: opts.pdeathsig,
        want_pidfd: !opts.ret_pidfd.is_null(),
    })
}

fn pipes(opts: &ipc_spawn_opts) -> Result<Connection> {
    if opts.r#type != 0 || opts.child_fd != 0 {
        return Err(errno!(EINVAL));
    }
    Ok(Connection::Pipes)
}

fn pair(opts: &ipc_spawn_opts) -> Result<Connection> {
    // Programs do not expect a non-blocking standard input.
    if opts.child_fd < 0 || opts.r#type & libc::SOCK_NONBLOCK != 0 {
        return Err(errno!(EINVAL));
    }
    let kind = match opts.r#type {
        0 => libc::SOCK_STREAM,
        kind => kind,
    };
    Ok(Connection::Pair(kind, opts.child_fd))
}

/// # Safety
///
/// As for [`elements`].
unsafe fn convert_user<'a>(user: &ipc_spawn_user) -> Result<User<'a>> {
    // setresuid(2) and setresgid(2) would leave the ID unchanged.
    if user.uid == uid_t::MAX || user.gid == gid_t::MAX {
        return Err(errno!(EINVAL));
    }
    Ok(User {
        uid: user.uid,
        gid: user.gid,
        // SAFETY: the caller's promise.
        groups: unsafe { elements(user.groups, user.ngroups) }?,
    })
}

/// Stores a descriptor in an optional output parameter.
///
/// # Safety
///
/// `at` is NULL or writable.
unsafe fn give(at: *mut c_int, fd: Option<OwnedFd>) {
    // SAFETY: the caller's promise.
    if let (Ok(at), Some(fd)) = (unsafe { out_ptr(at) }, fd) {
        at.write(fd.into_raw_fd());
    }
}
