//! A cell (`src/cell/layout.rs`).

use super::{Holder, Lookup, field, mutex};
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

/// The state of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The number of stores.
    pub version: u64,
    /// The size of the largest value.
    pub value_size: u64,
    /// The length of the current value.
    pub length: u64,
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
    let (version, length) = current(words, published, slots, stride);
    let (lock, _) = mutex::decode(Words(words.0.get(LOCK..)?), lookup)?;
    let cell = Cell {
        version,
        value_size,
        length: length.min(value_size),
        waitable: words.u32(FLAGS) & WAITABLE != 0,
        waiters: words.u32(WAITERS) % 2 == 1,
        writer: lock.holder,
    };
    Some((cell, usize::try_from(size).ok()?))
}

/// The version and the length of the current value. The version has 32 bits if the slot is missing in
/// `words`, or is being filled.
fn current(words: Words<'_>, published: u32, slots: u32, stride: u64) -> (u64, u64) {
    let slot = u64::from(published & (slots - 1)) * stride + CONTROL as u64;
    let Ok(at) = usize::try_from(slot) else {
        return (published.into(), 0);
    };
    let version = words.u64(at);
    if version == BUSY || version as u32 != published {
        return (published.into(), 0);
    }
    (version, words.u64(at + 8))
}
