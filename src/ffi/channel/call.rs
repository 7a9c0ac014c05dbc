//! Calls.

use super::recv::recv_half;
use super::send::send_half;
use crate::channel::{CALL_OVERHEAD, Channel};
use crate::deadline::Deadline;
use crate::errno::{Result, or_errno};
use crate::ffi::pointer::{buffer, handle, out_ptr, recv_buffer, uninit_slice};
use libc::{c_int, c_void, size_t, ssize_t};

/// The number of bytes that a request or a reply occupies in the ring in addition to its own: the
/// longest has ipc_channel_max - IPC_CHANNEL_CALL_OVERHEAD bytes.
pub const IPC_CHANNEL_CALL_OVERHEAD: size_t = 24;
const _: () = assert!(IPC_CHANNEL_CALL_OVERHEAD == CALL_OVERHEAD);

/// Sends a request to the peer, and waits for the reply to it.
///
/// The peer receives the request with ipc_channel_next_call and answers it with ipc_channel_reply.
/// req has len bytes, at least 1 and at most ipc_channel_max - IPC_CHANNEL_CALL_OVERHEAD. ret_rep is
/// a buffer of cap bytes for the reply, which may be empty; it may be NULL if cap is 0.
///
/// timeout_ms, as for ipc_channel_send, limits the whole call: sending and waiting for the reply.
/// With 0 no reply can arrive, so the call sends nothing and fails; with EPIPE if the peer is known
/// to have gone, otherwise with EAGAIN. A server skips a request whose call has timed out before the
/// server received it.
///
/// A call that fails after it has sent its request ends: the server may still execute the request,
/// but a later call discards the reply to it. The channel can be used for further calls. That the
/// request was not sent is certain after EAGAIN, EBUSY, EINVAL and EMSGSIZE for the request.
///
/// One side calls and the other serves. Before it sends, and while it waits, the call discards late
/// replies. It leaves any other message of the peer, and each with descriptors, in the ring, and
/// fails with EBADMSG: receive the message with ipc_channel_recv, or with ipc_channel_next_call if
/// it is a request.
///
/// Blocks as timeout_ms says. A cancellation point while it waits: the request may have been sent.
/// A call uses both directions of the end: no other thread may send, receive or call on it
/// concurrently. Threads that call at the same time need a channel each. May be called in the child
/// after fork, if the parent no longer uses the end; not from a signal handler. Does not raise
/// SIGPIPE.
///
/// Returns the length of the reply, which may be 0; or -1 with errno and ret_rep unchanged:
///   EAGAIN     timeout_ms is 0: nothing was sent
///   EBADMSG    the next message of the peer is not a reply; it stays in the ring
///   EBUSY      a message is reserved (ipc_channel_reserve), or ipc_channel_peek has returned a
///              message that was not released; or another process has this end from fork, and has
///              used it
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     ch or req is NULL, len is 0, ret_rep is NULL and cap is not 0, or timeout_ms is
///              below -2
///   EMSGSIZE   the request is too long; or the reply is longer than cap, and was discarded
///   EPIPE      the peer has gone or has ended sending or receiving, and has not replied; or this
///              side has ended sending or receiving
///   EPROTO     the peer has violated the protocol: the channel can only be closed
///   ETIMEDOUT  the time-out expired
/// and, on an accepted channel, the errors of the handshake that ipc_channel_send lists:
///   EAGAIN, EBUSY, EFBIG, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EPERM, EPIPE, EPROTO
///   ESTALE, ETOOMANYREFS
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_call(
    ch: *mut Channel,
    req: *const c_void,
    len: size_t,
    ret_rep: *mut c_void,
    cap: size_t,
    timeout_ms: c_int,
) -> ssize_t {
    let call = || -> Result<ssize_t> {
        // SAFETY: the caller's channel.
        let ch = unsafe { handle(ch) }?;
        // SAFETY: the caller's buffer of len bytes.
        let request = unsafe { buffer(req, len) }?;
        // SAFETY: the caller's buffer of cap bytes.
        let reply = unsafe { uninit_slice(ret_rep.cast(), cap) }?;
        // SAFETY: no other thread uses the channel: the C interface requires that from the caller.
        let mut caller = unsafe { ch.caller() };
        Ok(caller.call(request, reply, Deadline::new(timeout_ms)?)? as ssize_t)
    };
    or_errno(call(), -1)
}

/// Receives the next request that the peer has sent with ipc_channel_call.
///
/// The call copies the request into ret_buf, a buffer of cap bytes, and stores the id of the call in
/// *ret_id, for ipc_channel_reply. The id is not 0. If the request is longer than cap, it stays in
/// the ring, and the call fails with EMSGSIZE. A server may hold several requests and reply in any
/// order. It need not reply to each.
///
/// The call discards requests whose caller has given up because its time-out expired, and replies,
/// which are late. It reads the time-out as a time of CLOCK_MONOTONIC. If the peer lives in another
/// time namespace (time_namespaces(7)) with another offset of that clock, the peer must call
/// without a time-out.
///
/// The peer may also send ordinary messages. The call leaves such a message, and each with
/// descriptors, in the ring, and fails with EBADMSG. Receive it with ipc_channel_recv.
///
/// timeout_ms is as for ipc_channel_send. With 0 the call fits into an event loop, as
/// ipc_channel_recv does: see ipc_channel_fd.
///
/// Blocks as timeout_ms says. A cancellation point while it waits: no request is lost. For threads,
/// fork and signal handlers the rules of ipc_channel_recv apply. Another thread may reply at the
/// same time.
///
/// Returns the length of the request, at least 1; 0 at the end of the session; or -1 with errno:
///   EAGAIN     timeout_ms is 0, and no request is available
///   EBADMSG    the next message is not a request; it stays in the ring
///   EBUSY      another process has this end from fork, and has received on it: nothing was
///              received
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     ch, ret_buf or ret_id is NULL, cap is 0, or timeout_ms is below -2
///   EMSGSIZE   the request is longer than cap
///   EPROTO     the peer has violated the protocol: the channel can only be closed
///   ETIMEDOUT  the time-out expired
/// and, on an accepted channel, the errors of the handshake, as for ipc_channel_recv:
///   EAGAIN, EBUSY, EFBIG, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EPERM, EPROTO, ESTALE
///   ETOOMANYREFS
/// ret_buf and *ret_id change only if there is a request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_next_call(
    ch: *mut Channel,
    ret_buf: *mut c_void,
    cap: size_t,
    ret_id: *mut u64,
    timeout_ms: c_int,
) -> ssize_t {
    let next = || -> Result<ssize_t> {
        // SAFETY: the caller's channel; no other thread receives.
        let mut ch = unsafe { recv_half(ch) }?;
        // SAFETY: the caller's buffer of cap bytes.
        let buffer = unsafe { recv_buffer(ret_buf, cap) }?;
        // SAFETY: the caller's output parameter.
        let ret_id = unsafe { out_ptr(ret_id) }?;
        let Some((id, len)) = ch.next_call(buffer, Deadline::new(timeout_ms)?)? else {
            return Ok(0);
        };
        ret_id.write(id);
        Ok(len as ssize_t)
    };
    or_errno(next(), -1)
}

/// Sends the reply to a request.
///
/// id is the one that ipc_channel_next_call has stored. buf has len bytes, at most ipc_channel_max -
/// IPC_CHANNEL_CALL_OVERHEAD. len may be 0, and buf may be NULL then. If the caller no longer waits
/// for this reply, or if there was no such call, the caller discards it: the library does not check
/// the id. timeout_ms is as for ipc_channel_send. A server that must not wait for a caller that
/// never receives passes a time-out.
///
/// Blocks as timeout_ms says. A cancellation point while it waits: the reply is then not sent. For
/// threads, fork and signal handlers the rules of ipc_channel_send apply. Does not raise SIGPIPE.
///
/// Returns 0, or -1 with errno: ipc_channel_send's errors, except for:
///   EINVAL    ch is NULL, buf is NULL and len is not 0, id is 0, or timeout_ms is below -2
///   EMSGSIZE  the reply is too long
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_channel_reply(
    ch: *mut Channel,
    id: u64,
    buf: *const c_void,
    len: size_t,
    timeout_ms: c_int,
) -> c_int {
    let reply = || -> Result<c_int> {
        // SAFETY: the caller's channel; no other thread sends.
        let mut ch = unsafe { send_half(ch) }?;
        let bytes = match len {
            0 => &[],
            // SAFETY: the caller's buffer of len bytes.
            _ => unsafe { buffer(buf, len) }?,
        };
        ch.reply(id, bytes, Deadline::new(timeout_ms)?)?;
        Ok(0)
    };
    or_errno(reply(), -1)
}
