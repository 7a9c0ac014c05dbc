//! The two subscribers that share the work of a route.
//!
//! The *anchor* is reliable, and stays at the first message that the engine has not confirmed: so the
//! publisher overwrites nothing that could be needed again. The *reader* is ahead of it, and lossy: the
//! anchor protects the messages that it reads. The lag of the anchor, which the publisher can list, is
//! the number of unconfirmed messages.

use crate::context::Context;
use crate::engine::FeedId;
use crate::local::{LocalError, Readiness, c_path};
use std::time::Duration;
use unixipc::deadline::Deadline;
use unixipc::errno::Errno;
use unixipc::feed::{self, Begin, NAME_SIZE, Subscriber, SubscriberOptions};
use unixipc::transport::spin::SpinPolicy;

/// How long an attempt to subscribe waits for the publisher, in milliseconds. The thread of the route
/// does nothing else in this time.
const SUBSCRIBE_MS: i32 = 200;
/// The errors after which another attempt to subscribe the reader may succeed.
const TEMPORARY: [Errno; 6] = [
    Errno::EAGAIN,
    Errno::ETIMEDOUT,
    Errno::EMFILE,
    Errno::ENFILE,
    Errno::ENOMEM,
    Errno::ENOSPC,
];

/// The subscriber that holds the feed.
pub struct Anchor {
    /// The subscriber.
    pub subscriber: Subscriber,
    /// Whether the publisher waits for it.
    pub is_reliable: bool,
}

impl Anchor {
    /// Subscribes it. The feed may wait for no subscriber.
    pub fn subscribe(context: &Context) -> Result<Self, LocalError> {
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

    /// Subscribes the reader, and watches the subscriber that reads. Without a reader the anchor
    /// reads: if the publisher does not wait for it, if the publisher has ended, or if the feed
    /// admits no second subscriber.
    pub fn subscribe_reader(
        &mut self,
        context: &Context,
    ) -> Result<(Option<Subscriber>, Readiness), LocalError> {
        let mut reader = None;
        if self.is_reliable {
            let begin = Begin::Sequence(self.subscriber.sequence());
            let feed = self.subscriber.feed_id();
            reader = match subscribe(context, true, begin, feed, "bridge-reader") {
                Err(error) if !error.errno().is_one_of(&TEMPORARY) => {
                    log::warn!(
                        "{}: a second subscriber: {error}; the publisher may overwrite messages \
                         that the stream has not confirmed",
                        context.route
                    );
                    None
                }
                reader => Some(reader?),
            };
        }
        let fd = reader.as_mut().unwrap_or(&mut self.subscriber).fd();
        let readiness = fd.and_then(Readiness::of_number);
        let readiness = readiness.map_err(|errno| error(context, errno))?;
        Ok((reader, readiness))
    }

    /// Releases all messages before `next`. Returns whether the publisher still waits for this
    /// subscriber.
    pub fn go_to(&mut self, next: u64) -> bool {
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

/// Skips the messages before `next`, as far as they are published. Returns the sequence number of the
/// next message, which is larger if that one was overwritten.
pub fn go_to(reader: &mut Subscriber, next: u64) -> u64 {
    while reader.sequence() < next {
        let skipped = reader
            .peek(Deadline::never())
            .and_then(|message| message.map_or(Err(Errno::EAGAIN), |_| reader.release()));
        match skipped {
            Ok(()) => {}
            Err(errno) if errno == Errno::EOVERFLOW => {}
            Err(_) => break,
        }
    }
    reader.sequence()
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
