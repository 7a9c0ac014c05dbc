//! Consecutive records of a ring, for loops over many messages.

use super::ring::{Geometry, Producer};
use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use std::hint::black_box;

/// The size of a record, which is computed again only if the length of its message differs from the
/// one before.
///
/// Consecutive messages often have the same length. A processor that predicts so need not wait for
/// the length of a message before it reads the next one: its address then depends on no load.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordSize {
    /// The length, which has been checked.
    len: u32,
    /// The size of a record with a message of this length.
    pub(super) need: u64,
}

impl RecordSize {
    /// The size for messages of `len` bytes, a valid length.
    pub(super) const fn new(len: u32, geometry: Geometry) -> Self {
        Self {
            len,
            need: geometry.record_size(len as u64),
        }
    }

    /// Sets the length. Returns false unless it is from 1 to `longest`.
    #[inline(always)]
    pub(super) fn set(&mut self, len: usize, longest: u32, geometry: Geometry) -> bool {
        if len != self.len as usize {
            // One comparison for both limits: 0 wraps around.
            if len.wrapping_sub(1) >= longest as usize {
                return false;
            }
            self.len = len as u32;
            // `black_box` keeps the branch: without it, the compiler computes the size each time.
            self.need = black_box(geometry.record_size(len as u64));
        }
        true
    }
}

/// Consecutive records that a loop over the messages of a batch writes or reads. A loop has its own
/// value, so that the compiler can keep it in registers.
#[derive(Clone, Copy, Debug)]
pub struct Records {
    pub(super) geometry: Geometry,
    /// The cursor of the next record.
    pub(super) cursor: u64,
    /// The number of bytes that they may occupy.
    pub(super) left: u64,
    /// The longest message.
    pub(super) longest: u32,
    /// The size of the next record, after [`Records::set_len`].
    pub(super) size: RecordSize,
}

impl Records {
    /// The position in the ring at which the next record begins.
    #[inline(always)]
    pub fn position(&self) -> u64 {
        self.geometry.position(self.cursor)
    }

    /// Sets the length of the next message. Returns false if no message can have it.
    #[inline(always)]
    pub fn set_len(&mut self, len: usize) -> bool {
        self.size.set(len, self.longest, self.geometry)
    }

    /// Loads the length of the next message. None if there is no message, or if its length is
    /// impossible or marked.
    #[inline(always)]
    pub fn load_len(&mut self, length: &AtomicU32) -> Option<usize> {
        // Pairs with the release in `Producer::publish_batch`.
        let len = length.load(Ordering::Acquire) as usize;
        self.set_len(len).then_some(len)
    }

    /// Goes to the record after the next one. Returns false, without a change, if the next record
    /// does not fit.
    #[inline(always)]
    pub fn advance(&mut self) -> bool {
        let Some(left) = self.left.checked_sub(self.size.need) else {
            return false;
        };
        self.left = left;
        self.cursor = self.cursor.wrapping_add(self.size.need);
        true
    }

    /// As [`Records::advance`], for free records of `ring`; loads the consumer's cursor if necessary.
    #[inline(always)]
    pub fn advance_free(&mut self, ring: &mut Producer, head: &AtomicU64) -> bool {
        if self.advance() {
            return true;
        }
        self.left = ring.refresh_after(self.cursor, head);
        self.advance()
    }
}
