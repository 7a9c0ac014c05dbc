//! Layer 2: socket pairs.

use super::pointer::{
    ExtensibleStruct, buffer, copy_struct_to, in_out, non_null, out_ptr, recv_buffer,
};
use crate::deadline::Deadline;
use crate::errno::{Result, errno, or_errno_of};
use crate::fd::borrow;
use crate::pair::{self, Cred};
use crate::peer_pidfd;
use libc::{c_int, c_void, size_t, ssize_t};
use std::os::fd::IntoRawFd;

pub use super::timeout::IPC_WAIT_INTR;

// SAFETY: three numbers of one size: no padding, and all bytes are valid.
unsafe impl ExtensibleStruct for Cred {
    const FIRST_SIZE: usize = 12;
}
const _: () = assert!(size_of::<Cred>() == Cred::FIRST_SIZE);

/// cbindgen:ptrs-as-arrays=[[ret_fd; 2]]
/// Makes a pair of connected local sockets that are close-on-exec.
///
/// type is SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM, optionally with SOCK_NONBLOCK or'ed in. The
/// caller closes both descriptors. SOCK_SEQPACKET preserves message boundaries, limits the length
/// of a message to the send buffer of the socket, and reports that the peer has closed. SOCK_DGRAM
/// does not report that: the receiver continues to wait.
///
/// After fork both processes have both ends; each process closes the end that it does not use.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns 0, or -1 with errno and ret_fd unchanged:
///   EINVAL           type is not one of these, or ret_fd is NULL
///   EMFILE           the process has no descriptor left
///   ENFILE           the system has no open file left
///   ENOBUFS, ENOMEM  no memory is left
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_pair_open(r#type: c_int, ret_fd: *mut c_int) -> c_int {
    // SAFETY: the caller's array of two.
    let ret_fd = unsafe { out_ptr(ret_fd.cast::<[c_int; 2]>()) };
    let open = || -> Result<c_int> {
        let ret_fd = ret_fd?;
        let (a, b) = pair::open(r#type)?;
        ret_fd.write([a.into_raw_fd(), b.into_raw_fd()]);
        Ok(0)
    };
    or_errno_of(open, -1)
}

/// Sends a whole buffer through a stream socket, with as many system calls as necessary.
///
/// *inout_done is the number of bytes of buf that have been sent already; NULL means 0. The call
/// updates it, also on failure, so that the caller can repeat the call to continue. timeout_ms is
/// in milliseconds and limits the whole call: -1 waits without limit, 0 does not wait,
/// IPC_WAIT_INTR waits until a signal handler has run. The descriptor may be blocking or
/// non-blocking. If the receiver has closed its end, the call fails with EPIPE and does not raise
/// SIGPIPE. On a message-oriented socket each system call would send a message: use ipc_msg_send
/// there.
///
/// Blocks as timeout_ms says. A cancellation point, as send(2) is. May be called from any thread,
/// from a signal handler, and in the child after fork. If several threads send through one socket
/// at the same time, their data can mix.
///
/// Returns len, or -1 with errno:
///   EAGAIN           timeout_ms is 0, and not all bytes could be sent at once
///   EBADF            fd is not open
///   EFAULT           buf is not memory of this process
///   EINTR            timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL           buf is NULL, *inout_done exceeds len, or timeout_ms is below -2
///   EMSGSIZE         the socket is message-oriented, and len is too long for a message
///   ENOBUFS, ENOMEM  no memory is left
///   ENOTCONN         the socket is not connected
///   ENOTSOCK         fd is not a socket
///   EPIPE            the receiver has closed its end, or this direction was shut down
///   ETIMEDOUT        the time-out expired before all bytes were sent
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_send_full(
    fd: c_int,
    buf: *const c_void,
    len: size_t,
    inout_done: *mut size_t,
    timeout_ms: c_int,
) -> ssize_t {
    // SAFETY: the caller's buffer of len bytes.
    let bytes = unsafe { buffer(buf, len) };
    // SAFETY: the caller's count, or NULL.
    let progress = unsafe { in_out(inout_done) };
    let send = || {
        let bytes = bytes?;
        with_progress(len, progress, |done| {
            pair::send_full(borrow(fd)?, bytes, done, Deadline::new(timeout_ms)?)
        })
    };
    or_errno_of(send, -1)
}

/// Receives a whole buffer from a stream socket, with as many system calls as necessary.
///
/// *inout_done is the number of bytes of buf that have been received already; NULL means 0. The
/// call updates it, also on failure, so that the caller can repeat the call to continue. timeout_ms
/// is as for ipc_send_full. On a message-oriented socket the kernel truncates a message that does
/// not fit: use ipc_msg_recv there.
///
/// Blocks as timeout_ms says. A cancellation point, as recv(2) is. May be called from any thread,
/// from a signal handler, and in the child after fork. If several threads receive from one socket
/// at the same time, each gets a part of the bytes.
///
/// Returns the number of bytes in buf: len, or less at the end of the stream (0 if the stream ended
/// before the first byte, or if len is 0); or -1 with errno:
///   EAGAIN     timeout_ms is 0, and not all bytes could be received at once
///   EBADF      fd is not open
///   EFAULT     buf is not memory of this process
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     buf is NULL, *inout_done exceeds len, timeout_ms is below -2, or the socket is not
///              connected
///   ENOMEM     no memory is left
///   ENOTCONN   the socket is not connected
///   ENOTSOCK   fd is not a socket
///   ETIMEDOUT  the time-out expired before all bytes were received
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_recv_full(
    fd: c_int,
    buf: *mut c_void,
    len: size_t,
    inout_done: *mut size_t,
    timeout_ms: c_int,
) -> ssize_t {
    // SAFETY: the caller's buffer of len bytes.
    let buffer = unsafe { recv_buffer(buf, len) };
    // SAFETY: the caller's count, or NULL.
    let progress = unsafe { in_out(inout_done) };
    let receive = || {
        let buffer = buffer?;
        with_progress(len, progress, |done| {
            pair::recv_full(borrow(fd)?, buffer, done, Deadline::new(timeout_ms)?)
        })
    };
    or_errno_of(receive, -1)
}

/// Runs a transfer that continues at the caller's count and updates it, also on failure.
fn with_progress(
    len: size_t,
    progress: Option<&mut size_t>,
    transfer: impl FnOnce(&mut size_t) -> Result<()>,
) -> Result<ssize_t> {
    let mut none = 0;
    let done = progress.unwrap_or(&mut none);
    if *done > len {
        return Err(errno!(EINVAL));
    }
    transfer(done)?;
    Ok(*done as ssize_t)
}

/// Gets the credentials of the peer of a connected local socket.
///
/// For a pair, they are those of the process that made it; for other sockets, of the process that
/// connected or listened. They do not change when a descriptor is passed to another process. The
/// kernel records them, so the peer cannot forge them; but the pid may belong to another process by
/// now. If the process or user has no ID in the namespaces of the caller, pid is 0 or uid is 65534.
/// Do not use these values as an identity: kill(0, sig) signals the caller's own process group, and
/// all such users share the uid 65534.
///
/// cred_size is sizeof(*ret_cred). A shorter structure, from an older version, gets the first
/// members; in a longer one the rest becomes zero.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns 0, or -1 with errno and ret_cred unchanged:
///   EBADF     fd is not open
///   EINVAL    ret_cred is NULL, or cred_size is smaller than the structure's first version
///   ENOTCONN  the kernel has recorded no peer
///   ENOTSOCK  fd is not a socket
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_peer_cred(fd: c_int, ret_cred: *mut Cred, cred_size: size_t) -> c_int {
    let report = || -> Result<c_int> {
        non_null(ret_cred)?;
        let cred = pair::peer_cred(borrow(fd)?)?;
        // SAFETY: the caller's structure of cred_size bytes.
        unsafe { copy_struct_to(ret_cred, cred_size, &cred) }?;
        Ok(0)
    };
    or_errno_of(report, -1)
}

/// Opens a pidfd of the peer of a connected local socket.
///
/// It refers to the process whose ID ipc_peer_cred returns, and to no other one, even if that ID is
/// used again. It becomes readable when the process ends (poll(2)), and is for pidfd_send_signal(2)
/// and waitid(2). It is close-on-exec; the caller closes it.
///
/// The kernel knows the process since Linux 6.5, also if the process is in another PID namespace.
/// Before, the call opens the recorded ID, and fails with ESRCH if the peer has closed its end. If
/// the process has passed its end to another one and has ended, another process may have its ID.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork. Not a cancellation point.
///
/// Returns the descriptor, or -1 with errno:
///   EBADF     fd is not open
///   EMFILE    the process has no descriptor left
///   ENFILE    the system has no open file left
///   ENOMEM    no memory is left
///   ENOSYS    the kernel is older than Linux 5.3, or a filter refuses pidfd_open(2)
///   ENOTCONN  the kernel has recorded no peer
///   ENOTSOCK  fd is not a socket
///   ESRCH     the process has ended; or the kernel is older than Linux 6.5, and the peer has closed
///             its end or is in another PID namespace
#[unsafe(no_mangle)]
pub extern "C" fn ipc_peer_pidfd(fd: c_int) -> c_int {
    or_errno_of(|| Ok(peer_pidfd::of_socket(borrow(fd)?)?.into_raw_fd()), -1)
}
