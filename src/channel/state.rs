//! The state that the two directions of an end wait for: the conditions of the wait loop, and the
//! sources of readiness of the descriptor for event loops.

use super::control::Control;
use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::errno::{Result, errno};
use crate::transport::readiness::{Interest, SendInterest, Source, arm, rearm};
use crate::transport::ring::{Consumer, Producer};
use crate::transport::wait::{Condition, Doorbell, EventWords, Progress};

/// The state of an end that only its own process knows.
pub struct Local {
    /// 1 after the peer has violated the protocol.
    pub poisoned: AtomicU32,
    /// 1 after a receive has reported the end of the session.
    pub end_received: AtomicU32,
    /// The event that the event loop waits for after a refused send.
    pub interest: SendInterest,
}

impl Local {
    /// The state of a new end.
    pub fn new() -> Self {
        Self {
            poisoned: AtomicU32::new(0),
            end_received: AtomicU32::new(0),
            interest: SendInterest::new(),
        }
    }

    /// `EPROTO` after the peer has violated the protocol.
    pub fn check_poisoned(&self) -> Result<()> {
        match self.poisoned.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err(errno!(EPROTO)),
        }
    }
}

/// The ring that an end receives from.
pub trait PeerRing {
    /// The length field of the record at this cursor.
    fn length_at(&self, cursor: u64) -> &AtomicU32;
}

/// The parts of an end that the waiting code needs. The peer is known.
pub struct View<'a, B> {
    /// The control words of this end.
    pub mine: &'a Control,
    /// The control words of the peer.
    pub theirs: &'a Control,
    /// The state that only this process knows.
    pub local: &'a Local,
    /// The doorbell of this end.
    pub bell: &'a B,
    /// The ring from which this end receives.
    pub peer_ring: &'a dyn PeerRing,
    /// The size of the ring into which this end sends.
    pub ring_size: u64,
    /// Identifies the calling thread.
    pub thread: u64,
}

impl<B> Clone for View<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for View<'_, B> {}

impl<'a, B: Doorbell> View<'a, B> {
    /// The words by which the receiver announces that it waits for a message.
    pub fn message_words(&self) -> EventWords<'a> {
        EventWords {
            event_count: &self.mine.receiver.word,
            peer_asymmetric: &self.theirs.tail.asymmetric,
        }
    }

    /// The words by which the sender announces that it waits for space.
    pub fn space_words(&self) -> EventWords<'a> {
        EventWords {
            event_count: &self.mine.sender.word,
            peer_asymmetric: &self.theirs.head.asymmetric,
        }
    }

    /// Whether no message will follow those in the ring. If so, all of those are visible: the
    /// acquire loads pair with the release in `apply_shutdown` and in `set_gone`.
    fn is_receive_ended(&self) -> bool {
        self.bell.is_peer_gone()
            || self.mine.ended.receiving.load(Ordering::Relaxed) != 0
            || self.theirs.ended.sending.load(Ordering::Acquire) != 0
    }

    /// Whether sending has ended.
    fn is_send_ended(&self) -> bool {
        self.bell.is_peer_gone()
            || self.mine.ended.sending.load(Ordering::Relaxed) != 0
            || self.theirs.ended.receiving.load(Ordering::Relaxed) != 0
    }

    /// See [`arm`].
    #[inline(never)] // large, with several callers
    pub fn arm(&self) {
        arm(self.bell, &Messages(*self), &Space(*self));
    }

    /// See [`rearm`].
    #[inline(never)]
    fn rearm(&self) {
        rearm(self.bell, &Messages(*self), &Space(*self));
    }

    /// Called when a nonblocking receive has found nothing. The caller must then check its condition
    /// again.
    pub fn recv_found_nothing(&self) {
        self.local.interest.acknowledge_reported(self.thread);
        self.rearm();
    }

    /// Called before a nonblocking receive returns `EAGAIN`: its event loop polls next.
    pub fn recv_will_poll(&self) {
        self.local.interest.mark_reported(self.thread);
    }

    /// Called when a receive reports the end of the session. The end is then no longer a reason for
    /// the descriptor to be readable, but the peer's death and space still are.
    pub fn end_received(&self) {
        self.local.end_received.store(1, Ordering::Relaxed);
        if self.bell.is_polled() && !self.bell.is_peer_gone() {
            self.recv_found_nothing();
            self.recv_will_poll();
        }
    }

    /// Called when a nonblocking send of a record of `need` bytes has found too little space. The
    /// receiver's cursor was at `head`.
    pub fn send_refused(&self, head: u64, need: u64) {
        let interest = &self.local.interest;
        interest.refuse_until_space(head, self.thread, need);
        if !self.bell.is_polled() {
            return;
        }
        let (messages, space) = (Messages(*self), Space(*self));
        let is_announced = space.announce(self.bell);
        if is_announced && !space.is_ready() && messages.is_ready() {
            // The descriptor is already readable because of a message. Setting it again would give
            // an edge-triggered event loop a new event. The loop may already have had the event of
            // the peer's death, so this call checks for it.
            self.bell.check_peer();
        } else {
            self.rearm();
        }
    }

    /// Called when a nonblocking send of a record of `need` bytes has found space.
    pub fn send_retried(&self, need: u64) {
        let interest = &self.local.interest;
        let was_signalled = interest.get() == Interest::Signalled;
        // If the space suffices for a signal, the peer has woken this side. So the descriptor has
        // become readable, although this process may not have noticed.
        let space = Space(*self);
        if !space.is_ready() {
            return;
        }
        space.on_signal();
        let is_acknowledged = interest.acknowledge(self.thread, need);
        if !self.bell.is_polled() {
            return;
        }
        if is_acknowledged {
            self.rearm();
        } else if !was_signalled {
            self.bell.set_readable();
        }
    }
}

/// The source of readiness: a message, or the end of the session.
struct Messages<'a, B>(View<'a, B>);

impl<B: Doorbell> Messages<'_, B> {
    /// Whether the ring has a message. The peer's tail does not prove that: a sender that is
    /// stopped or hostile may have published its tail but not the message, and the event loop would
    /// then spin.
    fn has_message(&self) -> bool {
        let head = &self.0.mine.head.at;
        // Pairs with the release in `Consumer::release_skipped`, by another thread of this process.
        let before = head.load(Ordering::Acquire);
        // Pairs with the release in `Producer::publish_batch`.
        let length = self.0.peer_ring.length_at(before).load(Ordering::Acquire);
        // Another thread may have received in between, so that the field belongs to another record.
        length != 0 || head.load(Ordering::Relaxed) != before
    }
}

impl<B: Doorbell> Source<B> for Messages<'_, B> {
    fn announce(&self, bell: &B) -> bool {
        self.0.message_words().announce(bell)
    }

    fn is_ready(&self) -> bool {
        let Self(end) = self;
        let end_received = end.local.end_received.load(Ordering::Relaxed) != 0;
        self.has_message() || (end.is_receive_ended() && !end_received)
    }
}

/// The source of readiness: space after a refused send, or the end of sending.
struct Space<'a, B>(View<'a, B>);

impl<B: Doorbell> Space<'_, B> {
    /// Whether the receiver has read a message since its cursor was at `seen`, and half of the ring
    /// is free. The peer wakes a sender under the same condition.
    fn has_space_since(&self, seen: u64) -> bool {
        let Self(end) = self;
        // Pairs with the release in `Consumer::release_skipped`.
        let head = end.theirs.head.at.load(Ordering::Acquire);
        let unread = end.mine.tail.at.load(Ordering::Relaxed).wrapping_sub(head);
        head != seen && unread <= end.ring_size / 2
    }
}

impl<B: Doorbell> Source<B> for Space<'_, B> {
    fn announce(&self, bell: &B) -> bool {
        match self.0.local.interest.get() {
            Interest::Space(_) => self.0.space_words().announce(bell),
            _ => true,
        }
    }

    fn is_ready(&self) -> bool {
        let Self(end) = self;
        match end.local.interest.get() {
            Interest::None => false,
            Interest::Signalled => true,
            Interest::Handshake => true, // the handshake has ended, since the peer is known
            Interest::Space(head) => self.has_space_since(head) || end.is_send_ended(),
        }
    }

    fn on_signal(&self) {
        self.0.local.interest.signal();
    }
}

/// The condition that a receiver waits for: a message, or the end of the session.
pub struct MessageCondition<'a, B> {
    /// The end.
    pub end: View<'a, B>,
    /// The receiver's ring.
    pub ring: &'a mut Consumer,
    /// The length field of the next message.
    pub length: &'a AtomicU32,
}

impl<B: Doorbell> Condition for MessageCondition<'_, B> {
    #[inline]
    fn poll(&mut self) -> Result<bool> {
        self.ring.poll(self.length)
    }

    fn check(&mut self) -> Result<Progress> {
        if self.poll()? {
            return Ok(Progress::Ready);
        }
        if !self.end.is_receive_ended() {
            return Ok(Progress::Pending);
        }
        // The last message may have come after the first check and before the end.
        if self.poll()? {
            return Ok(Progress::Ready);
        }
        self.end.local.check_poisoned()?;
        Ok(Progress::Ended)
    }

    fn arm(&self) {
        self.end.arm();
    }
}

/// The condition that a sender waits for: space, and `also`. The end of sending is an error,
/// `EPIPE` or `EPROTO`.
pub struct SpaceCondition<'a, B> {
    /// The end.
    pub end: View<'a, B>,
    /// The sender's ring.
    pub ring: &'a mut Producer,
    /// The size of the record.
    pub need: u64,
    /// Called when the space is free, until it returns true.
    pub also: &'a mut dyn FnMut() -> Result<bool>,
}

impl<B: Doorbell> Condition for SpaceCondition<'_, B> {
    fn poll(&mut self) -> Result<bool> {
        if self.end.is_send_ended() {
            self.end.local.check_poisoned()?;
            return Err(errno!(EPIPE));
        }
        Ok(self.ring.refresh(self.need, &self.end.theirs.head.at)? && (self.also)()?)
    }

    fn check(&mut self) -> Result<Progress> {
        Ok(match self.poll()? {
            true => Progress::Ready,
            false => Progress::Pending,
        })
    }

    fn arm(&self) {
        self.end.arm();
    }
}

/// The published value of a cursor, without any ordering.
pub fn load_cursor(at: &AtomicU64) -> u64 {
    at.load(Ordering::Relaxed)
}
