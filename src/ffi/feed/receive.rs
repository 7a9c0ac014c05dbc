//! Receiving from a feed.

use super::options::IPC_FEED_ID_SIZE;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, or_errno, or_errno_of};
use crate::feed::Subscriber;
use crate::ffi::pointer::{
    ExtensibleStruct, copy_struct_to, handle_mut, in_out, non_null, out_ptr, recv_buffer,
};
use crate::pair::Cred;
use libc::{c_int, c_void, size_t, ssize_t};
use std::mem::MaybeUninit;

/// Receives one message.
///
/// The call copies the message into buf, a buffer of cap bytes, and its sequence number into
/// *ret_seq; ret_seq may be NULL. If the message is longer, the call fails with EMSGSIZE and the
/// message stays: receive it with a larger buffer. timeout_ms is in milliseconds: -1 waits without
/// limit, 0 does not wait, IPC_WAIT_INTR waits until a signal handler has run.
///
/// Sequence numbers have no gaps. If the publisher has overwritten the next message, the call
/// fails with EOVERFLOW, *ret_seq is the sequence number of the message that the next call receives,
/// and all messages before it are lost. Only a lossy subscriber is overtaken, and a reliable one
/// that has stalled for the publisher's stall_ms: it is lossy from then on. If it is overtaken twice
/// within a short time, it goes on with a message up to three eighths of the ring after the oldest
/// one, so that it is not overtaken again at once. A message that is being overwritten is never
/// received.
///
/// The call returns all messages that were published before the publisher ended, and then reports
/// the end. A call with timeout_ms 0 that finds no message checks whether the publisher is alive at
/// most once in 20 microseconds; after ipc_sub_fd, each time.
///
/// Blocks as timeout_ms says. A cancellation point while it waits: no message is lost. Only one
/// thread may use a subscriber at once. May be called in the child after fork; not from a signal
/// handler.
///
/// Returns the length of the message; 0 at the end of the feed; or -1 with errno:
///   EAGAIN     timeout_ms is 0, and no message is available
///   EBUSY      another process has this subscriber from fork, and has received with it: nothing
///              was received
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     sub or buf is NULL, cap is 0, or timeout_ms is below -2
///   EMSGSIZE   the message is longer than cap
///   EOVERFLOW  messages were lost; *ret_seq says where to go on
///   EPROTO     the publisher has violated the protocol: the subscriber can only be closed
///   ETIMEDOUT  the time-out expired
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_sub_recv(
    sub: *mut Subscriber,
    buf: *mut c_void,
    cap: size_t,
    ret_seq: *mut u64,
    timeout_ms: c_int,
) -> ssize_t {
    let recv = || -> Result<ssize_t> {
        // SAFETY: the caller's subscriber; no other thread uses it.
        let sub = unsafe { handle_mut(sub) }?;
        // SAFETY: the caller's buffer of cap bytes.
        let buffer = unsafe { recv_buffer(buf, cap) }?;
        // SAFETY: the caller's output parameter, or NULL.
        let ret_seq = unsafe { in_out(ret_seq) };
        let deadline = Deadline::new(timeout_ms)?;
        match sub.try_recv(buffer) {
            Some(message) => {
                if let Some(ret_seq) = ret_seq {
                    *ret_seq = message.sequence;
                }
                Ok(message.len as ssize_t)
            }
            None => recv_any(sub, buffer, deadline, ret_seq),
        }
    };
    or_errno(recv(), -1)
}

/// Receives a message that [`Subscriber::try_recv`] does not. Not inlined, so that the fast path saves
/// no registers.
#[inline(never)]
fn recv_any(
    sub: &mut Subscriber,
    buffer: &mut [MaybeUninit<u8>],
    deadline: Deadline,
    ret_seq: Option<&mut u64>,
) -> Result<ssize_t> {
    let received = sub.recv(buffer, deadline);
    let sequence = match &received {
        Ok(message) if message.len != 0 => message.sequence,
        Err(error) if *error == Errno::EOVERFLOW => sub.sequence(),
        _ => return received.map(|_| 0),
    };
    if let Some(ret_seq) = ret_seq {
        *ret_seq = sequence;
    }
    received.map(|message| message.len as ssize_t)
}

/// Returns the next message in the ring without copying it.
///
/// The message can be read at *ret_buf, which is aligned to 8 bytes or to the feed's message_align,
/// until ipc_sub_release or ipc_sub_recv. *ret_seq becomes its sequence number; ret_seq may be
/// NULL. Its length is fixed, but the publisher can change its bytes: a hostile one at any time, so
/// copy them before you check them; and an honest one overwrites a message that a lossy subscriber
/// reads. Then ipc_sub_release fails with EOVERFLOW, and the bytes that were read must be
/// discarded. timeout_ms is as for ipc_sub_recv.
///
/// Blocks as timeout_ms says. A cancellation point while it waits. For threads, fork and signal
/// handlers the rules of ipc_sub_recv apply.
///
/// Returns the length of the message; 0 at the end of the feed; or -1 with errno:
///   EAGAIN     timeout_ms is 0, and no message is available
///   EBUSY      another process has this subscriber from fork, and has received with it
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     sub or ret_buf is NULL, or timeout_ms is below -2
///   EOVERFLOW  messages were lost; *ret_seq says where to go on
///   EPROTO     the publisher has violated the protocol: the subscriber can only be closed
///   ETIMEDOUT  the time-out expired
/// *ret_buf changes only if there is a message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_sub_peek(
    sub: *mut Subscriber,
    ret_buf: *mut *const c_void,
    ret_seq: *mut u64,
    timeout_ms: c_int,
) -> ssize_t {
    let peek = || -> Result<ssize_t> {
        // SAFETY: the caller's subscriber; no other thread uses it.
        let sub = unsafe { handle_mut(sub) }?;
        // SAFETY: the caller's output parameter.
        let ret_buf = unsafe { out_ptr(ret_buf) }?;
        let peeked = sub.peek(Deadline::new(timeout_ms)?);
        let (sequence, result) = match peeked {
            Ok(None) => return Ok(0),
            Ok(Some((at, message))) => {
                ret_buf.write(at.cast());
                (message.sequence, Ok(message.len as ssize_t))
            }
            Err(error) if error == Errno::EOVERFLOW => (sub.sequence(), Err(error)),
            Err(error) => return Err(error),
        };
        // SAFETY: the caller's output parameter, or NULL.
        if let Some(ret_seq) = unsafe { in_out(ret_seq) } {
            *ret_seq = sequence;
        }
        result
    };
    or_errno(peek(), -1)
}

/// Goes to the message after the one that ipc_sub_peek has returned.
///
/// Does not block. For threads, fork and signal handlers the rules of ipc_sub_recv apply.
///
/// Returns 0, or -1 with errno:
///   EBUSY      another process has this subscriber from fork, and has received with it
///   EINVAL     sub is NULL, or ipc_sub_peek has not returned a message
///   EOVERFLOW  the publisher has overwritten the message, so the bytes at *ret_buf are not
///              valid. The message and those up to the next one are lost; the next ipc_sub_recv or
///              ipc_sub_peek returns the sequence number of that one
///   EPROTO     the publisher has violated the protocol: the subscriber can only be closed
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_sub_release(sub: *mut Subscriber) -> c_int {
    // SAFETY: the caller's subscriber; no other thread uses it.
    let sub = unsafe { handle_mut(sub) };
    or_errno(sub.and_then(Subscriber::release).map(|()| 0), -1)
}

/// Returns the descriptor of a subscriber, for poll, epoll and similar calls.
///
/// It becomes readable (POLLIN, and no other event):
/// - for a message, or when messages were lost;
/// - for the end of the feed, until a receive has reported it;
/// - for the death of the publisher, and then it stays readable.
///
/// Spurious readiness is possible. It stays readable until a receive fails with EAGAIN. With
/// edge-triggered polling the caller must receive until EAGAIN or the end of the feed.
///
/// After the first call the publisher must wake this subscriber for each message that it waits for.
/// A program that waits in the functions themselves, or polls them, does not need the descriptor.
///
/// The descriptor belongs to the subscriber, which closes it. Do not read from it or write to it.
/// Each call returns the same descriptor.
///
/// Does not block. Only one thread may use a subscriber at once. May be called in the child after
/// fork; not from a signal handler. If the parent had the descriptor before the fork, the child
/// shares it, as with epoll_create(2).
///
/// Returns the descriptor, or -1 with errno:
///   EINVAL  sub is NULL
///   EMFILE  the process has no descriptor left
///   ENFILE  the system has no open file left
///   ENOMEM  no memory is left
///   ENOSPC  the user has too many epoll watches (/proc/sys/fs/epoll/max_user_watches)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_sub_fd(sub: *mut Subscriber) -> c_int {
    // SAFETY: the caller's subscriber; no other thread uses it.
    let sub = unsafe { handle_mut(sub) };
    or_errno_of(|| sub?.fd(), -1)
}

/// The facts about a subscriber and its feed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ipc_sub_info {
    /// random bytes that identify the feed
    pub feed_id: [u8; IPC_FEED_ID_SIZE],
    /// the sequence number of the next message to receive
    pub next_seq: u64,
    /// the number of messages that the feed has published
    pub published: u64,
    /// the number of messages that this subscriber has lost
    pub lost: u64,
    /// the process that listened, or made the socket, as in struct ipc_cred
    pub publisher: Cred,
    /// 0
    pub reserved: u32,
}

// SAFETY: numbers: any bytes are valid, and the size below leaves no padding.
unsafe impl ExtensibleStruct for ipc_sub_info {
    const FIRST_SIZE: usize = 56;
}
const _: () = assert!(size_of::<ipc_sub_info>() == ipc_sub_info::FIRST_SIZE);

/// Gets the facts about a subscriber and its feed.
///
/// size is sizeof(*ret_info). A subscriber that wants to continue after its process has ended
/// stores feed_id and next_seq; see ipc_sub_connect.
///
/// Does not block. Only one thread may use a subscriber at once. May be called in the child after
/// fork; not from a signal handler.
///
/// Returns 0, or -1 with errno and ret_info unchanged:
///   EINVAL  sub or ret_info is NULL, or size is smaller than the structure's first version
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_sub_info(
    sub: *mut Subscriber,
    ret_info: *mut ipc_sub_info,
    size: size_t,
) -> c_int {
    let report = || -> Result<c_int> {
        // SAFETY: the caller's subscriber; no other thread uses it.
        let sub = unsafe { handle_mut(sub) }?;
        let info = ipc_sub_info {
            feed_id: sub.feed_id(),
            next_seq: sub.sequence(),
            published: sub.published(),
            lost: sub.lost(),
            publisher: sub.cred(),
            reserved: 0,
        };
        non_null(ret_info)?;
        // SAFETY: the caller's structure of size bytes.
        unsafe { copy_struct_to(ret_info, size, &info) }?;
        Ok(0)
    };
    or_errno_of(report, -1)
}
