//! The rows of the table.

use crate::inventory::Item;
use crate::inventory::channels::{Channel, Side};
use crate::inventory::feeds::{Feed, Subscriber};
use crate::inventory::files::Access;
use crate::objects::{Holder, Object, State};
use crate::output::{Cell, Name, Table, escaped, units};
use crate::proc::ProcessName;

/// The largest number of processes in a cell.
const PROCESSES_MAX: usize = 4;

/// Appends the rows of an object.
pub fn add(table: &mut Table, item: &Item) {
    match item {
        Item::Region(region) => {
            let mut details = vec![units::bytes(region.size)];
            details.extend(region.transient.then(|| "transient".into()));
            details.extend(region.layout.map(|layout| format!("layout {layout:#x}")));
            details.extend(region.partly_read.then(|| "partly read".into()));
            let name = region.name.as_ref().map_or("(no name)".into(), text);
            let kind = if region.recognised { "region" } else { "file" };
            let access = region.access.as_ref();
            row(
                table,
                kind,
                &name,
                access,
                region.alive,
                &region.processes,
                &details,
            );
            objects(table, &region.objects);
        }
        Item::Segment(segment) => {
            let mut details = vec![
                units::bytes(segment.size),
                format!("attached {}", segment.attached),
                format!("creator {}", segment.creator),
            ];
            details.extend(segment.partly_read.then(|| "partly read".into()));
            let alive = Some(segment.attached > 0);
            let (access, processes) = (Some(&segment.access), &segment.processes);
            row(
                table,
                "segment",
                &segment.key,
                access,
                alive,
                processes,
                &details,
            );
            objects(table, &segment.objects);
        }
        Item::Set(set) => {
            let mut details = vec![format!("readers {}", set.readers)];
            details.extend(set.writer.map(|writer| format!("written by {writer}")));
            details.extend(set.writer_pending.then(|| "writer waits".into()));
            details.extend((set.waiters > 0).then(|| format!("waiters {}", set.waiters)));
            details.extend(set.owner_died.then(|| "owner died".into()));
            row(
                table,
                "set",
                &set.key,
                Some(&set.access),
                None,
                &[],
                &details,
            );
        }
        Item::Fifo(fifo) => {
            let (path, access) = (text(&fifo.path), Some(&fifo.access));
            row(
                table,
                "fifo",
                &path,
                access,
                fifo.alive,
                &fifo.processes,
                &[],
            );
        }
        Item::Listener(listener) => {
            let (address, access) = (text(&listener.address), listener.access.as_ref());
            row(
                table,
                "listener",
                &address,
                access,
                listener.alive,
                &listener.processes,
                &[],
            );
        }
        Item::Channel(found) => channel(table, found),
        Item::Feed(found) => feed(table, found),
    }
}

fn row(
    table: &mut Table,
    kind: &str,
    name: &str,
    access: Option<&Access>,
    alive: Option<bool>,
    processes: &[ProcessName],
    details: &[String],
) {
    let owner = |access: &Access| {
        access
            .owner
            .clone()
            .unwrap_or_else(|| access.uid.to_string())
    };
    table.row(vec![
        Cell::text(kind),
        Cell::text(name),
        Cell::text(access.map_or_else(String::new, owner)),
        Cell::text(access.map_or("", |access| &access.mode)),
        Cell::number(access.map_or_else(String::new, |access| units::age(access.age))),
        alive_cell(alive),
        Cell::text(self::processes(processes)),
        Cell::text(details.join(", ")),
    ]);
}

fn alive_cell(alive: Option<bool>) -> Cell {
    match alive {
        Some(true) => Cell::text("alive").good(),
        Some(false) => Cell::text("dead").bad(),
        None => Cell::text("unknown").notable(),
    }
}

/// The state of a side without a visible process.
fn absent_cell(alive: Option<bool>) -> Cell {
    match alive {
        None => Cell::text("not visible").notable(),
        _ => Cell::text("gone").bad(),
    }
}

/// A row that belongs to the object before.
fn part(table: &mut Table, name: &str, state: Cell, processes: &[ProcessName], details: &[String]) {
    let nothing = || Cell::text("");
    table.row(vec![
        nothing(),
        Cell::text(format!("  {name}")),
        nothing(),
        nothing(),
        nothing(),
        state,
        Cell::text(self::processes(processes)),
        Cell::text(details.join(", ")),
    ]);
}

fn channel(table: &mut Table, channel: &Channel) {
    let age = channel.age.map_or_else(String::new, units::age);
    table.row(vec![
        Cell::text("channel"),
        Cell::text(""),
        Cell::text(""),
        Cell::text(""),
        Cell::number(age),
        alive_cell(channel.alive),
        Cell::text(""),
        Cell::text(if channel.sides.len() < 2 {
            "not connected"
        } else {
            ""
        }),
    ]);
    for side in &channel.sides {
        let (state, details) = side_state(side);
        part(table, "side", state, &side.processes, &details);
    }
}

fn side_state(side: &Side) -> (Cell, Vec<String>) {
    let mut details = vec![format!("ring {}", units::bytes(side.ring_size))];
    let Some(state) = &side.state else {
        return (Cell::text("unreadable").notable(), details);
    };
    details.push(format!("sent {}", units::bytes(state.sent_bytes)));
    details.push(format!(
        "unread {}",
        fill(state.unread_bytes, side.ring_size)
    ));
    details.extend(state.sender_asleep.then(|| "waits for space".into()));
    details.extend(state.ended.then(|| "ended".into()));
    let cell = if state.invalid {
        Cell::text("invalid").bad()
    } else if side.processes.is_empty() {
        absent_cell(side.alive)
    } else if side.processes.iter().all(|process| process.stopped) {
        Cell::text("stopped").bad()
    } else if state.receiver_asleep || state.sender_asleep {
        Cell::text("asleep")
    } else {
        Cell::text("awake").good()
    };
    (cell, details)
}

/// A number of bytes, and its part of a ring.
pub fn fill(bytes: u64, ring: u64) -> String {
    let percent = bytes.saturating_mul(100).checked_div(ring).unwrap_or(0);
    format!("{} ({percent}%)", units::bytes(bytes))
}

fn feed(table: &mut Table, feed: &Feed) {
    let name = feed.address.as_ref().map_or("(no address)".into(), text);
    let mut details = vec![format!("ring {}", units::bytes(feed.ring_size))];
    if let Some(state) = &feed.state {
        details.push(format!("messages {}", state.messages));
        details.push(format!("subscribers {}", feed.subscribers.len()));
        details.extend(state.asleep.then(|| "waits for space".into()));
        details.extend(state.ended.then(|| "ended".into()));
        details.extend((state.demotions > 0).then(|| format!("demoted {}", state.demotions)));
    }
    table.row(vec![
        Cell::text("feed"),
        Cell::text(name),
        Cell::text(""),
        Cell::text(""),
        Cell::number(feed.age.map_or_else(String::new, units::age)),
        alive_cell(feed.alive),
        Cell::text(processes(&feed.processes)),
        Cell::text(details.join(", ")),
    ]);
    for subscriber in &feed.subscribers {
        let name = subscriber.name.as_ref().map_or("subscriber".into(), text);
        let details = subscriber_details(subscriber, feed.ring_size);
        part(
            table,
            &name,
            subscriber_state(subscriber),
            &subscriber.processes,
            &details,
        );
    }
}

/// The state of a subscriber.
pub fn subscriber_state(subscriber: &Subscriber) -> Cell {
    if subscriber.invalid {
        Cell::text("invalid").bad()
    } else if subscriber.processes.is_empty() {
        absent_cell(subscriber.alive)
    } else if subscriber.processes.iter().all(|process| process.stopped) {
        Cell::text("stopped").bad()
    } else if subscriber.asleep {
        Cell::text("asleep")
    } else {
        Cell::text("awake").good()
    }
}

fn subscriber_details(subscriber: &Subscriber, ring: u64) -> Vec<String> {
    let kind = if subscriber.lossy {
        "lossy"
    } else {
        "reliable"
    };
    let mut details = vec![
        kind.into(),
        format!("lag {}", subscriber.lag_messages),
        format!("unread {}", fill(subscriber.lag_bytes, ring)),
    ];
    details.extend((subscriber.lost > 0).then(|| format!("lost {}", subscriber.lost)));
    details
}

fn objects(table: &mut Table, objects: &[Object]) {
    for object in objects {
        let (name, state, details) = object_state(&object.state);
        let name = format!("{name} at {}", object.offset);
        part(table, &name, state, &[], &details);
    }
}

/// How long a lock has been held, at least.
pub fn held_text(ms: u32) -> String {
    format!("for {}", units::age(u64::from(ms) / 1000))
}

/// The name of an object's type, its state and details.
pub fn object_state(state: &State) -> (&'static str, Cell, Vec<String>) {
    let mut details = Vec::new();
    let (name, cell) = match state {
        State::Mutex(mutex) => {
            details.extend(
                mutex
                    .holder
                    .as_ref()
                    .map(|holder| format!("held by {}", holder_text(holder))),
            );
            details.extend(mutex.held_ms.map(held_text));
            details.extend(mutex.waiters.then(|| "waiters".into()));
            details.extend(mutex.inherits.then(|| "inherits priority".into()));
            ("mutex", lock_cell(mutex.owner_died, mutex.holder.is_some()))
        }
        State::Rwlock(lock) => {
            let readers: Vec<String> = lock
                .readers
                .iter()
                .take(PROCESSES_MAX)
                .map(holder_text)
                .collect();
            details.extend(
                (!readers.is_empty())
                    .then(|| format!("{} readers: {}", lock.readers.len(), readers.join(" "))),
            );
            details.extend(
                lock.writer
                    .as_ref()
                    .map(|writer| format!("written by {}", holder_text(writer))),
            );
            details.extend(
                lock.pending
                    .as_ref()
                    .map(|writer| format!("writer waits: {}", holder_text(writer))),
            );
            details.extend(lock.held_ms.map(held_text));
            details.extend(lock.waiters.then(|| "waiters".into()));
            let is_held = lock.writer.is_some() || !lock.readers.is_empty();
            ("rwlock", lock_cell(lock.owner_died, is_held))
        }
        State::Cond(cond) => {
            details.push(format!("signals {}", cond.signals));
            details.extend((cond.waiters > 0).then(|| format!("waiters {}", cond.waiters)));
            ("cond", Cell::text(""))
        }
        State::Event(event) => {
            details.extend(event.auto_reset.then(|| "automatic reset".into()));
            details.extend(event.waiters.then(|| "waiters".into()));
            ("event", Cell::text(if event.set { "set" } else { "clear" }))
        }
        State::Cell(cell) => {
            let known =
                |number: Option<u64>| number.map_or("?".into(), |number| number.to_string());
            details.push(format!("version {}", known(cell.version)));
            details.extend(
                cell.stores_per_second
                    .filter(|rate| *rate > 0)
                    .map(|rate| format!("{} stores/s", units::count(rate as f64))),
            );
            details.push(format!(
                "value {} of {}",
                known(cell.length),
                cell.value_size
            ));
            details.extend(cell.waiters.then(|| "waiters".into()));
            details.extend(
                cell.writer
                    .as_ref()
                    .map(|writer| format!("written by {}", holder_text(writer))),
            );
            ("cell", Cell::text(""))
        }
    };
    (name, cell, details)
}

fn lock_cell(owner_died: bool, is_held: bool) -> Cell {
    match (owner_died, is_held) {
        (true, _) => Cell::text("owner died").bad(),
        (false, true) => Cell::text("held").notable(),
        (false, false) => Cell::text("free").good(),
    }
}

fn holder_text(holder: &Holder) -> String {
    match &holder.process {
        Some(process) if process.pid == holder.thread => process_text(process),
        Some(process) => format!("thread {} of {}", holder.thread, process_text(process)),
        None => format!("thread {} (gone or not visible)", holder.thread),
    }
}

/// Processes, such as `12 cat, 13 dog`.
pub fn processes(processes: &[ProcessName]) -> String {
    let mut texts: Vec<String> = processes
        .iter()
        .take(PROCESSES_MAX)
        .map(process_text)
        .collect();
    if processes.len() > PROCESSES_MAX {
        texts.push(format!("and {} more", processes.len() - PROCESSES_MAX));
    }
    texts.join(", ")
}

fn process_text(process: &ProcessName) -> String {
    let stopped = if process.stopped { " (stopped)" } else { "" };
    format!("{} {}{stopped}", process.pid, text(&process.name))
}

/// A name, escaped.
pub fn text(name: &Name) -> String {
    escaped(&name.0)
}
