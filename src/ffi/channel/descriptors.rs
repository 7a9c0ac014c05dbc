//! Messages with descriptors.

use super::recv::recv_half;
use super::send::send_half;
use crate::channel::Channel;
use crate::deadline::Deadline;
use crate::errno::{Result, or_errno};
use crate::ffi::pointer::{buffer, elements, in_out, recv_buffer, uninit_slice};
use libc::{c_int, c_void, size_t, ssize_t};

/// Sends one message with descriptors, completely or not at all.
///
/// Both sides have made their ends with IPC_CHANNEL_F_FDS. The receiver gets the message in order
/// with all others, and duplicates of the nfds descriptors in fds, if it receives with
/// ipc_channel_recv_fds. The descriptors of the sender stay open. With nfds 0, when fds may be
/// NULL, the call is ipc_channel_send.
///
/// len is from 1 to 16 less than ipc_channel_max. The descriptors travel over the socket of the
/// channel, whose queue usually has space for 278 messages with descriptors. The call waits for
/// space in the ring and in this queue as timeout_ms says: in milliseconds, -1 waits without limit,
/// 0 does not wait, IPC_WAIT_INTR waits until a signal handler has run. It makes one system call
/// more than ipc_channel_send.
///
/// The peer receives the message with its descriptors even if this process dies at once. The kernel
/// closes the descriptors of a message that the peer does not receive, at the latest when all
/// processes have closed the peer's end.
///
/// Blocks as timeout_ms says. A cancellation point while it waits: the message is then not sent.
/// Two threads must not send on the same end concurrently. May be called in the child after fork;
/// not from a signal handler. Does not raise SIGPIPE.
///
/// Returns 0, or -1 with errno: ipc_channel_send's errors, and
///   EAGAIN           timeout_ms is 0, and the ring or the queue of the socket is full
///   EBADF            one of fds is not open
///   EINVAL           nfds exceeds IPC_MSG_FDS_MAX, or fds is NULL and nfds is not 0
///   EMSGSIZE         len + 16 is greater than ipc_channel_max
///   ENOBUFS, ENOMEM  no memory is left
///   EOPNOTSUPP       this side or the peer has made its end without IPC_CHANNEL_F_FDS
///   EPIPE            the peer accepts no descriptors (SO_PASSRIGHTS)
///   ETOOMANYREFS     too many descriptors of this user are in flight (see ipc_msg_send)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_send_fds(
    ch: *mut Channel,
    buf: *const c_void,
    len: size_t,
    fds: *const c_int,
    nfds: size_t,
    timeout_ms: c_int,
) -> c_int {
    let send = || -> Result<c_int> {
        // SAFETY: the caller's channel; no other thread sends.
        let mut ch = unsafe { send_half(ch) }?;
        // SAFETY: the caller's buffer of len bytes.
        let bytes = unsafe { buffer(buf, len) }?;
        // SAFETY: the caller's nfds descriptors.
        let fds = unsafe { elements(fds, nfds) }?;
        ch.send_fds(bytes, fds, Deadline::new(timeout_ms)?)?;
        Ok(0)
    };
    or_errno(send(), -1)
}

/// Receives one message, and the descriptors that come with it.
///
/// The call receives any message of the channel, as ipc_channel_recv does, whether descriptors come
/// with it or not. On entry *inout_nfds is the number of elements of ret_fds; on success it is the
/// number of descriptors that were stored, 0 at the end of the session. The caller closes them;
/// they are close-on-exec. Descriptors that do not fit are closed. If inout_nfds is NULL, all
/// descriptors are closed; ipc_channel_recv closes them too. After ipc_channel_peek the call
/// receives the message that ipc_channel_peek has returned; ipc_channel_release closes its
/// descriptors.
///
/// If the call fails, the message stays in the ring, and its descriptors stay with it. If a process
/// is killed while it receives a message with descriptors, the message and its descriptors are
/// lost, or a related process that has the same end receives both.
///
/// Blocks as timeout_ms says. A cancellation point while it waits: no message is lost. Two threads
/// must not receive on the same end concurrently. May be called in the child after fork; not from a
/// signal handler.
///
/// Returns the length of the message; 0 at the end of the session; or -1 with errno, and ret_fds
/// and inout_nfds unchanged: ipc_channel_recv's errors, and
///   EBUSY   another process has this end from fork, and has received the descriptors
///   EINVAL  ret_fds is NULL, and *inout_nfds is not 0
///   EMFILE  the process has too few descriptors left for those of the message, or a security
///           module refuses one
///   ENOMEM  no memory is left
///   EPROTO  the descriptors of the message are missing
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_recv_fds(
    ch: *mut Channel,
    buf: *mut c_void,
    cap: size_t,
    ret_fds: *mut c_int,
    inout_nfds: *mut size_t,
    timeout_ms: c_int,
) -> ssize_t {
    let recv = || -> Result<ssize_t> {
        // SAFETY: the caller's channel; no other thread receives.
        let mut ch = unsafe { recv_half(ch) }?;
        // SAFETY: the caller's buffer of cap bytes.
        let buffer = unsafe { recv_buffer(buf, cap) }?;
        // SAFETY: the caller's count, or NULL.
        let nfds = unsafe { in_out(inout_nfds) };
        // SAFETY: the caller's array of this many descriptors.
        let fds = unsafe { uninit_slice(ret_fds, nfds.as_deref().copied().unwrap_or(0)) }?;
        let received = ch.recv_fds(buffer, fds, Deadline::new(timeout_ms)?)?;
        if let Some(nfds) = nfds {
            *nfds = received.nfds;
        }
        Ok(received.len as ssize_t)
    };
    or_errno(recv(), -1)
}
