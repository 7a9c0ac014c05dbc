//! Socket pairs, FIFOs and keys.

use crate::errno::or_errno;
use crate::sys;
use libc::{c_char, c_int, key_t, mode_t};

/// cbindgen:ptrs-as-arrays=[[sv; 2]]
/// Creates a pair of connected sockets: socketpair(2).
///
/// domain is AF_UNIX; type is SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET, optionally with
/// SOCK_CLOEXEC and SOCK_NONBLOCK or'ed in; protocol is 0. The caller closes both descriptors.
/// After fork both processes have both descriptors.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns 0, or -1 with errno; even then the kernel may have written to sv:
///   EAFNOSUPPORT     the system does not support this domain
///   EFAULT           sv is not writable memory of this process
///   EINVAL           type is not a socket type, or has an unknown flag
///   EMFILE           the process has no descriptor left (RLIMIT_NOFILE)
///   ENFILE           the system has no open file left
///   ENOBUFS, ENOMEM  no memory is left
///   EOPNOTSUPP       this domain does not support pairs
///   EPROTONOSUPPORT  the domain does not support this protocol
///   ESOCKTNOSUPPORT  the domain does not support this type
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_socketpair(
    domain: c_int,
    r#type: c_int,
    protocol: c_int,
    sv: *mut c_int,
) -> c_int {
    // SAFETY: the caller meets the requirements of socketpair(2).
    or_errno(unsafe { sys::socketpair(domain, r#type, protocol, sv) }, -1)
}

/// Creates a FIFO: mkfifo(3).
///
/// Its permissions are mode without the bits of the umask. The name stays until a process unlinks
/// it.
///
/// Does not block, except for the file system. May be called from any thread, from a signal
/// handler, and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EACCES        no permission to search a directory of the path, or to write the last one
///   EDQUOT        the quota of the file system is exhausted
///   EEXIST        path exists already, as a file of any type or a dangling symbolic link
///   EFAULT        path is not memory of this process
///   EINVAL        mode has the bits of another file type
///   ELOOP         too many symbolic links in the path
///   ENAMETOOLONG  the path or a part of it is too long
///   ENOENT        a directory of the path does not exist, or path is empty
///   ENOMEM        the kernel has no memory left
///   ENOSPC        the file system is full
///   ENOTDIR       a part of the path is not a directory
///   EPERM         the file system does not support FIFOs
///   EROFS         the file system is read-only
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mkfifo(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the caller meets the requirements of mkfifo(3).
    or_errno(unsafe { sys::mkfifo(path, mode) }, -1)
}

/// Derives a key for ipc_shmget and ipc_semget from an existing file: ftok(3).
///
/// The same file and the same lowest eight bits of proj_id give the same key as the C library's
/// ftok. The key contains only some bits of the inode and device numbers of the file, so two files
/// can have the same key. A file that was removed and created again has another key.
///
/// Does not block, except for the file system. May be called from any thread, from a signal
/// handler, and in the child after fork.
///
/// Returns the key, or -1 with errno:
///   EACCES        no permission to search a directory of the path
///   EFAULT        path is not memory of this process
///   ELOOP         too many symbolic links in the path
///   ENAMETOOLONG  the path or a part of it is too long
///   ENOENT        path does not exist, or is empty
///   ENOMEM        the kernel has no memory left
///   ENOTDIR       a part of the path is not a directory
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_ftok(path: *const c_char, proj_id: c_int) -> key_t {
    // SAFETY: the caller meets the requirements of ftok(3).
    or_errno(unsafe { sys::ftok(path, proj_id) }, -1)
}
