//! Sleeping threads announce themselves, so that a publication for which no thread waits makes no
//! system call.
//!
//! A waiter reads the published word, announces itself, reads the word again, and sleeps in a
//! futex on it if both values are the same. A notifier publishes, and wakes only if a waiter is announced. Each of the two
//! writes one word and then reads the word of the other; a full barrier in between ensures that
//! at least one of them sees what the other wrote.
//!
//! The announcement is a number: odd while a thread may be asleep, and a new odd number for each
//! announcement. A notifier may withdraw an announcement only if
//!
//! - it read the number before its publication: a waiter that sleeps until the next publication
//!   had read the word after this one and before its announcement, so its number is another; and
//! - its wake-up left no thread asleep.
//!
//! What a killed thread leaves behind:
//!
//! - A killed waiter leaves its announcement. The next publication makes a system call that wakes
//!   no thread, and withdraws the announcement.
//! - A notifier that finds an announcement before its publication has the kernel publish and wake
//!   in one system call. Killed at any instruction, it has done both or neither.
//! - A waiter can announce itself between that look and the publication, and the notifier can be
//!   killed before it wakes that waiter. Therefore no announced sleep lasts longer than
//!   [`MAX_SLEEP`]; then the waiter checks the word again. A thread that is killed after a wake-up
//!   that was for one thread only delays the others by as much.
//!
//! | barrier or release | pairs with |
//! |---|---|
//! | `must_wake`, full barrier after the publication | `announce`, full barrier after the announcement |
//! | `notify`, full barrier before the kernel publishes | the waiter's acquire load of the published word |

use crate::atomic::{AtomicU32, Ordering, compiler_fence, fence};
use crate::errno::Result;
use std::time::Duration;

/// The longest sleep of an announced waiter.
///
/// cbindgen:ignore
pub const MAX_SLEEP: Duration = Duration::from_millis(100);

/// The word in shared memory that holds the announcement.
#[repr(transparent)]
pub struct Waiters {
    number: AtomicU32,
}

/// A number that a waiter has announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement(u32);

/// How a notifier publishes and wakes.
pub trait Notifier {
    /// The most threads that one notification wakes.
    fn wake_limit(&self) -> u32;
    /// Publishes by a sequentially consistent read-modify-write operation. The word does not take a
    /// value again for which a thread may sleep, but for 2^31 publications.
    fn publish(&self);
    /// Wakes up to [`Notifier::wake_limit`] threads; the number of threads woken.
    fn wake(&self) -> u32;
    /// Publishes and wakes in one system call; the number of threads woken. After an error
    /// nothing is published.
    fn publish_and_wake(&self) -> Result<u32>;
}

impl Waiters {
    /// No waiter is announced.
    #[must_use]
    pub fn new() -> Self {
        Self {
            number: AtomicU32::new(0),
        }
    }

    /// Makes shared memory of any content such a word.
    pub fn init(&self) {
        self.number.store(0, Ordering::Relaxed);
    }

    /// Announces the calling thread, which has found nothing to do in an acquire load of the
    /// published word. It must read the word again. If the word has still the same value, it may
    /// sleep as long as that is so, for up to [`MAX_SLEEP`]. Otherwise, and before each further
    /// sleep, it announces itself again.
    pub fn announce(&self) {
        // A new number, and an odd one. A compare-and-swap loop would do it in one operation, but
        // a hostile process could keep the waiter in it.
        self.number.fetch_add(2, Ordering::Relaxed);
        self.number.fetch_or(1, Ordering::Relaxed);
        // Pairs with the barrier in `must_wake`.
        fence(Ordering::SeqCst);
    }

    /// The current announcement, if any. Call it before the publication.
    #[inline]
    pub fn announced(&self) -> Option<Announcement> {
        let number = self.number.load(Ordering::Relaxed);
        (!number.is_multiple_of(2)).then_some(Announcement(number))
    }

    /// Whether a thread may sleep that does not see the publication. Call it after the
    /// publication, which was a read-modify-write operation.
    #[inline]
    pub fn must_wake(&self) -> bool {
        // Pairs with the barrier in `announce`. On x86-64 the read-modify-write operation itself
        // is a full barrier; a second one would double the cost.
        if cfg!(all(target_arch = "x86_64", not(loom))) {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
        self.announced().is_some()
    }

    /// Withdraws an announcement that was read before a publication whose wake-up left no thread
    /// asleep. Does nothing if another thread has announced itself since.
    pub fn withdraw(&self, announcement: Announcement) {
        let Announcement(number) = announcement;
        let even = number.wrapping_add(1);
        let relaxed = Ordering::Relaxed;
        let _ = self.number.compare_exchange(number, even, relaxed, relaxed);
    }

    /// Publishes, and wakes waiters if any are announced. Makes no system call otherwise.
    ///
    /// If the kernel refuses to publish and wake in one system call, two operations do it: a
    /// thread that is killed between them delays the waiters by up to [`MAX_SLEEP`].
    #[inline]
    pub fn notify(&self, notifier: &impl Notifier) {
        match self.announced() {
            Some(announcement) => self.notify_announced(notifier, announcement),
            None => {
                notifier.publish();
                if self.must_wake() {
                    notifier.wake();
                }
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn notify_announced(&self, notifier: &impl Notifier, announcement: Announcement) {
        // A system call is no barrier by itself, and on some machines the kernel's operation on
        // the word is none either: this barrier makes it a release operation.
        fence(Ordering::SeqCst);
        let woken = notifier.publish_and_wake().unwrap_or_else(|_| {
            notifier.publish();
            notifier.wake()
        });
        if woken < notifier.wake_limit() {
            self.withdraw(announcement);
        }
    }
}

impl Default for Waiters {
    fn default() -> Self {
        Self::new()
    }
}
