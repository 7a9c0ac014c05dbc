//! The side of a subscriber of a broadcast ring.

use super::{HEADER, Headers, MARKS, Start, Words, first_mark, is_before};
use crate::atomic::{AtomicU64, Ordering, fence};
use crate::errno::{Result, errno};
use crate::transport::ring::{ALIGN_MIN, Consumer, Geometry};

/// The size of the smallest record.
const RECORD_MIN: u64 = HEADER + ALIGN_MIN;

/// How often a subscriber tries to find a message that is left.
const ATTEMPTS: usize = 1000;

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
                    return Err(errno!(EPROTO));
                }
                self.ring.go_to(at);
                self.resumed_at = Some(at);
                self.sequence = sequence;
                self.ring.release_skipped(head);
                return Ok(lost);
            }
            is_oldest_best = false;
        }
        Err(errno!(EPROTO))
    }

    /// The sequence number of the message at cursor `at`, which the publisher has published. None if
    /// it has been overwritten.
    fn sequence_at(&self, at: u64, headers: &impl Headers, words: &Words) -> Result<Option<u64>> {
        if !self.geometry.is_aligned(at) {
            return Err(errno!(EPROTO));
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
            return Err(errno!(EPROTO));
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
