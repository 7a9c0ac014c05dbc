//! The readiness of the descriptor for event loops: when it becomes readable, and when it is
//! cleared.
//!
//! The descriptor has two sources of readiness. A call that finds nothing to do clears the
//! descriptor, announces each source to the peer, checks each source, and makes the descriptor
//! readable again if a source is ready ([`rearm`]). Any event after the clearing is seen by the
//! check, or the peer notifies this side of it.
//!
//! | fence | pairs with |
//! |---|---|
//! | [`arm`], full fence | `wait::finish`, full fence: the wait sees that the end is polled, or `arm` announces after the cancellation |
//! | [`arm`], full fence | `SendInterest::refuse`, full fence: `arm` sees the refused send, or the sender sees that the end is polled |
//! | [`arm`], full fence | full fence after a change of a source by this process (shutdown, end of the handshake, violation of the protocol): `arm` sees the change, or the thread that made it sees that the end is polled |
//! | [`Source::announce`] | `Notifier::notify`; see `event_count` |

use super::wait::Doorbell;
use crate::atomic::{AtomicU64, Ordering, fence};

/// A source of readiness of the descriptor.
pub trait Source<B: Doorbell> {
    /// Announces to the peer that this side waits for the source, if it does. Returns false if the
    /// peer may miss the announcement.
    fn announce(&self, bell: &B) -> bool;

    /// Whether the source is ready now.
    fn is_ready(&self) -> bool;

    /// Called before the descriptor becomes readable because of this source.
    fn on_signal(&self) {}
}

/// Announces the sources, and makes the descriptor readable if a source is ready or the peer is
/// dead.
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
        // A ready source is not announced: the peer would wake this side needlessly. If the peer
        // may miss the announcement, the descriptor stays readable, so the event loop calls again.
        is_announced = source.announce(bell);
        is_ready = source.is_ready();
    }
    if is_ready {
        source.on_signal();
    }
    is_ready || !is_announced
}

/// Clears the descriptor and [`arm`]s it.
pub fn rearm<B: Doorbell>(bell: &B, first: &impl Source<B>, second: &impl Source<B>) {
    bell.drain();
    arm(bell, first, second);
}

/// The event that a thread waits for in an event loop after its send was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// No send was refused.
    None,
    /// The end of the handshake.
    Handshake,
    /// Space in the ring. The receiver's cursor had this value when the send was refused.
    Space(u64),
    /// The event has occurred, and the descriptor was made readable because of it.
    Signalled,
}

/// The [`Interest`] of an end, which its threads share.
///
/// A refused send sets the interest. It ends only after the descriptor has become readable because
/// of it, and the thread whose send was refused has sent such a message without waiting, or has
/// twice received and found nothing.
pub struct SendInterest {
    /// The receiver's cursor for [`Interest::Space`], or one of the constants below.
    state: AtomicU64,
    /// Identifies the thread whose send was refused.
    thread: AtomicU64,
    /// The size of the longest record that was refused.
    need: AtomicU64,
}

/// No interest. Cursors are multiples of eight, so no cursor has the value of this constant or of
/// the next ones.
const NONE: u64 = 1;
/// [`Interest::Handshake`].
const HANDSHAKE: u64 = 2;
/// [`Interest::Signalled`]. The sender's thread may clear the descriptor before it polls.
const SIGNALLED: u64 = 3;
/// [`Interest::Signalled`]. The sender's thread has returned from a receive with the descriptor
/// readable, so its event loop sees that.
const REPORTED: u64 = 4;

impl SendInterest {
    /// Makes the state without an interest.
    pub fn new() -> Self {
        Self {
            state: AtomicU64::new(NONE),
            thread: AtomicU64::new(0),
            need: AtomicU64::new(0),
        }
    }

    /// The current interest.
    pub fn get(&self) -> Interest {
        match self.state.load(Ordering::Relaxed) {
            NONE => Interest::None,
            HANDSHAKE => Interest::Handshake,
            SIGNALLED | REPORTED => Interest::Signalled,
            head => Interest::Space(head),
        }
    }

    /// Records that a send of `thread` was refused because the handshake has not ended.
    pub fn refuse_until_handshake(&self, thread: u64) {
        self.refuse(HANDSHAKE, thread, 0);
    }

    /// Records that a send of `thread` was refused because `need` bytes were not free while the
    /// receiver's cursor was at `head`.
    pub fn refuse_until_space(&self, head: u64, thread: u64, need: u64) {
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
        // Pairs with the full fence in `arm`.
        fence(Ordering::SeqCst);
    }

    /// Marks the interest as signalled, before the descriptor becomes readable because of it.
    pub fn signal(&self) {
        let state = self.state.load(Ordering::Relaxed);
        if !matches!(state, NONE | SIGNALLED | REPORTED) {
            self.change(state, SIGNALLED);
        }
    }

    /// Changes the state, unless another thread has changed it from `from`.
    fn change(&self, from: u64, to: u64) {
        let relaxed = Ordering::Relaxed;
        let _ = self.state.compare_exchange(from, to, relaxed, relaxed);
    }

    /// Records that `thread` has sent a record of `need` bytes without waiting. The interest ends
    /// if it is signalled, a send of this thread was refused, and no refused record was longer than
    /// `need`. Returns whether it ends.
    pub fn acknowledge(&self, thread: u64, need: u64) -> bool {
        let ends = self.get() == Interest::Signalled
            && self.thread.load(Ordering::Relaxed) == thread
            && need >= self.need.load(Ordering::Relaxed);
        if ends {
            self.clear();
        }
        ends
    }

    /// Records that `thread` has received and found nothing. The interest ends if an earlier call
    /// of [`SendInterest::mark_reported`] reported it to this thread.
    pub fn acknowledge_reported(&self, thread: u64) {
        if self.thread.load(Ordering::Relaxed) == thread {
            self.change(REPORTED, NONE);
        }
    }

    /// Records that `thread` returns from a receive that found nothing, and polls next. If the
    /// interest is signalled, the descriptor is readable, so the event loop of the thread sees it.
    pub fn mark_reported(&self, thread: u64) {
        if self.thread.load(Ordering::Relaxed) == thread {
            self.change(SIGNALLED, REPORTED);
        }
    }

    /// Ends the interest, because the handshake has ended or sending has failed permanently.
    pub fn clear(&self) {
        self.state.store(NONE, Ordering::Relaxed);
    }
}

impl Default for SendInterest {
    fn default() -> Self {
        Self::new()
    }
}
