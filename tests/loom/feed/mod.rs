//! The feed: a publisher and its subscribers in one model. The broadcast ring, the search for the
//! slowest subscriber, the event counts, the conditions and the wait loop are the shipped code. The
//! memory and the doorbells are models.

mod memory;
mod ring;
mod shipped;
mod wake;

use crate::transport::broadcast::{Next, Publisher, Reader, Start, geometry};
use crate::transport::followers::{Follower, slowest};
use crate::transport::ring::{ALIGN_MIN as ALIGN, Geometry};
use loom::sync::Arc;
use memory::{FeedMemory, LEN};
use shipped::control::SubscriberControl;

/// The number of slots of the ring.
const SLOTS: usize = 8;
/// The number of messages that fill it.
const FULL: u64 = 3;
/// The number of slots of a ring that a single message fills.
const SMALL: usize = 4;

/// The memory of the publisher and of its subscribers.
struct Feed {
    memory: FeedMemory,
    subscribers: Vec<SubscriberControl>,
}

impl Feed {
    fn new(subscribers: usize) -> Arc<Self> {
        Self::with_slots(SLOTS, subscribers)
    }

    /// A feed whose ring has this number of slots.
    fn with_slots(slots: usize, subscribers: usize) -> Arc<Self> {
        Arc::new(Self {
            memory: FeedMemory::new(slots),
            subscribers: (0..subscribers).map(|_| Default::default()).collect(),
        })
    }

    fn geometry(&self) -> Geometry {
        geometry(self.memory.size(), ALIGN)
    }
}

/// The publishing side.
struct Sender {
    feed: Arc<Feed>,
    ring: Publisher,
    /// The subscribers, and whether the publisher waits for them.
    followers: Vec<(Follower, bool)>,
}

impl Sender {
    fn new(feed: &Arc<Feed>) -> Self {
        Self {
            feed: feed.clone(),
            ring: Publisher::new(feed.geometry()),
            followers: Vec::new(),
        }
    }

    /// Admits a subscriber that begins with the oldest message.
    fn admit(&mut self, is_reliable: bool) -> Receiver {
        let demotions = 0;
        let start = self.ring.start_at_oldest(&self.feed.memory, demotions);
        let index = self.followers.len();
        self.followers
            .push((Follower::new(start.cursor), is_reliable));
        self.ring.forget_space();
        Receiver::new(&self.feed, index, start, is_reliable)
    }

    /// The model of `Awaited::find_space`.
    fn find_space(&mut self, need: u64) -> bool {
        let (feed, tail) = (&self.feed, self.ring.tail());
        let followers = self.followers.iter_mut().enumerate();
        let reliable = followers.filter(|(_, (_, is_reliable))| *is_reliable);
        let heads = reliable.map(|(index, (follower, _))| {
            let head = &feed.subscribers[index].progress.head;
            (index, follower.refresh(tail, head))
        });
        let (head, _) = slowest(tail, heads);
        let is_free = self.ring.is_free(need, head);
        if is_free {
            let words = &feed.memory.control().words;
            self.ring.set_limit(need, head, words);
        }
        is_free
    }

    /// The size of this number of messages in the ring.
    fn size_of(&self, messages: u64) -> u64 {
        messages * self.ring.record_size(LEN as usize)
    }

    /// The model of `Feed::reserve_space` without a wait. Returns whether there is space.
    fn try_reserve(&mut self) -> bool {
        let need = self.size_of(1);
        self.ring.has_space(need) || self.find_space(need)
    }

    /// Publishes a message in space that is free.
    fn publish(&mut self) {
        let memory = &self.feed.memory;
        let need = self.ring.record_size(LEN as usize);
        self.ring.overwrite(need, memory, &memory.control().words);
        memory.write(self.ring.position(), content(self.ring.count()));
        self.ring.publish(LEN, memory, &memory.control().words);
    }

    /// Publishes messages while there is space, at most this number.
    fn publish_some(&mut self, count: usize) {
        for _ in 0..count {
            if self.try_reserve() {
                self.publish();
            }
        }
    }

    /// The model of `Audience::check_stalls`: no longer waits for a subscriber.
    fn demote(&mut self, index: usize) {
        self.followers[index].1 = false;
        self.ring.demote(&self.feed.memory.control().words);
    }
}

/// The words of the message with this sequence number. Such a word is also a possible length.
fn content(sequence: u64) -> u32 {
    sequence as u32 + 1
}

/// The result of an attempt to receive.
#[derive(Debug, PartialEq, Eq)]
enum Received {
    Message,
    Nothing,
    Lost,
}

/// The side of a subscriber.
struct Receiver {
    feed: Arc<Feed>,
    index: usize,
    reader: Reader,
    /// Whether the publisher never overwrites a message that this subscriber has not received.
    is_reliable: bool,
    received: u64,
    lost: u64,
}

impl Receiver {
    fn new(feed: &Arc<Feed>, index: usize, start: Start, is_reliable: bool) -> Self {
        Self {
            feed: feed.clone(),
            index,
            reader: Reader::new(feed.geometry(), start, !is_reliable),
            is_reliable,
            received: 0,
            lost: 0,
        }
    }

    /// The model of `Subscriber::recv`: first the fast path.
    fn receive(&mut self) -> Received {
        if let Some(len) = self.reader.try_peek(&self.feed.memory) {
            let halves = self.copy();
            if !self.is_overtaken() {
                return self.accept(len as usize, halves);
            }
        }
        self.receive_any()
    }

    /// The model of `Subscriber::recv_any`.
    fn receive_any(&mut self) -> Received {
        let words = &self.feed.memory.control().words;
        match self.reader.poll(&self.feed.memory, words).unwrap() {
            Next::Nothing => return Received::Nothing,
            Next::Overtaken => {}
            Next::Message(len) => {
                let halves = self.copy();
                if !self.is_overtaken() {
                    return self.accept(len, halves);
                }
            }
        }
        self.resume()
    }

    fn copy(&self) -> [u32; 2] {
        let memory = &self.feed.memory;
        let halves = memory.read(self.reader.position(), self.is_reliable);
        memory.switch();
        halves
    }

    fn is_overtaken(&self) -> bool {
        self.reader.is_overtaken(&self.feed.memory.control().words)
    }

    /// A message that is received is the one with its sequence number.
    fn accept(&mut self, len: usize, halves: [u32; 2]) -> Received {
        assert_eq!(len, LEN as usize);
        assert_eq!(halves, [content(self.reader.sequence()); 2]);
        let head = &self.feed.subscribers[self.index].progress.head;
        self.reader.take(len, head);
        self.received += 1;
        assert_eq!(self.received + self.lost, self.reader.sequence());
        Received::Message
    }

    fn resume(&mut self) -> Received {
        assert!(!self.is_reliable, "a reliable subscriber was overtaken");
        let memory = &self.feed.memory;
        let head = &self.feed.subscribers[self.index].progress.head;
        let lost = self
            .reader
            .resume(memory, &memory.control().words, head)
            .unwrap();
        assert_ne!(lost, 0);
        self.lost += lost;
        assert_eq!(self.received + self.lost, self.reader.sequence());
        Received::Lost
    }

    /// After all messages were published: receives those that are left. Each message was received or
    /// lost.
    fn drain(&mut self, published: u64) {
        while self.receive() != Received::Nothing {}
        assert_eq!(self.received + self.lost, published);
        assert!(!self.is_reliable || self.lost == 0);
    }
}
