//! The pipeline with an engine whose failures are exact.

use super::*;
use crate::engine::Loss;
use bytes::Bytes;
use std::collections::VecDeque;
use tokio::runtime::Builder;

/// A stream, and what it does next.
#[derive(Default)]
struct Stream {
    /// The sequence numbers of the records that it has.
    stored: Vec<u64>,
    /// The tags that it has not confirmed.
    tags: VecDeque<u64>,
    /// It confirms this number of records, and then loses the connection once.
    confirms: Option<usize>,
    /// It refuses records from this number on, once.
    refuses: Option<u64>,
    is_refusing: bool,
}

fn id(sequence: u64) -> MessageId {
    let feed = [1; 16];
    MessageId { feed, sequence }
}

impl Outlet for Stream {
    fn message_max(&self) -> usize {
        100
    }

    fn is_ordered(&self) -> bool {
        true
    }

    async fn restart(&mut self) -> Result<Option<MessageId>> {
        self.tags.clear();
        self.is_refusing = false;
        Ok(self.stored.last().map(|&sequence| id(sequence)))
    }

    async fn send(&mut self, record: &Record, tag: Option<u64>) -> Result<()> {
        if self.refuses == Some(record.id.sequence) {
            self.refuses = None;
            self.is_refusing = true;
        }
        if !self.is_refusing {
            self.stored.push(record.id.sequence);
        }
        self.tags.extend(tag);
        Ok(())
    }

    async fn confirmed(&mut self) -> Result<u64> {
        if self.is_refusing {
            return Err(EngineError::new(Failure::Refused, "full"));
        }
        match &mut self.confirms {
            Some(0) => {
                self.confirms = None;
                return Err(EngineError::new(Failure::Unreachable, "cut"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        match self.tags.pop_front() {
            Some(tag) => Ok(tag),
            None => std::future::pending().await,
        }
    }
}

/// A source of numbered messages, then its end.
struct Numbers {
    next: u64,
    end: u64,
    confirmed: Vec<u64>,
}

impl Source for Numbers {
    fn try_next(&mut self, _message_max: usize) -> Option<Item> {
        if self.next == self.end {
            return Some(Item::End);
        }
        self.next += 1;
        Some(match self.next {
            7 => Item::Lost(id(6), 1, Loss::TooLarge),
            next => Item::Message(id(next - 1), Bytes::from_static(b"message")),
        })
    }

    async fn ready(&mut self) {}

    fn confirmed(&mut self, last: MessageId) {
        self.confirmed.push(last.sequence);
    }

    fn ends_with_bridge(&self) -> bool {
        true
    }
}

/// Carries 500 messages to a stream. Each must be there once, in order.
fn carry(stream: Stream) -> Numbers {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (context, _stop) = Context::for_tests("feed:/a", "->", "a");
        let mut window = Window::new(&context.route.options);
        let mut source = Numbers {
            next: 0,
            end: 500,
            confirmed: Vec::new(),
        };
        let mut pipeline = Pipeline::new(&context, stream, &mut window);
        assert_eq!(pipeline.position().await.unwrap(), Some(None));
        assert_eq!(pipeline.run(&mut source).await.unwrap(), End::SourceEnded);
        assert_eq!(pipeline.outlet.stored, (0..500).collect::<Vec<_>>());
        assert_eq!(context.metrics.messages.get(), 500);
        assert!(source.confirmed.is_sorted());
        assert_eq!(source.confirmed.last(), Some(&499));
        source
    })
}

#[test]
fn without_failure() {
    carry(Stream::default());
}

/// The stream has records whose confirmations are lost. They are not sent again, even though this
/// stream removes no duplicates.
#[test]
fn lost_confirmations() {
    for confirms in 0..8 {
        carry(Stream {
            confirms: Some(confirms),
            ..Stream::default()
        });
    }
}

/// A stream that refuses the rest of a round keeps the order.
#[test]
fn refusals() {
    for refuses in [0, 1, 63, 64, 65, 200, 499] {
        carry(Stream {
            refuses: Some(refuses),
            ..Stream::default()
        });
    }
}

/// A source that always has more.
struct Endless(u64);

impl Source for Endless {
    fn try_next(&mut self, _message_max: usize) -> Option<Item> {
        self.0 += 1;
        Some(Item::Message(id(self.0), Bytes::from_static(b"message")))
    }

    async fn ready(&mut self) {}

    fn confirmed(&mut self, _last: MessageId) {}

    fn ends_with_bridge(&self) -> bool {
        true
    }
}

/// The drain is limited, also while the source always has more.
#[test]
fn endless_drain() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (context, stop) = Context::for_tests("fifo:/a", "->", "a");
        stop.send(Some(Instant::now())).unwrap();
        let mut window = Window::new(&context.route.options);
        let mut pipeline = Pipeline::new(&context, Stream::default(), &mut window);
        let mut source = Endless(0);
        let run = tokio::time::timeout(10 * context.drain, pipeline.run(&mut source));
        assert_eq!(run.await.expect("a limit").unwrap(), End::Stopped);
    });
}
