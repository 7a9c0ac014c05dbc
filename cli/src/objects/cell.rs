//! A cell (`src/cell/layout.rs`).

use super::{Holder, Lookup, Read, field, mutex};
use crate::proc::memory::Words;
use serde::Serialize;
use unixipc::cell::Control;

pub const HEADER: u64 = Control::TYPE.word();

const FLAGS: usize = field(&Control::LAYOUT, 1);
const SLOTS: usize = field(&Control::LAYOUT, 2);
const VALUE_SIZE: usize = field(&Control::LAYOUT, 3);
const STRIDE: usize = field(&Control::LAYOUT, 4);
const PUBLISHED: usize = field(&Control::LAYOUT, 5);
const WAITERS: usize = field(&Control::LAYOUT, 6);
const LOCK: usize = field(&Control::LAYOUT, 7);
/// The size of the control part.
const CONTROL: usize = size_of::<Control>();
const WAITABLE: u32 = 1;
/// The largest number of slots.
const SLOTS_MAX: u32 = 1 << 16;
/// The version of a slot that is being filled.
const BUSY: u64 = u64::MAX;
/// The size of the version and the length at the beginning of a slot.
const SLOT: usize = 16;
/// How often a cell that changes is read again.
const ATTEMPTS: u32 = 5;

/// The state of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The number of stores. None if the cell changes faster than it is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// How many values are stored in a second, if it was inspected twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stores_per_second: Option<u64>,
    /// The size of the largest value.
    pub value_size: u64,
    /// The length of the current value. None as above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Whether threads can wait for the next value.
    pub waitable: bool,
    /// Whether threads may wait for it.
    pub waiters: bool,
    /// The thread that stores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writer: Option<Holder>,
}

/// Decodes a cell. The slots may be missing in `words`.
pub fn decode(words: Words<'_>, lookup: &Lookup) -> Option<(Cell, usize)> {
    let (slots, stride) = (words.u32(SLOTS), words.u64(STRIDE));
    let value_size = words.u64(VALUE_SIZE);
    let is_cell = words.0.len() >= CONTROL
        && slots.is_power_of_two()
        && (2..=SLOTS_MAX).contains(&slots)
        && stride % 64 == 0
        && (1..=stride).contains(&value_size);
    if !is_cell {
        return None;
    }
    let size = stride
        .checked_mul(slots.into())?
        .checked_add(CONTROL as u64)?;
    let published = words.u32(PUBLISHED);
    let slot = slot_of(published, slots, stride);
    let current = usize::try_from(slot)
        .ok()
        .and_then(|slot| current(Words(words.0.get(slot..)?), published));
    let (lock, _) = mutex::decode(Words(words.0.get(LOCK..)?), lookup)?;
    let cell = Cell {
        version: current.map(|(version, _)| version),
        stores_per_second: None,
        value_size,
        length: current.map(|(_, length)| length.min(value_size)),
        waitable: words.u32(FLAGS) & WAITABLE != 0,
        waiters: words.u32(WAITERS) % 2 == 1,
        writer: lock.holder,
    };
    Some((cell, usize::try_from(size).ok()?))
}

/// The offset of the slot of the current value.
fn slot_of(published: u32, slots: u32, stride: u64) -> u64 {
    let index = u64::from(published & (slots - 1));
    (index * stride).saturating_add(CONTROL as u64)
}

/// The version and the length of the current value, from the beginning of its slot. None if the slot has
/// another value, or is being filled.
fn current(slot: Words<'_>, published: u32) -> Option<(u64, u64)> {
    let version = slot.u64(0);
    let is_current = slot.0.len() >= SLOT && version != BUSY && version as u32 == published;
    is_current.then(|| (version, slot.u64(8)))
}

impl Cell {
    /// Reads the version and the length of the current value again if the cell was changing.
    pub fn read_again(&mut self, read: &Read, offset: u64) {
        for _ in 0..ATTEMPTS {
            if self.version.is_some() {
                return;
            }
            let Some((version, length)) = read_current(read, offset) else {
                continue;
            };
            self.version = Some(version);
            self.length = Some(length.min(self.value_size));
        }
    }
}

fn read_current(read: &Read, offset: u64) -> Option<(u64, u64)> {
    let (mut control, mut slot) = ([0; CONTROL], [0; SLOT]);
    read(&mut control, offset).ok()?;
    let control = Words(&control);
    let (published, slots) = (control.u32(PUBLISHED), control.u32(SLOTS));
    if !slots.is_power_of_two() || slots > SLOTS_MAX {
        return None;
    }
    let at = slot_of(published, slots, control.u64(STRIDE).min(1 << 40));
    read(&mut slot, offset.checked_add(at)?).ok()?;
    current(Words(&slot), published)
}
