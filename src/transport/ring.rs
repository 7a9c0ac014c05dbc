//! The ring: length-prefixed messages from one producer to one consumer.
//!
//! A record is a length of four bytes and the message, padded to a multiple of [`ALIGN`]. It
//! begins at the cursor plus [`SHIFT`], so that messages are aligned to eight bytes:
//!
//! ```text
//! cursor      +4       +8                     +4 of the next
//!    | unused | length | message, padding ... | length | ...
//! ```
//!
//! A length other than 0 publishes a message. Before the producer stores it, it stores a 0 where
//! the length of the next message will be. So a 0 always follows the last message, and the ring is
//! never completely full. The consumer reads only the length, on the cache line of the message: it
//! needs no cursor from the other processor.
//!
//! The consumer publishes its cursor in memory that only it can write. The producer caches that
//! cursor and loads it again only when the cached value says that the ring is full. The producer's
//! own cursor serves readers that need the amount of unread data. Cursors count bytes, run freely,
//! and are compared by their difference only. An impossible value means that the peer violates the
//! protocol (`EPROTO`).
//!
//! Free-running counters with a cached copy of the other side's counter are known from rigtorp's
//! SPSCQueue and Concurrency Kit. Slots that say themselves whether they are filled are known from
//! FastForward (Giacomoni, Moseley and Vachharajani, 2008).

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::errno::{Errno, Result};

/// The size of a record is a multiple of this.
///
/// cbindgen:ignore
pub const ALIGN: u64 = 8;
/// The size of the length field, in bytes.
///
/// cbindgen:ignore
pub const LENGTH: u64 = 4;
/// The offset of a record from its cursor.
///
/// cbindgen:ignore
pub const SHIFT: u64 = 4;

/// The number of bytes that a message of `len` bytes takes in the ring.
#[inline]
pub const fn record_size(len: u64) -> u64 {
    (len + LENGTH + (ALIGN - 1)) & !(ALIGN - 1)
}

/// The number of bytes that all records together may take: the length field behind them needs space.
#[inline]
const fn capacity(size: u64) -> u64 {
    size - ALIGN
}

/// The longest message that fits into a ring of `size` bytes and whose length can be stored.
#[inline]
pub const fn longest(size: u64) -> u64 {
    let room = capacity(size) - LENGTH;
    let max = BAD as u64 - 1;
    if room < max { room } else { max }
}

/// The smallest ring that takes a message of `len` bytes.
pub const fn size_for(len: u64) -> u64 {
    record_size(len) + ALIGN
}

/// The producing side.
pub struct Producer {
    size: u64,
    tail: u64,
    /// The cursor up to which it may write: the consumer's cursor plus the capacity.
    limit: u64,
}

impl Producer {
    /// The producer of a ring of `size` bytes whose both cursors are at `cursor`.
    pub const fn new(size: u64, cursor: u64) -> Self {
        Self {
            size,
            tail: cursor,
            limit: cursor.wrapping_add(capacity(size)),
        }
    }

    /// The position in the ring at which the next record begins.
    #[inline]
    pub fn position(&self) -> u64 {
        self.position_after(0)
    }

    /// The position behind the next record, if that takes `need` bytes.
    #[inline]
    pub fn position_after(&self, need: u64) -> u64 {
        self.tail.wrapping_add(need) & (self.size - 1)
    }

    /// Whether `need` bytes are free, according to the cached cursor of the consumer.
    #[inline]
    pub fn has_room(&self, need: u64) -> bool {
        self.limit.wrapping_sub(self.tail) >= need
    }

    /// Loads the consumer's cursor, and returns whether `need` bytes are free.
    pub fn refresh(&mut self, need: u64, head: &AtomicU64) -> Result<bool> {
        // Pairs with the store in `Consumer::release`: the consumer has finished reading.
        let head = head.load(Ordering::Acquire);
        if self.tail.wrapping_sub(head) > capacity(self.size) {
            return Err(Errno::EPROTO);
        }
        self.limit = head.wrapping_add(capacity(self.size));
        Ok(self.has_room(need))
    }

    /// Whether the consumer has read everything, according to its cached cursor.
    pub fn is_drained(&self) -> bool {
        self.cached_head() == self.tail
    }

    /// The consumer's cursor when it was loaded last.
    pub fn cached_head(&self) -> u64 {
        self.limit.wrapping_sub(capacity(self.size))
    }

    /// The size of the ring.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// This side's cursor.
    #[inline]
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// Forgets the free space, so that the next [`Producer::has_room`] is false until
    /// [`Producer::refresh`].
    pub fn close(&mut self) {
        self.limit = self.tail;
    }

    /// Publishes a message of `len` bytes that has been written. `length` is its length field, and
    /// `next` is the length field behind it.
    #[inline]
    pub fn publish(&mut self, len: u32, length: &AtomicU32, next: &AtomicU32, tail: &AtomicU64) {
        next.store(0, Ordering::Relaxed);
        self.tail = self.tail.wrapping_add(record_size(len.into()));
        // Before the length: a producer that sleeps until there is room has published its cursor.
        tail.store(self.tail, Ordering::Relaxed);
        // Pairs with the loads in `Consumer`: a consumer that sees the length sees the message and
        // the 0 behind it.
        length.store(len, Ordering::Release);
    }
}

/// A length that no message can have.
const BAD: u32 = u32::MAX;

/// The consuming side.
pub struct Consumer {
    size: u64,
    longest: u32,
    head: u64,
    /// The length of the next message once it has been loaded (it is not loaded again), 0 before,
    /// or [`BAD`] if it was impossible.
    cached_len: u32,
}

impl Consumer {
    /// The consumer of a ring of `size` bytes whose both cursors are at `cursor`.
    pub const fn new(size: u64, cursor: u64) -> Self {
        Self {
            size,
            longest: longest(size) as u32,
            head: cursor,
            cached_len: 0,
        }
    }

    /// A consumer whose ring is not known yet: it finds nothing.
    pub const fn unknown() -> Self {
        Self {
            size: ALIGN,
            longest: 0,
            head: 0,
            cached_len: BAD,
        }
    }

    /// The position in the ring at which the next record begins.
    #[inline]
    pub fn position(&self) -> u64 {
        self.head & (self.size - 1)
    }

    /// This side's cursor.
    #[inline]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// The length of the next message, as it was loaded; 0 if there was none.
    #[inline]
    pub fn peek_len(&self) -> u32 {
        self.cached_len
    }

    /// Loads the next length field, and returns whether there is a message.
    #[inline]
    pub fn poll(&mut self, length: &AtomicU32) -> Result<bool> {
        if self.cached_len == 0 {
            // Pairs with the store in `Producer::publish`.
            let len = length.load(Ordering::Acquire);
            self.cached_len = if len <= self.longest { len } else { BAD };
        }
        match self.cached_len {
            BAD => Err(Errno::EPROTO),
            len => Ok(len != 0),
        }
    }

    /// The fast form of [`Consumer::poll`]: the length of a message that has just arrived. Returns
    /// none if there is no message, if its length is impossible, or if it was loaded before.
    #[inline]
    pub fn try_peek(&self, length: &AtomicU32) -> Option<u32> {
        if self.cached_len != 0 {
            return None;
        }
        // As in `poll`.
        let len = length.load(Ordering::Acquire);
        (len != 0 && len <= self.longest).then_some(len)
    }

    /// Whether at least half of the ring is free, according to the producer's published cursor.
    pub fn is_half_free(&self, tail: &AtomicU64) -> bool {
        tail.load(Ordering::Relaxed).wrapping_sub(self.head) <= self.size / 2
    }

    /// Publishes that the consumer has finished with the next message, of `len` bytes.
    #[inline]
    pub fn release(&mut self, len: u32, head: &AtomicU64) {
        if self.cached_len != 0 {
            self.cached_len = 0;
        }
        self.head = self.head.wrapping_add(record_size(len.into()));
        // Pairs with the load in `Producer::refresh`: all reads come before it.
        head.store(self.head, Ordering::Release);
    }
}
