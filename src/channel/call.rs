//! Calls: a request, and the reply to it, as messages of a channel.
//!
//! Both begin with a header, which is followed by the bytes of the caller or of the server:
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 4 | the letters `uicq` (request) or `uicr` (reply) |
//! | 4 | 4 | 0 |
//! | 8 | 8 | the id of the call, never 0 |
//! | 16 | 8 | when the call expires, in nanoseconds of `CLOCK_MONOTONIC`; 0 in a reply, and for a call without a time limit |
//!
//! A request has at least one byte after the header. A message that is neither a request nor a reply
//! is an ordinary message, which `recv` receives. A message with descriptors is one too.
//!
//! The id is the cursor of the request in the caller's ring, plus 1. So no two calls of an end have
//! the same id, even if a process and its child by fork call in turn.
//!
//! A side makes one call after another. So any other reply that the caller finds is late: its call
//! has failed. The caller discards it.

use super::endpoint::{Channel, Link};
use super::recv::{Message, Peeked, RecvHalf};
use super::send::{SendHalf, Space};
use crate::bytes::to_fill;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno, preserve_errno_on_success};
use crate::shared_copy;
use crate::sys;
use crate::transport::wait::Doorbell as _;
use std::mem::MaybeUninit;
use std::time::Duration;

/// The size of the header, in bytes.
///
/// cbindgen:ignore
pub const CALL_OVERHEAD: usize = size_of::<[u64; 3]>();

/// The first word of a request.
const REQUEST: u64 = u32::from_le_bytes(*b"uicq") as u64;
/// The first word of a reply.
const REPLY: u64 = u32::from_le_bytes(*b"uicr") as u64;

/// How often a caller that waits for space discards late replies. A server that waits for space too
/// can only then continue.
const DISCARD_INTERVAL: Duration = Duration::from_millis(100);

/// The header of a message.
enum Header {
    Request {
        id: u64,
        /// When the call expires; 0 for never.
        expires: u64,
    },
    Reply {
        id: u64,
    },
}

impl Header {
    /// Reads the header of a message, once: a hostile peer may change it later. None if the message
    /// is neither a request nor a reply.
    fn of(message: &Message) -> Option<Self> {
        if message.has_fds {
            return None;
        }
        let len = message.len.checked_sub(CALL_OVERHEAD)?;
        let mut words = [[0; 8]; 3];
        let bytes = to_fill(words.as_flattened_mut());
        // SAFETY: the message is within the peer's ring, aligned to 8, and at least this long.
        unsafe { shared_copy::short_from_shared(message.at, bytes) };
        match words.map(u64::from_le_bytes) {
            [REQUEST, id, expires] if id != 0 && len != 0 => Some(Self::Request { id, expires }),
            [REPLY, id, _] => Some(Self::Reply { id }),
            _ => None,
        }
    }

    /// The bytes of the header.
    fn bytes(&self) -> [[u8; 8]; 3] {
        match *self {
            Self::Request { id, expires } => [REQUEST, id, expires],
            Self::Reply { id } => [REPLY, id, 0],
        }
        .map(u64::to_le_bytes)
    }
}

/// Whether a call that expires then has expired.
fn has_expired(expires: u64) -> bool {
    expires != 0 && expires <= sys::monotonic_ns()
}

/// The length of the message that carries `len` bytes.
fn message_len(len: usize) -> usize {
    len.saturating_add(CALL_OVERHEAD)
}

/// Both halves of an end, for one call.
pub struct Caller<'a> {
    send: SendHalf<'a>,
    recv: RecvHalf<'a>,
}

impl Channel {
    /// Both halves, for a call.
    ///
    /// # Safety
    ///
    /// No other thread uses either half until the result has been dropped.
    pub unsafe fn caller(&self) -> Caller<'_> {
        Caller {
            // SAFETY: the caller's promise.
            send: unsafe { self.send_half() },
            // SAFETY: the caller's promise.
            recv: unsafe { self.recv_half() },
        }
    }
}

impl<'a> Caller<'a> {
    /// Sends a request and receives the reply to it. Returns the length of the reply.
    pub fn call(
        &mut self,
        request: &[u8],
        reply: &mut [MaybeUninit<u8>],
        mut deadline: Deadline,
    ) -> Result<usize> {
        if request.is_empty() {
            return Err(errno!(EINVAL));
        }
        if message_len(request.len()) > self.send.channel.max() {
            return Err(errno!(EMSGSIZE));
        }
        if self.recv.state.peeked != Peeked::None {
            return Err(errno!(EBUSY));
        }
        let expires = deadline.start();
        if deadline.is_never() || !self.recv.is_idle() {
            preserve_errno_on_success(|| {
                self.recv.link(&mut deadline)?;
                self.discard_late(&mut deadline)
            })?;
        }
        let id = self.send_request(request, expires, &mut deadline)?;
        self.receive_reply(id, reply, &mut deadline)
    }

    /// Discards the late replies that have arrived. Fails if no call is possible: the session has
    /// ended, or the next message is not a reply. With no time to wait, a call is not possible
    /// either: `EAGAIN`.
    fn discard_late(&mut self, deadline: &mut Deadline) -> Result<()> {
        let mut limit = DiscardLimit::default();
        while deadline.is_never() || !self.recv.is_idle() {
            let (link, message) = match self.recv.next(Deadline::never()) {
                Err(error) if error == Errno::EAGAIN && !deadline.is_never() => return Ok(()),
                next => next?.ok_or(errno!(EPIPE))?,
            };
            let Some(Header::Reply { .. }) = Header::of(&message) else {
                return Err(errno!(EBADMSG));
            };
            limit.discard(&mut self.recv, link, &message, deadline)?;
        }
        Ok(())
    }

    /// Sends the request. Returns its id.
    fn send_request(
        &mut self,
        request: &[u8],
        expires: u64,
        deadline: &mut Deadline,
    ) -> Result<u64> {
        let len = message_len(request.len());
        let (link, space) = match self.send.try_reserve(len) {
            Some(reserved) => reserved,
            None => self.wait_for_space(len, deadline)?,
        };
        let id = self.send.state.ring.tail().wrapping_add(1);
        // SAFETY: the space has been reserved for this message.
        unsafe { write(&Header::Request { id, expires }, request, space) };
        self.send.publish_any(link, len)?;
        Ok(id)
    }

    /// Waits for space. Discards late replies until there is space.
    #[cold]
    fn wait_for_space(&mut self, len: usize, deadline: &mut Deadline) -> Result<(&'a Link, Space)> {
        preserve_errno_on_success(|| {
            loop {
                let wait = deadline.within(DISCARD_INTERVAL);
                match self.send.reserve_space(len, wait) {
                    Err(error) if error == Errno::ETIMEDOUT => deadline.remaining()?,
                    reserved => return reserved,
                };
                self.discard_late(deadline)?;
            }
        })
    }

    /// Receives the reply to the call `id`. The session must not end before that.
    fn receive_reply(
        &mut self,
        id: u64,
        buffer: &mut [MaybeUninit<u8>],
        deadline: &mut Deadline,
    ) -> Result<usize> {
        let mut limit = DiscardLimit::default();
        loop {
            let (link, message) = self.recv.next(*deadline)?.ok_or(errno!(EPIPE))?;
            match Header::of(&message) {
                Some(Header::Reply { id: found }) if found == id => {
                    let copied = copy_payload(&message, buffer);
                    // A reply that is too long is taken too, because its call has ended.
                    self.recv.take(link, message.len);
                    return copied;
                }
                Some(Header::Reply { .. }) => {
                    limit.discard(&mut self.recv, link, &message, deadline)?;
                }
                _ => return Err(errno!(EBADMSG)),
            }
        }
    }
}

impl RecvHalf<'_> {
    /// Receives a request. Returns the id of the call, and the length of the request; none at the
    /// end of the session. Discards requests whose call has expired, and replies, which are late.
    pub fn next_call(
        &mut self,
        buffer: &mut [MaybeUninit<u8>],
        mut deadline: Deadline,
    ) -> Result<Option<(u64, usize)>> {
        if buffer.is_empty() {
            return Err(errno!(EINVAL));
        }
        if !self.is_ready() {
            // All waits below share this time-out.
            deadline.start();
        }
        let mut limit = DiscardLimit::default();
        loop {
            let Some((link, message)) = self.next(deadline)? else {
                return Ok(None);
            };
            match Header::of(&message).ok_or(errno!(EBADMSG))? {
                Header::Request { id, expires } if !has_expired(expires) => {
                    let len = copy_payload(&message, buffer)?;
                    self.take(link, message.len);
                    return Ok(Some((id, len)));
                }
                _ => limit.discard(self, link, &message, &mut deadline)?,
            }
        }
    }
}

impl SendHalf<'_> {
    /// Sends the reply to the call `id`.
    pub fn reply(&mut self, id: u64, bytes: &[u8], deadline: Deadline) -> Result<()> {
        if id == 0 {
            return Err(errno!(EINVAL));
        }
        let len = message_len(bytes.len());
        let (link, space) = self.reserve_space(len, deadline)?;
        // SAFETY: the space has been reserved for this message.
        unsafe { write(&Header::Reply { id }, bytes, space) };
        self.publish_any(link, len)
    }
}

/// Writes a message: the header and the bytes after it.
///
/// # Safety
///
/// `space` has been reserved for a message of this length.
unsafe fn write(header: &Header, bytes: &[u8], space: Space) {
    let header = header.bytes();
    // SAFETY: the caller's promise; a message is aligned to 8.
    unsafe { shared_copy::short_to_shared(header.as_flattened(), space) };
    // SAFETY: the space is longer than the header, or as long.
    let after = unsafe { space.add(CALL_OVERHEAD) };
    // SAFETY: the caller's promise.
    unsafe { shared_copy::to_shared(bytes, after) };
}

/// Copies the bytes after the header to `buffer`. Returns their length. `EMSGSIZE` if the buffer is
/// shorter.
fn copy_payload(message: &Message, buffer: &mut [MaybeUninit<u8>]) -> Result<usize> {
    let payload = Message {
        // SAFETY: the message is at least as long as its header, whose size is a multiple of 8.
        at: unsafe { message.at.add(CALL_OVERHEAD) },
        len: message.len.saturating_sub(CALL_OVERHEAD),
        has_fds: false,
    };
    if payload.copy(buffer) {
        Ok(payload.len)
    } else {
        Err(errno!(EMSGSIZE))
    }
}

/// Limits how long a call discards messages, so that a peer that floods it cannot hold it.
#[derive(Default)]
struct DiscardLimit {
    /// The number of bytes of the peer's ring that were discarded since the last check.
    discarded: u64,
    /// Whether the peer was dead at the last check.
    is_peer_gone: bool,
}

impl DiscardLimit {
    /// Discards a message. Fails if the time-out has expired; or, if the call must not wait, after
    /// as many bytes as the ring can hold. After so many, a call that waits lets a signal handler end it,
    /// and checks the peer: one that is dead can have left one ring of messages only.
    fn discard(
        &mut self,
        recv: &mut RecvHalf,
        link: &Link,
        message: &Message,
        deadline: &mut Deadline,
    ) -> Result<()> {
        let head = recv.state.ring.head();
        recv.take(link, message.len);
        let size = recv.state.ring.head().wrapping_sub(head);
        self.discarded = self.discarded.saturating_add(size);
        let is_checked = self.discarded > link.peer.ring_size();
        if deadline.is_never() {
            if is_checked {
                // More messages may be left, for which an edge-triggered event loop gets no new event.
                recv.channel.bell.set_readable();
                return Err(errno!(EAGAIN));
            }
            return Ok(());
        }
        deadline.remaining()?;
        if is_checked {
            /// Long enough for a handler to run during the pause.
            const PAUSE: Duration = Duration::from_millis(1);
            self.discarded = 0;
            if self.is_peer_gone {
                return Err(recv.channel.poison(errno!(EPROTO)));
            }
            self.is_peer_gone = recv.channel.bell.check_peer();
            if deadline.ends_with_signal() {
                deadline.pause(None, PAUSE, None)?;
            }
        }
        Ok(())
    }
}
