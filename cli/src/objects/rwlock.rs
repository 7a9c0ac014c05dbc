//! A reader-writer lock (`src/lock/rwlock.rs`).

use super::mutex::robust;
use super::{Holder, Lookup, field};
use crate::proc::memory::Words;
use serde::Serialize;
use unixipc::lock::rw_protocol::{DAMAGED, PENDING, WRITING};
use unixipc::lock::rwlock::{READERS_MAX, Rwlock as Layout, SIZE};

pub const HEADER: u64 = Layout::TYPE.word();

/// The size of a cache line.
const LINE: usize = 64;
const REST: usize = field(&Layout::LAYOUT, 1);
const STATE: usize = field(&Layout::LAYOUT, 2);
const SLOTS_USED: usize = field(&Layout::LAYOUT, 4);
const ORIGIN: usize = field(&Layout::LAYOUT, 8);
const GATE: usize = field(&Layout::LAYOUT, 9);
const SLOTS: usize = field(&Layout::LAYOUT, 10);
const HELD_SINCE: usize = field(&Layout::LAYOUT, 11);
/// The PID namespace in the origin.
const NAMESPACE: usize = 4;

/// The state of a reader-writer lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rwlock {
    /// The threads that read.
    pub readers: Vec<Holder>,
    /// The thread that writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writer: Option<Holder>,
    /// The thread that waits for the readers before it writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Holder>,
    /// For how many milliseconds the thread that writes, or waits for the readers, has held the gate,
    /// or longer; only known if others wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_ms: Option<u32>,
    /// Whether threads wait for the gate.
    pub waiters: bool,
    /// Whether a writer has died, and no later writer has marked the data as consistent.
    pub owner_died: bool,
}

/// Decodes a lock at an offset of its region.
pub fn decode(words: Words<'_>, offset: u64, lookup: &Lookup) -> Option<(Rwlock, usize)> {
    if words.0.len() < SIZE {
        return None;
    }
    // The lines begin at the next cache line, and regions at a page.
    let misplaced = (offset as usize + REST) % LINE;
    let lines = REST + (LINE - misplaced) % LINE;
    let state = words.u32(lines + STATE);
    let namespace = words.u32(lines + ORIGIN + NAMESPACE);
    let used = words.u32(lines + SLOTS_USED) as usize;
    if state & !(PENDING | WRITING | DAMAGED) != 0 || used > READERS_MAX {
        return None;
    }
    let held_since = words.u32(lines + HELD_SINCE);
    let gate = robust(words, lines + GATE, held_since, namespace, lookup);
    let slots =
        (0..used).map(|slot| robust(words, lines + SLOTS + slot * LINE, 0, namespace, lookup));
    let readers = slots.filter_map(|slot| slot.holder).collect();
    let is_writing = state & WRITING != 0;
    let died = gate.holder.is_none() && is_writing;
    let (writer, pending) = match gate.holder {
        Some(holder) if is_writing => (Some(holder), None),
        Some(holder) if state & PENDING != 0 => (None, Some(holder)),
        _ => (None, None),
    };
    let lock = Rwlock {
        readers,
        writer,
        pending,
        held_ms: gate.held_ms,
        waiters: gate.waiters,
        owner_died: state & DAMAGED != 0 || died,
    };
    Some((lock, SIZE))
}
