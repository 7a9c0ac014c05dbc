//! The rows of the table: the rates of channels, feeds and cells, and the processes that wait.

use super::ring;
use super::sample::Sample;
use crate::commands::ls::rows::{held_text, processes, text};
use crate::inventory::channels::{Channel, Side};
use crate::inventory::feeds::{Feed, Subscriber};
use crate::inventory::memories::MemoryId;
use crate::inventory::regions::Region;
use crate::objects::{Lock, Object, State};
use crate::output::units::{self, rate};
use crate::output::{Cell, Table};
use crate::proc::maps::FileId;
use serde::Serialize;
use std::collections::HashMap;

/// A row.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Flow {
    /// `channel`, `feed`, `subscriber`, `cell`, `mutex` or `rwlock`.
    pub kind: &'static str,
    pub from: String,
    pub to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages_per_second: Option<f64>,
    /// Whether the number of messages is an estimate.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<f64>,
    /// The bytes in the ring that were not received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring_size: Option<u64>,
    /// The messages that a subscriber has not received, and has lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// How often a side has slept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_per_second: Option<f64>,
    /// Which side waits for the other one, or a fault.
    pub state: String,
    /// Whether the state needs attention.
    pub bad: bool,
}

/// The number of sleeps that have begun between two event counts, in a second: each sleep has a new odd
/// number.
fn waits(before: u32, now: u32, seconds: f64) -> f64 {
    let change = now.wrapping_sub(before);
    if change >= 1 << 31 {
        return 0.0;
    }
    let begun = match before % 2 {
        0 => change.div_ceil(2),
        _ => change / 2,
    };
    f64::from(begun) / seconds
}

/// The rows for the time between two samples.
pub fn between(before: &Sample, now: &Sample) -> Vec<Flow> {
    let seconds = now.seconds_since(before);
    let mut flows = Vec::new();
    let sides = before.channels.iter().flat_map(|channel| &channel.sides);
    let sides: HashMap<MemoryId, &Side> = sides.map(|side| (side.memory, side)).collect();
    for channel in &now.channels {
        flows.extend(of_channel(channel, &sides, now, seconds));
    }
    let feeds: HashMap<MemoryId, &Feed> = before
        .feeds
        .iter()
        .map(|feed| (feed.memory, feed))
        .collect();
    for feed in &now.feeds {
        of_feed(feed, feeds.get(&feed.memory).copied(), seconds, &mut flows);
    }
    let regions: HashMap<FileId, &Region> = before
        .regions
        .iter()
        .map(|region| (region.file, region))
        .collect();
    for region in &now.regions {
        of_region(
            region,
            regions.get(&region.file).copied(),
            seconds,
            &mut flows,
        );
    }
    flows
}

/// The two directions of a channel.
fn of_channel(
    channel: &Channel,
    before: &HashMap<MemoryId, &Side>,
    now: &Sample,
    seconds: f64,
) -> Vec<Flow> {
    let [a, b] = &channel.sides[..] else {
        return Vec::new();
    };
    let direction = |from: &Side, to: &Side| {
        let (from_state, to_state) = (from.state.as_ref(), to.state.as_ref());
        let (from_before, to_before) = (before.get(&from.memory), before.get(&to.memory));
        let (from_before, to_before) = (
            from_before.and_then(|side| side.state.as_ref()),
            to_before.and_then(|side| side.state.as_ref()),
        );
        let sent = from_before.map(|state| state.sent_bytes);
        let memory = now.snapshot.memories.get(&from.memory);
        let messages = memory
            .zip(from_state)
            .zip(sent)
            .and_then(|((memory, state), sent)| {
                ring::messages(memory, state.align, sent, state.sent_bytes)
            });
        // A sender waits for space in its own memory, a receiver for a message in its own.
        let waits = from_state
            .zip(from_before)
            .zip(to_state.zip(to_before))
            .map(|((from, from_before), (to, to_before))| {
                waits(from_before.event_counts[1], from.event_counts[1], seconds)
                    + waits(to_before.event_counts[0], to.event_counts[0], seconds)
            });
        let (state, bad) = direction_state(from, to);
        Flow {
            kind: "channel",
            from: processes(&from.processes),
            to: processes(&to.processes),
            messages_per_second: messages.map(|(count, _)| count / seconds),
            estimated: messages.is_some_and(|(_, estimated)| estimated),
            bytes_per_second: from_state.and_then(|state| rate(sent, state.sent_bytes, seconds)),
            unread_bytes: from_state.map(|state| state.unread_bytes),
            ring_size: Some(from.ring_size),
            waits_per_second: waits,
            state,
            bad,
            ..Flow::default()
        }
    };
    vec![direction(a, b), direction(b, a)]
}

fn direction_state(from: &Side, to: &Side) -> (String, bool) {
    let is_stopped = |side: &Side| {
        !side.processes.is_empty() && side.processes.iter().all(|process| process.stopped)
    };
    let (Some(from_state), Some(to_state)) = (&from.state, &to.state) else {
        return ("unreadable".into(), false);
    };
    if from_state.invalid || to_state.invalid {
        ("invalid".into(), true)
    } else if from.processes.is_empty() {
        absent("sender", from.alive)
    } else if to.processes.is_empty() {
        absent("receiver", to.alive)
    } else if is_stopped(to) {
        ("receiver stopped".into(), true)
    } else if is_stopped(from) {
        ("sender stopped".into(), true)
    } else if from_state.sender_asleep {
        ("sender waits for receiver".into(), true)
    } else if to_state.receiver_asleep {
        ("receiver waits for sender".into(), false)
    } else {
        ("busy".into(), false)
    }
}

/// The state of a side without a visible process.
fn absent(side: &str, alive: Option<bool>) -> (String, bool) {
    match alive {
        None => (format!("{side} not visible"), false),
        _ => (format!("{side} gone"), true),
    }
}

fn of_feed(feed: &Feed, before: Option<&Feed>, seconds: f64, flows: &mut Vec<Flow>) {
    let publisher = processes(&feed.processes);
    let name = feed
        .address
        .as_ref()
        .map_or_else(|| publisher.clone(), text);
    let Some(state) = &feed.state else {
        return;
    };
    let state_before = before.and_then(|feed| feed.state.as_ref());
    let (status, bad) = match (feed.alive, state.ended, state.asleep) {
        (Some(false), ..) => ("publisher gone", true),
        (_, true, _) => ("ended", false),
        (_, _, true) => ("publisher waits for subscribers", true),
        _ => ("", false),
    };
    flows.push(Flow {
        kind: "feed",
        from: publisher,
        to: subscribers(feed.subscribers.len()),
        messages_per_second: rate(
            state_before.map(|state| state.messages),
            state.messages,
            seconds,
        ),
        bytes_per_second: rate(state_before.map(|state| state.bytes), state.bytes, seconds),
        ring_size: Some(feed.ring_size),
        waits_per_second: state_before
            .map(|before| waits(before.event_count, state.event_count, seconds)),
        state: status.into(),
        bad,
        ..Flow::default()
    });
    for subscriber in &feed.subscribers {
        let earlier = before.and_then(|feed| {
            let mut subscribers = feed.subscribers.iter();
            subscribers.find(|earlier| earlier.memory == subscriber.memory)
        });
        flows.push(of_subscriber(subscriber, earlier, &name, feed, seconds));
    }
}

fn of_subscriber(
    subscriber: &Subscriber,
    before: Option<&Subscriber>,
    feed_name: &str,
    feed: &Feed,
    seconds: f64,
) -> Flow {
    let process = processes(&subscriber.processes);
    let is_stopped = subscriber.processes.iter().all(|process| process.stopped);
    // A reliable subscriber holds the publisher up if half of the ring is unread.
    let is_slow = !subscriber.lossy && subscriber.lag_bytes > feed.ring_size / 2;
    let (state, bad) = if subscriber.invalid {
        ("invalid", true)
    } else if subscriber.processes.is_empty() && subscriber.alive.is_none() {
        ("not visible", false)
    } else if subscriber.processes.is_empty() {
        ("gone", true)
    } else if is_stopped {
        ("stopped", true)
    } else if is_slow {
        ("holds the publisher up", true)
    } else if subscriber.asleep {
        ("waits for publisher", false)
    } else {
        ("busy", false)
    };
    Flow {
        kind: "subscriber",
        from: feed_name.into(),
        to: subscriber
            .name
            .as_ref()
            .map_or(process.clone(), |name| format!("{} {process}", text(name))),
        messages_per_second: rate(
            before.map(|before| before.sequence),
            subscriber.sequence,
            seconds,
        ),
        unread_bytes: Some(subscriber.lag_bytes),
        ring_size: Some(feed.ring_size),
        lag_messages: Some(subscriber.lag_messages),
        lost: Some(subscriber.lost),
        waits_per_second: before
            .map(|before| waits(before.event_count, subscriber.event_count, seconds)),
        state: state.into(),
        bad,
        ..Flow::default()
    }
}

/// The cells of a region, and its locks that are held or damaged.
fn of_region(region: &Region, before: Option<&Region>, seconds: f64, flows: &mut Vec<Flow>) {
    let name = region.name.as_ref().map_or("(no name)".into(), text);
    for object in &region.objects {
        let earlier = before.and_then(|region| {
            region
                .objects
                .iter()
                .find(|earlier| earlier.offset == object.offset)
        });
        flows.extend(of_object(
            object,
            earlier,
            &format!("{name}+{}", object.offset),
            seconds,
        ));
    }
}

fn of_object(object: &Object, before: Option<&Object>, name: &str, seconds: f64) -> Option<Flow> {
    let before = before.map(|object| &object.state);
    let flow = Flow {
        to: name.into(),
        ..Flow::default()
    };
    match (&object.state, before) {
        (State::Cell(cell), before) => {
            let version = match before {
                Some(State::Cell(before)) => before.version,
                _ => None,
            };
            let messages_per_second = cell.version.and_then(|now| rate(version, now, seconds));
            let bytes_per_second = messages_per_second.zip(cell.length);
            Some(Flow {
                kind: "cell",
                messages_per_second,
                bytes_per_second: bytes_per_second.map(|(rate, length)| rate * length as f64),
                ..flow
            })
        }
        (now, before) => of_lock(&now.lock()?, before.and_then(State::lock), flow),
    }
}

/// The row of a lock, if it is held in both samples, or damaged.
fn of_lock(lock: &Lock, before: Option<Lock>, flow: Flow) -> Option<Flow> {
    let before = before.filter(|before| before.kind == lock.kind);
    let before = before.and_then(|before| before.holder);
    let holder = lock.holder.filter(|holder| before == Some(*holder));
    if holder.is_none() && !lock.owner_died {
        return None;
    }
    let process = holder.and_then(|holder| holder.process.clone());
    let state = match (lock.owner_died, lock.waiters) {
        (true, _) => "owner died".into(),
        (false, true) => match lock.held_ms {
            Some(ms) => format!("held {}, others wait", held_text(ms)),
            None => "others wait".into(),
        },
        (false, false) => "held in both measurements".into(),
    };
    Some(Flow {
        kind: lock.kind,
        from: processes(process.as_slice()),
        state,
        bad: lock.owner_died || lock.waiters,
        ..flow
    })
}

/// The table.
pub fn table(flows: &[Flow]) -> Table {
    let header = [
        "KIND", "FROM", "TO", "MSG/S", "BYTE/S", "UNREAD", "FILL", "LAG", "LOST", "WAITS/S",
        "STATE",
    ];
    let mut table = Table::new(&header);
    for flow in flows {
        table.row(cells(flow));
    }
    table
}

fn cells(flow: &Flow) -> Vec<Cell> {
    let number = |value: Option<String>| Cell::number(value.unwrap_or_default());
    let rate = |value: Option<f64>| value.map(units::count);
    let fill = flow.unread_bytes.zip(flow.ring_size).map(|(unread, ring)| {
        format!(
            "{}%",
            unread.saturating_mul(100).checked_div(ring).unwrap_or(0)
        )
    });
    let mark = if flow.estimated { "~" } else { "" };
    let state = Cell::text(&flow.state);
    vec![
        Cell::text(flow.kind),
        Cell::text(&flow.from),
        Cell::text(&flow.to),
        number(rate(flow.messages_per_second).map(|rate| format!("{mark}{rate}"))),
        number(rate(flow.bytes_per_second)),
        number(flow.unread_bytes.map(units::bytes)),
        number(fill),
        number(flow.lag_messages.map(|lag| lag.to_string())),
        number(flow.lost.map(|lost| lost.to_string())),
        number(rate(flow.waits_per_second)),
        if flow.bad { state.bad() } else { state },
    ]
}

fn subscribers(count: usize) -> String {
    match count {
        1 => "1 subscriber".into(),
        count => format!("{count} subscribers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps() {
        for (before, now, expected) in [
            (0, 0, 0.0),
            (0, 1, 1.0),
            (1, 1, 0.0),
            // It began before.
            (1, 2, 0.0),
            (1, 3, 1.0),
            (0, 4, 2.0),
            (u32::MAX, 1, 1.0),
            (2, 0, 0.0),
        ] {
            assert_eq!(waits(before, now, 1.0), expected, "{before} {now}");
        }
    }
}
