//! Feeds: every message of one publisher to each of many subscribers.
//!
//! | module | responsibility |
//! |---|---|
//! | `options` | the options, and their defaults |
//! | `control` | the control words of the publisher and of a subscriber |
//! | `page` | the shared memory of a subscriber |
//! | `handshake` | the request of a subscriber, and the answer |
//! | `publisher` | a feed: publishing messages |
//! | `space` | how a publisher waits for space in the ring |
//! | `publisher_wait` | its subscribers and its events, for that |
//! | `audience` | admitting subscribers, noticing their death, waking them |
//! | `clients` | those that have connected and are not admitted yet |
//! | `subscription` | a subscriber, as the publisher sees it |
//! | `events` | the publisher's descriptor for event loops |
//! | `listener` | the path at which a feed listens |
//! | `connect` | connecting to a feed |
//! | `subscriber` | a subscriber: receiving messages |
//! | `next` | waiting for the next message |
//!
//! The publisher's memory is a ring that subscribers can only read
//! ([`ring_memory`](crate::transport::ring_memory)); the protocol is in
//! [`broadcast`](crate::transport::broadcast). Each subscriber has a page of its own, which the
//! publisher can only read.

mod audience;
mod clients;
mod connect;
mod control;
mod events;
mod handshake;
mod listener;
mod next;
mod options;
mod page;
mod poll_timer;
mod publisher;
mod publisher_wait;
mod space;
mod subscriber;
mod subscription;

pub use connect::{connect, from_socket};
pub use handshake::NAME_SIZE;
pub use options::{Begin, FeedOptions, PUBLISHER_SPIN, SubscriberOptions};
pub use publisher::Feed;
pub use subscriber::{Received, Subscriber};
pub use subscription::{Kind, Report};
