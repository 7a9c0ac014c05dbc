//! The counters in the text format of Prometheus.

use super::sample::Sample;
use crate::commands::ls::rows::{processes, text};
use crate::objects::State;
use std::fmt::Write;

/// The metrics: the name, the type and the description of each, and its samples.
#[derive(Default)]
struct Metrics(Vec<(Metric, Vec<String>)>);

type Metric = (&'static str, &'static str, &'static str);

const SENT: Metric = (
    "unixipc_channel_sent_bytes_total",
    "counter",
    "Bytes sent through a channel",
);
const UNREAD: Metric = (
    "unixipc_channel_unread_bytes",
    "gauge",
    "Bytes in the ring of a channel",
);
const RING: Metric = (
    "unixipc_channel_ring_bytes",
    "gauge",
    "Size of the ring of a channel",
);
const MESSAGES: Metric = (
    "unixipc_feed_messages_total",
    "counter",
    "Messages published",
);
const BYTES: Metric = ("unixipc_feed_bytes_total", "counter", "Bytes published");
const DEMOTIONS: Metric = (
    "unixipc_feed_demotions_total",
    "counter",
    "Subscribers that became lossy",
);
const RECEIVED: Metric = (
    "unixipc_subscriber_sequence_total",
    "counter",
    "Messages that a subscriber has passed",
);
const LAG: Metric = (
    "unixipc_subscriber_lag_messages",
    "gauge",
    "Messages not yet received",
);
const LAG_BYTES: Metric = (
    "unixipc_subscriber_lag_bytes",
    "gauge",
    "Bytes not yet received",
);
const LOST: Metric = (
    "unixipc_subscriber_lost_total",
    "counter",
    "Messages lost by a subscriber",
);
const STORES: Metric = (
    "unixipc_cell_stores_total",
    "counter",
    "Values stored in a cell",
);
const HELD: Metric = ("unixipc_lock_held", "gauge", "Whether a lock is held");
const HELD_SECONDS: Metric = (
    "unixipc_lock_held_seconds",
    "gauge",
    "How long a lock for which others wait has been held, at least",
);
const DIED: Metric = (
    "unixipc_lock_owner_died",
    "gauge",
    "Whether an owner has died with a lock",
);
const UNSEEN: Metric = (
    "unixipc_unseen_processes",
    "gauge",
    "Processes that were not inspected",
);

impl Metrics {
    fn add(&mut self, metric: Metric, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let mut line = metric.0.to_string();
        for (index, (name, content)) in labels.iter().enumerate() {
            let separator = if index == 0 { '{' } else { ',' };
            let _ = write!(line, "{separator}{name}=\"{}\"", escaped_label(content));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = write!(line, "{end} {value}");
        match self.0.iter_mut().find(|(known, _)| *known == metric) {
            Some((_, lines)) => lines.push(line),
            None => self.0.push((metric, vec![line])),
        }
    }
}

/// A label's value: names are already escaped, so it has no control characters.
fn escaped_label(content: &str) -> String {
    content
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// The metrics of a sample.
pub fn text_of(sample: &Sample) -> String {
    let mut metrics = Metrics::default();
    metrics.add(UNSEEN, &[], sample.snapshot.unseen);
    add_channels(sample, &mut metrics);
    add_feeds(sample, &mut metrics);
    add_objects(sample, &mut metrics);
    let mut result = String::new();
    for ((name, kind, help), lines) in metrics.0 {
        let _ = writeln!(result, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for line in lines {
            let _ = writeln!(result, "{line}");
        }
    }
    result
}

fn add_channels(sample: &Sample, metrics: &mut Metrics) {
    for channel in &sample.channels {
        for (index, side) in channel.sides.iter().enumerate() {
            let Some(state) = &side.state else {
                continue;
            };
            let other = channel.sides.get(1 - index.min(1));
            let from = processes(&side.processes);
            let to = other.map_or_else(String::new, |side| processes(&side.processes));
            // Two channels can have the same processes.
            let id = format!("{}+{}", side.memory.file.inode, side.memory.offset);
            let labels = [("id", &id[..]), ("from", &from[..]), ("to", &to[..])];
            metrics.add(SENT, &labels, state.sent_bytes);
            metrics.add(UNREAD, &labels, state.unread_bytes);
            metrics.add(RING, &labels, side.ring_size);
        }
    }
}

fn add_feeds(sample: &Sample, metrics: &mut Metrics) {
    for feed in &sample.feeds {
        let Some(state) = &feed.state else {
            continue;
        };
        let id = feed.memory.file.inode.to_string();
        let address = feed.address.as_ref().map_or_else(String::new, text);
        let publisher = processes(&feed.processes);
        let labels = [
            ("id", &id[..]),
            ("address", &address[..]),
            ("publisher", &publisher[..]),
        ];
        metrics.add(MESSAGES, &labels, state.messages);
        metrics.add(BYTES, &labels, state.bytes);
        metrics.add(DEMOTIONS, &labels, state.demotions);
        for subscriber in &feed.subscribers {
            let number = subscriber.memory.file.inode.to_string();
            let name = subscriber.name.as_ref().map_or_else(String::new, text);
            let process = processes(&subscriber.processes);
            let labels = [
                ("id", &number[..]),
                ("feed", &id[..]),
                ("address", &address[..]),
                ("name", &name[..]),
                ("process", &process[..]),
            ];
            metrics.add(RECEIVED, &labels, subscriber.sequence);
            metrics.add(LAG, &labels, subscriber.lag_messages);
            metrics.add(LAG_BYTES, &labels, subscriber.lag_bytes);
            metrics.add(LOST, &labels, subscriber.lost);
        }
    }
}

fn add_objects(sample: &Sample, metrics: &mut Metrics) {
    for region in &sample.regions {
        let id = region.file.inode.to_string();
        let name = region.name.as_ref().map_or_else(String::new, text);
        for object in &region.objects {
            let offset = object.offset.to_string();
            let labels = [
                ("id", &id[..]),
                ("region", &name[..]),
                ("offset", &offset[..]),
            ];
            if let State::Cell(cell) = &object.state
                && let Some(version) = cell.version
            {
                metrics.add(STORES, &labels, version);
            }
            if let Some(lock) = object.state.lock() {
                metrics.add(HELD, &labels, u8::from(lock.holder.is_some()));
                if let Some(ms) = lock.held_ms {
                    metrics.add(HELD_SECONDS, &labels, f64::from(ms) / 1000.0);
                }
                metrics.add(DIED, &labels, u8::from(lock.owner_died));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        let mut metrics = Metrics::default();
        metrics.add(LAG, &[("name", "a\"b\\x1b"), ("id", "1")], 7);
        metrics.add(UNSEEN, &[], 0);
        let lines: Vec<&str> = metrics
            .0
            .iter()
            .flat_map(|(_, lines)| lines)
            .map(|line| &line[..])
            .collect();
        let expected = r#"unixipc_subscriber_lag_messages{name="a\"b\\x1b",id="1"} 7"#;
        assert_eq!(lines, [expected, "unixipc_unseen_processes 0"]);
    }
}
