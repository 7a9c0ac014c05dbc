//! The broadcast ring: messages from one publisher to many subscribers, who only read it.
//!
//! The records are those of [`ring`](super::ring), and the length of a message publishes it. The
//! header of a record has the low half of its sequence number before the length:
//!
//! ```text
//! cursor      A - 8     A - 4    A
//!    | unused | sequence | length | message, padding ......... | ...
//! ```
//!
//! When the publisher publishes a message, it first writes the next header, with the length 0. So
//! each cursor up to the tail has a header with its sequence number.
//!
//! The publisher waits for *reliable* subscribers, but overwrites messages that a *lossy* subscriber
//! has not read. Before it overwrites the oldest messages, it publishes the cursor behind them
//! (`oldest`). A subscriber that finds `oldest` ahead of its own cursor after it has copied a message
//! discards the copy: it has been overtaken. A reliable subscriber becomes lossy if the publisher no
//! longer waits for it; the publisher counts such events (`demotions`) before it overwrites anything
//! because of one. So a reliable subscriber reads only that counter, which seldom changes.
//!
//! A subscriber that was overtaken goes on at `oldest`. A fast publisher would overtake it there
//! again at once. Then it goes on at one of the last [`MARKS`] marks: the publisher publishes its
//! tail as a mark after each [`MARKS`]th part of the ring.
//!
//! Such a check after the copy is that of a sequence lock (Boehm, "Can seqlocks get along with
//! programming language memory models?", 2012).
//!
//! | store or fence | pairs with |
//! |---|---|
//! | `Publisher::publish`, release of the length | `Consumer::poll` and `try_peek`, acquire of the length |
//! | `Publisher::overwrite`, release fence after `oldest` and before the writes of a message | `Reader::is_overtaken`, acquire fence after the copy and before the loads of `demotions` and `oldest` |
//! | `Publisher::overwrite`, release of `oldest` | `Reader::resume`, acquire of `oldest` |
//! | `Publisher::mark`, release of a mark | `Reader::resume`, acquire of the mark |
//! | `Consumer::release_skipped`, release of a subscriber's cursor | `Follower::refresh`, acquire of the cursor |

mod publisher;
mod reader;

pub use publisher::Publisher;
pub use reader::{Next, Reader};

use super::ring::{Geometry, LENGTH};
use crate::atomic::{AtomicU32, AtomicU64, Ordering};

/// The size of the header of a record.
///
/// cbindgen:ignore
pub const HEADER: u64 = 2 * LENGTH;

/// How many bytes less the longest message of a broadcast ring has than that of a [`ring`].
///
/// [`ring`]: super::ring
pub const EXTRA: u64 = HEADER - LENGTH;

/// The number of marks.
///
/// cbindgen:ignore
pub const MARKS: usize = 8;

/// The largest ring. It holds at most 2^30 messages, so the low half of a sequence number tells it
/// apart from those of all other messages in the ring.
///
/// cbindgen:ignore
pub const RING_MAX: u64 = 1 << 34;

/// The words that change with each message.
#[repr(C, align(128))]
#[derive(Default)]
pub struct Published {
    /// The cursor behind the last message.
    pub tail: AtomicU64,
    /// The number of messages. It is stored last, so it may be one too small.
    pub count: AtomicU64,
    /// 1 while the publisher uses the asymmetric fence (`event_count`).
    pub asymmetric: AtomicU32,
}

/// The cursor of the oldest message that is not being overwritten.
#[repr(C, align(128))]
#[derive(Default)]
pub struct Oldest {
    /// The cursor.
    pub at: AtomicU64,
}

/// The words that seldom change.
#[repr(C, align(128))]
#[derive(Default)]
pub struct Seldom {
    /// Cursors of former tails.
    pub marks: [AtomicU64; MARKS],
    /// How often the publisher has ceased to wait for a reliable subscriber.
    pub demotions: AtomicU32,
    /// 1 when no message will follow.
    pub ended: AtomicU32,
}

/// The words of the publisher.
#[repr(C)]
#[derive(Default)]
pub struct Words {
    /// The words that change with each message.
    pub published: Published,
    /// The cursor of the oldest message.
    pub oldest: Oldest,
    /// The words that seldom change.
    pub seldom: Seldom,
}

/// The headers of the records.
pub trait Headers {
    /// The length field of the record at a position.
    fn length(&self, position: u64) -> &AtomicU32;
    /// The sequence number of the record at a position.
    fn sequence(&self, position: u64) -> &AtomicU32;
}

/// A broadcast ring of `size` bytes whose messages are aligned to `align`.
pub const fn geometry(size: u64, align: u64) -> Geometry {
    Geometry::with_header(size, align, HEADER)
}

/// Whether cursor `a` is behind cursor `b`.
fn is_before(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) < 0
}

/// Where a subscriber begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its cursor.
    pub cursor: u64,
    /// The sequence number of the message there.
    pub sequence: u64,
    /// The number of demotions up to then.
    pub demotions: u32,
}

/// The first mark at or behind cursor `at`.
fn first_mark(words: &Words, at: u64) -> Option<u64> {
    // Pairs with the release in `Publisher::mark`.
    let marks = words
        .seldom
        .marks
        .iter()
        .map(|mark| mark.load(Ordering::Acquire));
    marks
        .filter(|mark| !is_before(*mark, at))
        .min_by_key(|mark| mark.wrapping_sub(at))
}
