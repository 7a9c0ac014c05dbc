//! Sleep and wake: a side that finds nothing to do says so in its memory, looks once more, and
//! sleeps. The other side, whenever it has published something, looks whether the first one
//! sleeps, and wakes it if so.
//!
//! Both write one word and then read the other's: either the sleeper sees what was published,
//! or the publisher sees the sleeper. That needs a full barrier between the write and the read
//! on both sides, and a barrier for each message is what makes a ring slow. So there are two
//! ways, and a word of the publisher's tells which it follows:
//!
//! - *fenced*: a full fence after each publication;
//! - *unfenced*: none; it is the sleeper that has the system execute a barrier in all
//!   processes that have registered (`membarrier`), before it looks once more.
//!
//! A publisher that again and again finds nobody asleep goes over to unfenced, and back when it
//! has had to wake somebody: a barrier in another processor is dear, but needed once a sleep.
//!
//! The word of a sleeper counts: odd while it sleeps, another odd number for each sleep. So the
//! publisher, which cannot write it, knows by the number which sleep it has ended already. It is
//! counted on in one step: another thread of the sleeper's may end it for good meanwhile, and a
//! relative that closes the same end after fork counts too.

use crate::atomic::{AtomicU32, Ordering, compiler_fence, fence};

/// What a sleeper's word is when its side will take nothing any more.
///
/// cbindgen:ignore
pub const ENDED: u32 = u32::MAX - 1;

/// How many publications without a sleeper make a publisher go over to unfenced.
const STREAK: u32 = 64;

/// What a publisher finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// It is awake, or has been woken.
    Awake,
    /// It sleeps: to be woken now, once.
    Asleep,
    /// It takes nothing any more.
    Ended,
}

/// The side that publishes.
pub struct Publisher {
    /// Whether the sleeper can do without the fence.
    may_be_unfenced: bool,
    unfenced: bool,
    streak: u32,
    woken: u32,
}

impl Publisher {
    /// One that follows the fenced way until it is better not to.
    pub const fn new(may_be_unfenced: bool) -> Self {
        Self {
            may_be_unfenced,
            unfenced: false,
            streak: 0,
            woken: 0,
        }
    }

    /// To be called after each publication. A sleeper is left alone where what there is for it
    /// is not `worth_waking` for yet.
    #[inline]
    pub fn published(
        &mut self,
        asleep: &AtomicU32,
        unfenced: &AtomicU32,
        worth_waking: impl FnOnce() -> bool,
    ) -> Other {
        if self.unfenced {
            // The sleeper's barrier (`announce`) takes the place of a fence here; the
            // compiler must keep the order all the same.
            compiler_fence(Ordering::SeqCst);
        } else {
            // Pairs with the fence in `announce`.
            fence(Ordering::SeqCst);
        }
        let word = asleep.load(Ordering::Relaxed);
        if word.is_multiple_of(2) || word == self.woken {
            if word == ENDED {
                return Other::Ended;
            }
            if !self.unfenced {
                self.nobody_asleep(unfenced);
            }
            return Other::Awake;
        }
        // Pairs with `announce`: what its side had written before it slept is seen.
        fence(Ordering::Acquire);
        if !worth_waking() {
            return Other::Awake;
        }
        self.woken = word;
        self.streak = 0;
        if self.unfenced {
            self.unfenced = false;
            // Pairs with the load in `announce`: a sleeper that does without its barrier sees
            // all that was published without a fence. One that still sees 1 only does more
            // than it needs to.
            unfenced.store(0, Ordering::Release);
        }
        Other::Asleep
    }

    #[inline]
    fn nobody_asleep(&mut self, unfenced: &AtomicU32) {
        if !self.may_be_unfenced {
            return;
        }
        self.streak += 1;
        if self.streak > STREAK {
            self.unfenced = true;
            unfenced.store(1, Ordering::Relaxed);
            // Pairs with the fence in `announce`: a sleeper that reads 0 after it has
            // been announced is one that the load in the next publication sees.
            fence(Ordering::SeqCst);
        }
    }
}

/// Says in `asleep` that its side sleeps, and sees to it that what was published before is seen
/// by the look that has to follow. `barrier` has the other processes execute one; false if it
/// cannot, and the sleep then has to be a short one.
pub fn announce(
    asleep: &AtomicU32,
    others_unfenced: &AtomicU32,
    barrier: impl FnOnce() -> bool,
) -> bool {
    let _ = asleep.fetch_update(Ordering::Release, Ordering::Relaxed, |word| {
        (word != ENDED).then(|| next_odd(word))
    });
    // Pairs with the fences in `Publisher`.
    fence(Ordering::SeqCst);
    others_unfenced.load(Ordering::Acquire) == 0 || barrier()
}

/// Says that it did not come to sleeping, or is over without having been woken.
pub fn withdraw(asleep: &AtomicU32) {
    let _ = asleep.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
        (!word.is_multiple_of(2)).then(|| word.wrapping_add(1))
    });
}

/// Another odd number; neither it nor the even one behind it means that all is over.
fn next_odd(word: u32) -> u32 {
    let next = word.wrapping_add(1) | 1;
    if next >= ENDED - 1 { 1 } else { next }
}
