//! The messages of a local feed.
//!
//! Both subscribers (see `anchor`) are admitted before the engine is reached, and outlive a connection
//! with it: so a message that was published before can be read even if the publisher has ended.

use super::Complaint;
use super::anchor::{Anchor, go_to};
use super::source::{Item, Source};
use crate::config::Start;
use crate::context::Context;
use crate::engine::{FeedId, Loss, MessageId};
use crate::local::{LocalError, Readiness, Scratch};
use crate::pause::Pauses;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::select;
use tokio::time::sleep;
use unixipc::deadline::Deadline;
use unixipc::errno::Errno;
use unixipc::feed::Subscriber;

/// The longest pause between two attempts to subscribe.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// The subscriptions of a route, one after another. They outlive a connection with the engine.
#[derive(Default)]
pub struct FeedRoute {
    source: Option<FeedSource>,
    /// An anchor whose reader was not admitted yet.
    anchor: Option<Anchor>,
    /// The feed whose end the bridge has seen.
    ended: Option<FeedId>,
    /// The last message that a stream has confirmed. It is the position if the stream has none left.
    confirmed: Option<MessageId>,
}

impl FeedRoute {
    /// Waits until the feed has admitted the subscribers. Returns false if the bridge stops.
    pub async fn attach(&mut self, context: &Context) -> bool {
        if self.source.is_some() {
            return true;
        }
        let mut pauses = Pauses::up_to(PAUSE_MAX);
        let mut complaint = Complaint::default();
        loop {
            if context.is_stopping() {
                return false;
            }
            match self.subscribe(context) {
                Ok(source) => {
                    log::info!("{}: subscribed", context.route);
                    self.source = Some(source);
                    return true;
                }
                Err(error) => complaint.about(context, error),
            }
            select! {
                () = sleep(pauses.next()) => {}
                () = context.stopping() => return false,
            }
        }
    }

    /// Subscribes both. After a failure of the second one, the first one stays: the publisher may
    /// have ended in between.
    fn subscribe(&mut self, context: &Context) -> Result<FeedSource, LocalError> {
        let mut anchor = match self.anchor.take() {
            Some(anchor) => anchor,
            None => Anchor::subscribe(context)?,
        };
        match anchor.subscribe_reader(context) {
            Ok((reader, readiness)) => Ok(FeedSource::new(context, anchor, reader, readiness)),
            Err(error) => {
                self.anchor = Some(anchor);
                Err(error)
            }
        }
    }

    /// The source to carry. A new one begins after the message that the stream has last; one that
    /// an earlier connection has begun continues. None without [`FeedRoute::attach`].
    pub fn begin(
        &mut self,
        context: &Context,
        position: Option<MessageId>,
    ) -> Option<&mut FeedSource> {
        let source = self.source.as_mut()?;
        if !source.has_begun {
            let position = position
                .filter(|&last| source.may_follow(last))
                .or(self.confirmed);
            source.begin(position, self.ended, context.route.options.start);
        }
        Some(source)
    }

    /// How many messages would be lost if the bridge ended now: those of a feed whose publisher has
    /// ended that were not read.
    pub fn unsaved(&mut self) -> u64 {
        self.source.as_mut().map_or(0, FeedSource::unsaved)
    }

    /// Whether the publisher has ended, and no other one is known.
    pub fn has_ended(&self) -> bool {
        match &self.source {
            Some(source) => source.ends_with_bridge(),
            None => self.ended.is_some(),
        }
    }

    /// Forgets a source that has ended. Returns whether a message of it was confirmed.
    pub fn end(&mut self) -> bool {
        let Some(source) = self.source.take() else {
            return false;
        };
        if source.has_ended {
            self.ended = Some(source.feed);
        }
        self.confirmed = source.confirmed.or(self.confirmed);
        source.confirmed.is_some()
    }
}

/// The messages from `from` to the one before `to` are lost.
fn lost(feed: FeedId, from: u64, to: u64) -> Item {
    let sequence = to.wrapping_sub(1);
    Item::Lost(
        MessageId { feed, sequence },
        to.wrapping_sub(from),
        Loss::Overwritten,
    )
}

/// The messages of one feed.
pub struct FeedSource {
    readiness: Readiness,
    /// Reads ahead of the anchor. Without it, the anchor reads.
    reader: Option<Subscriber>,
    anchor: Anchor,
    /// Whether the publisher ceased to wait for the anchor.
    is_demoted: bool,
    feed: FeedId,
    scratch: Scratch,
    /// Whether the first message is chosen.
    has_begun: bool,
    /// Items before the messages.
    first: VecDeque<Item>,
    /// The next sequence number.
    next: u64,
    /// The last message that the stream has confirmed.
    confirmed: Option<MessageId>,
    /// Whether the feed has ended.
    has_ended: bool,
    name: String,
}

impl FeedSource {
    fn new(
        context: &Context,
        anchor: Anchor,
        reader: Option<Subscriber>,
        readiness: Readiness,
    ) -> Self {
        Self {
            readiness,
            feed: anchor.subscriber.feed_id(),
            reader,
            anchor,
            is_demoted: false,
            scratch: Scratch::new(),
            has_begun: false,
            first: VecDeque::new(),
            next: 0,
            confirmed: None,
            has_ended: false,
            name: context.route.to_string(),
        }
    }

    /// The subscriber that reads.
    fn reader(&mut self) -> &mut Subscriber {
        self.reader.as_mut().unwrap_or(&mut self.anchor.subscriber)
    }

    /// See [`FeedRoute::unsaved`].
    fn unsaved(&mut self) -> u64 {
        if self.has_ended || !self.ends_with_bridge() {
            return 0;
        }
        let reader = self.reader();
        reader.published().saturating_sub(reader.sequence())
    }

    /// Whether the last message of the stream can be one of this feed, or is one of another feed.
    fn may_follow(&mut self, last: MessageId) -> bool {
        let reader = self.reader();
        let next = reader.published().max(reader.sequence());
        let may_follow = last.feed != self.feed || last.next() <= next;
        if !may_follow {
            log::error!(
                "{}: the stream has the message {last}, which the feed has not published: another \
                 program has written it",
                self.name
            );
        }
        may_follow
    }

    /// Begins after a message; `ended` is a feed whose end the bridge has seen.
    fn begin(&mut self, position: Option<MessageId>, ended: Option<FeedId>, start: Start) {
        self.has_begun = true;
        let feed = self.feed;
        let reader = self.reader();
        let (oldest, published) = (reader.sequence(), reader.published());
        let start = match position {
            Some(last) if last.feed == feed => last.next(),
            Some(last) => {
                if ended != Some(last.feed) {
                    self.first.push_back(Item::Replaced(MessageId::begin(feed)));
                }
                0
            }
            None if start == Start::Newest => published.max(oldest),
            None => oldest,
        };
        self.next = go_to(self.reader(), start);
        if self.next > start {
            self.first.push_back(lost(feed, start, self.next));
        }
        self.release_confirmed(self.next);
    }

    /// Releases all messages before `next`. If the publisher ceased to wait for the anchor, the
    /// source ends.
    fn release_confirmed(&mut self, next: u64) {
        let was_reliable = self.anchor.is_reliable;
        if self.reader.is_some() && !self.anchor.go_to(next) && was_reliable {
            self.note_demotion();
        }
    }

    fn note_demotion(&mut self) {
        log::warn!(
            "{}: the publisher no longer waits; subscribing again",
            self.name
        );
        self.is_demoted = true;
    }

    /// Skips the next message, which is too long.
    fn skip(&mut self) -> Option<Item> {
        let id = MessageId {
            feed: self.feed,
            sequence: self.next,
        };
        self.reader().release().ok()?;
        self.next += 1;
        Some(Item::Lost(id, 1, Loss::TooLarge))
    }
}

impl Source for FeedSource {
    fn try_next(&mut self, message_max: usize) -> Option<Item> {
        if let Some(item) = self.first.pop_front() {
            return Some(item);
        }
        if self.is_demoted {
            return Some(Item::End);
        }
        let Self {
            reader,
            anchor,
            scratch,
            ..
        } = self;
        let reader = reader.as_mut().unwrap_or(&mut anchor.subscriber);
        let receive = |buffer: &mut [_]| {
            // A message that the engine refuses is not copied.
            match reader.recv(buffer, Deadline::never()) {
                Err(errno) if errno == Errno::EMSGSIZE && buffer.len() > message_max => {
                    Err(Errno::EFBIG)
                }
                received => received,
            }
        };
        match scratch.receive(receive, |received| received.len) {
            Ok((received, _)) if received.len == 0 => {
                self.has_ended = true;
                Some(Item::End)
            }
            Ok((received, bytes)) => {
                let id = MessageId {
                    feed: self.feed,
                    sequence: received.sequence,
                };
                self.next = received.sequence + 1;
                if bytes.len() > message_max {
                    return Some(Item::Lost(id, 1, Loss::TooLarge));
                }
                Some(Item::Message(id, bytes))
            }
            Err(errno) if errno == Errno::EAGAIN => None,
            Err(errno) if errno == Errno::EFBIG => match self.reader().peek(Deadline::never()) {
                Ok(Some(_)) => self.skip(),
                _ => None,
            },
            Err(errno) if errno == Errno::EOVERFLOW => {
                let next = self.reader().sequence();
                let item = lost(self.feed, self.next, next);
                self.next = next;
                if self.reader.is_none() && self.anchor.is_reliable {
                    self.note_demotion();
                }
                Some(item)
            }
            Err(errno) => {
                log::error!("{}: {}", self.name, LocalError::new("the feed", errno));
                Some(Item::End)
            }
        }
    }

    async fn ready(&mut self) {
        if self.first.is_empty() && !self.is_demoted {
            self.readiness.event().await;
        }
    }

    fn confirmed(&mut self, last: MessageId) {
        self.confirmed = Some(last);
        self.release_confirmed(last.next());
    }

    /// The messages stay in the feed, but only while its publisher lives.
    fn ends_with_bridge(&self) -> bool {
        self.anchor.subscriber.has_ended()
    }
}
