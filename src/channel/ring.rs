//! The ring: who has written how far, and who has read how far.
//!
//! One side produces, the other consumes. Each publishes its own cursor in memory that only it
//! can write, reads the other's, and keeps what it last saw of it: it looks again only when
//! that says full or empty. Cursors count bytes, run freely, and are compared by their
//! difference alone; a difference that cannot be is a peer that lies (`EPROTO`).
//!
//! A record is a length of four bytes and the message, filled up to [`ALIGN`]. It begins at
//! the cursor plus [`SHIFT`], so that messages are aligned to eight bytes:
//!
//! ```text
//! cursor      +4       +8                    +4 of the next
//!    | unused | length | message, filling ... | length | ...
//! ```
//!
//! The ring of a single producer and consumer with cached cursors is known from rigtorp's
//! SPSCQueue, free-running counters from Concurrency Kit.

use crate::atomic::{AtomicU64, Ordering};
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

/// The longest message for which a ring of `size` bytes has room, and whose length has.
pub const fn longest(size: u64) -> u64 {
    let room = size - LENGTH;
    let max = u32::MAX as u64;
    if room < max { room } else { max }
}

/// The producing side.
pub struct Producer {
    size: u64,
    tail: u64,
    head_seen: u64,
}

impl Producer {
    /// Of a ring of `size` bytes in which nothing has been written yet, or nothing since
    /// `cursor`.
    pub const fn new(size: u64, cursor: u64) -> Self {
        Self {
            size,
            tail: cursor,
            head_seen: cursor,
        }
    }

    /// Where the next record goes: a position in the ring.
    #[inline]
    pub fn position(&self) -> u64 {
        self.tail & (self.size - 1)
    }

    /// Whether there is room for `need` bytes, as far as is known without looking.
    #[inline]
    pub fn has_room(&self, need: u64) -> bool {
        self.size - self.tail.wrapping_sub(self.head_seen) >= need
    }

    /// Looks at the consumer's cursor, and says whether there is room for `need` bytes.
    pub fn look(&mut self, need: u64, head: &AtomicU64) -> Result<bool> {
        // Pairs with the store in `Consumer::release`: what it has read may be written over.
        let head = head.load(Ordering::Acquire);
        if self.tail.wrapping_sub(head) > self.size {
            return Err(Errno::EPROTO);
        }
        self.head_seen = head;
        Ok(self.has_room(need))
    }

    /// Whether the consumer was known to have read all that there is.
    pub fn is_all_read(&self) -> bool {
        self.head_seen == self.tail
    }

    /// How far the consumer was known to have read.
    pub fn head_seen(&self) -> u64 {
        self.head_seen
    }

    /// Publishes `need` bytes that have been written.
    #[inline]
    pub fn publish(&mut self, need: u64, tail: &AtomicU64) {
        self.tail = self.tail.wrapping_add(need);
        // Pairs with the load in `Consumer::look`: who sees the cursor sees the record.
        tail.store(self.tail, Ordering::Release);
    }
}

/// The consuming side.
pub struct Consumer {
    size: u64,
    head: u64,
    tail_seen: u64,
}

impl Consumer {
    /// Of a ring of `size` bytes of which nothing has been read yet, or nothing since `cursor`.
    pub const fn new(size: u64, cursor: u64) -> Self {
        Self {
            size,
            head: cursor,
            tail_seen: cursor,
        }
    }

    /// Where the next record is: a position in the ring.
    #[inline]
    pub fn position(&self) -> u64 {
        self.head & (self.size - 1)
    }

    /// Whether there is something, as far as is known without looking.
    #[inline]
    pub fn has_some(&self) -> bool {
        self.head != self.tail_seen
    }

    /// Looks at the producer's cursor, and says whether there is something.
    #[inline]
    pub fn look(&mut self, tail: &AtomicU64) -> Result<bool> {
        // Pairs with the store in `Producer::publish`.
        let tail = tail.load(Ordering::Acquire);
        let unread = tail.wrapping_sub(self.head);
        if unread > self.size || !unread.is_multiple_of(ALIGN) {
            return Err(Errno::EPROTO);
        }
        self.tail_seen = tail;
        Ok(self.has_some())
    }

    /// Checks the length that stands before the next message.
    #[inline]
    pub fn check(&self, len: u32) -> Result<()> {
        let unread = self.tail_seen.wrapping_sub(self.head);
        if len == 0 || record_size(len.into()) > unread {
            return Err(Errno::EPROTO);
        }
        Ok(())
    }

    /// Whether at least half of the ring is free, as far as is known without looking.
    #[inline]
    pub fn is_half_free(&self) -> bool {
        self.tail_seen.wrapping_sub(self.head) <= self.size / 2
    }

    /// Publishes that `need` bytes have been read.
    #[inline]
    pub fn release(&mut self, need: u64, head: &AtomicU64) {
        self.head = self.head.wrapping_add(need);
        // Pairs with the load in `Producer::look`: all reading is done by then.
        head.store(self.head, Ordering::Release);
    }
}
