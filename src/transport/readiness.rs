//! The readiness of the descriptor for event loops: when it becomes readable, and when it ceases
//! to be.
//!
//! There is one rule. A call that finds nothing to do first clears the descriptor, then announces
//! the sources to the peer, then checks every source, and sets the descriptor
//! again if one is ready ([`rearm`]). Whatever happens after the clearing is seen by the check or
//! notified by the peer.
//!
//! | fence | pairs with |
//! |---|---|
//! | [`arm`], full fence | `wait::finish`, full fence: the wait sees that the end is polled, or `arm` announces after the cancellation |
//! | [`arm`], full fence | a refused send (`SendInterest`), full fence: `arm` sees the refused send, or the sender sees that the end is polled |
//! | [`arm`], full fence | the fence behind every change of a source by this process (shutdown, end of the handshake, violation of the protocol): `arm` sees the change, or the changer sees that the end is polled |
//! | [`Source::announce`] | `Notifier::notify`, see `event_count` |

use super::wait::Doorbell;
use crate::atomic::{AtomicU64, Ordering, fence};

/// A reason for the descriptor to be readable.
pub trait Source<B: Doorbell> {
    /// Announces to the peer that this side waits for it, if it does. Returns false if the peer
    /// may fail to see the announcement.
    fn announce(&self, bell: &B) -> bool;

    /// Whether it is ready now.
    fn is_ready(&self) -> bool;

    /// The descriptor is about to be made readable because of it.
    fn signalled(&self) {}
}

/// Announces the sources, and makes the descriptor readable if one is ready.
#[cold]
pub fn arm<B: Doorbell>(bell: &B, first: &impl Source<B>, second: &impl Source<B>) {
    // See the table above.
    fence(Ordering::SeqCst);
    let mut is_readable = bell.is_peer_gone();
    is_readable |= arm_source(bell, first);
    is_readable |= arm_source(bell, second);
    if is_readable {
        bell.set_readable();
    }
}

/// Whether the descriptor must be readable because of a source.
fn arm_source<B: Doorbell>(bell: &B, source: &impl Source<B>) -> bool {
    let mut is_ready = source.is_ready();
    let mut is_announced = true;
    if !is_ready {
        // Only now: an announcement that is not needed causes a wake-up that is not needed. If the
        // peer may fail to see it, the event loop must come back by itself.
        is_announced = source.announce(bell);
        is_ready = source.is_ready();
    }
    if is_ready {
        source.signalled();
    }
    is_ready || !is_announced
}

/// Clears the descriptor, and [`arm`]s it again.
pub fn rearm<B: Doorbell>(bell: &B, first: &impl Source<B>, second: &impl Source<B>) {
    bell.drain();
    arm(bell, first, second);
}

/// A reason to be readable after a send was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Nothing.
    None,
    /// The end of the handshake.
    Handshake,
    /// Room in the ring: the receiver's cursor was here when the send was refused.
    Room(u64),
    /// The descriptor was made readable because of it.
    Signalled,
}

/// The [`Interest`] of an end, which its threads share.
///
/// A refused send sets it. It ends only after the descriptor has become readable because of it:
/// when the thread whose send was refused sends such a message without waiting, or twice receives
/// and finds nothing.
pub struct SendInterest {
    state: AtomicU64,
    /// Identifies the thread whose send was refused.
    thread: AtomicU64,
    /// The size of the longest record that was refused.
    need: AtomicU64,
}

/// Cursors are multiples of eight, so these values are none.
const NONE: u64 = 1;
const HANDSHAKE: u64 = 2;
/// The descriptor was made readable. The sender's thread may clear it before it polls.
const SIGNALLED: u64 = 3;
/// The sender's thread has returned from a receive and left the descriptor readable.
const SHOWN: u64 = 4;

impl SendInterest {
    /// No interest.
    pub fn new() -> Self {
        Self {
            state: AtomicU64::new(NONE),
            thread: AtomicU64::new(0),
            need: AtomicU64::new(0),
        }
    }

    /// The interest now.
    pub fn get(&self) -> Interest {
        match self.state.load(Ordering::Relaxed) {
            NONE => Interest::None,
            HANDSHAKE => Interest::Handshake,
            SIGNALLED | SHOWN => Interest::Signalled,
            head => Interest::Room(head),
        }
    }

    /// A send of `thread` was refused: the handshake has not ended.
    pub fn refuse_until_handshake(&self, thread: u64) {
        self.refuse(HANDSHAKE, thread, 0);
    }

    /// A send of `thread` was refused: `need` bytes are not free, and the receiver's cursor is at
    /// `head`.
    pub fn refuse_until_room(&self, head: u64, thread: u64, need: u64) {
        self.refuse(head, thread, need);
    }

    fn refuse(&self, state: u64, thread: u64, need: u64) {
        let longest = match self.get() {
            Interest::None => need,
            _ => need.max(self.need.load(Ordering::Relaxed)),
        };
        self.need.store(longest, Ordering::Relaxed);
        self.thread.store(thread, Ordering::Relaxed);
        self.state.store(state, Ordering::Relaxed);
        // Pairs with the fence in `arm`.
        fence(Ordering::SeqCst);
    }

    /// The descriptor is about to be made readable because of the interest.
    pub fn signal(&self) {
        let seen = self.state.load(Ordering::Relaxed);
        if !matches!(seen, NONE | SIGNALLED | SHOWN) {
            self.change(seen, SIGNALLED);
        }
    }

    /// Does nothing if the interest is not `from`: another thread has changed it.
    fn change(&self, from: u64, to: u64) {
        let relaxed = Ordering::Relaxed;
        let _ = self.state.compare_exchange(from, to, relaxed, relaxed);
    }

    /// `thread` has sent a record of `need` bytes without waiting. The interest ends if it has
    /// been signalled, this thread's send was refused, and that record was not longer. Returns
    /// whether it ends.
    pub fn acknowledge(&self, thread: u64, need: u64) -> bool {
        let ends = self.get() == Interest::Signalled
            && self.thread.load(Ordering::Relaxed) == thread
            && need >= self.need.load(Ordering::Relaxed);
        if ends {
            self.clear();
        }
        ends
    }

    /// `thread` receives and finds nothing. The interest ends if it was [`SendInterest::shown`] to
    /// this thread.
    pub fn acknowledge_shown(&self, thread: u64) {
        if self.thread.load(Ordering::Relaxed) == thread {
            self.change(SHOWN, NONE);
        }
    }

    /// `thread` returns from a receive that found nothing, and polls. If the interest is signalled,
    /// then the descriptor is readable, and the thread learns of it.
    pub fn shown(&self, thread: u64) {
        if self.thread.load(Ordering::Relaxed) == thread {
            self.change(SIGNALLED, SHOWN);
        }
    }

    /// The interest ends: sending has failed for good.
    pub fn clear(&self) {
        self.state.store(NONE, Ordering::Relaxed);
    }
}

impl Default for SendInterest {
    fn default() -> Self {
        Self::new()
    }
}
