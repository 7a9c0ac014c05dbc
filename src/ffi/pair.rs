//! Layer 2: socket pairs.

use super::pointer::{
    ExtensibleStruct, buffer, buffer_room, copy_struct_to, in_out, non_null, out_ptr,
};
use crate::deadline::{self, Deadline};
use crate::errno::{Errno, Result, or_errno_of};
use crate::fd::borrow;
use crate::pair::{self, Cred};
use libc::{c_int, c_void, size_t, ssize_t};
use std::os::fd::IntoRawFd;

/// A time-out: wait forever, but fail with EINTR after a signal handler has run. A handler that
/// runs before the call starts to wait does not end the call. Nor does one that runs between two
/// waits of a call, as those of the locks have from time to time.
pub const IPC_WAIT_INTR: c_int = -2;
const _: () = assert!(IPC_WAIT_INTR == deadline::WAIT_INTR);

// SAFETY: numbers of one size.
unsafe impl ExtensibleStruct for Cred {
    const FIRST_SIZE: usize = 12;
}
const _: () = assert!(size_of::<Cred>() == Cred::FIRST_SIZE);

/// cbindgen:ptrs-as-arrays=[[ret_fd; 2]]
/// Makes a pair of connected sockets that no exec inherits.
///
/// type is SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM, optionally with SOCK_NONBLOCK or'ed in. Both
/// descriptors are close-on-exec, and the caller closes them. SOCK_SEQPACKET preserves message
/// boundaries, limits a message to the socket's send buffer, and reports that the peer has closed.
/// SOCK_DGRAM does not report that: a receiver then waits on.
///
/// After fork both processes have both ends; each closes the one that it does not use.
/// Does not block. May be called from any thread and from a signal handler.
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

/// Sends a whole buffer through a stream socket, in as many system calls as it takes.
///
/// *inout_done is the number of bytes of buf that have been sent already (NULL: 0). The call
/// updates it, also on failure: the same call again continues there. timeout_ms is in milliseconds
/// for the whole call: -1 waits forever, 0 does not wait, and IPC_WAIT_INTR waits until a signal
/// handler has run. The descriptor may be blocking or not. A receiver that has closed is EPIPE, and
/// does not raise SIGPIPE. On a message-oriented socket each system call sends a message: use
/// ipc_msg_send there.
///
/// Blocks as timeout_ms says. May be called from any thread, from a signal handler, and in
/// the child after fork; data that several threads send through one socket at once can mix.
///
/// Returns len, or -1 with errno:
///   EAGAIN     timeout_ms is 0, and not all could be sent at once
///   EBADF      fd is not open
///   EFAULT     buf is not memory of this process
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     buf is NULL, *inout_done is more than len, or timeout_ms is below -2
///   EMSGSIZE   the socket is message-oriented, and len is too long for a message
///   ENOBUFS, ENOMEM  no memory is left
///   ENOTCONN   the socket is not connected
///   ENOTSOCK   fd is not a socket
///   EPIPE      the receiver has closed, or this direction was shut down
///   ETIMEDOUT  the time-out expired before all was sent
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

/// Receives a whole buffer from a stream socket, in as many system calls as it takes.
///
/// *inout_done is the number of bytes of buf that have been received already (NULL: 0). The call
/// updates it, also on failure: the same call again continues there. timeout_ms is as for
/// ipc_send_full. On a message-oriented socket the kernel truncates a message that does not fit:
/// use ipc_msg_recv there.
///
/// Blocks as timeout_ms says. May be called from any thread, from a signal handler, and in
/// the child after fork; several threads that receive from one socket at once share its bytes.
///
/// Returns the number of bytes in buf: len, or less at the end of the stream (0: the stream ended
/// before the first byte, or len is 0); or -1 with errno:
///   EAGAIN     timeout_ms is 0, and not all could be received at once
///   EBADF      fd is not open
///   EFAULT     buf is not memory of this process
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     buf is NULL, *inout_done is more than len, timeout_ms is below -2, or the
///              socket is not connected
///   ENOMEM     no memory is left
///   ENOTCONN   the socket is not connected
///   ENOTSOCK   fd is not a socket
///   ETIMEDOUT  the time-out expired before all was received
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_recv_full(
    fd: c_int,
    buf: *mut c_void,
    len: size_t,
    inout_done: *mut size_t,
    timeout_ms: c_int,
) -> ssize_t {
    // SAFETY: the caller's buffer of len bytes.
    let room = unsafe { buffer_room(buf, len) };
    // SAFETY: the caller's count, or NULL.
    let progress = unsafe { in_out(inout_done) };
    let receive = || {
        let room = room?;
        with_progress(len, progress, |done| {
            pair::recv_full(borrow(fd)?, room, done, Deadline::new(timeout_ms)?)
        })
    };
    or_errno_of(receive, -1)
}

/// Starts a transfer at the caller's count, which stays up to date also on failure.
fn with_progress(
    len: size_t,
    progress: Option<&mut size_t>,
    transfer: impl FnOnce(&mut size_t) -> Result<()>,
) -> Result<ssize_t> {
    let mut none = 0;
    let done = progress.unwrap_or(&mut none);
    if *done > len {
        return Err(Errno::EINVAL);
    }
    transfer(done)?;
    Ok(*done as ssize_t)
}

/// Gets the credentials of the peer of a connected local socket.
///
/// For a pair, these are of the process that made it; for other sockets, of the one that connected
/// or listened. They do not change when a descriptor is passed on. The kernel records them, so the
/// peer cannot forge them; but the pid may belong to another process by now. A pid of 0 or a uid
/// of 65534 stands for a process or user without an ID in the namespaces of the caller: kill(0,
/// sig) signals the caller's own process group, and all such users have the uid 65534.
///
/// cred_size is sizeof(*ret_cred). An older, shorter structure gets the beginning; in a longer one
/// the rest becomes zero.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child
/// after fork.
///
/// Returns 0, or -1 with errno and ret_cred unchanged:
///   EBADF       fd is not open
///   EINVAL      ret_cred is NULL, or cred_size is smaller than the structure's first version
///   ENOTCONN    the kernel has recorded no peer
///   ENOTSOCK    fd is not a socket
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_peer_cred(fd: c_int, ret_cred: *mut Cred, cred_size: size_t) -> c_int {
    let tell = || -> Result<c_int> {
        non_null(ret_cred)?;
        let cred = pair::peer_cred(borrow(fd)?)?;
        // SAFETY: the caller's structure of cred_size bytes; three ints have no padding.
        unsafe { copy_struct_to(ret_cred, cred_size, &cred) }?;
        Ok(0)
    };
    or_errno_of(tell, -1)
}
