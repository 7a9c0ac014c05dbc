//! An event and a condition (`src/lock/event.rs`, `src/lock/cond.rs`).

use super::field;
use crate::proc::memory::Words;
use serde::Serialize;
use unixipc::lock::cond::Cond as CondLayout;
use unixipc::lock::event::Event as EventLayout;

pub const COND_HEADER: u64 = CondLayout::TYPE.word();
pub const EVENT_HEADER: u64 = EventLayout::TYPE.word();

/// The size of either object for a C program.
const SIZE: usize = 64;
const SIGNALS: usize = field(&CondLayout::LAYOUT, 1);
/// The announced waits, in the words of a condition.
const WAITS: usize = 8;
const FLAGS: usize = field(&EventLayout::LAYOUT, 1);
const STATE: usize = field(&EventLayout::LAYOUT, 2);
const WAITERS: usize = field(&EventLayout::LAYOUT, 3);
const AUTO_RESET: u32 = 1;

/// The state of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    pub set: bool,
    /// Whether a waiter consumes it.
    pub auto_reset: bool,
    /// Whether threads may wait for it.
    pub waiters: bool,
}

/// The state of a condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cond {
    /// The number of signals, modulo 2^32.
    pub signals: u32,
    /// The largest possible number of threads that wait.
    pub waiters: u32,
}

/// Decodes an event.
pub fn decode_event(words: Words<'_>) -> Option<(Event, usize)> {
    let flags = words.u32(FLAGS);
    if words.0.len() < SIZE || flags & !AUTO_RESET != 0 {
        return None;
    }
    let event = Event {
        set: words.u32(STATE) % 2 == 1,
        auto_reset: flags & AUTO_RESET != 0,
        waiters: words.u32(WAITERS) % 2 == 1,
    };
    Some((event, SIZE))
}

/// Decodes a condition.
pub fn decode_cond(words: Words<'_>) -> Option<(Cond, usize)> {
    if words.0.len() < SIZE {
        return None;
    }
    let waits = words.u64(SIGNALS + WAITS);
    let (announced, acknowledged) = ((waits >> 32) as u32, waits as u32);
    let cond = Cond {
        signals: words.u32(SIGNALS),
        waiters: announced.wrapping_sub(acknowledged),
    };
    Some((cond, SIZE))
}
