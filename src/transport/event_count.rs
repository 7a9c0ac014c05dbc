//! Event count: how one side announces that it sleeps, and how the other decides to wake it.
//!
//! A side that finds nothing to do announces a wait in its own memory, checks its condition once
//! more, and sleeps. The other side publishes something, then reads the announcement and wakes the
//! sleeper. Each side writes one word and then reads the other's word. Without a full barrier in
//! between, both could miss each other. There are two ways to get these barriers; a word of the
//! notifier says which way it uses:
//!
//! - *fenced*: the notifier executes a full fence after each publication;
//! - *unfenced*: the notifier executes none. The sleeper has the kernel execute a barrier in all
//!   registered processes (`membarrier(2)`) before it checks its condition.
//!
//! A notifier that repeatedly finds the other side awake switches to unfenced. It switches back
//! when it has to wake the other side: a barrier on another processor is expensive, but it is
//! needed only once per sleep.
//!
//! The word of a sleeper is a counter: odd while it sleeps, and a new odd number for each sleep.
//! The notifier cannot write that word; it remembers the number that it has woken. Every change of
//! the word is one atomic operation, because another thread may store [`ENDED`] at the same time,
//! and a forked process that closes the same end counts too.
//!
//! Event counts are due to Reed and Kanodia (1979). The asymmetric fence is described in the
//! manual page membarrier(2).
//!
//! | fence or release | pairs with |
//! |---|---|
//! | `Notifier::notify`, full fence after the publication | `prepare_wait`, full fence after the announcement |
//! | `Notifier::notify`, acquire fence after the word | `prepare_wait`, release of the word |
//! | `Notifier::switch_to_unfenced`, full fence after *unfenced* = 1 | `prepare_wait`, full fence |
//! | `Notifier::notify`, release of *unfenced* = 0 | `prepare_wait`, acquire of *unfenced* |

use crate::atomic::{AtomicU32, Ordering, compiler_fence, fence};

/// The value of a sleeper's word when its side takes nothing from now on.
///
/// cbindgen:ignore
pub const ENDED: u32 = u32::MAX - 1;

/// The number of publications in a row without a sleeper after which a notifier switches to
/// unfenced.
const STREAK: u32 = 64;

/// What a notifier finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// The other side is awake, or has been woken already.
    Awake,
    /// The other side sleeps: the caller must wake it now, once.
    Asleep,
    /// The other side takes nothing from now on.
    Ended,
}

/// The side that publishes.
pub struct Notifier {
    /// Whether both sides can use `membarrier`.
    may_be_unfenced: bool,
    unfenced: bool,
    streak: u32,
    woken: u32,
}

impl Notifier {
    /// A notifier that starts fenced. It stays fenced unless `may_be_unfenced`.
    pub const fn new(may_be_unfenced: bool) -> Self {
        Self {
            may_be_unfenced,
            unfenced: false,
            streak: 0,
            woken: 0,
        }
    }

    /// Call it after each publication. A sleeper is left asleep if what was published is not yet
    /// `worth_waking` for.
    #[inline]
    pub fn notify(
        &mut self,
        asleep: &AtomicU32,
        unfenced: &AtomicU32,
        worth_waking: impl FnOnce() -> bool,
    ) -> PeerState {
        if self.unfenced {
            // The sleeper's barrier (`prepare_wait`) replaces a fence here. The compiler must
            // keep the order nevertheless.
            compiler_fence(Ordering::SeqCst);
        } else {
            // Pairs with the fence in `prepare_wait`.
            fence(Ordering::SeqCst);
        }
        let word = asleep.load(Ordering::Relaxed);
        if word.is_multiple_of(2) || word == self.woken {
            if word == ENDED {
                return PeerState::Ended;
            }
            if !self.unfenced {
                self.count_awake(unfenced);
            }
            return PeerState::Awake;
        }
        // Pairs with the release in `prepare_wait`: everything that the sleeper's side wrote before
        // it announced the wait is visible.
        fence(Ordering::Acquire);
        if !worth_waking() {
            return PeerState::Awake;
        }
        self.woken = word;
        self.streak = 0;
        if self.unfenced {
            self.unfenced = false;
            // Pairs with the load in `prepare_wait`: a sleeper that skips its barrier sees
            // everything that was published without a fence. A sleeper that still reads 1 issues
            // a barrier that it does not need.
            unfenced.store(0, Ordering::Release);
        }
        PeerState::Asleep
    }

    #[inline]
    fn count_awake(&mut self, unfenced: &AtomicU32) {
        if !self.may_be_unfenced {
            return;
        }
        self.streak += 1;
        if self.streak > STREAK {
            self.switch_to_unfenced(unfenced);
        }
    }

    fn switch_to_unfenced(&mut self, unfenced: &AtomicU32) {
        self.unfenced = true;
        unfenced.store(1, Ordering::Relaxed);
        // Pairs with the fence in `prepare_wait`: if a sleeper reads 0 after its announcement,
        // then the load in the next `notify` sees the announcement.
        fence(Ordering::SeqCst);
    }
}

/// Announces in `asleep` that its side sleeps. The caller must check its condition after that, and
/// may then sleep.
///
/// `barrier` has the other processes execute a barrier. Returns false if it cannot: then the sleep
/// must be short.
pub fn prepare_wait(
    asleep: &AtomicU32,
    others_unfenced: &AtomicU32,
    barrier: impl FnOnce() -> bool,
) -> bool {
    let _ = asleep.fetch_update(Ordering::Release, Ordering::Relaxed, |word| {
        (word != ENDED).then(|| next_odd(word))
    });
    // Pairs with the fences in `Notifier`.
    fence(Ordering::SeqCst);
    others_unfenced.load(Ordering::Acquire) == 0 || barrier()
}

/// Cancels an announced wait: the side does not sleep, or stopped without having been woken.
pub fn cancel_wait(asleep: &AtomicU32) {
    let _ = asleep.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
        (!word.is_multiple_of(2)).then(|| word.wrapping_add(1))
    });
}

/// The odd number of the next sleep. Neither it nor the even number behind it is [`ENDED`].
fn next_odd(word: u32) -> u32 {
    let next = word.wrapping_add(1) | 1;
    if next >= ENDED - 1 { 1 } else { next }
}
