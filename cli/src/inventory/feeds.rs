//! Feeds and their subscribers.

use super::memories::{Kind, Memory, MemoryId};
use super::snapshot::Snapshot;
use crate::output::Name;
use crate::proc::ProcessName;
use crate::proc::sockets::Listener;
use serde::Serialize;
use std::collections::HashMap;

/// A subscriber of a feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subscriber {
    /// The name that it has given itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Its processes. None if its process has ended, or is not visible.
    pub processes: Vec<ProcessName>,
    /// Whether it lives. None if its process may be invisible.
    pub alive: Option<bool>,
    /// Whether the publisher does not wait for it.
    pub lossy: bool,
    /// The sequence number of the next message that it reads.
    pub sequence: u64,
    /// How many messages it has not read.
    pub lag_messages: u64,
    /// How many bytes of the ring it has not read.
    pub lag_bytes: u64,
    /// How many messages it has lost.
    pub lost: u64,
    /// Whether it sleeps, waiting for a message.
    pub asleep: bool,
    /// Whether its words are impossible.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invalid: bool,
    #[serde(skip)]
    pub event_count: u32,
    #[serde(skip)]
    pub memory: MemoryId,
}

/// A feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Feed {
    /// The address at which it listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Name>,
    /// The processes of the publisher.
    pub processes: Vec<ProcessName>,
    /// Whether the publisher lives. None if a process may be invisible.
    pub alive: Option<bool>,
    /// How long it has existed, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<u64>,
    /// The size of the ring, in bytes.
    pub ring_size: u64,
    #[serde(flatten)]
    pub state: Option<FeedState>,
    /// The visible subscribers.
    pub subscribers: Vec<Subscriber>,
    #[serde(skip)]
    pub memory: MemoryId,
}

/// The state of a feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FeedState {
    /// The number of messages.
    pub messages: u64,
    /// The number of bytes, with their padding.
    pub bytes: u64,
    /// Whether the publisher sleeps, waiting for space.
    pub asleep: bool,
    /// Whether no message will follow.
    pub ended: bool,
    /// How many reliable subscribers the publisher no longer waits for.
    pub demotions: u32,
    #[serde(skip)]
    pub event_count: u32,
}

/// The feeds of all visible processes. `now` is the time since the boot, in nanoseconds.
pub fn find(snapshot: &Snapshot, listeners: &HashMap<u64, Listener>, now: u64) -> Vec<Feed> {
    let mut pages: HashMap<u64, Vec<&Memory>> = HashMap::new();
    for memory in snapshot.memories.values() {
        let label = memory.label().filter(|_| memory.kind == Kind::Subscriber);
        if let Some(label) = label {
            pages.entry(label.peer).or_default().push(memory);
        }
    }
    let memories = snapshot.memories.values();
    let feeds = memories.filter(|memory| memory.kind == Kind::Feed);
    feeds
        .map(|memory| {
            let pages = pages.get(&memory.id.file.inode);
            let pages = pages.into_iter().flatten().copied();
            feed(memory, pages, snapshot, listeners, now)
        })
        .collect()
}

fn feed<'a>(
    memory: &Memory,
    pages: impl Iterator<Item = &'a Memory>,
    snapshot: &Snapshot,
    listeners: &HashMap<u64, Listener>,
    now: u64,
) -> Feed {
    let label = memory.label();
    let listener = label
        .as_ref()
        .and_then(|label| listeners.get(&label.listener));
    let state = state(memory);
    let pages = pages.filter(|page| is_admitted(page, memory));
    Feed {
        address: listener.map(|listener| Name(listener.address.clone())),
        alive: snapshot.is_owned(memory),
        processes: snapshot.names(&memory.owners),
        age: label.map(|label| now.saturating_sub(label.created) / 1_000_000_000),
        ring_size: memory.ring_size,
        subscribers: pages
            .filter_map(|page| subscriber(page, memory, state.as_ref(), snapshot))
            .collect(),
        state,
        memory: memory.id,
    }
}

/// Whether the publisher maps a page that claims to be that of a subscriber. A publisher that has died
/// maps nothing.
fn is_admitted(page: &Memory, feed: &Memory) -> bool {
    let mut publishers = feed.owners.iter();
    page.id.file.device == feed.id.file.device
        && (feed.owners.is_empty() || publishers.any(|pid| page.readers.contains(pid)))
}

fn state(memory: &Memory) -> Option<FeedState> {
    let words = memory.words()?;
    let event_count = words.u32(384);
    Some(FeedState {
        messages: words.u64(8),
        bytes: words.u64(0),
        asleep: event_count % 2 == 1,
        ended: words.u32(324) != 0,
        demotions: words.u32(320),
        event_count,
    })
}

fn subscriber(
    page: &Memory,
    feed: &Memory,
    state: Option<&FeedState>,
    snapshot: &Snapshot,
) -> Option<Subscriber> {
    let (words, label) = (page.words()?, page.label()?);
    let (head, sequence, lost) = (words.u64(0), words.u64(8), words.u64(16));
    let (tail, count) = state.map_or((head, sequence), |state| (state.bytes, state.messages));
    // The subscriber goes on while both are read, so it may be ahead.
    let behind = |end: u64, at: u64| (end.wrapping_sub(at) as i64).max(0) as u64;
    let lag_bytes = behind(tail, head);
    let event_count = words.u32(128);
    // The record of a message has at least 16 bytes.
    let is_possible = |head| sequence <= head / 16;
    // The subscriber goes on while its words are read, too.
    let is_possible = is_possible(head) || page.read_again(0).is_some_and(is_possible);
    Some(Subscriber {
        name: (!label.name.is_empty()).then(|| Name(label.name.clone())),
        processes: snapshot.names(&page.owners),
        alive: snapshot.is_owned(page),
        lossy: label.is_lossy,
        sequence,
        lag_messages: behind(count, sequence).min(count),
        // A lossy subscriber may be overtaken, and then lags by more than the ring.
        lag_bytes: lag_bytes.min(feed.ring_size),
        lost: lost.min(count),
        asleep: event_count % 2 == 1,
        invalid: head % 8 != 0 || !is_possible,
        event_count,
        memory: page.id,
    })
}
