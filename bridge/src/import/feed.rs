//! A local feed.

use super::sink::{Put, Sink};
use crate::context::Context;
use crate::local::{LocalError, Readiness, c_path};
use std::time::Duration;
use tokio::select;
use tokio::time::sleep;
use unixipc::deadline::Deadline;
use unixipc::errno::Errno;
use unixipc::feed::{Feed, FeedOptions};
use unixipc::transport::spin::SpinPolicy;

/// The length of the longest message if the route says nothing: that of a NATS server by default.
const MESSAGE_MAX: u64 = 1 << 20;
/// When the feed is served again after a shortage of descriptors, of which no event reports the end.
const SERVE_AGAIN: Duration = Duration::from_millis(100);

/// See the module.
pub struct FeedSink {
    readiness: Readiness,
    feed: Feed,
    /// Whether a client could not be admitted.
    is_short: bool,
    name: String,
}

impl FeedSink {
    /// Makes the feed, and listens at the path.
    pub fn new(context: &Context) -> Result<Self, LocalError> {
        let (local, options) = (&context.route.local, &context.route.options);
        let open = || {
            let mut feed = Feed::new(&FeedOptions {
                size: options.ring_size,
                message_max: match options.message_max {
                    0 => MESSAGE_MAX,
                    max => max,
                },
                subscribers_max: options.subscribers_max,
                stall_ms: options.stall_ms,
                spin: SpinPolicy::For(Duration::ZERO),
                lossy_only: options.lossy,
                ..FeedOptions::default()
            })?;
            feed.listen(&c_path(&local.path), options.mode())?;
            Ok(Self {
                readiness: Readiness::of_number(feed.fd()?)?,
                feed,
                is_short: false,
                name: context.route.to_string(),
            })
        };
        open().map_err(|errno| LocalError::new(local, errno))
    }
}

impl Sink for FeedSink {
    fn try_put(&mut self, bytes: &[u8]) -> Put {
        if bytes.is_empty() {
            return Put::Impossible("a message of a feed has at least one byte".into());
        }
        match self.feed.publish(bytes, Deadline::never()) {
            Ok(()) => Put::Done,
            Err(errno) if errno == Errno::EAGAIN => Put::Full,
            Err(errno) => Put::Impossible(LocalError::new("the feed", errno).to_string()),
        }
    }

    async fn event(&mut self) {
        select! {
            () = self.readiness.event() => {}
            () = sleep(SERVE_AGAIN), if self.is_short => {}
        }
        // Each call handles a limited number of events.
        for _ in 0..64 {
            if let Err(errno) = self.feed.service() {
                if !self.is_short {
                    let error = LocalError::new("a subscriber is not admitted", errno);
                    log::warn!("{}: {error}", self.name);
                }
                self.is_short = true;
                return;
            }
        }
        self.is_short = false;
    }
}
