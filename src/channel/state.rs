//! What the two directions of an end wait for: as conditions of the wait loop, and as reasons for
//! the descriptor to be readable.

use super::control::Control;
use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::errno::{Errno, Result};
use crate::transport::readiness::{Interest, SendInterest, Source, arm, rearm};
use crate::transport::ring::{Consumer, Producer};
use crate::transport::wait::{Condition, Doorbell, EventWords, Progress};

/// The state of an end that only its own process knows.
pub struct Local {
    /// 1 after the peer has violated the protocol.
    pub poisoned: AtomicU32,
    /// 1 after a receive has reported the end of the session.
    pub end_received: AtomicU32,
    /// What the event loop waits for.
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
            _ => Err(Errno::EPROTO),
        }
    }
}

/// The ring that an end receives from.
pub trait PeerRing {
    /// The length field of the record at a cursor.
    fn length_at(&self, cursor: u64) -> &AtomicU32;
}

/// An end whose peer is known, as its waiting code sees it.
pub struct View<'a, B> {
    /// Its control words.
    pub mine: &'a Control,
    /// Its peer's.
    pub theirs: &'a Control,
    /// What only this process knows.
    pub local: &'a Local,
    /// By which it is woken.
    pub bell: &'a B,
    /// The ring that it receives from.
    pub peer_ring: &'a dyn PeerRing,
    /// The size of the ring that it sends through.
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
    /// By which the receiver announces that it waits for a message.
    pub fn message_words(&self) -> EventWords<'a> {
        EventWords {
            event_count: &self.mine.receiver.word,
            peer_asymmetric: &self.theirs.tail.asymmetric,
        }
    }

    /// By which the sender announces that it waits for room.
    pub fn space_words(&self) -> EventWords<'a> {
        EventWords {
            event_count: &self.mine.sender.word,
            peer_asymmetric: &self.theirs.head.asymmetric,
        }
    }

    /// Whether nothing will follow the messages that are in the ring. All of them are visible
    /// then: the acquire loads pair with the release in `shutdown` and in `set_gone`.
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
        arm(self.bell, &Messages(*self), &Room(*self));
    }

    /// See [`rearm`].
    #[inline(never)]
    fn rearm(&self) {
        rearm(self.bell, &Messages(*self), &Room(*self));
    }

    /// A receive without a time-out has found nothing. It must check its condition once more.
    pub fn nothing_found(&self) {
        self.local.interest.acknowledge_reported(self.thread);
        self.rearm();
    }

    /// A receive without a time-out returns `EAGAIN`: an event loop polls next.
    pub fn returns_to_poll(&self) {
        self.local.interest.mark_reported(self.thread);
    }

    /// A receive reports the end of the session. From now on only the peer's death is a reason to
    /// be readable.
    pub fn end_received(&self) {
        self.local.end_received.store(1, Ordering::Relaxed);
        if self.bell.is_polled() && !self.bell.is_peer_gone() {
            self.nothing_found();
            self.returns_to_poll();
        }
    }

    /// A send without a time-out of a record of `need` bytes has found no room. The receiver's
    /// cursor was at `head`.
    pub fn send_refused(&self, head: u64, need: u64) {
        let interest = &self.local.interest;
        interest.refuse_until_space(head, self.thread, need);
        if !self.bell.is_polled() {
            return;
        }
        let (messages, room) = (Messages(*self), Room(*self));
        let is_announced = room.announce(self.bell);
        if is_announced && !room.is_ready() && messages.is_ready() {
            // It is readable because of a message. Setting it again would be a new event for an
            // edge-triggered event loop. But that may have had the event of the peer's death.
            self.bell.check_peer();
        } else {
            self.rearm();
        }
    }

    /// A send without a time-out of a record of `need` bytes has found room.
    pub fn send_retried(&self, need: u64) {
        let interest = &self.local.interest;
        let was_signalled = interest.get() == Interest::Signalled;
        // The peer wakes this side when there is room again. So the descriptor has become readable,
        // although this process may not have noticed.
        let room = Room(*self);
        if !room.is_ready() {
            return;
        }
        room.on_signal();
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
    /// Not by the tail: a sender that is stopped, or lies, may have published its tail and not
    /// the message. The event loop would then spin.
    fn has_message(&self) -> bool {
        let head = &self.0.mine.head.at;
        let before = head.load(Ordering::Acquire);
        let length = self.0.peer_ring.length_at(before).load(Ordering::Acquire);
        // Another thread may have received in between, and the field belong to another record.
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

/// The source of readiness: room after a refused send, or the end of sending.
struct Room<'a, B>(View<'a, B>);

impl<B: Doorbell> Room<'_, B> {
    /// Whether the receiver has read something since its cursor was at `seen`, and half of the
    /// ring is free: the peer wakes a sender under the same condition.
    fn has_space_since(&self, seen: u64) -> bool {
        let Self(end) = self;
        let head = end.theirs.head.at.load(Ordering::Acquire);
        let unread = end.mine.tail.at.load(Ordering::Relaxed).wrapping_sub(head);
        head != seen && unread <= end.ring_size / 2
    }
}

impl<B: Doorbell> Source<B> for Room<'_, B> {
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
            Interest::Handshake => true, // it has ended, since the peer is known
            Interest::Space(head) => self.has_space_since(head) || end.is_send_ended(),
        }
    }

    fn on_signal(&self) {
        self.0.local.interest.signal();
    }
}

/// The condition that a receiver waits for.
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
        // The last message may have come before the end and after the first check.
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

/// The condition that a sender waits for. Its end is an error: `EPIPE` or `EPROTO`.
pub struct SpaceCondition<'a, B> {
    /// The end.
    pub end: View<'a, B>,
    /// The sender's ring.
    pub ring: &'a mut Producer,
    /// The size of the record.
    pub need: u64,
}

impl<B: Doorbell> Condition for SpaceCondition<'_, B> {
    fn poll(&mut self) -> Result<bool> {
        if self.end.is_send_ended() {
            self.end.local.check_poisoned()?;
            return Err(Errno::EPIPE);
        }
        self.ring.refresh(self.need, &self.end.theirs.head.at)
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

/// A cursor, as another process may see it.
pub fn cursor(at: &AtomicU64) -> u64 {
    at.load(Ordering::Relaxed)
}
