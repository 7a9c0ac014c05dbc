//! The subscribers of a broadcast ring as its publisher sees them: how far each has read, and
//! whether it sleeps.
//!
//! | load | pairs with |
//! |---|---|
//! | `Follower::refresh`, acquire of a subscriber's cursor | `Consumer::release_skipped`, release of the cursor |
//! | `notify_all`, load of an event count | see `event_count` |

use super::event_count::{Fences, PeerState, Watch};
use crate::atomic::{AtomicU32, AtomicU64, Ordering};

/// The cursor of a subscriber.
pub struct Follower {
    /// The last cursor that was possible.
    head: u64,
}

impl Follower {
    /// A subscriber that begins at cursor `head`.
    pub const fn new(head: u64) -> Self {
        Self { head }
    }

    /// Loads its cursor from `head`, while the publisher's is at `tail`. A cursor that has moved
    /// back, or ahead of the tail, is ignored: a hostile subscriber counts as slow.
    pub fn refresh(&mut self, tail: u64, head: &AtomicU64) -> u64 {
        // Pairs with the release in `Consumer::release_skipped`: it has finished reading.
        let head = head.load(Ordering::Acquire);
        if tail.wrapping_sub(head) <= tail.wrapping_sub(self.head) {
            self.head = head;
        }
        self.head
    }
}

/// The slowest of the subscribers whose cursors are `heads`: its cursor and its index. The
/// publisher's `tail` if no subscriber is behind it.
pub fn slowest(tail: u64, heads: impl Iterator<Item = (usize, u64)>) -> (u64, Option<usize>) {
    let mut slowest = (tail, None);
    for (index, head) in heads {
        if tail.wrapping_sub(head) > tail.wrapping_sub(slowest.0) {
            slowest = (head, Some(index));
        }
    }
    slowest
}

/// A subscriber that may sleep.
pub trait Sleeper {
    /// Whether it is certainly awake; see [`Watch::is_awake`].
    fn is_awake(&self) -> bool;
    /// Its event count, and the publisher's memory of its sleeps.
    fn event_count(&mut self) -> (&AtomicU32, &mut Watch);
    /// Wakes it.
    fn wake(&self);
}

/// The fast path of [`notify_all`]: whether all subscribers are certainly awake. If not, the caller
/// must call `notify_all`.
#[inline(always)]
pub fn are_all_awake(fences: &Fences, subscribers: &[impl Sleeper]) -> bool {
    fences.are_free() && subscribers.iter().all(Sleeper::is_awake)
}

/// Wakes the subscribers that sleep, after a publication. Returns whether there were any.
/// `asymmetric` is the publisher's word of `event_count`.
#[inline]
pub fn notify_all(
    fences: &mut Fences,
    asymmetric: &AtomicU32,
    subscribers: &mut [impl Sleeper],
) -> bool {
    fences.after_publication();
    let mut any_asleep = false;
    for subscriber in subscribers {
        let (event_count, watch) = subscriber.event_count();
        let (state, _) = watch.state(event_count, || true);
        if state == PeerState::Asleep {
            any_asleep = true;
            subscriber.wake();
        }
    }
    if any_asleep {
        fences.found_asleep(asymmetric);
    } else {
        fences.found_awake(asymmetric);
    }
    any_asleep
}
