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

use super::ring::{ALIGN_MIN, Batch, Consumer, Geometry, LENGTH, Producer};
use crate::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::errno::{Errno, Result};

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

/// The smallest copy for which the memcpy of a C library may use non-temporal stores (in glibc, the
/// lower limit of the tunable x86_non_temporal_threshold).
const NON_TEMPORAL_MIN: u64 = 0x4040;

/// The size of the smallest record.
const RECORD_MIN: u64 = HEADER + ALIGN_MIN;

/// How often a subscriber tries to find a message that is left.
const ATTEMPTS: usize = 1000;

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

/// The publishing side.
pub struct Publisher {
    ring: Producer,
    geometry: Geometry,
    oldest: u64,
    count: u64,
    /// The cursor of the slowest reliable subscriber at the last call of [`Publisher::set_limit`].
    slowest: u64,
    /// The cursor of the last mark, and the number of marks.
    last_mark: u64,
    marks: usize,
}

impl Publisher {
    /// The publisher of an empty ring.
    pub const fn new(geometry: Geometry) -> Self {
        Self {
            ring: Producer::new(geometry, 0),
            geometry,
            oldest: 0,
            count: 0,
            slowest: 0,
            last_mark: 0,
            marks: 0,
        }
    }

    /// The number of bytes that a message of `len` bytes occupies in the ring.
    #[inline]
    pub fn record_size(&self, len: usize) -> u64 {
        self.ring.record_size(len)
    }

    /// The position in the ring at which the next record begins.
    #[inline]
    pub fn position(&self) -> u64 {
        self.ring.position()
    }

    /// The cursor behind the last message.
    #[inline]
    pub fn tail(&self) -> u64 {
        self.ring.tail()
    }

    /// The cursor of the oldest message.
    pub fn oldest(&self) -> u64 {
        self.oldest
    }

    /// The number of messages that were published: the sequence number of the next one.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether `need` bytes are free according to the last call of [`Publisher::set_limit`].
    #[inline]
    pub fn has_space(&self, need: u64) -> bool {
        self.ring.has_space(need)
    }

    /// Has [`Publisher::has_space`] return false until the next call of [`Publisher::set_limit`].
    pub fn forget_space(&mut self) {
        self.ring.close();
    }

    /// Where a subscriber begins that reads the oldest message first.
    pub fn start_at_oldest(&self, headers: &impl Headers, demotions: u32) -> Start {
        let header = headers.sequence(self.geometry.position(self.oldest));
        let behind = (self.count as u32).wrapping_sub(header.load(Ordering::Relaxed));
        Start {
            cursor: self.oldest,
            sequence: self.count.wrapping_sub(behind.into()),
            demotions,
        }
    }

    /// Whether `need` bytes are free while the slowest reliable subscriber is at `head`.
    pub fn is_free(&self, need: u64, head: u64) -> bool {
        let unread = self.tail().wrapping_sub(head);
        unread.saturating_add(need) <= self.geometry.capacity()
    }

    /// Sets how far the publisher may write before the next call: the slowest reliable subscriber
    /// is at `head`, which is the tail if there is none. Publishes a mark if one is due.
    pub fn set_limit(&mut self, need: u64, head: u64, words: &Words) {
        self.slowest = head;
        let (tail, size) = (self.tail(), self.geometry.size());
        let part = size / MARKS as u64;
        if tail.wrapping_sub(self.last_mark) >= part {
            self.mark(words);
        }
        let free = self.geometry.capacity() - tail.wrapping_sub(head);
        self.ring.set_free(free.min(part.max(need)));
    }

    /// Publishes that a reliable subscriber becomes lossy, before a message of it is overwritten.
    pub fn demote(&self, words: &Words) {
        let demotions = &words.seldom.demotions;
        let count = demotions.load(Ordering::Relaxed).wrapping_add(1);
        demotions.store(count, Ordering::Relaxed);
    }

    fn mark(&mut self, words: &Words) {
        self.last_mark = self.tail();
        if let Some(mark) = words.seldom.marks.get(self.marks % MARKS) {
            // Pairs with the acquire load in `Reader::resume`: its header is visible.
            mark.store(self.last_mark, Ordering::Release);
        }
        self.marks = self.marks.wrapping_add(1);
    }

    /// Prepares the space of a record of `need` bytes: publishes which messages it overwrites. The
    /// caller then writes the message.
    #[inline]
    pub fn overwrite(&mut self, need: u64, headers: &impl Headers, words: &Words) {
        let end = self.tail().wrapping_add(need);
        if end.wrapping_sub(self.oldest) > self.geometry.capacity() {
            self.move_oldest(end, headers, words);
            // Pairs with the acquire load in `Reader::resume`.
            words.oldest.at.store(self.oldest, Ordering::Release);
            // Pairs with the acquire fence in `Reader::is_overtaken`: a subscriber that has copied
            // a byte of this message sees the cursor.
            fence(Ordering::Release);
            if need >= NON_TEMPORAL_MIN {
                // On x86 a release fence does not order non-temporal stores.
                fence(Ordering::SeqCst);
            }
        }
    }

    /// Moves the cursor of the oldest message so far that the record which ends at `end` overwrites
    /// none: to a mark, which needs no loads of other records, unless a reliable subscriber may not
    /// have read the messages before it. So up to an eighth of the ring counts as overwritten early.
    #[cold]
    fn move_oldest(&mut self, end: u64, headers: &impl Headers, words: &Words) {
        let capacity = self.geometry.capacity();
        if let Some(mark) = first_mark(words, end.wrapping_sub(capacity))
            && !is_before(self.slowest, mark)
        {
            self.oldest = mark;
            return;
        }
        while end.wrapping_sub(self.oldest) > capacity {
            let length = headers.length(self.geometry.position(self.oldest));
            let len = length.load(Ordering::Relaxed);
            let next = self
                .oldest
                .wrapping_add(self.geometry.record_size(len.into()));
            // The lengths are this process's own. The check ends the loop whatever they are.
            self.oldest = if is_before(self.tail(), next) {
                self.tail()
            } else {
                next
            };
        }
    }

    /// Publishes a message of `len` bytes, which the caller has written.
    #[inline]
    pub fn publish(&mut self, len: u32, headers: &impl Headers, words: &Words) {
        let batch: Batch = self.ring.batch_of(len);
        let next = self.ring.batch_end(&batch);
        let length = headers.length(self.ring.position());
        self.count = self.count.wrapping_add(1);
        headers
            .sequence(next)
            .store(self.count as u32, Ordering::Relaxed);
        let published = &words.published;
        self.ring
            .publish_batch(batch, length, headers.length(next), &published.tail);
        published.count.store(self.count, Ordering::Relaxed);
    }
}

/// The result of a search for the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// There is a message of this length.
    Message(usize),
    /// There is none.
    Nothing,
    /// The publisher has overwritten it.
    Overtaken,
}

/// The side of a subscriber.
pub struct Reader {
    ring: Consumer,
    geometry: Geometry,
    /// The sequence number of the next message.
    sequence: u64,
    /// Whether the publisher may overwrite messages that this subscriber has not read.
    is_lossy: bool,
    /// The number of demotions when the subscriber was admitted.
    demotions: u32,
    /// The cursor at which it went on after it was overtaken the last time.
    resumed_at: Option<u64>,
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

impl Reader {
    /// The reader of a ring.
    pub const fn new(geometry: Geometry, start: Start, is_lossy: bool) -> Self {
        Self {
            ring: Consumer::new(geometry, start.cursor),
            geometry,
            sequence: start.sequence,
            is_lossy,
            demotions: start.demotions,
            resumed_at: None,
        }
    }

    /// The position in the ring at which the next record begins.
    #[inline]
    pub fn position(&self) -> u64 {
        self.ring.position()
    }

    /// The cursor of the next message.
    #[inline]
    pub fn head(&self) -> u64 {
        self.ring.head()
    }

    /// The sequence number of the next message.
    #[inline]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether the publisher may have overwritten the next message: its bytes, copied before this
    /// call, count only if this is false.
    #[inline]
    pub fn is_overtaken(&self, words: &Words) -> bool {
        // Pairs with the release fence in `Publisher::overwrite`.
        fence(Ordering::Acquire);
        let is_safe =
            !self.is_lossy && words.seldom.demotions.load(Ordering::Relaxed) == self.demotions;
        !is_safe && is_before(self.head(), words.oldest.at.load(Ordering::Relaxed))
    }

    /// The fast path of [`Reader::poll`]: the length of the next message, which may have been
    /// overwritten. None for anything else.
    #[inline]
    pub fn try_peek(&self, headers: &impl Headers) -> Option<u32> {
        self.ring.try_peek(headers.length(self.position()))
    }

    /// Has [`Reader::try_peek`] find no message from now on.
    pub fn poison(&mut self) {
        self.ring.poison();
    }

    /// Whether [`Reader::poll`] would find a message, or that it has been overwritten.
    pub fn has_news(&self, headers: &impl Headers, words: &Words) -> bool {
        // Pairs with the release in `Producer::publish_batch`.
        let length = headers.length(self.position()).load(Ordering::Acquire);
        length != 0 || self.is_overtaken(words)
    }

    /// Looks for the next message.
    pub fn poll(&mut self, headers: &impl Headers, words: &Words) -> Result<Next> {
        let found = self.ring.poll(headers.length(self.ring.position()));
        if self.is_overtaken(words) {
            return Ok(Next::Overtaken);
        }
        Ok(match found? {
            true => Next::Message(self.ring.peek_len() as usize),
            false => Next::Nothing,
        })
    }

    /// Goes to the message after the next one, which has `len` bytes, and publishes that in `head`.
    #[inline]
    pub fn take(&mut self, len: usize, head: &AtomicU64) {
        self.ring.skip(len as u32);
        self.sequence = self.sequence.wrapping_add(1);
        self.ring.release_skipped(head);
    }

    /// Whether at least half of the ring is free for the publisher, as far as this subscriber is
    /// concerned.
    pub fn is_half_free(&self, words: &Words) -> bool {
        self.ring.is_half_free(&words.published.tail)
    }

    /// After the subscriber was overtaken: goes to a message that is left, and publishes that in
    /// `head`. Returns the number of messages that it has lost. `EPROTO` if the words are
    /// impossible.
    pub fn resume(
        &mut self,
        headers: &impl Headers,
        words: &Words,
        head: &AtomicU64,
    ) -> Result<u64> {
        let part = self.geometry.size() / MARKS as u64;
        // The publisher has not overtaken it twice in a short time.
        let mut is_oldest_best = self
            .resumed_at
            .is_none_or(|at| self.head().wrapping_sub(at) >= part);
        for _ in 0..ATTEMPTS {
            // Pairs with the release in `Publisher::overwrite`.
            let oldest = words.oldest.at.load(Ordering::Acquire);
            let at = match is_oldest_best {
                true => oldest,
                false => first_mark(words, oldest.wrapping_add(part)).unwrap_or(oldest),
            };
            if let Some(sequence) = self.sequence_at(at, headers, words)? {
                let lost = sequence.wrapping_sub(self.sequence);
                if !is_before(self.head(), at) || !is_before(self.sequence, sequence) {
                    return Err(Errno::EPROTO);
                }
                self.ring.go_to(at);
                self.resumed_at = Some(at);
                self.sequence = sequence;
                self.ring.release_skipped(head);
                return Ok(lost);
            }
            is_oldest_best = false;
        }
        Err(Errno::EPROTO)
    }

    /// The sequence number of the message at cursor `at`, which the publisher has published. None if
    /// it has been overwritten.
    fn sequence_at(&self, at: u64, headers: &impl Headers, words: &Words) -> Result<Option<u64>> {
        if !self.geometry.is_aligned(at) {
            return Err(Errno::EPROTO);
        }
        let header = headers.sequence(self.geometry.position(at));
        let count = words.published.count.load(Ordering::Relaxed);
        let low = header.load(Ordering::Relaxed);
        // Pairs with the release fence in `Publisher::overwrite`.
        fence(Ordering::Acquire);
        if is_before(at, words.oldest.at.load(Ordering::Relaxed)) {
            return Ok(None);
        }
        if is_before(words.published.tail.load(Ordering::Relaxed), at) {
            return Err(Errno::EPROTO);
        }
        // The count was loaded while the message was in the ring: see `RING_MAX`.
        let distance = low.wrapping_sub(count as u32) as i32;
        Ok(Some(count.wrapping_add(distance as u64)))
    }

    /// Goes to the message with this sequence number, or as far as there are messages before it.
    /// Returns whether the message is left: false if the publisher has overwritten it. Skips no more
    /// messages than the ring can hold, so that the publisher cannot prolong the call.
    pub fn seek(
        &mut self,
        sequence: u64,
        headers: &impl Headers,
        words: &Words,
        head: &AtomicU64,
    ) -> Result<bool> {
        for _ in 0..self.geometry.size() / RECORD_MIN {
            if self.sequence >= sequence {
                break;
            }
            match self.poll(headers, words)? {
                Next::Message(len) => self.take(len, head),
                Next::Nothing => break,
                Next::Overtaken => {
                    self.resume(headers, words, head)?;
                }
            }
        }
        Ok(self.sequence <= sequence)
    }
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
