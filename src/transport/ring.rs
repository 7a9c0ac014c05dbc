//! The ring: length-prefixed messages from one producer to one consumer.
//!
//! A record is a length of four bytes and the message, padded to a multiple of the ring's alignment
//! A, which is 8, 16, 32 or 64. Its length field ends A bytes after the cursor, so that messages are
//! aligned to A:
//!
//! ```text
//! cursor      A - 4    A                                  A - 4 behind the next cursor
//!    | unused | length | message, padding ......... | ... | length | ...
//! ```
//!
//! Bit 31 of the length field ([`MARK`]) marks a message with an addition: eight bytes follow the
//! message, at the next multiple of eight.
//!
//! A length other than 0 publishes a message. Before the producer stores the length, it stores a 0
//! in the length field of the next message. So a 0 always follows the last message, and the ring is
//! never completely full. The consumer polls only the length field, which is on the cache line of
//! the message; it does not read the producer's cursor.
//!
//! The length of the first message of a batch publishes the whole batch: the producer stores the
//! other lengths before it.
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
//! | `Producer::publish_batch`, release of the first length | `Consumer::poll`, `poll_unmarked`, `try_peek` and `Records::load_len`, acquire of the length |
//! | `Consumer::release_skipped`, release of the consumer's cursor | `Producer::load_limit`, acquire of the cursor |

use super::records::{RecordSize, Records};
use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::errno::{Result, errno};

/// The smallest and the default alignment of messages.
///
/// cbindgen:ignore
pub const ALIGN_MIN: u64 = 8;
/// The largest alignment of messages. The models of loom have rings that are smaller.
///
/// cbindgen:ignore
pub const ALIGN_MAX: u64 = if cfg!(loom) { ALIGN_MIN } else { 64 };
/// The size of the length field, in bytes.
///
/// cbindgen:ignore
pub const LENGTH: u64 = 4;

/// Whether messages can have this alignment.
pub const fn is_alignment(align: u64) -> bool {
    align.is_power_of_two() && align >= ALIGN_MIN && align <= ALIGN_MAX
}

/// The alignment that an option asks for: 0 is the default. `EINVAL` if there is no such alignment.
pub const fn alignment(requested: u32) -> Result<u64> {
    match requested as u64 {
        0 => Ok(ALIGN_MIN),
        align if is_alignment(align) => Ok(align),
        _ => Err(errno!(EINVAL)),
    }
}

/// The bit of the length field that marks a message with an addition.
///
/// cbindgen:ignore
pub const MARK: u32 = 1 << 31;
/// The size of the addition to a marked message.
///
/// cbindgen:ignore
pub const ADDITION: usize = 8;

/// The offset of the addition to a message of `len` bytes from the message.
#[inline]
pub const fn addition_offset(len: usize) -> usize {
    len.next_multiple_of(ADDITION)
}

/// The length of an unmarked message that takes as many bytes as a marked one of `len` bytes.
#[inline]
pub const fn marked_size(len: usize) -> usize {
    addition_offset(len) + ADDITION
}

/// The longest message that fits into a ring of `size` bytes with any alignment, and whose length
/// can be stored.
#[inline]
pub const fn longest(size: u64) -> u64 {
    let space = size - ALIGN_MAX - LENGTH;
    let max = BAD as u64 - 1;
    if space < max { space } else { max }
}

/// The size of the smallest ring that can hold a message of `len` bytes with any alignment.
pub const fn size_for(len: u64) -> u64 {
    len + ALIGN_MAX + LENGTH
}

/// The size of a ring, and the alignment of its messages. Both are powers of two.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// The size of the ring - 1.
    mask: u64,
    /// The bits of a multiple of the alignment.
    align_bits: u64,
    /// The alignment - 1, plus the size of a record's header, which ends with the length field.
    round_up: u64,
}

impl Geometry {
    /// A ring of `size` bytes whose messages are aligned to `align`. The header of a record is its
    /// length field.
    pub const fn new(size: u64, align: u64) -> Self {
        Self::with_header(size, align, LENGTH)
    }

    /// A ring whose records have a header of `header` bytes, at most `align`.
    pub const fn with_header(size: u64, align: u64, header: u64) -> Self {
        Self {
            mask: size - 1,
            align_bits: !(align - 1),
            round_up: align - 1 + header,
        }
    }

    /// The longest message that fits into the ring with any alignment, and whose length can be
    /// stored.
    pub const fn longest(self) -> u64 {
        longest(self.size() + self.align() - 1 + LENGTH - self.round_up)
    }

    /// The number of bytes that a message of `len` bytes occupies in the ring.
    #[inline]
    pub const fn record_size(self, len: u64) -> u64 {
        (len + self.round_up) & self.align_bits
    }

    /// The number of bytes that all records together may occupy. The rest is for the length field
    /// after them.
    #[inline]
    pub const fn capacity(self) -> u64 {
        self.mask & self.align_bits
    }

    /// The size of the ring.
    #[inline]
    pub const fn size(self) -> u64 {
        self.mask + 1
    }

    /// The position of a cursor in the ring.
    #[inline]
    pub const fn position(self, cursor: u64) -> u64 {
        cursor & self.mask
    }

    /// The alignment of messages.
    pub const fn align(self) -> u64 {
        self.align_bits.wrapping_neg()
    }

    /// Whether a cursor can be that of a record.
    pub const fn is_aligned(self, cursor: u64) -> bool {
        cursor & !self.align_bits == 0
    }

    /// The offset of the length field from the cursor of its record.
    pub const fn length_offset(self) -> u64 {
        self.align() - LENGTH
    }
}

/// The producing side.
pub struct Producer {
    geometry: Geometry,
    tail: u64,
    /// The cursor up to which the producer may write: the consumer's cursor plus the capacity.
    limit: u64,
}

/// Messages that the producer has written but not published: at least one.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// The length field of the first message.
    first_len: u32,
    /// The cursor after the last message.
    end: u64,
}

impl Batch {
    /// Extends the batch by the messages that the caller has written into the records after it.
    /// `records` are the records after those.
    #[inline]
    pub fn extend_to(&mut self, records: Records) {
        self.end = records.cursor;
    }
}

impl Producer {
    /// The producer of a ring. Both cursors are at `cursor`.
    pub const fn new(geometry: Geometry, cursor: u64) -> Self {
        Self {
            geometry,
            tail: cursor,
            limit: cursor.wrapping_add(geometry.capacity()),
        }
    }

    /// The number of bytes that a message of `len` bytes occupies in the ring.
    #[inline]
    pub fn record_size(&self, len: usize) -> u64 {
        self.geometry.record_size(len as u64)
    }

    /// The position in the ring at which the next record begins.
    #[inline]
    pub fn position(&self) -> u64 {
        self.geometry.position(self.tail)
    }

    /// Whether `need` bytes, at most the capacity, are free according to the cached cursor of the
    /// consumer.
    #[inline]
    pub fn has_space(&self, need: u64) -> bool {
        // Signed, because a message that was reserved before `close` moves the tail past the limit.
        self.limit.wrapping_sub(self.tail) as i64 >= need as i64
    }

    /// Loads the consumer's cursor, and returns whether `need` bytes are free.
    pub fn refresh(&mut self, need: u64, head: &AtomicU64) -> Result<bool> {
        self.load_limit(self.tail, head)?;
        Ok(self.has_space(need))
    }

    /// Loads the consumer's cursor. `EPROTO`, without a change, if it is not aligned, or if the ring
    /// could not hold the records up to `end`, a cursor up to which the producer writes.
    fn load_limit(&mut self, end: u64, head: &AtomicU64) -> Result<()> {
        // Pairs with the release in `Consumer::release_skipped`: the consumer has finished reading.
        let head = head.load(Ordering::Acquire);
        let capacity = self.geometry.capacity();
        // The consumer has read what was published, and its cursor never moves back.
        let is_behind = |cursor: u64| cursor.wrapping_sub(head) > capacity;
        if !self.geometry.is_aligned(head) || is_behind(self.tail) || is_behind(end) {
            return Err(errno!(EPROTO));
        }
        self.limit = head.wrapping_add(capacity);
        Ok(())
    }

    /// Whether the consumer has read everything according to its cached cursor.
    pub fn is_drained(&self) -> bool {
        self.cached_head() == self.tail
    }

    /// The cached cursor of the consumer.
    pub fn cached_head(&self) -> u64 {
        self.limit.wrapping_sub(self.geometry.capacity())
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

    /// Sets the number of bytes that are free, for a caller that determines it itself.
    pub fn set_free(&mut self, free: u64) {
        self.limit = self.tail.wrapping_add(free);
    }

    /// A batch of a single message of `len` bytes.
    #[inline]
    pub fn batch_of(&self, len: u32) -> Batch {
        Batch {
            first_len: len,
            end: self.tail.wrapping_add(self.record_size(len as usize)),
        }
    }

    /// A batch of a single marked message of `len` bytes, whose addition is at [`addition_offset`].
    pub fn batch_of_marked(&self, len: u32) -> Batch {
        let size = self.record_size(marked_size(len as usize));
        Batch {
            first_len: len | MARK,
            end: self.tail.wrapping_add(size),
        }
    }

    /// The free records after a batch, according to the cached cursor of the consumer.
    #[inline]
    pub fn free_after(&self, batch: Batch) -> Records {
        Records {
            geometry: self.geometry,
            cursor: batch.end,
            left: self.limit.wrapping_sub(batch.end),
            longest: self.geometry.longest() as u32,
            size: RecordSize::new(batch.first_len, self.geometry),
        }
    }

    /// Loads the consumer's cursor, and returns how many bytes are free after `end`, the end of a
    /// batch.
    #[cold]
    #[inline(never)]
    pub(super) fn refresh_after(&mut self, end: u64, head: &AtomicU64) -> u64 {
        // An impossible cursor changes nothing: the limit must not come before `end`.
        let _ = self.load_limit(end, head);
        self.limit.wrapping_sub(end)
    }

    /// The position after the last message of the batch.
    #[inline]
    pub fn batch_end(&self, batch: &Batch) -> u64 {
        self.geometry.position(batch.end)
    }

    /// Publishes a batch that the caller has written. `length` is the length field of its first
    /// message, and `next` is the length field after its last one.
    #[inline]
    pub fn publish_batch(
        &mut self,
        batch: Batch,
        length: &AtomicU32,
        next: &AtomicU32,
        tail: &AtomicU64,
    ) {
        next.store(0, Ordering::Relaxed);
        self.tail = batch.end;
        // Before the length: the consumer reads this cursor to decide whether to wake a producer
        // that waits for space.
        tail.store(self.tail, Ordering::Relaxed);
        // Pairs with the acquire loads in `Consumer`: a consumer that sees the length sees the
        // messages, their other lengths, and the 0 after them.
        length.store(batch.first_len, Ordering::Release);
    }
}

/// A length that no message can have: a marked message that is empty.
const BAD: u32 = MARK;

/// The consuming side.
pub struct Consumer {
    geometry: Geometry,
    longest: u32,
    /// The longest marked message; 0 if no message may be marked.
    longest_marked: u32,
    head: u64,
    /// The length field of the next message after it has been loaded: it is used once only. 0
    /// before that; [`BAD`] if the length was impossible.
    cached_len: u32,
}

impl Consumer {
    /// The consumer of a ring. Both cursors are at `cursor`.
    pub const fn new(geometry: Geometry, cursor: u64) -> Self {
        Self {
            geometry,
            longest: geometry.longest() as u32,
            longest_marked: 0,
            head: cursor,
            cached_len: 0,
        }
    }

    /// Accepts marked messages from now on.
    pub fn accept_marked(&mut self) {
        const ADDITION: u32 = self::ADDITION as u32;
        self.longest_marked = self.longest.saturating_sub(ADDITION) & !(ADDITION - 1);
    }

    /// A consumer whose ring is not known yet. It finds no messages.
    pub const fn unknown() -> Self {
        Self {
            geometry: Geometry::new(ALIGN_MIN, ALIGN_MIN),
            longest: 0,
            longest_marked: 0,
            head: 0,
            cached_len: BAD,
        }
    }

    /// The position in the ring at which the next record begins.
    #[inline]
    pub fn position(&self) -> u64 {
        self.geometry.position(self.head)
    }

    /// This side's cursor.
    #[inline]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// The cached length of the next message, which is not marked; 0 if none has been loaded.
    #[inline]
    pub fn peek_len(&self) -> u32 {
        self.cached_len
    }

    /// The cached length of the next message if it is marked.
    pub fn marked_len(&self) -> Option<u32> {
        (self.cached_len > MARK).then_some(self.cached_len & !MARK)
    }

    /// Loads the next length field, and returns whether there is a message.
    #[inline]
    pub fn poll(&mut self, length: &AtomicU32) -> Result<bool> {
        if self.cached_len == 0 {
            // Pairs with the release in `Producer::publish_batch`.
            let len = length.load(Ordering::Acquire);
            self.cached_len = if len <= self.longest || self.is_marked(len) {
                len
            } else {
                BAD
            };
        }
        match self.cached_len {
            BAD => Err(errno!(EPROTO)),
            len => Ok(len != 0),
        }
    }

    /// Whether `len` is the length field of a marked message.
    fn is_marked(&self, len: u32) -> bool {
        (1..=self.longest_marked).contains(&(len ^ MARK))
    }

    /// Loads the next length field, and returns whether there is a message that is not marked.
    #[inline]
    pub fn poll_unmarked(&mut self, length: &AtomicU32) -> bool {
        if self.cached_len == 0 {
            // Pairs with the release in `Producer::publish_batch`.
            let len = length.load(Ordering::Acquire);
            if len > self.longest {
                return false;
            }
            self.cached_len = len;
        }
        (1..MARK).contains(&self.cached_len)
    }

    /// Whether the length of the next message has been loaded, or the ring is not known yet.
    #[inline(always)]
    pub fn is_cached(&self) -> bool {
        self.cached_len != 0
    }

    /// The fast path of [`Consumer::poll`]: returns the length of a message, and caches nothing.
    /// None if there is no message, if its length is impossible, or if the length is cached.
    #[inline]
    pub fn try_peek(&self, length: &AtomicU32) -> Option<u32> {
        if self.is_cached() {
            return None;
        }
        // Pairs with the release in `Producer::publish_batch`.
        let len = length.load(Ordering::Acquire);
        // One comparison for both limits: 0 wraps around.
        (len.wrapping_sub(1) < self.longest).then_some(len)
    }

    /// Goes to the message after the one of `len` bytes that [`Consumer::try_peek`] has found,
    /// without publishing that.
    #[inline]
    pub fn skip_found(&mut self, len: u32) {
        self.head = self
            .head
            .wrapping_add(self.geometry.record_size(len.into()));
    }

    /// Whether at least half of the ring is free, according to the producer's published cursor.
    pub fn is_half_free(&self, tail: &AtomicU64) -> bool {
        tail.load(Ordering::Relaxed).wrapping_sub(self.head) <= self.geometry.size() / 2
    }

    /// Goes to the message after the next one, which has `len` bytes, without publishing that. For a
    /// marked message `len` is its [`marked_size`].
    #[inline]
    pub fn skip(&mut self, len: u32) {
        if self.cached_len != 0 {
            self.cached_len = 0;
        }
        self.skip_found(len);
    }

    /// Refuses all messages from now on, until [`Consumer::go_to`].
    pub fn poison(&mut self) {
        self.cached_len = BAD;
    }

    /// Goes to another cursor, without publishing that.
    pub fn go_to(&mut self, head: u64) {
        self.cached_len = 0;
        self.head = head;
    }

    /// The records after the next message, which has `len` bytes, that the ring can hold together
    /// with it. If they were more, the producer would overwrite what is not yet released.
    #[inline]
    pub fn records_after(&self, len: u32) -> Records {
        let size = RecordSize::new(len, self.geometry);
        Records {
            geometry: self.geometry,
            cursor: self.head.wrapping_add(size.need),
            left: self.geometry.capacity() - size.need,
            longest: self.longest,
            size,
        }
    }

    /// Goes to the first of these records, without publishing that.
    #[inline]
    pub fn skip_to(&mut self, records: Records) {
        self.cached_len = 0;
        self.head = records.cursor;
    }

    /// Publishes that the consumer has finished with the skipped messages.
    #[inline]
    pub fn release_skipped(&mut self, head: &AtomicU64) {
        // Pairs with the acquire load in `Producer::load_limit`: the consumer has finished reading.
        head.store(self.head, Ordering::Release);
    }
}
