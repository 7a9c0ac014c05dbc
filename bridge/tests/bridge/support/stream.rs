//! The streams of a server, as an independent client sees them.

use super::Server;
use async_nats::jetstream::stream::ConsumerErrorKind;
use async_nats::jetstream::{self, consumer, stream};
use async_nats::{Client, HeaderMap};
use common::clock::{child_limit, wait_until};
use futures_util::StreamExt;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// A message in a stream.
#[derive(Clone, Debug)]
pub struct Entry {
    pub headers: HeaderMap,
    pub payload: Vec<u8>,
}

impl Entry {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.as_str())
    }

    /// The sequence number in the id.
    #[track_caller]
    pub fn sequence(&self) -> u64 {
        let id = self.header("Nats-Msg-Id").expect("an id");
        id.split_once('-').unwrap().1.parse().unwrap()
    }
}

/// An event loop.
pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A client of a server.
pub struct Streams {
    runtime: Runtime,
    client: Client,
}

impl Streams {
    /// Connects.
    #[track_caller]
    pub fn of(server: &Server) -> Self {
        let runtime = runtime();
        let client = runtime.block_on(async_nats::connect(server.url())).unwrap();
        Self { runtime, client }
    }

    fn jetstream(&self) -> jetstream::Context {
        let _inside = self.runtime.enter();
        jetstream::new(self.client.clone())
    }

    /// Creates a stream of the subject that is its name.
    #[track_caller]
    pub fn create(&self, name: &str, change: impl FnOnce(&mut stream::Config)) {
        let mut config = stream::Config {
            name: name.into(),
            discard: stream::DiscardPolicy::New,
            ..Default::default()
        };
        change(&mut config);
        self.runtime
            .block_on(self.jetstream().create_stream(config))
            .unwrap();
    }

    /// Creates a durable consumer of a stream, as the bridge does.
    #[track_caller]
    pub fn create_consumer(
        &self,
        name: &str,
        durable: &str,
        change: impl FnOnce(&mut consumer::pull::Config),
    ) {
        let mut config = consumer::pull::Config {
            durable_name: Some(durable.into()),
            ack_policy: consumer::AckPolicy::All,
            filter_subject: name.into(),
            ..Default::default()
        };
        change(&mut config);
        self.runtime.block_on(async {
            let stream = self.jetstream().get_stream(name).await.unwrap();
            stream.create_consumer(config).await.unwrap();
        });
    }

    /// Deletes a stream.
    #[track_caller]
    pub fn delete(&self, name: &str) {
        let deleted = self.runtime.block_on(self.jetstream().delete_stream(name));
        deleted.unwrap();
    }

    /// Changes the configuration of a stream.
    #[track_caller]
    pub fn update(&self, name: &str, change: impl FnOnce(&mut stream::Config)) {
        self.runtime.block_on(async {
            let stream = self.jetstream().get_stream(name).await.unwrap();
            let mut config = stream.cached_info().config.clone();
            change(&mut config);
            self.jetstream().update_stream(config).await.unwrap();
        });
    }

    /// Deletes the messages of a stream before a number.
    #[track_caller]
    pub fn purge_to(&self, name: &str, number: u64) {
        self.runtime.block_on(async {
            let stream = self.jetstream().get_stream(name).await.unwrap();
            stream.purge().sequence(number).await.unwrap();
        });
    }

    /// The number of the first message that a stream has.
    pub fn first_number(&self, name: &str) -> Option<u64> {
        self.runtime.block_on(async {
            let stream = self.jetstream().get_stream(name).await.ok()?;
            let state = stream.get_info().await.ok()?.state;
            (state.messages != 0).then_some(state.first_sequence)
        })
    }

    /// Deletes a message of a stream.
    #[track_caller]
    pub fn delete_message(&self, name: &str, number: u64) {
        self.runtime.block_on(async {
            let stream = self.jetstream().get_stream(name).await.unwrap();
            stream.delete_message(number).await.unwrap();
        });
    }

    /// Sends messages without a bridge, each confirmed.
    #[track_caller]
    pub fn send(&self, subject: &'static str, messages: impl Iterator<Item = Vec<u8>>) {
        self.runtime.block_on(async {
            for message in messages {
                let ack = self
                    .jetstream()
                    .publish(subject, message.into())
                    .await
                    .unwrap();
                ack.await.unwrap();
            }
        });
    }

    /// Sends a message with an id, as a bridge does.
    #[track_caller]
    pub fn send_with_id(&self, subject: &'static str, id: &str, message: Vec<u8>) {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        self.runtime.block_on(async {
            let jetstream = self.jetstream();
            let sent = jetstream.publish_with_headers(subject, headers, message.into());
            sent.await.unwrap().await.unwrap();
        });
    }

    /// The number of messages in a stream; none if it does not exist.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.runtime.block_on(async {
            let stream = self.jetstream().get_stream(name).await.ok()?;
            Some(stream.get_info().await.ok()?.state.messages)
        })
    }

    /// Waits until a stream has this number of messages.
    #[track_caller]
    pub fn wait_count(&self, name: &str, count: u64) {
        let mut last = None;
        wait_until(&format!("{count} messages in {name}"), || {
            last = self.count(name);
            last == Some(count)
        });
    }

    /// The numbers of unacknowledged messages of a consumer, and of messages that were not delivered.
    pub fn pending(&self, name: &str, durable: &str) -> Option<(usize, u64)> {
        self.runtime.block_on(async {
            let stream = self.jetstream().get_stream(name).await.unwrap();
            let info = stream.consumer_info(durable).await.ok()?;
            Some((info.num_ack_pending, info.num_pending))
        })
    }

    /// Waits until a consumer of a stream has acknowledged all messages.
    #[track_caller]
    pub fn wait_acknowledged(&self, name: &str, durable: &str) {
        self.wait_unacknowledged(name, durable, 0);
    }

    /// Waits until all messages are delivered to a consumer, and a number of them is unacknowledged.
    #[track_caller]
    pub fn wait_unacknowledged(&self, name: &str, durable: &str, count: usize) {
        wait_until("acknowledgements", || {
            self.pending(name, durable) == Some((count, 0))
        });
    }

    /// All messages of a stream.
    #[track_caller]
    pub fn read(&self, name: &str) -> Vec<Entry> {
        let (start, count) = (Instant::now(), self.count(name).expect("a stream"));
        self.runtime.block_on(async {
            let stream = self.jetstream().get_stream(name).await.unwrap();
            let consumer = loop {
                let config = consumer::pull::OrderedConfig::default();
                match stream.create_consumer(config).await {
                    // A cluster elects a leader.
                    Err(error) if error.kind() == ConsumerErrorKind::TimedOut => {}
                    other => break other.unwrap(),
                }
                assert!(start.elapsed() < child_limit(), "no consumer");
            };
            let mut messages = consumer.messages().await.unwrap();
            let mut entries = Vec::new();
            while (entries.len() as u64) < count {
                let message = tokio::time::timeout(Duration::from_secs(20), messages.next()).await;
                let message = message.unwrap().unwrap().unwrap();
                entries.push(Entry {
                    headers: message.headers.clone().unwrap_or_default(),
                    payload: message.payload.to_vec(),
                });
            }
            entries
        })
    }

    /// The numbers of all messages of a stream, whose sequence numbers must be the same.
    #[track_caller]
    pub fn numbers(&self, name: &str) -> Vec<u64> {
        let number = |entry: &Entry| {
            let number = super::number_of(&entry.payload);
            assert_eq!(entry.sequence(), number);
            number
        };
        self.read(name).iter().map(number).collect()
    }
}
