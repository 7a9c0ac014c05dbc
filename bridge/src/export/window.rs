//! The records that the engine has not confirmed.

use crate::config::RouteOptions;
use crate::engine::{Body, Loss, MessageId, Record};
use std::collections::VecDeque;

/// See the module. Records have consecutive tags.
pub struct Window {
    records: VecDeque<Record>,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
    /// The largest number of records in flight.
    flight_max: usize,
    /// The tag of the first record.
    first: u64,
    /// The number of records at the front that this round has sent.
    sent: usize,
}

impl Window {
    /// An empty window with the limits of a route.
    pub fn new(options: &RouteOptions) -> Self {
        Self::with_limits(options.window_messages, options.window_bytes)
    }

    fn with_limits(messages_max: usize, bytes_max: usize) -> Self {
        Self {
            records: VecDeque::new(),
            bytes: 0,
            messages_max,
            bytes_max,
            flight_max: usize::MAX,
            first: 0,
            sent: 0,
        }
    }

    /// Whether there is space for a record. One always fits into an empty window.
    pub fn has_space(&self) -> bool {
        self.is_empty() || self.records.len() < self.messages_max && self.bytes < self.bytes_max
    }

    /// Whether all records are confirmed.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The number of records, and of their bytes.
    pub fn size(&self) -> (usize, usize) {
        (self.records.len(), self.bytes)
    }

    /// Adds a record.
    pub fn push(&mut self, record: Record) {
        self.bytes += record.size();
        self.records.push_back(record);
    }

    /// Whether the record after the next one cannot be sent now: the next one then asks for a
    /// confirmation.
    pub fn is_last_to_send(&self) -> bool {
        self.unsent() == 1 || self.sent + 1 >= self.flight_max
    }

    /// The number of records that were not sent.
    pub fn unsent(&self) -> usize {
        self.records.len() - self.sent
    }

    /// The number of records in flight.
    pub fn in_flight(&self) -> usize {
        self.sent
    }

    /// Limits the number of records in flight.
    pub fn limit_flight(&mut self, max: usize) {
        self.flight_max = max;
    }

    /// The next record to send, and its tag.
    pub fn to_send(&self) -> Option<(&Record, u64)> {
        if self.sent >= self.flight_max {
            return None;
        }
        let record = self.records.get(self.sent)?;
        Some((record, self.first + self.sent as u64))
    }

    /// Counts that record as sent.
    pub fn mark_sent(&mut self) {
        self.sent += 1;
    }

    /// All records must be sent again.
    pub fn begin_round(&mut self) {
        self.sent = 0;
    }

    /// Removes all records up to a tag. Returns their number, their bytes, and the id of the last.
    pub fn confirm(&mut self, tag: u64) -> Option<(u64, u64, MessageId)> {
        let count = (tag + 1).checked_sub(self.first)? as usize;
        self.remove(count.min(self.sent))
    }

    /// Removes all records up to the one with this id, if it is here.
    pub fn confirm_id(&mut self, id: MessageId) -> Option<(u64, u64, MessageId)> {
        let index = self.records.iter().position(|record| record.id == id)?;
        self.remove(index + 1)
    }

    /// Replaces longer messages by markers. Returns their number.
    pub fn drop_longer_than(&mut self, max: usize) -> u64 {
        let mut dropped = 0;
        for record in &mut self.records {
            if matches!(&record.body, Body::Message(bytes) if bytes.len() > max) {
                self.bytes -= record.size();
                record.body = Body::Lost(1, Loss::TooLarge);
                self.bytes += record.size();
                dropped += 1;
            }
        }
        dropped
    }

    fn remove(&mut self, count: usize) -> Option<(u64, u64, MessageId)> {
        let mut bytes = 0;
        let mut last = None;
        for record in self.records.drain(..count) {
            bytes += record.size();
            last = Some(record.id);
        }
        self.bytes -= bytes;
        self.first += count as u64;
        self.sent = self.sent.saturating_sub(count);
        last.map(|last| (count as u64, bytes as u64, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u64) -> Record {
        let id = MessageId {
            feed: [1; 16],
            sequence,
        };
        Record {
            id,
            body: Body::Message(vec![0; 100].into()),
        }
    }

    fn window(count: u64) -> Window {
        let mut window = Window::with_limits(3, 1 << 20);
        (0..count).for_each(|sequence| window.push(record(sequence)));
        window
    }

    #[test]
    fn limits() {
        let mut window = Window::with_limits(2, 150);
        assert!(window.has_space());
        window.push(record(0));
        assert!(!window.has_space());
        assert!(Window::with_limits(1, 1).has_space());
        let mut window = self::window(2);
        assert!(window.has_space());
        window.push(record(2));
        assert!(!window.has_space());
    }

    #[test]
    fn longer_messages() {
        let mut window = window(2);
        let (_, before) = window.size();
        assert_eq!(window.drop_longer_than(100), 0);
        assert_eq!(window.drop_longer_than(99), 2);
        assert_eq!(window.size(), (2, before - 200));
        assert_eq!(window.records[1].body, Body::Lost(1, Loss::TooLarge));
        assert_eq!(window.drop_longer_than(0), 0, "markers");
    }

    #[test]
    fn confirmations() {
        let mut window = window(3);
        assert_eq!(window.to_send().unwrap().1, 0);
        assert!(window.confirm(0).is_none(), "nothing was sent");
        (0..3).for_each(|_| window.mark_sent());
        assert_eq!(window.confirm(1).unwrap().2, record(1).id);
        assert_eq!((window.in_flight(), window.unsent()), (1, 0));
        assert!(window.confirm(1).is_none(), "again");
        window.begin_round();
        assert_eq!(window.to_send().unwrap().1, 2);
        assert_eq!(window.confirm_id(record(2).id).unwrap().0, 1);
        assert!(window.is_empty() && window.size() == (0, 0));
        assert!(window.confirm_id(record(2).id).is_none());
    }
}
