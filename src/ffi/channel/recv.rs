//! Receiving.

use crate::channel::{Channel, RecvHalf};
use crate::deadline::Deadline;
use crate::errno::{Result, or_errno};
use crate::ffi::pointer::{handle, message_buffer, out_ptr, targets};
use libc::{c_int, c_void, iovec, size_t, ssize_t};

/// Returns the receiving half of a channel.
///
/// # Safety
///
/// `ch` is NULL or a channel, and no other thread uses its receiving half: the C interface requires
/// that from the caller.
#[inline(always)]
pub(super) unsafe fn recv_half<'a>(ch: *mut Channel) -> Result<RecvHalf<'a>> {
    // SAFETY: the caller's promise.
    let ch = unsafe { handle(ch) }?;
    // SAFETY: the caller's promise.
    Ok(unsafe { ch.recv_half() })
}

/// Receives one message.
///
/// The call copies the message into buf, a buffer of cap bytes. If the message is longer, the call
/// fails with EMSGSIZE and the message stays in the ring: receive it with a larger buffer, or read
/// it with ipc_channel_peek. Descriptors that come with the message are closed: receive them with
/// ipc_channel_recv_fds. The call returns all messages that the peer sent before it ended, and
/// then reports the end. timeout_ms is as for ipc_channel_send.
///
/// A call that waits notices at once that the peer has gone. A call with timeout_ms 0 that finds no
/// message checks this at most once in 20 microseconds; after ipc_channel_fd, each time.
///
/// Blocks as timeout_ms says. A cancellation point while it waits: no message is lost. Two threads
/// must not receive on the same end concurrently. May be called in the child after fork; not from a
/// signal handler.
///
/// Returns the length of the message; 0 at the end of the session; or -1 with errno:
///   EAGAIN     timeout_ms is 0, and no message is available
///   EBUSY      another process has this end from fork, and has received on it: nothing was
///              received
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     ch or buf is NULL, cap is 0, or timeout_ms is below -2
///   EMSGSIZE   the message is longer than cap
///   EPROTO     the peer has violated the protocol: the channel can only be closed
///   ETIMEDOUT  the time-out expired
/// and, on an accepted channel, the errors of the handshake that ipc_channel_send lists (EPIPE is
/// the end of the session here):
///   EAGAIN, EBUSY, EFBIG, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EPERM, EPROTO, ESTALE
///   ETOOMANYREFS
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_recv(
    ch: *mut Channel,
    buf: *mut c_void,
    cap: size_t,
    timeout_ms: c_int,
) -> ssize_t {
    let recv = || -> Result<ssize_t> {
        // SAFETY: the caller's channel; no other thread receives.
        let ch = unsafe { recv_half(ch) }?;
        // SAFETY: the caller's buffer of cap bytes.
        let buffer = unsafe { message_buffer(buf, cap) }?;
        Ok(ch.recv(buffer, Deadline::new(timeout_ms)?)? as ssize_t)
    };
    or_errno(recv(), -1)
}

/// Receives several messages at once.
///
/// inout_msgs is an array of count buffers; each receives one message, and its iov_len becomes the
/// length of that message. The call waits, as timeout_ms says, for the first message. It receives
/// further messages with the first one as long as there are any, and ends before a message that is
/// longer than its buffer, and before and after one with descriptors, which it closes. So it may
/// receive fewer than count. The other buffers are unchanged.
///
/// The call costs less than a receive for each message: it releases the messages and checks whether
/// the peer sleeps only once.
///
/// Blocks as timeout_ms says. A cancellation point while it waits: no message is then received. Two
/// threads must not receive on the same end concurrently. May be called in the child after fork;
/// not from a signal handler.
///
/// Returns the number of messages that were received, 0 at the end of the session, or
/// -1 with errno: ipc_channel_recv's errors for the first message, and
///   EINVAL    inout_msgs is NULL, count is 0, or the first buffer is NULL or empty
///   EMSGSIZE  the first message is longer than its buffer; it stays queued
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_recv_many(
    ch: *mut Channel,
    inout_msgs: *mut iovec,
    count: size_t,
    timeout_ms: c_int,
) -> ssize_t {
    let recv = || -> Result<ssize_t> {
        // SAFETY: the caller's channel; no other thread receives.
        let mut ch = unsafe { recv_half(ch) }?;
        // SAFETY: the caller's array of count buffers.
        let targets = unsafe { targets(inout_msgs, count) }?;
        Ok(ch.recv_many(targets, Deadline::new(timeout_ms)?)? as ssize_t)
    };
    or_errno(recv(), -1)
}

/// Returns the next message in the ring without receiving it.
///
/// The message stays in the ring until ipc_channel_release or ipc_channel_recv takes it. Until then
/// it can be read at *ret_buf, which is aligned to 8 bytes. Its length is fixed, but a hostile peer
/// can change its bytes at any time: copy them before you check them. Receive its descriptors with
/// ipc_channel_recv_fds; the other two calls close them. timeout_ms is as for
/// ipc_channel_send.
///
/// Blocks as timeout_ms says. A cancellation point while it waits. For threads, fork and signal
/// handlers the rules of ipc_channel_recv apply.
///
/// Returns the length of the message; 0 at the end of the session; or -1 with errno:
///   EAGAIN     timeout_ms is 0, and no message is available
///   EBUSY      another process has this end from fork, and has received on it
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     ch or ret_buf is NULL, or timeout_ms is below -2
///   EPROTO     the peer has violated the protocol: the channel can only be closed
///   ETIMEDOUT  the time-out expired
/// and, on an accepted channel, the errors of the handshake, as for ipc_channel_recv:
///   EAGAIN, EBUSY, EFBIG, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EPERM, EPROTO, ESTALE
///   ETOOMANYREFS
/// *ret_buf changes only if there is a message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_peek(
    ch: *mut Channel,
    ret_buf: *mut *const c_void,
    timeout_ms: c_int,
) -> ssize_t {
    let peek = || -> Result<ssize_t> {
        // SAFETY: the caller's channel; no other thread receives.
        let mut ch = unsafe { recv_half(ch) }?;
        // SAFETY: the caller's output parameter.
        let ret_buf = unsafe { out_ptr(ret_buf) }?;
        let Some((at, len)) = ch.peek(Deadline::new(timeout_ms)?)? else {
            return Ok(0);
        };
        ret_buf.write(at.cast());
        Ok(len as ssize_t)
    };
    or_errno(peek(), -1)
}

/// Takes the message that ipc_channel_peek has returned out of the ring.
///
/// Does not block. For threads, fork and signal handlers the rules of ipc_channel_recv apply.
///
/// Returns 0, or -1 with errno:
///   EBUSY   another process has this end from fork, and has received on it. The message is no
///           longer available
///   EINVAL  ch is NULL, or ipc_channel_peek has not returned a message
///   EPROTO  the descriptors of the message are missing: the peer has violated the protocol
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_release(ch: *mut Channel) -> c_int {
    // SAFETY: the caller's channel; no other thread receives.
    let ch = unsafe { recv_half(ch) };
    or_errno(ch.and_then(|mut ch| ch.release()).map(|()| 0), -1)
}
