//! Receiving: find the next message, read it, release its space, wake the sender.

use super::endpoint::{Channel, Link};
use super::state::{MessageCondition, View, load_cursor};
use crate::atomic::Ordering;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno, preserve_errno, preserve_errno_on_success};
use crate::message::Received;
use crate::shared_copy;
use crate::sys;
use crate::transport::doorbell::Doorbell;
use crate::transport::event_count::{Notifier, PeerState};
use crate::transport::liveness::Liveness;
use crate::transport::ring::Consumer;
use crate::transport::spin::{SpinPolicy, Spinner};
use crate::transport::wait::{Condition, Doorbell as _, Progress, Role};
use libc::c_int;
use probe::probe;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

/// The private state of the thread that receives.
pub struct Receiver {
    pub(super) ring: Consumer,
    notifier: Notifier,
    /// Whether this thread knows the peer's ring: the handshake has ended.
    is_linked: bool,
    /// Whether `peek` has returned the next message.
    pub(super) peeked: Peeked,
    /// The token of the next message if it has been read: it is read once only.
    pub(super) token: Option<u64>,
    spinner: Spinner,
    liveness: Liveness,
}

/// The message that `peek` has returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Peeked {
    /// None.
    #[default]
    None,
    /// A message without descriptors.
    Plain,
    /// A message with descriptors.
    WithFds,
}

impl Receiver {
    /// Makes the state before the handshake has ended.
    pub fn new(spin: SpinPolicy) -> Self {
        Self {
            ring: Consumer::unknown(),
            notifier: Notifier::new(false),
            is_linked: false,
            peeked: Peeked::None,
            token: None,
            spinner: Spinner::new(spin),
            liveness: Liveness::default(),
        }
    }

    /// Whether no call of this process has found the connection.
    pub fn is_unused(&self) -> bool {
        !self.is_linked
    }
}

/// The receiving half of an end, for one call.
pub struct RecvHalf<'a> {
    pub(super) channel: &'a Channel,
    pub(super) state: &'a mut Receiver,
}

/// A message in the peer's ring.
pub(super) struct Message {
    pub(super) at: NonNull<u8>,
    pub(super) len: usize,
    /// Whether descriptors come with it.
    pub(super) has_fds: bool,
}

impl<'a> RecvHalf<'a> {
    /// The same half, for a method that consumes it.
    fn reborrow(&mut self) -> RecvHalf<'_> {
        RecvHalf {
            channel: self.channel,
            state: self.state,
        }
    }

    /// Receives a message. Returns its length, or 0 at the end of the session.
    #[inline]
    pub fn recv(mut self, buffer: &mut [MaybeUninit<u8>], deadline: Deadline) -> Result<usize> {
        if let Some((link, message)) = self.try_peek() {
            let is_short = message.len <= shared_copy::SHORT;
            if let Some(buffer) = buffer.get_mut(..message.len).filter(|_| is_short) {
                // SAFETY: `try_peek` has checked that the message is within the peer's ring; it is
                // aligned to 8.
                unsafe { shared_copy::short_from_shared(message.at, buffer) };
                self.state.ring.skip_found(message.len as u32);
                probe!(
                    unixipc,
                    channel_receive,
                    ptr::from_ref(self.channel),
                    message.len
                );
                self.release_skipped(link, 1, message.len);
                return Ok(message.len);
            }
        }
        self.recv_any(buffer, deadline)
    }

    #[inline(never)]
    fn recv_any(mut self, buffer: &mut [MaybeUninit<u8>], deadline: Deadline) -> Result<usize> {
        Ok(self.recv_next(buffer, &mut [], deadline)?.len)
    }

    /// Receives a message with its descriptors. Closes those for which `fds` has no element.
    #[inline(always)]
    pub(super) fn recv_next(
        &mut self,
        buffer: &mut [MaybeUninit<u8>],
        fds: &mut [MaybeUninit<c_int>],
        deadline: Deadline,
    ) -> Result<Received> {
        if buffer.is_empty() {
            return Err(errno!(EINVAL));
        }
        let Some((link, message)) = self.next(deadline)? else {
            return Ok(Received::END);
        };
        if message.has_fds {
            return self.recv_marked(link, &message, buffer, fds);
        }
        if !message.copy(buffer) {
            return Err(errno!(EMSGSIZE));
        }
        self.take(link, message.len);
        let len = message.len;
        Ok(Received { len, nfds: 0 })
    }

    /// Returns the address and the length of the next message; none at the end of the session.
    pub fn peek(&mut self, deadline: Deadline) -> Result<Option<(*const u8, usize)>> {
        let Some((_, message)) = self.next(deadline)? else {
            return Ok(None);
        };
        self.state.peeked = match message.has_fds {
            false => Peeked::Plain,
            true => Peeked::WithFds,
        };
        Ok(Some((message.at.as_ptr().cast_const(), message.len)))
    }

    /// Consumes the message that `peek` has returned.
    pub fn release(&mut self) -> Result<()> {
        if self.state.peeked != Peeked::Plain {
            return self.release_marked();
        }
        self.state.peeked = Peeked::None;
        let len = self.state.ring.peek_len() as usize;
        let link = self.channel.link().ok_or(errno!(EINVAL))?;
        self.check_sole_receiver(link)?;
        self.consume_any(link, len);
        Ok(())
    }

    /// The fast path: the next message, if there is one and nothing requires the slow path.
    #[inline(always)]
    fn try_peek(&self) -> Option<(&'a Link, Message)> {
        if self.state.ring.is_cached() {
            return None;
        }
        // SAFETY: the ring is known, so an earlier call on this half has got the link.
        let link = unsafe { self.channel.link_unchecked() };
        let position = self.state.ring.position();
        let len = self.state.ring.try_peek(link.peer.length(position))?;
        self.is_sole_receiver(link)
            .then(|| (link, Message::new(link, position, len)))
    }

    /// Waits for a message; none at the end of the session.
    #[inline(always)]
    pub(super) fn next(&mut self, deadline: Deadline) -> Result<Option<(&'a Link, Message)>> {
        let link = match self.channel.link() {
            Some(link) if self.has_message(link) => link,
            _ => return preserve_errno_on_success(|| self.next_slow(deadline)),
        };
        Ok(Some((link, self.message(link))))
    }

    /// Whether a message without descriptors is in the ring.
    #[inline(always)]
    fn has_message(&mut self, link: &Link) -> bool {
        let length = link.peer.length(self.state.ring.position());
        self.state.is_linked && self.is_sole_receiver(link) && self.state.ring.poll_unmarked(length)
    }

    /// The next message, whose length has been loaded and which is not marked.
    #[inline(always)]
    fn message(&self, link: &Link) -> Message {
        let ring = &self.state.ring;
        Message::new(link, ring.position(), ring.peek_len())
    }

    #[cold]
    fn next_slow(&mut self, mut deadline: Deadline) -> Result<Option<(&'a Link, Message)>> {
        let link = match self.link(&mut deadline) {
            // The session ended before the handshake did.
            Err(error) if error == Errno::EPIPE => {
                self.channel.local.end_received.store(1, Ordering::Relaxed);
                return Ok(None);
            }
            link => link?,
        };
        self.check_sole_receiver(link)?;
        let end = self.channel.view(link);
        loop {
            let result = self.wait_for_message(link, end, &mut deadline);
            // Another process may have received during the wait.
            self.check_sole_receiver(link)?;
            match result {
                Ok(Progress::Ready) => {}
                Ok(_) => {
                    end.end_received();
                    return Ok(None);
                }
                Err(error) => return Err(self.channel.poison(error)),
            }
            match self.state.ring.marked_len() {
                None => return Ok(Some((link, self.message(link)))),
                Some(len) => {
                    if let Some(message) = self.next_marked(link, len)? {
                        return Ok(Some((link, message)));
                    }
                }
            }
        }
    }

    /// Takes the message that [`RecvHalf::next`] has returned, of `len` bytes and without
    /// descriptors, out of the ring.
    pub(super) fn take(&mut self, link: &Link, len: usize) {
        self.state.peeked = Peeked::None;
        self.consume_any(link, len);
    }

    /// Whether [`RecvHalf::next`] would return a message at once.
    pub(super) fn is_ready(&mut self) -> bool {
        let link = self.channel.link();
        link.is_some_and(|link| self.has_message(link))
    }

    /// Whether [`RecvHalf::next`] would wait, as far as this process can know without a system
    /// call. May be false without a reason.
    pub(super) fn is_idle(&mut self) -> bool {
        let Some(link) = self.channel.link() else {
            return false;
        };
        let (mine, theirs) = (link.memory.control(), link.peer.control());
        let length = link.peer.length(self.state.ring.position());
        self.state.is_linked
            && self.is_sole_receiver(link)
            && self.state.ring.poll(length) == Ok(false)
            && !self.channel.bell.seems_gone()
            && mine.ended.receiving.load(Ordering::Relaxed) == 0
            && theirs.ended.sending.load(Ordering::Relaxed) == 0
    }

    /// The connection. Completes the handshake if it has not ended.
    pub(super) fn link(&mut self, deadline: &mut Deadline) -> Result<&'a Link> {
        if self.state.is_linked {
            return self.channel.link().ok_or(errno!(EPROTO));
        }
        let link = match self.channel.link() {
            Some(link) => link,
            None => self.channel.link_slow(Role::Receiver, deadline)?,
        };
        let head = &link.memory.control().head;
        head.acquire(std::process::id(), sys::is_process)?;
        link.memory.write_label();
        self.state.ring = Consumer::new(link.peer.geometry(), 0);
        if link.socket.is_some() {
            self.state.ring.accept_marked();
        }
        self.state.notifier = Notifier::new(link.membarrier);
        self.state.is_linked = true;
        Ok(link)
    }

    /// Whether no other process has received on this end since this one did.
    #[inline(always)]
    fn is_sole_receiver(&self, link: &Link) -> bool {
        load_cursor(&link.memory.control().head.at) == self.state.ring.head()
    }

    pub(super) fn check_sole_receiver(&self, link: &Link) -> Result<()> {
        let is_sole = self.is_sole_receiver(link);
        is_sole.then_some(()).ok_or(errno!(EBUSY))
    }

    /// Waits for a message or the end of the session. Never returns [`Progress::Pending`].
    fn wait_for_message(
        &mut self,
        link: &Link,
        end: View<Doorbell>,
        deadline: &mut Deadline,
    ) -> Result<Progress> {
        let length = link.peer.length(self.state.ring.position());
        let mut condition = MessageCondition {
            end,
            ring: &mut self.state.ring,
            length,
        };
        if condition.poll()? {
            return Ok(Progress::Ready);
        }
        if deadline.is_never() {
            let is_polled = end.bell.is_polled();
            if is_polled {
                end.recv_found_nothing();
            } else if self.state.liveness.is_due() {
                end.bell.check_peer();
            }
            let progress = condition.check()?;
            if progress == Progress::Pending {
                if is_polled {
                    end.recv_will_poll();
                }
                return Err(errno!(EAGAIN));
            }
            return Ok(progress);
        }
        let spinner = &mut self.state.spinner;
        match spinner.spin(link.cpus(), end.bell, &mut condition, deadline)? {
            Progress::Pending => {}
            done => return Ok(done),
        }
        let words = end.message_words();
        self.channel
            .wait(Role::Receiver, words, &mut condition, deadline)
    }

    /// Publishes that the next message, of `len` bytes, has been read.
    #[inline(always)]
    fn consume(&mut self, link: &Link, len: usize) {
        self.state.ring.skip(len as u32);
        self.release_skipped(link, 1, len);
    }

    /// Publishes that the skipped messages have been read, counts them, and wakes the sender if it
    /// sleeps.
    #[inline(always)]
    pub(super) fn release_skipped(&mut self, link: &Link, messages: u64, bytes: usize) {
        let (control, peer_control) = (link.memory.control(), link.peer.control());
        let ring = &mut self.state.ring;
        ring.release_skipped(&control.head.at);
        let received = &self.channel.received.0;
        received.messages.add(messages);
        received.bytes.add(bytes as u64);
        if !self.state.notifier.is_awake(&peer_control.sender.word) {
            self.reborrow().after_release(link);
        }
    }

    /// The steps after a release unless the sender is certainly awake.
    #[cold]
    #[inline(never)]
    fn after_release(self, link: &Link) {
        let (control, peer_control) = (link.memory.control(), link.peer.control());
        // Wake a sender that waits for space only when half of the ring is free, as the kernel does
        // for sockets. If it were woken for each message, it would sleep again after each.
        let ring = &self.state.ring;
        let is_half_free = || ring.is_half_free(&peer_control.tail.at);
        let (event_count, asymmetric) = (&peer_control.sender.word, &control.head.asymmetric);
        let notifier = &mut self.state.notifier;
        if notifier.notify(event_count, asymmetric, is_half_free) == PeerState::Asleep {
            self.wake_sender(link);
        }
    }

    /// As [`RecvHalf::consume`], not inlined.
    #[inline(never)]
    fn consume_any(&mut self, link: &Link, len: usize) {
        probe!(unixipc, channel_receive, ptr::from_ref(self.channel), len);
        self.consume(link, len);
    }

    fn wake_sender(&self, link: &Link) {
        self.channel.received.0.wakes.add(1);
        probe!(
            unixipc,
            channel_wake,
            ptr::from_ref(self.channel),
            Role::Sender
        );
        // An error is ignored: the message has been received even if its sender is dead.
        preserve_errno(|| {
            if link.peer_bell.notify().is_err() {
                self.channel.bell.set_gone();
            }
        });
    }
}

impl Message {
    /// The message at a position of the peer's ring.
    #[inline(always)]
    pub(super) fn new(link: &Link, position: u64, len: u32) -> Self {
        Self {
            at: link.peer.message(position),
            len: len as usize,
            has_fds: false,
        }
    }

    /// Copies it to the beginning of `buffer`. Returns false if it is longer.
    #[inline(always)]
    pub(super) fn copy(&self, buffer: &mut [MaybeUninit<u8>]) -> bool {
        let Some(buffer) = buffer.get_mut(..self.len) else {
            return false;
        };
        // SAFETY: the message is within the peer's ring, as its caller has checked, and aligned to 8.
        // The peer may change its bytes during the copy, which `from_shared` allows.
        unsafe { shared_copy::from_shared(self.at, buffer) };
        true
    }
}
