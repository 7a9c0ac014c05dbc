//! The ring: who has written how far, and who has read how far.
//!
//! One side produces, the other consumes. A record is a length of four bytes and the message,
//! filled up to [`ALIGN`]. It begins at the cursor plus [`SHIFT`], so that messages are aligned
//! to eight bytes:
//!
//! ```text
//! cursor      +4       +8                    +4 of the next
//!    | unused | length | message, filling ... | length | ...
//! ```
//!
//! A length that is not 0 is what publishes a message. Before the producer writes it, it has
//! written a 0 where the next one will be; so there is always a 0 behind the last message, and
//! never quite the whole ring is used. The consumer looks at the length alone, on the line
//! where the message is: no cursor has to come from the other processor for it.
//!
//! The consumer publishes its cursor, in memory that only it can write. The producer keeps what
//! it last saw of it, and looks again only when that says full. The producer's own cursor is
//! for what has to know how much there is. Cursors count bytes, run freely, and are compared by
//! their difference alone. What cannot be is a peer that lies (`EPROTO`).
//!
//! Free-running counters of which the other side's is cached are known from rigtorp's SPSCQueue
//! and Concurrency Kit, slots that say themselves whether they are filled from FastForward
//! (Giacomoni, Moseley and Vachharajani, 2008).

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::errno::{Errno, Result};

/// The multiple that records take.
///
/// cbindgen:ignore
pub const ALIGN: u64 = 8;
/// How many bytes the length of a message takes.
///
/// cbindgen:ignore
pub const LENGTH: u64 = 4;
/// How far behind its cursor a record begins.
///
/// cbindgen:ignore
pub const SHIFT: u64 = 4;

/// How much of the ring a message takes.
#[inline]
pub const fn record_size(len: u64) -> u64 {
    (len + LENGTH + (ALIGN - 1)) & !(ALIGN - 1)
}

/// How much of a ring of `size` bytes all records may take: the length behind them has its place.
#[inline]
const fn capacity(size: u64) -> u64 {
    size - ALIGN
}

/// The longest message for which a ring of `size` bytes has room, and whose length has.
#[inline]
pub const fn longest(size: u64) -> u64 {
    let room = capacity(size) - LENGTH;
    let max = BAD as u64 - 1;
    if room < max { room } else { max }
}

/// The ring in which a message of `len` bytes fits, at least.
pub const fn size_for(len: u64) -> u64 {
    record_size(len) + ALIGN
}

/// The producing side.
pub struct Producer {
    size: u64,
    tail: u64,
    /// How far it may write: as far behind the consumer's cursor as all records may reach.
    limit: u64,
}

impl Producer {
    /// Of a ring of `size` bytes in which nothing has been written yet, or nothing since
    /// `cursor`.
    pub const fn new(size: u64, cursor: u64) -> Self {
        Self {
            size,
            tail: cursor,
            limit: cursor.wrapping_add(capacity(size)),
        }
    }

    /// Where the next record goes: a position in the ring.
    #[inline]
    pub fn position(&self) -> u64 {
        self.position_behind(0)
    }

    /// Where the one after it goes, if it takes `need` bytes.
    #[inline]
    pub fn position_behind(&self, need: u64) -> u64 {
        self.tail.wrapping_add(need) & (self.size - 1)
    }

    /// Whether there is room for `need` bytes, as far as is known without looking.
    #[inline]
    pub fn has_room(&self, need: u64) -> bool {
        self.limit.wrapping_sub(self.tail) >= need
    }

    /// Looks at the consumer's cursor, and says whether there is room for `need` bytes.
    pub fn look(&mut self, need: u64, head: &AtomicU64) -> Result<bool> {
        // Pairs with the store in `Consumer::release`: what it has read may be written over.
        let head = head.load(Ordering::Acquire);
        if self.tail.wrapping_sub(head) > capacity(self.size) {
            return Err(Errno::EPROTO);
        }
        self.limit = head.wrapping_add(capacity(self.size));
        Ok(self.has_room(need))
    }

    /// Whether the consumer was known to have read all that there is.
    pub fn is_all_read(&self) -> bool {
        self.head_seen() == self.tail
    }

    /// How far the consumer was known to have read.
    pub fn head_seen(&self) -> u64 {
        self.limit.wrapping_sub(capacity(self.size))
    }

    /// There is no room any more, until somebody looks.
    pub fn close(&mut self) {
        self.limit = self.tail;
    }

    /// Publishes a message of `len` bytes that has been written. `length` is its word, `next` that
    /// of the one behind it.
    #[inline]
    pub fn publish(&mut self, len: u32, length: &AtomicU32, next: &AtomicU32, tail: &AtomicU64) {
        next.store(0, Ordering::Relaxed);
        self.tail = self.tail.wrapping_add(record_size(len.into()));
        // Not later than the length: who sleeps for want of room has said how much there is.
        tail.store(self.tail, Ordering::Relaxed);
        // Pairs with the load in `Consumer::look`: who sees the length sees the message, and the
        // 0 behind it.
        length.store(len, Ordering::Release);
    }
}

/// A length that no message has.
const BAD: u32 = u32::MAX;

/// The consuming side.
pub struct Consumer {
    size: u64,
    longest: u32,
    head: u64,
    /// The length of the next message, once it has been seen: it is not read again. [`BAD`] for
    /// one that cannot be.
    seen: u32,
}

impl Consumer {
    /// Of a ring of `size` bytes of which nothing has been read yet, or nothing since `cursor`.
    pub const fn new(size: u64, cursor: u64) -> Self {
        Self {
            size,
            longest: longest(size) as u32,
            head: cursor,
            seen: 0,
        }
    }

    /// Where the next record is: a position in the ring.
    #[inline]
    pub fn position(&self) -> u64 {
        self.head & (self.size - 1)
    }

    /// The length of the next message as it was seen; 0 for none.
    #[inline]
    pub fn seen(&self) -> u32 {
        self.seen
    }

    /// Looks at the word of the next length, and says whether there is a message.
    #[inline]
    pub fn look(&mut self, length: &AtomicU32) -> Result<bool> {
        if self.seen == 0 {
            // Pairs with the store in `Producer::publish`.
            let len = length.load(Ordering::Acquire);
            self.seen = if len <= self.longest { len } else { BAD };
        }
        match self.seen {
            BAD => Err(Errno::EPROTO),
            len => Ok(len != 0),
        }
    }

    /// The same at a glance, for who need not know why there is none: a length that can be, and
    /// that has not been seen before.
    #[inline]
    pub fn glance(&self, length: &AtomicU32) -> Option<u32> {
        if self.seen != 0 {
            return None;
        }
        // As in `look`.
        let len = length.load(Ordering::Acquire);
        (len != 0 && len <= self.longest).then_some(len)
    }

    /// Whether at least half of the ring is free, as the producer has it.
    pub fn is_half_free(&self, tail: &AtomicU64) -> bool {
        tail.load(Ordering::Relaxed).wrapping_sub(self.head) <= self.size / 2
    }

    /// Publishes that the next message, of `len` bytes, has been read.
    #[inline]
    pub fn release(&mut self, len: u32, head: &AtomicU64) {
        if self.seen != 0 {
            self.seen = 0;
        }
        self.head = self.head.wrapping_add(record_size(len.into()));
        // Pairs with the load in `Producer::look`: all reading is done by then.
        head.store(self.head, Ordering::Release);
    }
}
