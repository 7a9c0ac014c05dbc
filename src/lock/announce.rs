//! Waiters announce themselves, so that a publication without waiters makes no system call.
//!
//! A waiter reads the published word, announces itself, reads the word again, and sleeps on it (it
//! is a futex) if both values are equal. A notifier publishes, and wakes only if a waiter is
//! announced. Each of the two writes one word and then reads the other's word. A full barrier
//! between the write and the read ensures that at least one of them sees the other's write.
//!
//! The announcement is a number: odd while a thread may be asleep, and a new odd number for each
//! announcement. A notifier may withdraw an announcement only if
//!
//! - it read the number before its publication. A waiter that is to sleep until the next
//!   publication reads the word after this publication and announces itself after that, so its
//!   number differs; and
//! - its wake-up left no thread asleep.
//!
//! If a thread is killed:
//!
//! - A killed waiter leaves its announcement. The next publication makes a system call that wakes
//!   no thread, and withdraws the announcement.
//! - A notifier that reads an announcement before its publication has the kernel publish and wake
//!   in one system call. If it is killed at any instruction, it has done both or neither.
//! - A waiter can announce itself after that read and before the publication, and the notifier can
//!   be killed before it wakes the waiter. So no announced sleep lasts longer than [`MAX_SLEEP`];
//!   then the waiter checks the word again.
//! - A wake-up may be for a single thread. If that thread is killed after it, the other waiters are
//!   delayed by up to [`MAX_SLEEP`].
//!
//! | barrier or release | pairs with |
//! |---|---|
//! | `must_wake`, full barrier after the publication | `announce`, full barrier after the announcement |
//! | `notify_announced`, full barrier before the kernel publishes | the waiter's acquire load of the published word |

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
    /// The maximum number of threads that one notification wakes.
    fn wake_limit(&self) -> u32;
    /// Publishes by a sequentially consistent read-modify-write operation. The word does not return
    /// to a value on which a thread may sleep within 2^31 publications.
    fn publish(&self);
    /// Wakes up to [`Notifier::wake_limit`] threads. Returns the number of threads woken.
    fn wake(&self) -> u32;
    /// Publishes and wakes in one system call. Returns the number of threads woken. After an error
    /// nothing is published.
    fn publish_and_wake(&self) -> Result<u32>;
}

impl Waiters {
    /// Makes the word without an announcement.
    #[must_use]
    pub fn new() -> Self {
        Self {
            number: AtomicU32::new(0),
        }
    }

    /// Initialises the word in memory of any content.
    pub fn init(&self) {
        self.number.store(0, Ordering::Relaxed);
    }

    /// Announces the calling thread, whose acquire load of the published word has shown that it
    /// must wait. It must then read the word again. If the value is the same, it may sleep while
    /// the word has that value, for up to [`MAX_SLEEP`]. Otherwise, and before each further sleep,
    /// it must announce itself again.
    pub fn announce(&self) {
        // Makes a new odd number. A compare-and-swap loop would do it in a single operation, but a
        // hostile process could keep the waiter in the loop.
        self.number.fetch_add(2, Ordering::Relaxed);
        self.number.fetch_or(1, Ordering::Relaxed);
        // Pairs with the barrier in `must_wake`.
        fence(Ordering::SeqCst);
    }

    /// The current announcement, if any. The notifier calls it before the publication.
    #[inline]
    pub fn announced(&self) -> Option<Announcement> {
        let number = self.number.load(Ordering::Relaxed);
        (number % 2 != 0).then_some(Announcement(number))
    }

    /// Whether a waiter may be asleep, or about to sleep, that has not seen the publication. The
    /// notifier calls it after the publication, which must be a read-modify-write operation.
    #[inline]
    pub fn must_wake(&self) -> bool {
        // Pairs with the full barrier in `announce`. On x86-64 the read-modify-write operation
        // itself is a full barrier, and a second one would double the cost.
        if cfg!(all(target_arch = "x86_64", not(loom))) {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
        self.announced().is_some()
    }

    /// Withdraws an announcement after a publication whose wake-up left no thread asleep. The
    /// notifier has read the announcement before that publication. Does nothing if another thread
    /// has announced itself since.
    pub fn withdraw(&self, announcement: Announcement) {
        let Announcement(number) = announcement;
        let even = number.wrapping_add(1);
        let relaxed = Ordering::Relaxed;
        let _ = self.number.compare_exchange(number, even, relaxed, relaxed);
    }

    /// Publishes, and wakes waiters if any are announced. Otherwise it makes no system call.
    ///
    /// If the kernel refuses to publish and wake in one system call, two operations do it. If the
    /// notifier is killed between them, the waiters are delayed by up to [`MAX_SLEEP`].
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
        // Neither a system call nor, on some machines, the kernel's operation on the word is a
        // barrier. This fence makes the operation a release.
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
