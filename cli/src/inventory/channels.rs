//! Channels: pairs of memories, each of which belongs to one side.

use super::memories::{Kind, Memory, MemoryId};
use super::snapshot::Snapshot;
use crate::proc::ProcessName;
use crate::proc::maps::FileId;
use crate::proc::memory::Words;
use serde::Serialize;
use std::collections::BTreeSet;

/// A side of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// The processes that have this side. More than one after a fork; none if its process has ended,
    /// or is not visible.
    pub processes: Vec<ProcessName>,
    /// Whether it has a process. None if its process may be invisible.
    pub alive: Option<bool>,
    /// The size of the ring into which it sends, in bytes.
    pub ring_size: u64,
    /// The words; none if this process may not read the memory.
    #[serde(flatten)]
    pub state: Option<SideState>,
    #[serde(skip)]
    pub memory: MemoryId,
}

/// The state of a side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SideState {
    /// How many bytes it has sent, with their padding.
    pub sent_bytes: u64,
    /// How many bytes it has received, with their padding.
    pub received_bytes: u64,
    /// How many of the bytes that it has sent the peer has not received.
    pub unread_bytes: u64,
    /// Whether its receiver sleeps, waiting for a message.
    pub receiver_asleep: bool,
    /// Whether its sender sleeps, waiting for space.
    pub sender_asleep: bool,
    /// Whether it has ended sending or receiving.
    pub ended: bool,
    /// Whether its words are impossible.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invalid: bool,
    /// The event counts of its receiver and its sender.
    #[serde(skip)]
    pub event_counts: [u32; 2],
    #[serde(skip)]
    pub created: Option<u64>,
    #[serde(skip)]
    pub align: u64,
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Channel {
    /// Its sides. A single one if the handshake has not ended.
    pub sides: Vec<Side>,
    /// Whether both sides have a process. None if a process may be invisible, and until the handshake
    /// has ended.
    pub alive: Option<bool>,
    /// How long it has existed, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<u64>,
}

/// The offset of the cursor of a receiver.
const HEAD: usize = 128;
/// The event count of a receiver that has ended receiving.
const ENDED: u32 = unixipc::transport::event_count::ENDED;

/// The channels of all visible processes. `now` is the time since the boot, in nanoseconds.
pub fn find(snapshot: &Snapshot, now: u64) -> Vec<Channel> {
    let memories = &snapshot.memories;
    let mut seen = BTreeSet::new();
    let mut channels = Vec::new();
    for memory in memories
        .values()
        .filter(|memory| memory.kind == Kind::Channel)
    {
        if !seen.insert(memory.id) {
            continue;
        }
        let peer = peer_of(memory, snapshot).filter(|peer| seen.insert(peer.id));
        let mut sides = vec![side(memory, peer, snapshot)];
        sides.extend(peer.map(|peer| side(peer, Some(memory), snapshot)));
        let created = sides
            .iter()
            .filter_map(|side| side.state.as_ref()?.created)
            .min();
        channels.push(Channel {
            alive: match &sides[..] {
                sides if sides.iter().any(|side| side.alive == Some(false)) => Some(false),
                [a, b] => a.alive.and(b.alive),
                _ => None,
            },
            age: created.map(|created| now.saturating_sub(created) / 1_000_000_000),
            sides,
        });
    }
    channels
}

/// The memory of the other side: both labels name each other, or both memories are in one file.
fn peer_of<'a>(memory: &Memory, snapshot: &'a Snapshot) -> Option<&'a Memory> {
    let file = memory.id.file;
    let mut pair = snapshot.memories_of(file);
    if let Some(other) = pair.find(|other| other.id != memory.id) {
        return Some(other);
    }
    let inode = memory.label().map(|label| label.peer)?;
    let other = FileId { inode, ..file };
    let mut others = snapshot.memories_of(other);
    others.find(|other| other.label().is_some_and(|label| label.peer == file.inode))
}

fn side(memory: &Memory, peer: Option<&Memory>, snapshot: &Snapshot) -> Side {
    Side {
        processes: snapshot.names(&memory.owners),
        alive: snapshot.is_owned(memory),
        ring_size: memory.ring_size,
        state: memory.words().map(|words| state(memory, words, peer)),
        memory: memory.id,
    }
}

fn state(memory: &Memory, words: Words<'_>, peer: Option<&Memory>) -> SideState {
    let (tail, head) = (words.u64(0), words.u64(HEAD));
    let peer_head = peer.and_then(Memory::words).map(|words| words.u64(HEAD));
    // The peer goes on while both are read, so its cursor may be ahead.
    let behind = |head| (tail.wrapping_sub(head) as i64).max(0) as u64;
    let mut unread = peer_head.map_or(0, behind);
    if unread > memory.ring_size {
        // Or its cursor was read first, and this side has sent more since then.
        let later = peer.and_then(|peer| peer.read_again(HEAD as u64));
        unread = later.map_or(unread, behind);
    }
    let event_counts = [words.u32(256), words.u32(260)];
    let [receiver, sender] = event_counts;
    let label = memory.label();
    SideState {
        sent_bytes: tail,
        received_bytes: head,
        unread_bytes: unread.min(memory.ring_size),
        receiver_asleep: receiver % 2 == 1,
        sender_asleep: sender % 2 == 1,
        ended: words.u32(268) != 0 || words.u32(272) != 0 || receiver == ENDED,
        invalid: unread > memory.ring_size || tail % 8 != 0 || head % 8 != 0,
        event_counts,
        created: label.as_ref().map(|label| label.created),
        align: label.map_or(0, |label| label.align),
    }
}
