//! Sending.

use crate::channel::{Channel, SendHalf};
use crate::deadline::Deadline;
use crate::errno::{Result, or_errno};
use crate::ffi::pointer::{handle, message, parts, sources};
use libc::{c_int, c_void, iovec, size_t, ssize_t};
use std::ptr;

/// Returns the sending half of a channel.
///
/// # Safety
///
/// `ch` is NULL or a channel, and no other thread uses its sending half: the C interface requires
/// that from the caller.
#[inline(always)]
pub(super) unsafe fn send_half<'a>(ch: *mut Channel) -> Result<SendHalf<'a>> {
    // SAFETY: the caller's promise.
    let ch = unsafe { handle(ch) }?;
    // SAFETY: the caller's promise.
    Ok(unsafe { ch.send_half() })
}

/// Sends one message, completely or not at all.
///
/// len is from 1 to ipc_channel_max. The call copies the message into the ring. If the ring is
/// full, the call waits as timeout_ms says: in milliseconds, -1 waits without limit, 0 does not
/// wait, IPC_WAIT_INTR waits until a signal handler has run.
///
/// The call makes a system call only to wait, to wake the peer, and to check that the peer is
/// alive. It checks this after 64 messages of which the peer has received none. If ipc_channel_fd
/// was not called, a call with timeout_ms 0 that finds the ring full checks it too, at most once in
/// 20 microseconds.
///
/// The peer receives every message that was sent, even if this process dies at once. A send detects
/// that the peer has gone when it has to wake the peer, when the ring is full, and otherwise within
/// 128 messages. The messages that were sent in the meantime are lost.
///
/// Blocks as timeout_ms says. A cancellation point while it waits: the message is then not sent.
/// Two threads must not send on the same end concurrently. May be called in the child after fork;
/// not from a signal handler. Does not raise SIGPIPE.
///
/// Returns 0, or -1 with errno:
///   EAGAIN     timeout_ms is 0, and the ring is full
///   EBUSY      a message is reserved (ipc_channel_reserve); or another process has this end from
///              fork, and has sent on it: nothing was sent
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     ch or buf is NULL, len is 0, or timeout_ms is below -2
///   EMSGSIZE   len is greater than ipc_channel_max
///   EPIPE      the peer has gone or has ended receiving, and has not received this message; or
///              this side has ended sending
///   EPROTO     the peer has violated the protocol: the channel can only be closed
///   ETIMEDOUT  the time-out expired
/// and, on an accepted channel, until a call has completed the handshake:
///   EAGAIN        timeout_ms is 0, and the client has not sent its handshake
///   EBUSY         another process that has this end from fork has received the client's handshake;
///                 or this process was forked while another thread completed the handshake
///   EFBIG         the size of the ring exceeds RLIMIT_FSIZE
///   EINVAL        the kernel is older than Linux 5.1
///   EMFILE        the process has no descriptor left
///   ENFILE        the system has no open file left
///   ENOBUFS       no memory is left for the handshake
///   ENOMEM        no memory or address space is left; or, with IPC_CHANNEL_F_LOCK, the memory
///                 could not be locked, or would exceed RLIMIT_MEMLOCK
///   ENOSPC        the ring would be larger than all memory and swap space; with
///                 IPC_CHANNEL_F_PREFAULT, not enough memory is free; or, after ipc_channel_fd, the
///                 user has too many epoll watches (/proc/sys/fs/epoll/max_user_watches)
///   EPERM         IPC_CHANNEL_F_LOCK, and the process may not lock memory
///   EPIPE         the client has closed the connection or died, or accepts no descriptors
///                 (SO_PASSRIGHTS)
///   EPROTO        the client does not use this protocol, its memory does not have the required
///                 seals, or its ring is larger than recv_size_max
///   ESTALE        the client uses another version of the protocol
///   ETOOMANYREFS  too many descriptors of this user are in flight (see ipc_msg_send)
/// After EBUSY, EPIPE, EPROTO and ESTALE the handshake has failed permanently. After the other
/// errors it is still pending, and the call can be repeated, except if the kernel refused an epoll
/// watch (ENOSPC, ENOMEM): then it has failed permanently too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_send(
    ch: *mut Channel,
    buf: *const c_void,
    len: size_t,
    timeout_ms: c_int,
) -> c_int {
    let send = || -> Result<c_int> {
        // SAFETY: the caller's channel; no other thread sends.
        let ch = unsafe { send_half(ch) }?;
        // SAFETY: the caller's buffer of len bytes.
        let bytes = unsafe { message(buf, len) }?;
        ch.send(bytes, Deadline::new(timeout_ms)?)?;
        Ok(0)
    };
    or_errno(send(), -1)
}

/// Sends one message that consists of several parts, completely or not at all.
///
/// iov is an array of iovcnt buffers, from 1 to 1024; the message is their content in order. A
/// buffer may be empty, but the message is not: its length is from 1 to ipc_channel_max. The call
/// copies the parts into the ring and waits as ipc_channel_send does.
///
/// Blocks as timeout_ms says. A cancellation point while it waits: the message is then not sent.
/// Two threads must not send on the same end concurrently. May be called in the child after fork;
/// not from a signal handler. Does not raise SIGPIPE.
///
/// Returns the length of the message, or -1 with errno: ipc_channel_send's errors, and
///   EINVAL    iov is NULL, iovcnt is not from 1 to 1024, or a buffer that is not empty is NULL
///   EMSGSIZE  the buffers together are longer than ipc_channel_max
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_sendv(
    ch: *mut Channel,
    iov: *const iovec,
    iovcnt: c_int,
    timeout_ms: c_int,
) -> ssize_t {
    let send = || -> Result<ssize_t> {
        // SAFETY: the caller's channel; no other thread sends.
        let mut ch = unsafe { send_half(ch) }?;
        // SAFETY: the caller's array of iovcnt buffers.
        let parts = unsafe { parts(iov, iovcnt) }?;
        let len = ch.send_parts(parts, Deadline::new(timeout_ms)?)?;
        Ok(len as ssize_t)
    };
    or_errno(send(), -1)
}

/// Sends several messages at once.
///
/// msgs is an array of count buffers; each is one message of 1 to ipc_channel_max bytes. The call
/// waits, as timeout_ms says, until the first message fits into the ring. It sends further messages
/// with the first one as long as they fit without waiting, and ends before a message that is not
/// valid. So it may send fewer than count: call it again with the others.
///
/// The receiver gets the messages one by one, or several at once by ipc_channel_recv_many. They
/// become visible together: if this process is killed during the call, the peer receives either
/// none of the messages or all that the call would have reported.
///
/// The call costs less than a send for each message: it publishes the messages and checks whether
/// the peer sleeps only once.
///
/// Blocks as timeout_ms says. A cancellation point while it waits: nothing is then sent. Two
/// threads must not send on the same end concurrently. May be called in the child after fork; not
/// from a signal handler. Does not raise SIGPIPE.
///
/// Returns the number of messages that were sent, at least 1; or -1 with errno: ipc_channel_send's
/// errors for the first message, and
///   EINVAL  msgs is NULL, count is 0, or the first buffer is NULL or empty
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_send_many(
    ch: *mut Channel,
    msgs: *const iovec,
    count: size_t,
    timeout_ms: c_int,
) -> ssize_t {
    let send = || -> Result<ssize_t> {
        // SAFETY: the caller's channel; no other thread sends.
        let mut ch = unsafe { send_half(ch) }?;
        // SAFETY: the caller's array of count buffers.
        let messages = unsafe { sources(msgs, count) }?;
        let sent = ch.send_many(messages, Deadline::new(timeout_ms)?)?;
        Ok(sent as ssize_t)
    };
    or_errno(send(), -1)
}

/// Reserves space for one message in the ring, which the caller fills in place.
///
/// len is from 1 to ipc_channel_max. The caller may read and write the space until
/// ipc_channel_commit sends it or ipc_channel_cancel releases it. The space is aligned to 8 bytes,
/// and its content is undefined at first. If the ring is full, the call waits as ipc_channel_send
/// does.
///
/// Blocks as timeout_ms says. A cancellation point while it waits. For threads, fork and signal
/// handlers the rules of ipc_channel_send apply.
///
/// Returns the address of the space, or NULL with errno: ipc_channel_send's errors.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_reserve(
    ch: *mut Channel,
    len: size_t,
    timeout_ms: c_int,
) -> *mut c_void {
    let reserve = || -> Result<*mut c_void> {
        // SAFETY: the caller's channel; no other thread sends.
        let mut ch = unsafe { send_half(ch) }?;
        Ok(ch.reserve(len, Deadline::new(timeout_ms)?)?.cast())
    };
    or_errno(reserve(), ptr::null_mut())
}

/// Sends the first len bytes of the reserved space as one message, and releases the rest.
///
/// Does not block. For threads, fork and signal handlers the rules of ipc_channel_send apply.
///
/// Returns 0, or -1 with errno:
///   EBUSY   another process has this end from fork, and has sent on it. The space is no longer
///           reserved
///   EINVAL  ch is NULL, no space is reserved, or len is 0 or greater than the reserved length
///   EPIPE   the peer has gone or has ended receiving, and has not received this message; or this
///           side has ended sending. The space is no longer reserved
///   EPROTO  the peer has violated the protocol. The space is no longer reserved
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_commit(ch: *mut Channel, len: size_t) -> c_int {
    // SAFETY: the caller's channel; no other thread sends.
    let ch = unsafe { send_half(ch) };
    or_errno(ch.and_then(|mut ch| ch.commit(len)).map(|()| 0), -1)
}

/// Releases the reserved space without sending.
///
/// Does not block. For threads, fork and signal handlers the rules of ipc_channel_send apply.
///
/// Returns 0, or -1 with errno:
///   EINVAL  ch is NULL, or no space is reserved
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_cancel(ch: *mut Channel) -> c_int {
    // SAFETY: the caller's channel; no other thread sends.
    let ch = unsafe { send_half(ch) };
    or_errno(ch.and_then(|mut ch| ch.cancel()).map(|()| 0), -1)
}

/// Returns the length of the longest message that this end can send, in bytes.
///
/// An empty ring always has space for such a message. Does not block. May be called from any
/// thread, from a signal handler, and in the child after fork.
///
/// Returns the length, or 0 with errno:
///   EINVAL  ch is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_max(ch: *const Channel) -> size_t {
    // SAFETY: the caller's channel.
    let ch = unsafe { handle(ch) };
    or_errno(ch.map(Channel::max), 0)
}
