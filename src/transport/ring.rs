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
//! A length other than 0 publishes a message. Before the producer stores the length, it stores a 0
//! in the length field of the next message. So a 0 always follows the last message, and the ring is
//! never completely full. The consumer polls only the length field, which is on the cache line of
//! the message; it does not read the producer's cursor.
//!
//! The consumer publishes its cursor in memory that only it can write. The producer caches that
//! cursor and loads it again only when the cached value says that the ring is full. The producer
//! publishes its cursor for readers that need the amount of unread data. Cursors count bytes, are
//! never reduced to the size of the ring, and are compared by their difference only. An impossible
//! value means that the peer violates the protocol (`EPROTO`).
//!
//! rigtorp's SPSCQueue and Concurrency Kit have such free-running counters with a cached copy of
//! the other side's counter. FastForward (Giacomoni, Moseley and Vachharajani, 2008) marks in each
//! slot whether the slot is filled.
//!
//! | store | pairs with |
//! |---|---|
//! | `Producer::publish`, release of the length | `Consumer::poll` and `try_peek`, acquire of the length |
//! | `Consumer::release`, release of the consumer's cursor | `Producer::refresh`, acquire of the cursor |

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

/// The number of bytes that a message of `len` bytes occupies in the ring.
#[inline]
pub const fn record_size(len: u64) -> u64 {
    (len + LENGTH + (ALIGN - 1)) & !(ALIGN - 1)
}

/// The number of bytes that all records together may occupy. The rest is for the length field after
/// them.
#[inline]
const fn capacity(size: u64) -> u64 {
    size - ALIGN
}

/// The longest message that fits into a ring of `size` bytes and whose length can be stored.
#[inline]
pub const fn longest(size: u64) -> u64 {
    let space = capacity(size) - LENGTH;
    let max = BAD as u64 - 1;
    if space < max { space } else { max }
}

/// The size of the smallest ring that can hold a message of `len` bytes.
pub const fn size_for(len: u64) -> u64 {
    record_size(len) + ALIGN
}

/// The producing side.
pub struct Producer {
    size: u64,
    tail: u64,
    /// The cursor up to which the producer may write: the consumer's cursor plus the capacity.
    limit: u64,
}

impl Producer {
    /// The producer of a ring of `size` bytes. Both cursors are at `cursor`.
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

    /// The position after the next record, if that occupies `need` bytes.
    #[inline]
    pub fn position_after(&self, need: u64) -> u64 {
        self.tail.wrapping_add(need) & (self.size - 1)
    }

    /// Whether `need` bytes are free according to the cached cursor of the consumer.
    #[inline]
    pub fn has_space(&self, need: u64) -> bool {
        self.limit.wrapping_sub(self.tail) >= need
    }

    /// Loads the consumer's cursor, and returns whether `need` bytes are free.
    pub fn refresh(&mut self, need: u64, head: &AtomicU64) -> Result<bool> {
        // Pairs with the release in `Consumer::release`: the consumer has finished reading.
        let head = head.load(Ordering::Acquire);
        if self.tail.wrapping_sub(head) > capacity(self.size) {
            return Err(Errno::EPROTO);
        }
        self.limit = head.wrapping_add(capacity(self.size));
        Ok(self.has_space(need))
    }

    /// Whether the consumer has read everything according to its cached cursor.
    pub fn is_drained(&self) -> bool {
        self.cached_head() == self.tail
    }

    /// The cached cursor of the consumer.
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

    /// Discards the free space: [`Producer::has_space`] is false until [`Producer::refresh`].
    pub fn close(&mut self) {
        self.limit = self.tail;
    }

    /// Publishes a message of `len` bytes, which the caller has written. `length` is its length
    /// field, and `next` is the length field of the next message.
    #[inline]
    pub fn publish(&mut self, len: u32, length: &AtomicU32, next: &AtomicU32, tail: &AtomicU64) {
        next.store(0, Ordering::Relaxed);
        self.tail = self.tail.wrapping_add(record_size(len.into()));
        // Before the length: the consumer reads this cursor to decide whether to wake a producer
        // that waits for space.
        tail.store(self.tail, Ordering::Relaxed);
        // Pairs with the acquire loads in `Consumer`: a consumer that sees the length sees the
        // message and the 0 after it.
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
    /// The length of the next message after it has been loaded: it is loaded once only. 0 before
    /// that; [`BAD`] if the length was impossible.
    cached_len: u32,
}

impl Consumer {
    /// The consumer of a ring of `size` bytes. Both cursors are at `cursor`.
    pub const fn new(size: u64, cursor: u64) -> Self {
        Self {
            size,
            longest: longest(size) as u32,
            head: cursor,
            cached_len: 0,
        }
    }

    /// A consumer whose ring is not known yet. It finds no messages.
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

    /// The cached length of the next message; 0 if none has been loaded.
    #[inline]
    pub fn peek_len(&self) -> u32 {
        self.cached_len
    }

    /// Loads the next length field, and returns whether there is a message.
    #[inline]
    pub fn poll(&mut self, length: &AtomicU32) -> Result<bool> {
        if self.cached_len == 0 {
            // Pairs with the release in `Producer::publish`.
            let len = length.load(Ordering::Acquire);
            self.cached_len = if len <= self.longest { len } else { BAD };
        }
        match self.cached_len {
            BAD => Err(Errno::EPROTO),
            len => Ok(len != 0),
        }
    }

    /// The fast path of [`Consumer::poll`]: returns the length of a message, and caches nothing.
    /// None if there is no message, if its length is impossible, or if the length is cached.
    #[inline]
    pub fn try_peek(&self, length: &AtomicU32) -> Option<u32> {
        if self.cached_len != 0 {
            return None;
        }
        // Pairs with the release in `Producer::publish`.
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
        // Pairs with the acquire load in `Producer::refresh`: the consumer has finished reading.
        head.store(self.head, Ordering::Release);
    }
}
