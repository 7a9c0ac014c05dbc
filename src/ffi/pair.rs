//! Layer 2: socket pairs.

use super::pointer::{
    ExtensibleStruct, buffer, buffer_room, copy_struct_to, in_out, non_null, out_ptr,
};
use crate::errno::{Errno, Result, or_errno_of};
use crate::fd::borrow;
use crate::pair::{self, Cred};
use crate::wait::{self, Wait};
use libc::{c_int, c_void, size_t, ssize_t};
use std::os::fd::IntoRawFd;

/// A time-out: wait for ever, but end with EINTR when a signal handler ran. A handler that
/// runs before the call has begun to wait does not end it, nor does one that runs while a call
/// looks in between, as those of the locks do from time to time.
pub const IPC_WAIT_INTR: c_int = -2;
const _: () = assert!(IPC_WAIT_INTR == wait::WAIT_INTR);

// SAFETY: numbers of one size.
unsafe impl ExtensibleStruct for Cred {
    const FIRST_SIZE: usize = 12;
}
const _: () = assert!(size_of::<Cred>() == Cred::FIRST_SIZE);

/// cbindgen:ptrs-as-arrays=[[ret_fd; 2]]
/// Makes a pair of connected sockets that no exec inherits.
///
/// type is SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM, with SOCK_NONBLOCK or'ed in where
/// wanted; both descriptors are close-on-exec, and the caller's to close. SOCK_SEQPACKET keeps
/// messages apart, has a largest one (as much as the socket's send buffer holds), and tells
/// of the other end's closing; SOCK_DGRAM does not tell: whoever waits on it then waits on.
///
/// After fork both processes have both ends; each closes the one that it does not use.
/// Does not block. May be called from any thread and from a signal handler.
///
/// Returns 0, or -1 with errno and ret_fd as it was:
///   EINVAL           type is none of these, or ret_fd is NULL
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

/// Sends all of a buffer through a stream socket, however many calls that takes.
///
/// inout_done says how many bytes of buf have been sent already (NULL: none), and is kept
/// up to date, also on failure: the same call again goes on where this one stopped.
/// timeout_ms is in milliseconds for the whole call: -1 waits for ever, 0 not at all, and
/// IPC_WAIT_INTR until a signal handler ran. The descriptor may be blocking or not. A
/// receiver that is gone is EPIPE, and no SIGPIPE. On a socket that keeps messages apart
/// each call to the kernel is a message: ipc_msg_send is for those.
///
/// Blocks as timeout_ms says. May be called from any thread, from a signal handler, and in
/// the child after fork; what several threads send through one socket at once can mix.
///
/// Returns len, or -1 with errno:
///   EAGAIN     timeout_ms is 0, and not all could be sent at once
///   EBADF      fd is not open
///   EFAULT     buf is not memory of this process
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     buf is NULL, inout_done says more than len, or timeout_ms is below -2
///   EMSGSIZE   the socket keeps messages apart, and this is too long for one
///   ENOBUFS, ENOMEM  no memory is left
///   ENOTCONN   the socket is not connected
///   ENOTSOCK   fd is not a socket
///   EPIPE      the receiver is gone, or this direction was shut down
///   ETIMEDOUT  the time is over, and not all has been sent
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
            pair::send_full(borrow(fd)?, bytes, done, Wait::new(timeout_ms)?)
        })
    };
    or_errno_of(send, -1)
}

/// Receives a whole buffer from a stream socket, however many calls that takes.
///
/// inout_done says how many bytes of buf have been received already (NULL: none), and is
/// kept up to date, also on failure: the same call again goes on where this one stopped.
/// timeout_ms is as for ipc_send_full. From a socket that keeps messages apart the kernel
/// cuts a message that does not fit: ipc_msg_recv is for those.
///
/// Blocks as timeout_ms says. May be called from any thread, from a signal handler, and in
/// the child after fork; several threads that receive from one socket at once share its bytes.
///
/// Returns how much of buf is filled: len, or less at the end of the stream (0: the end came
/// first; a len of 0 is 0 too); or -1 with errno:
///   EAGAIN     timeout_ms is 0, and not all was there
///   EBADF      fd is not open
///   EFAULT     buf is not memory of this process
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     buf is NULL, inout_done says more than len, timeout_ms is below -2, or the
///              socket is not connected
///   ENOMEM     no memory is left
///   ENOTCONN   the socket is not connected
///   ENOTSOCK   fd is not a socket
///   ETIMEDOUT  the time is over, and not all has been received
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
            pair::recv_full(borrow(fd)?, room, done, Wait::new(timeout_ms)?)
        })
    };
    or_errno_of(receive, -1)
}

/// Begins a transfer where the caller's count says, and keeps the count whatever happens.
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

/// Tells who is at the other end of a connected local socket.
///
/// For a pair that is the process that made it, for other sockets the one that connected or
/// listened; it does not change when a descriptor is passed on. The kernel says it, so the
/// peer cannot lie; but its pid may belong to another process by now. cred_size is
/// sizeof(*ret_cred): a shorter structure gets the beginning, in a longer one the rest is zeroed.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child
/// after fork.
///
/// Returns 0, or -1 with errno and ret_cred as it was:
///   EBADF       fd is not open
///   EINVAL      ret_cred is NULL, or cred_size is smaller than the structure's first version
///   ENOTCONN    there is no peer that the kernel knows
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
