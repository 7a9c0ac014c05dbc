//! The memory of the feed in the models.

use super::shipped::control::FeedControl;
use crate::SwitchPoint;
use crate::atomic::{AtomicU32, Ordering};
use crate::transport::broadcast::Headers;
use crate::transport::ring::ALIGN_MIN as ALIGN;
use loom::cell::UnsafeCell;

/// The length of a message, which occupies one slot. Its record also has a slot for the header.
pub const LEN: u32 = ALIGN as u32;

/// A slot: the header of a record, or a word of a message.
#[derive(Default)]
struct Slot {
    /// The sequence number and the length, or the two halves of the message's word.
    halves: [AtomicU32; 2],
    /// loom panics if a thread reads it while another one writes it.
    exclusive: UnsafeCell<()>,
}

/// The memory of a feed.
pub struct FeedMemory {
    control: FeedControl,
    slots: Vec<Slot>,
    switch_point: SwitchPoint,
}

impl FeedMemory {
    /// Memory whose ring has this number of slots. A slot is a word of eight bytes.
    pub fn new(slots: usize) -> Self {
        Self {
            control: FeedControl::default(),
            slots: (0..slots).map(|_| Slot::default()).collect(),
            switch_point: SwitchPoint::new(),
        }
    }

    /// The size of the ring.
    pub fn size(&self) -> u64 {
        self.slots.len() as u64 * ALIGN
    }

    /// The control words.
    pub fn control(&self) -> &FeedControl {
        &self.control
    }

    /// A point at which loom tries to switch to every other thread.
    pub fn switch(&self) {
        self.switch_point.visit();
    }

    fn slot(&self, position: u64) -> &Slot {
        &self.slots[(position / ALIGN) as usize % self.slots.len()]
    }

    /// Writes a message into the record at a position: each half of its word is `number`.
    pub fn write(&self, position: u64, number: u32) {
        let slot = self.slot(position + ALIGN);
        slot.exclusive.with_mut(|_| ());
        for half in &slot.halves {
            half.store(number, Ordering::Relaxed);
            self.switch();
        }
    }

    /// Copies the message of the record at a position. `exclusively` if the publisher must not
    /// write it meanwhile.
    pub fn read(&self, position: u64, exclusively: bool) -> [u32; 2] {
        let slot = self.slot(position + ALIGN);
        if exclusively {
            slot.exclusive.with(|_| ());
        }
        slot.halves
            .each_ref()
            .map(|half| half.load(Ordering::Relaxed))
    }
}

impl Headers for FeedMemory {
    fn length(&self, position: u64) -> &AtomicU32 {
        &self.slot(position).halves[1]
    }

    fn sequence(&self, position: u64) -> &AtomicU32 {
        &self.slot(position).halves[0]
    }
}
