//! Descriptors with messages (`IPC_CHANNEL_F_FDS`).
//!
//! The message travels through the ring as any other, and its descriptors over the socket of the
//! handshake, which both sides keep ([`fd_queue`]). Its length field is marked, and the addition to
//! the message is the token by which the receiver recognises the descriptors.
//!
//! | step of the sender | if it is killed after this step |
//! |---|---|
//! | reserve space in the ring | nothing was sent |
//! | send the descriptors | they stay in the queue, and the next receiver discards them |
//! | write the message and the token, publish the length | the message was sent |
//!
//! | step of the receiver | if it is killed after this step, a related process |
//! |---|---|
//! | duplicate the descriptors, leave them in the queue | receives the message |
//! | store in `taken` that it removes them | receives the message |
//! | remove them from the queue | finds that they are gone, and skips the message |
//! | copy the message, publish the head | receives the next message |

use super::endpoint::Link;
use super::recv::{Message, Peeked, RecvHalf};
use super::send::SendHalf;
use super::state::load_cursor;
use crate::atomic::Ordering;
use crate::bytes::to_fill;
use crate::deadline::Deadline;
use crate::errno::{Result, errno, preserve_errno_on_success};
use crate::message::{FDS_MAX, Received, RecvControl};
use crate::shared_copy;
use crate::sys::{self, CancelGuard};
use crate::transport::fd_queue;
use crate::transport::ring::{ADDITION, addition_offset, marked_size};
use libc::c_int;
use probe::probe;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// By how many bytes a message with descriptors must be shorter than the longest message.
///
/// cbindgen:ignore
pub const ROOM: usize = 16;

/// The addition to a message of `len` bytes.
fn addition(message: NonNull<u8>, len: usize) -> NonNull<u8> {
    // SAFETY: within the record, which is contiguous.
    unsafe { message.add(addition_offset(len)) }
}

impl Link {
    fn fd_socket(&self) -> Result<BorrowedFd<'_>> {
        Ok(self.socket.as_ref().ok_or(errno!(EOPNOTSUPP))?.as_fd())
    }
}

impl SendHalf<'_> {
    /// Sends a message with descriptors. `EOPNOTSUPP` unless both sides have asked for that.
    pub fn send_fds(&mut self, bytes: &[u8], fds: &[c_int], mut deadline: Deadline) -> Result<()> {
        if fds.is_empty() {
            return self.reborrow().send_any(bytes, deadline);
        }
        let len = bytes.len();
        if len == 0 || fds.len() > FDS_MAX {
            return Err(errno!(EINVAL));
        }
        if len > self.channel.max() - ROOM {
            return Err(errno!(EMSGSIZE));
        }
        self.link(&mut deadline)?.fd_socket()?;
        let token = self.next_token();
        let tail = self.state.ring.tail();
        let mut send = |link: &Link| {
            if load_cursor(&link.memory.control().tail.at) != tail {
                return Err(errno!(EBUSY));
            }
            fd_queue::send(link.fd_socket()?, token, fds)
        };
        let (link, space) = self.reserve_record(marked_size(len), deadline, &mut send)?;
        // SAFETY: `reserve_record` has reserved these bytes there, aligned to 8.
        unsafe { shared_copy::to_shared(bytes, space) };
        // SAFETY: as above; the addition is aligned to 8 too.
        unsafe { shared_copy::to_shared(&token.to_le_bytes(), addition(space, len)) };
        self.publish_marked(link, len)
    }

    /// A number that no other message of this end has, even if another process has sent it.
    fn next_token(&mut self) -> u64 {
        self.state.tokens = self.state.tokens.wrapping_add(1);
        sys::monotonic_ns() << u8::BITS | u64::from(self.state.tokens)
    }

    #[inline(never)]
    fn publish_marked(&mut self, link: &Link, len: usize) -> Result<()> {
        probe!(unixipc, channel_send, ptr::from_ref(self.channel), len);
        let batch = self.state.ring.batch_of_marked(len as u32);
        let fields = self.length_fields(link, &batch);
        self.publish_batch(link, batch, fields, 1, len)
    }
}

impl<'a> RecvHalf<'a> {
    /// Receives a message. Stores as many of its descriptors as `fds` has elements, and closes the
    /// others.
    pub fn recv_fds(
        &mut self,
        buffer: &mut [MaybeUninit<u8>],
        fds: &mut [MaybeUninit<c_int>],
        deadline: Deadline,
    ) -> Result<Received> {
        self.recv_next(buffer, fds, deadline)
    }

    /// The next message, whose length field has been loaded and is marked. None if a process that
    /// was killed had received its descriptors: the message was skipped.
    #[inline(never)]
    pub(super) fn next_marked(&mut self, link: &Link, len: u32) -> Result<Option<Message>> {
        self.channel.local.check_poisoned()?;
        let len = len as usize;
        let mut message = Message::new(link, self.state.ring.position(), len as u32);
        message.has_fds = true;
        let token = *self.state.token.get_or_insert_with(|| {
            let mut token = [0; ADDITION];
            let at = addition(message.at, len);
            // SAFETY: within the peer's ring, since `Consumer` has checked the length; aligned to 8.
            unsafe { shared_copy::from_shared(at, to_fill(&mut token)) };
            u64::from_le_bytes(token)
        });
        if self.is_lost(link, token)? {
            self.consume_marked(link, len);
            return Ok(None);
        }
        Ok(Some(message))
    }

    /// Whether a process that was killed had received the descriptors of the next message.
    fn is_lost(&self, link: &Link, token: u64) -> Result<bool> {
        let taken = &link.memory.control().head.taken;
        if taken.load(Ordering::Relaxed) != self.taken_now() {
            return Ok(false);
        }
        let is_first = fd_queue::is_first(link.fd_socket()?, token);
        Ok(!is_first.map_err(|error| self.channel.poison(error))?)
    }

    /// The value of `taken` while the descriptors of the next message are removed.
    fn taken_now(&self) -> u64 {
        self.state.ring.head().wrapping_add(1)
    }

    /// Receives the message that [`RecvHalf::next_marked`] has returned.
    #[inline(never)] // the control data makes the frame large
    pub(super) fn recv_marked(
        &mut self,
        link: &Link,
        message: &Message,
        buffer: &mut [MaybeUninit<u8>],
        fds: &mut [MaybeUninit<c_int>],
    ) -> Result<Received> {
        let Some(buffer) = buffer.get_mut(..message.len) else {
            return Err(errno!(EMSGSIZE));
        };
        let _uncancelled = CancelGuard::new();
        preserve_errno_on_success(|| {
            let mut control = RecvControl::new();
            let wanted = (!fds.is_empty()).then_some(&mut control);
            let token = self.state.token.ok_or(errno!(EPROTO))?;
            let flags = self.remove_fds(link, token, wanted)?;
            message.copy(buffer);
            let nfds = control.store(fds, flags)?;
            self.consume_marked(link, message.len);
            let len = message.len;
            probe!(unixipc, channel_receive, ptr::from_ref(self.channel), len);
            Ok(Received { len, nfds })
        })
    }

    /// Consumes the message that `peek` has returned, if descriptors come with it, and closes them.
    #[cold]
    pub(super) fn release_marked(&mut self) -> Result<()> {
        if self.state.peeked != Peeked::WithFds {
            return Err(errno!(EINVAL));
        }
        self.state.peeked = Peeked::None;
        let len = self.state.ring.marked_len().ok_or(errno!(EINVAL))?;
        let link = self.channel.link().ok_or(errno!(EINVAL))?;
        self.check_sole_receiver(link)?;
        preserve_errno_on_success(|| {
            let token = self.state.token.ok_or(errno!(EINVAL))?;
            if !self.is_lost(link, token)? {
                self.remove_fds(link, token, None)?;
            }
            self.consume_marked(link, len as usize);
            Ok(())
        })
    }

    /// Removes the descriptors of the next message from the queue. `control`, if there is one, gets
    /// them; its flags are returned.
    fn remove_fds(
        &mut self,
        link: &Link,
        token: u64,
        control: Option<&mut RecvControl>,
    ) -> Result<c_int> {
        self.channel.local.check_poisoned()?;
        let socket = link.fd_socket()?;
        let found = fd_queue::find(socket, token, control);
        let flags = found.map_err(|error| self.channel.poison(error))?;
        let taken = &link.memory.control().head.taken;
        taken.store(self.taken_now(), Ordering::Relaxed);
        // Before the head moves: a sender that waits for space in the queue is told by the head.
        fd_queue::consume(socket)?;
        Ok(flags)
    }

    /// Publishes that the next message, a marked one of `len` bytes, has been read.
    fn consume_marked(&mut self, link: &Link, len: usize) {
        self.state.token = None;
        self.state.peeked = Peeked::None;
        self.state.ring.skip(marked_size(len) as u32);
        self.release_skipped(link, 1, len);
    }
}
