//! A subscriber of a local feed.
//!
//! Two subscribers share the work. The *anchor* is reliable, and stays at the first message that the
//! engine has not confirmed: so the publisher overwrites nothing that could be needed again. The
//! *reader* is ahead of it, and lossy: the anchor protects the messages that it reads. The lag of the anchor, which
//! the publisher can list, is the number of unconfirmed messages.

use super::Complaint;
use super::source::{Item, Source};
use crate::bridge::Context;
use crate::config::Start;
use crate::engine::{FeedId, Loss, MessageId};
use crate::local::{LocalError, Readiness, Scratch, c_path};
use crate::pause::Pauses;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::select;
use tokio::time::sleep;
use unixipc::deadline::Deadline;
use unixipc::errno::Errno;
use unixipc::feed::{self, Begin, NAME_SIZE, Subscriber, SubscriberOptions};
use unixipc::transport::spin::SpinPolicy;

/// How long an attempt to subscribe waits for the publisher, in milliseconds. The thread of the route
/// does nothing else in this time.
const SUBSCRIBE_MS: i32 = 200;
/// The longest pause between two attempts to subscribe.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// The subscriptions of a route, one after another.
#[derive(Default)]
pub struct FeedRoute {
    anchor: Option<Anchor>,
    /// The feed whose end the bridge has seen.
    ended: Option<FeedId>,
}

/// The subscriber that holds the feed.
struct Anchor {
    subscriber: Subscriber,
    /// Whether the publisher waits for it.
    is_reliable: bool,
}

impl FeedRoute {
    /// Waits until the feed has admitted the anchor. Returns false if the bridge stops.
    pub async fn attach(&mut self, context: &Context) -> bool {
        if self.anchor.is_some() {
            return true;
        }
        let mut pauses = Pauses::up_to(PAUSE_MAX);
        let mut complaint = Complaint::default();
        loop {
            if context.is_stopping() {
                return false;
            }
            match Anchor::subscribe(context) {
                Ok(anchor) => {
                    log::info!("{}: subscribed", context.route);
                    self.anchor = Some(anchor);
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

    /// Begins after the message that the stream has last.
    pub fn begin(
        &mut self,
        context: &Context,
        position: Option<MessageId>,
    ) -> Result<FeedSource, LocalError> {
        let mut anchor = self.anchor.take().ok_or(error(context, Errno::EINVAL))?;
        let subscriber = &anchor.subscriber;
        let (feed, oldest) = (subscriber.feed_id(), subscriber.sequence());
        let mut first = VecDeque::new();
        let start = match position {
            Some(last) if last.feed == feed => {
                if oldest > last.next() {
                    first.push_back(lost(feed, last.next(), oldest));
                }
                last.next().max(oldest)
            }
            Some(last) => {
                if self.ended != Some(last.feed) {
                    first.push_back(Item::Replaced(MessageId::begin(feed)));
                }
                if oldest > 0 {
                    first.push_back(lost(feed, 0, oldest));
                }
                oldest
            }
            None if context.route.options.start == Start::Newest => {
                subscriber.published().max(oldest)
            }
            None => oldest,
        };
        let reader = subscribe(context, true, Begin::Sequence(start), feed, "bridge-reader")?;
        anchor.go_to(start);
        FeedSource::new(context, reader, anchor, first, start)
    }

    /// Notes that a source has ended.
    pub fn ended(&mut self, source: &FeedSource) {
        if source.has_ended {
            self.ended = Some(source.feed);
        }
    }
}

impl Anchor {
    fn subscribe(context: &Context) -> Result<Self, LocalError> {
        let name = format!("bridge:{}", context.route.subject);
        let subscribe = |is_lossy| subscribe(context, is_lossy, Begin::Oldest, [0; 16], &name);
        let is_lossy = context.route.options.lossy;
        let (subscriber, is_reliable) = match subscribe(is_lossy) {
            Err(error) if error.errno() == Errno::EOPNOTSUPP && !is_lossy => {
                log::warn!("{}: the feed waits for no subscriber", context.route);
                (subscribe(true)?, false)
            }
            subscriber => (subscriber?, !is_lossy),
        };
        Ok(Self {
            subscriber,
            is_reliable,
        })
    }

    /// Releases all messages before `next`. Returns whether the publisher still waits for this
    /// subscriber.
    fn go_to(&mut self, next: u64) -> bool {
        while self.is_reliable && self.subscriber.sequence() < next {
            let released = self.subscriber.peek(Deadline::never()).and_then(|message| {
                message.map_or(Err(Errno::EAGAIN), |_| self.subscriber.release())
            });
            match released {
                Ok(()) => {}
                Err(errno) if errno == Errno::EAGAIN => break,
                Err(_) => self.is_reliable = false,
            }
        }
        self.is_reliable
    }
}

/// Subscribes within a short time.
fn subscribe(
    context: &Context,
    is_lossy: bool,
    begin: Begin,
    feed_id: FeedId,
    name: &str,
) -> Result<Subscriber, LocalError> {
    let mut padded = [0; NAME_SIZE];
    let len = name.len().min(NAME_SIZE - 1);
    padded[..len].copy_from_slice(&name.as_bytes()[..len]);
    let options = SubscriberOptions {
        is_lossy,
        begin,
        feed_id,
        name: padded,
        size_max: context.route.options.ring_size.max(1 << 30),
        spin: SpinPolicy::For(Duration::ZERO),
        wait: false,
    };
    let path = c_path(&context.route.local.path);
    let connect = || feed::connect(&path, &options, &mut Deadline::new(SUBSCRIBE_MS)?);
    connect().map_err(|errno| error(context, errno))
}

fn error(context: &Context, errno: Errno) -> LocalError {
    LocalError::new(&context.route.local, errno)
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
    reader: Subscriber,
    anchor: Anchor,
    /// Whether the publisher ceased to wait for the anchor.
    is_demoted: bool,
    feed: FeedId,
    scratch: Scratch,
    /// Items before the messages.
    first: VecDeque<Item>,
    /// The next sequence number.
    next: u64,
    /// Whether the feed has ended.
    has_ended: bool,
    name: String,
}

impl FeedSource {
    fn new(
        context: &Context,
        mut reader: Subscriber,
        anchor: Anchor,
        first: VecDeque<Item>,
        next: u64,
    ) -> Result<Self, LocalError> {
        let fd = reader.fd().map_err(|errno| error(context, errno))?;
        Ok(Self {
            readiness: Readiness::of_number(fd).map_err(|errno| error(context, errno))?,
            feed: reader.feed_id(),
            reader,
            anchor,
            is_demoted: false,
            scratch: Scratch::new(),
            first,
            next,
            has_ended: false,
            name: context.route.to_string(),
        })
    }

    /// Skips the next message, which is too long.
    fn skip(&mut self) -> Option<Item> {
        let id = MessageId {
            feed: self.feed,
            sequence: self.next,
        };
        self.reader.release().ok()?;
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
            reader, scratch, ..
        } = self;
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
            Err(errno) if errno == Errno::EFBIG => match self.reader.peek(Deadline::never()) {
                Ok(Some(_)) => self.skip(),
                _ => None,
            },
            Err(errno) if errno == Errno::EOVERFLOW => {
                let item = lost(self.feed, self.next, self.reader.sequence());
                self.next = self.reader.sequence();
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
        let was_reliable = self.anchor.is_reliable;
        if last.feed == self.feed && !self.anchor.go_to(last.next()) && was_reliable {
            log::warn!(
                "{}: the publisher no longer waits; subscribing again",
                self.name
            );
            self.is_demoted = true;
        }
    }

    fn ends_with_bridge(&self) -> bool {
        false
    }
}
