//! Local publishers and subscribers.

use common::clock::{child_limit, wait_until};
use std::path::Path;
use std::time::{Duration, Instant};
use unixipc::bytes::to_fill;
use unixipc::deadline::Deadline;
use unixipc::errno::{Errno, Result};
use unixipc::feed::{self, Begin, Feed, FeedOptions, Report, Subscriber, SubscriberOptions};

/// The message with a number.
pub fn bytes_of(number: u64) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    // Lengths differ.
    bytes.resize(8 + (number % 61) as usize, b'.');
    bytes
}

/// The number of a message, whose content must be right.
#[track_caller]
pub fn number_of(bytes: &[u8]) -> u64 {
    let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(bytes, bytes_of(number), "the content of message {number}");
    number
}

/// A local feed.
pub struct Publisher {
    pub feed: Feed,
    /// The number of the next message.
    pub next: u64,
}

impl Publisher {
    /// A feed with a small ring that listens at a path.
    pub fn new(path: &str) -> Self {
        Self::with(path, |_| ())
    }

    /// A feed with other options.
    pub fn with(path: &str, change: impl FnOnce(&mut FeedOptions)) -> Self {
        let mut options = FeedOptions {
            size: 64 << 10,
            ..FeedOptions::default()
        };
        change(&mut options);
        let mut feed = Feed::new(&options).unwrap();
        feed.listen(&common::prelude::c_path(Path::new(path)), 0o600)
            .unwrap();
        Self { feed, next: 0 }
    }

    /// Publishes the next message, within a time.
    pub fn try_publish(&mut self, timeout_ms: i32) -> Result<()> {
        self.feed
            .publish(&bytes_of(self.next), Deadline::new(timeout_ms)?)?;
        self.next += 1;
        Ok(())
    }

    /// Publishes a number of messages.
    #[track_caller]
    pub fn publish(&mut self, count: u64) {
        for _ in 0..count {
            self.try_publish(60_000).unwrap();
        }
    }

    /// Admits subscribers, and returns them.
    pub fn subscribers(&mut self) -> Vec<Report> {
        self.feed.service().unwrap();
        let mut list = Vec::new();
        self.feed.subscribers(|report| list.push(report)).unwrap();
        list
    }

    /// Admits subscribers until there is this number of them.
    #[track_caller]
    pub fn wait_subscribers(&mut self, count: usize) {
        wait_until("subscribers", || self.subscribers().len() == count);
    }

    /// Publishes until the feed is full: none of its space becomes free within a time.
    pub fn fill(&mut self, timeout_ms: i32) {
        while self.try_publish(timeout_ms).is_ok() {}
    }
}

/// A local subscriber.
pub struct Reader {
    pub subscriber: Subscriber,
}

impl Reader {
    /// Waits until a feed at a path has admitted it. It begins with the oldest message.
    #[track_caller]
    pub fn new(path: &str) -> Self {
        Self::with(path, |_| ())
    }

    /// A reader with other options.
    #[track_caller]
    pub fn with(path: &str, change: impl FnOnce(&mut SubscriberOptions)) -> Self {
        let mut options = SubscriberOptions {
            begin: Begin::Oldest,
            size_max: 1 << 30,
            wait: true,
            ..SubscriberOptions::default()
        };
        change(&mut options);
        let mut deadline = Deadline::new(child_limit().as_millis() as i32).unwrap();
        let path = common::prelude::c_path(Path::new(path));
        Self {
            subscriber: feed::connect(&path, &options, &mut deadline).unwrap(),
        }
    }

    /// The next message; none at the end of the feed.
    pub fn recv(&mut self, timeout_ms: i32) -> Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; 4 << 20];
        let deadline = Deadline::new(timeout_ms)?;
        let received = self.subscriber.recv(to_fill(&mut buffer), deadline)?;
        buffer.truncate(received.len);
        Ok((received.len != 0).then_some(buffer))
    }

    /// Receives messages with these numbers.
    #[track_caller]
    pub fn expect(&mut self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let found = self
                .recv(child_limit().as_millis() as i32)
                .unwrap()
                .expect("a message");
            assert_eq!(number_of(&found), number);
        }
    }

    /// Nothing more must arrive within a short time.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        let start = Instant::now();
        assert_eq!(self.recv(300), Err(Errno::ETIMEDOUT));
        assert!(start.elapsed() >= Duration::from_millis(300));
    }
}
