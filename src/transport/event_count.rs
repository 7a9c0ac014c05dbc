//! Event count: how a waiter announces that it sleeps, and how a notifier decides to wake it.
//!
//! A waiter whose condition does not hold announces a wait in its own memory, checks the condition
//! again, and sleeps. A notifier publishes a change, then reads the announcement, and wakes the
//! waiter if it sleeps. Each of the two writes its own word and then reads the other's word.
//! Without a full barrier between the write and the read, each could miss the other's write. The
//! barriers come from one of two schemes:
//!
//! - symmetric fences: the notifier executes a full fence after each publication;
//! - an asymmetric fence: the notifier executes no fence, and the waiter has the kernel execute a
//!   barrier in all registered processes (membarrier(2)) before it checks its condition.
//!
//! A word of the notifier, *asymmetric*, tells the waiter which scheme the notifier uses. A
//! notifier that repeatedly finds the waiter awake switches to the asymmetric fence. It switches
//! back when it has to wake the waiter: a barrier on another processor is expensive, and the waiter
//! needs one for each sleep.
//!
//! The event count of a waiter is odd while the waiter sleeps, and each sleep has a new odd number.
//! The notifier cannot write the event count; it remembers the last number that it woke. Every
//! change of the event count is a single atomic operation, because two others may write it at the
//! same time: another thread that stores [`ENDED`], and a forked process that closes the same end.
//!
//! Event counts are due to Reed and Kanodia (1979). membarrier(2) describes the asymmetric fence.
//!
//! | fence or release | pairs with |
//! |---|---|
//! | `Fences::after_publication`, full fence | `prepare_wait`, full fence after the announcement |
//! | `Fences::after_publication`, compiler fence | `prepare_wait`, the kernel's barrier |
//! | `Watch::state`, acquire fence after the load of the event count | `prepare_wait`, release of the event count |
//! | `Fences::switch_to_asymmetric`, full fence after *asymmetric* = 1 | `prepare_wait`, full fence after the announcement |
//! | `Fences::found_asleep`, release of *asymmetric* = 0 | `prepare_wait`, acquire of *asymmetric* |

use crate::atomic::{AtomicU32, Ordering, compiler_fence, fence};

/// The value of an event count whose side consumes nothing from now on.
///
/// cbindgen:ignore
pub const ENDED: u32 = u32::MAX - 1;

/// A notifier that has found the peer awake more often than this, in a row, switches to the
/// asymmetric fence.
const AWAKE_LIMIT: u32 = 64;

/// A value of [`Watch::handled`] that no event count has.
const WAKES_FIRST: u32 = u32::MAX;

/// The state of the peer as a notifier finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// The peer is awake, or this notifier has already woken it.
    Awake,
    /// The peer sleeps. The caller must wake it once.
    Asleep,
    /// The peer consumes nothing from now on.
    Ended,
}

/// The fences of a side that publishes, for one peer or for several.
pub struct Fences {
    /// Whether all sides can use `membarrier`.
    may_be_asymmetric: bool,
    is_asymmetric: bool,
    /// How many notifications in a row found all peers awake.
    awake_count: u32,
}

impl Fences {
    /// Symmetric fences. With `may_be_asymmetric` they may change to the asymmetric fence.
    pub const fn new(may_be_asymmetric: bool) -> Self {
        Self {
            may_be_asymmetric,
            is_asymmetric: false,
            awake_count: 0,
        }
    }

    /// Only the asymmetric fence, or only symmetric fences. The peer knows which.
    pub const fn fixed(is_asymmetric: bool) -> Self {
        Self {
            may_be_asymmetric: false,
            is_asymmetric,
            awake_count: 0,
        }
    }

    /// The fence between a publication and the loads of event counts.
    #[inline]
    pub fn after_publication(&self) {
        if self.is_asymmetric {
            // Pairs with the kernel's barrier in `prepare_wait`. The compiler must keep the order
            // of the publication and the load of an event count.
            compiler_fence(Ordering::SeqCst);
        } else {
            // Pairs with the full fence in `prepare_wait`.
            fence(Ordering::SeqCst);
        }
    }

    /// Whether the fence between a publication and the loads of event counts costs nothing. If so,
    /// it has been executed.
    #[inline(always)]
    pub fn are_free(&self) -> bool {
        if self.is_asymmetric {
            self.after_publication();
        }
        self.is_asymmetric
    }

    /// Counts a notification that has found all peers awake.
    #[inline]
    pub fn found_awake(&mut self, asymmetric: &AtomicU32) {
        if !self.is_asymmetric && self.may_be_asymmetric {
            self.count_awake(asymmetric);
        }
    }

    #[inline]
    fn count_awake(&mut self, asymmetric: &AtomicU32) {
        self.awake_count += 1;
        if self.awake_count > AWAKE_LIMIT {
            self.switch_to_asymmetric(asymmetric);
        }
    }

    fn switch_to_asymmetric(&mut self, asymmetric: &AtomicU32) {
        self.is_asymmetric = true;
        asymmetric.store(1, Ordering::Relaxed);
        // Pairs with the full fence in `prepare_wait`: if a waiter reads 0 after its announcement,
        // the next `after_publication` orders the load of the announcement.
        fence(Ordering::SeqCst);
    }

    /// Uses symmetric fences again, because a notification has found a peer asleep.
    #[inline]
    pub fn found_asleep(&mut self, asymmetric: &AtomicU32) {
        self.awake_count = 0;
        if self.is_asymmetric {
            self.is_asymmetric = false;
            // Pairs with the acquire load in `prepare_wait`: a waiter that reads 0 issues no
            // barrier, and sees everything that was published without a fence. A waiter that still
            // reads 1 issues a barrier that it does not need.
            asymmetric.store(0, Ordering::Release);
        }
    }

    /// Uses symmetric fences from now on, because a new peer cannot use `membarrier`.
    pub fn forbid_asymmetric(&mut self, asymmetric: &AtomicU32) {
        self.may_be_asymmetric = false;
        self.found_asleep(asymmetric);
    }
}

/// What a side that publishes remembers of the sleeps of one peer.
pub struct Watch {
    /// The last event count that needs no wake-up: it is even, or already woken. [`WAKES_FIRST`]
    /// if the next look wakes the peer in any case.
    handled: u32,
}

impl Watch {
    /// No sleep.
    pub const fn new() -> Self {
        Self { handled: 0 }
    }

    /// The state in which the next look finds the peer asleep, whatever the event count says.
    pub const fn waking_first() -> Self {
        Self {
            handled: WAKES_FIRST,
        }
    }

    /// The fast path of [`Watch::state`]: whether the peer is certainly awake.
    #[inline(always)]
    pub fn is_awake(&self, event_count: &AtomicU32) -> bool {
        event_count.load(Ordering::Relaxed) == self.handled
    }

    /// The state of the peer, after [`Fences::after_publication`]. A peer that sleeps counts as
    /// awake unless the publication is `worth_waking` it for; the second value says that.
    #[inline]
    pub fn state(
        &mut self,
        event_count: &AtomicU32,
        worth_waking: impl FnOnce() -> bool,
    ) -> (PeerState, bool) {
        let count = event_count.load(Ordering::Relaxed);
        if count == self.handled {
            return (PeerState::Awake, false);
        }
        self.changed_state(count, worth_waking)
    }

    fn changed_state(
        &mut self,
        count: u32,
        worth_waking: impl FnOnce() -> bool,
    ) -> (PeerState, bool) {
        if count == ENDED {
            return (PeerState::Ended, false);
        }
        let wakes = self.handled == WAKES_FIRST;
        if count % 2 == 0 && !wakes {
            self.handled = count;
            return (PeerState::Awake, false);
        }
        // Pairs with the release in `prepare_wait`: everything that the peer wrote before it
        // announced the wait is visible.
        fence(Ordering::Acquire);
        if !worth_waking() {
            return (PeerState::Awake, true);
        }
        self.handled = count;
        (PeerState::Asleep, false)
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

/// The private state of a side that publishes for one peer.
pub struct Notifier {
    fences: Fences,
    watch: Watch,
}

impl Notifier {
    /// Makes a notifier that uses symmetric fences. With `may_be_asymmetric` it may switch to the
    /// asymmetric fence.
    pub const fn new(may_be_asymmetric: bool) -> Self {
        Self {
            fences: Fences::new(may_be_asymmetric),
            watch: Watch::new(),
        }
    }

    /// Makes a notifier that finds the peer asleep at first, whatever the event count says.
    pub const fn waking_first(may_be_asymmetric: bool) -> Self {
        Self {
            fences: Fences::new(may_be_asymmetric),
            watch: Watch::waking_first(),
        }
    }

    /// The fast path of [`Notifier::notify`]: whether the peer is certainly awake. If not, the caller
    /// must call `notify`.
    #[inline(always)]
    pub fn is_awake(&self, event_count: &AtomicU32) -> bool {
        self.fences.are_free() && self.watch.is_awake(event_count)
    }

    /// Returns the state of the peer. The caller calls it after each publication, unless
    /// [`Notifier::is_awake`] is true then. A peer that sleeps counts as awake unless the publication
    /// is `worth_waking` it for.
    #[inline]
    pub fn notify(
        &mut self,
        event_count: &AtomicU32,
        asymmetric: &AtomicU32,
        worth_waking: impl FnOnce() -> bool,
    ) -> PeerState {
        self.fences.after_publication();
        let (state, stays_asleep) = self.watch.state(event_count, worth_waking);
        match state {
            PeerState::Awake if stays_asleep => {}
            PeerState::Awake => self.fences.found_awake(asymmetric),
            PeerState::Asleep => self.fences.found_asleep(asymmetric),
            PeerState::Ended => {}
        }
        state
    }
}

/// Announces a wait in `event_count`. The caller must then check its condition, and may sleep if
/// the condition does not hold.
///
/// `barrier` has the kernel execute a barrier in the notifier's process. Returns false if `barrier`
/// fails: the notifier may then miss the announcement, so the sleep must be short.
pub fn prepare_wait(
    event_count: &AtomicU32,
    peer_asymmetric: &AtomicU32,
    barrier: impl FnOnce() -> bool,
) -> bool {
    let _ = event_count.fetch_update(Ordering::Release, Ordering::Relaxed, |count| {
        (count != ENDED).then(|| next_odd(count))
    });
    // Pairs with the full fences in `Notifier`.
    fence(Ordering::SeqCst);
    peer_asymmetric.load(Ordering::Acquire) == 0 || barrier()
}

/// Cancels an announced wait. The waiter calls it when it does not sleep or has stopped sleeping.
pub fn cancel_wait(event_count: &AtomicU32) {
    let _ = event_count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
        (count % 2 != 0).then(|| count.wrapping_add(1))
    });
}

/// The odd number of the next sleep. Neither it nor the even number after it is [`ENDED`].
fn next_odd(count: u32) -> u32 {
    let next = count.wrapping_add(1) | 1;
    if next >= ENDED - 1 { 1 } else { next }
}
