//! The publishing side of a broadcast ring.

use super::{Headers, MARKS, Start, Words, first_mark, is_before};
use crate::atomic::{Ordering, fence};
use crate::transport::ring::{Batch, Geometry, Producer};

/// The smallest copy for which the memcpy of a C library may use non-temporal stores (in glibc, the
/// lower limit of the tunable x86_non_temporal_threshold).
const NON_TEMPORAL_MIN: u64 = 0x4040;

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

    /// Whether a record of `need` bytes overwrites messages.
    #[inline]
    pub fn overwrites(&self, need: u64) -> bool {
        let end = self.tail().wrapping_add(need);
        end.wrapping_sub(self.oldest) > self.geometry.capacity()
    }

    /// Prepares the space of a record of `need` bytes: publishes which messages it overwrites. The
    /// caller then writes the message.
    #[inline]
    pub fn overwrite(&mut self, need: u64, headers: &impl Headers, words: &Words) {
        if self.overwrites(need) {
            self.move_oldest(self.tail().wrapping_add(need), headers, words);
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
        let mark = first_mark(words, end.wrapping_sub(capacity));
        if let Some(mark) = mark.filter(|mark| !is_before(self.slowest, *mark)) {
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
