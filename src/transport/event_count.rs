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
//! | `Notifier::notify`, full fence after the publication | `prepare_wait`, full fence after the announcement |
//! | `Notifier::notify`, compiler fence after the publication | `prepare_wait`, the kernel's barrier |
//! | `Notifier::notify`, acquire fence after the load of the event count | `prepare_wait`, release of the event count |
//! | `Notifier::awake_limit_reached`, full fence after *asymmetric* = 1 | `prepare_wait`, full fence after the announcement |
//! | `Notifier::notify`, release of *asymmetric* = 0 | `prepare_wait`, acquire of *asymmetric* |

use crate::atomic::{AtomicU32, Ordering, compiler_fence, fence};

/// The value of an event count whose side consumes nothing from now on.
///
/// cbindgen:ignore
pub const ENDED: u32 = u32::MAX - 1;

/// A notifier that has found the peer awake more often than this, in a row, switches to the
/// asymmetric fence.
const AWAKE_LIMIT: u32 = 64;

/// The number of notifications of a notifier whose next one finds the peer asleep in any case.
const WAKES_NEXT: u32 = u32::MAX - 1;

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

/// The private state of the side that publishes.
pub struct Notifier {
    /// Whether both sides can use `membarrier`.
    may_be_asymmetric: bool,
    is_asymmetric: bool,
    /// How many notifications in a row found the peer awake.
    awake_count: u32,
    /// The last event count that this notifier woke.
    woken: u32,
}

impl Notifier {
    /// Makes a notifier that uses symmetric fences. With `may_be_asymmetric` it may switch to the
    /// asymmetric fence.
    pub const fn new(may_be_asymmetric: bool) -> Self {
        Self {
            may_be_asymmetric,
            is_asymmetric: false,
            awake_count: 0,
            woken: 0,
        }
    }

    /// Makes a notifier that finds the peer asleep at first, whatever the event count says.
    pub const fn waking_first(may_be_asymmetric: bool) -> Self {
        Self {
            awake_count: WAKES_NEXT,
            ..Self::new(may_be_asymmetric)
        }
    }

    /// Returns the state of the peer. The caller calls it after each publication. A peer that
    /// sleeps counts as awake unless the publication is `worth_waking` it for.
    #[inline]
    pub fn notify(
        &mut self,
        event_count: &AtomicU32,
        asymmetric: &AtomicU32,
        worth_waking: impl FnOnce() -> bool,
    ) -> PeerState {
        if self.is_asymmetric {
            // Pairs with the kernel's barrier in `prepare_wait`. The compiler must keep the order
            // of the publication and the load below.
            compiler_fence(Ordering::SeqCst);
        } else {
            // Pairs with the full fence in `prepare_wait`.
            fence(Ordering::SeqCst);
        }
        let count = event_count.load(Ordering::Relaxed);
        if count.is_multiple_of(2) || count == self.woken {
            if count == ENDED {
                return PeerState::Ended;
            }
            if self.is_asymmetric {
                return PeerState::Awake;
            }
            return self.count_awake(asymmetric);
        }
        // Pairs with the release in `prepare_wait`: everything that the peer wrote before it
        // announced the wait is visible.
        fence(Ordering::Acquire);
        if !worth_waking() {
            return PeerState::Awake;
        }
        self.woken = count;
        self.awake_count = 0;
        if self.is_asymmetric {
            self.is_asymmetric = false;
            // Pairs with the acquire load in `prepare_wait`: a waiter that reads 0 issues no
            // barrier, and sees everything that was published without a fence. A waiter that still
            // reads 1 issues a barrier that it does not need.
            asymmetric.store(0, Ordering::Release);
        }
        PeerState::Asleep
    }

    #[inline]
    fn count_awake(&mut self, asymmetric: &AtomicU32) -> PeerState {
        self.awake_count += 1;
        if self.awake_count > AWAKE_LIMIT {
            return self.awake_limit_reached(asymmetric);
        }
        PeerState::Awake
    }

    #[cold]
    fn awake_limit_reached(&mut self, asymmetric: &AtomicU32) -> PeerState {
        let wakes = self.awake_count > WAKES_NEXT;
        self.awake_count = 0;
        if wakes {
            return PeerState::Asleep;
        }
        if self.may_be_asymmetric {
            self.is_asymmetric = true;
            asymmetric.store(1, Ordering::Relaxed);
            // Pairs with the full fence in `prepare_wait`: if a waiter reads 0 after its
            // announcement, the next `notify` sees the announcement.
            fence(Ordering::SeqCst);
        }
        PeerState::Awake
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
        (!count.is_multiple_of(2)).then(|| count.wrapping_add(1))
    });
}

/// The odd number of the next sleep. Neither it nor the even number after it is [`ENDED`].
fn next_odd(count: u32) -> u32 {
    let next = count.wrapping_add(1) | 1;
    if next >= ENDED - 1 { 1 } else { next }
}
