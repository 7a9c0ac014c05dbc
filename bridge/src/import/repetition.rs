//! The deliveries that an engine repeats, in the order of their records.
//!
//! An engine delivers an unacknowledged record again when its time has passed. That is not the order of
//! the records if their deliveries, or earlier repetitions, were at different times. So all of them are
//! collected before the first one is taken. The engine limits their number.

use crate::engine::{Delivery, Resume};
use std::collections::BTreeMap;

/// See the module.
pub struct Repetition {
    /// The number of the last record that was delivered before.
    until: u64,
    /// How many of the records up to it are unacknowledged and were not repeated.
    left: u64,
    found: BTreeMap<u64, Delivery>,
}

impl Repetition {
    /// Of the records that are unacknowledged.
    pub fn new(resume: Resume) -> Self {
        Self {
            until: resume.delivered,
            left: resume.unacknowledged,
            found: BTreeMap::new(),
        }
    }

    /// Adds a delivery: one that is repeated, or the first one of a later record.
    pub fn add(&mut self, delivery: Delivery) {
        let number = delivery.number;
        let is_new = self.found.insert(number, delivery).is_none();
        if is_new && number <= self.until {
            self.left = self.left.saturating_sub(1);
        }
    }

    /// How many records were not repeated.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// All deliveries, in the order of their records.
    pub fn into_deliveries(self) -> impl Iterator<Item = Delivery> {
        self.found.into_values()
    }
}
