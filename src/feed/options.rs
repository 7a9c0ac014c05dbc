//! The options of a feed and of a subscriber, and their defaults.

use super::handshake::NAME_SIZE;
use crate::errno::{Result, errno};
use crate::transport::broadcast::{self, RING_MAX};
use crate::transport::ring::{Geometry, alignment, size_for};
use crate::transport::ring_memory::{Pages, ring_size};
use crate::transport::spin::{ADAPTIVE_SPIN, SpinPolicy};
use std::time::Duration;

/// The default size of a ring.
const RING_SIZE: u64 = 256 << 10;
/// The default size of the largest ring that a subscriber accepts.
const RING_SIZE_MAX: u64 = 16 << 20;
/// The default number of subscribers that a feed may have.
const SUBSCRIBERS_MAX: usize = 64;
/// The largest number of subscribers that a feed may have.
const SUBSCRIBERS_LIMIT: usize = 1 << 16;
/// The length of an adaptive spin of a publisher. A publisher that sleeps takes processor time from
/// the slowest subscriber, which has to wake it, and all others wait for both. Subscribers that
/// share a processor read a full ring one after another, so the wait is longer than that of a
/// channel.
pub const PUBLISHER_SPIN: Duration = Duration::from_micros(100);

/// The options of a feed.
#[derive(Clone, Copy, Debug)]
pub struct FeedOptions {
    /// The size of the ring; 0 for the default.
    pub size: u64,
    /// The length of a message that must fit into the ring; 0 for no requirement.
    pub message_max: u64,
    /// The alignment of messages: 8, 16, 32 or 64; 0 for the default.
    pub message_align: u32,
    /// The number of subscribers that the feed may have; 0 for the default.
    pub subscribers_max: u32,
    /// How long a reliable subscriber may hold the publisher up, in milliseconds; 0 without limit.
    pub stall_ms: u64,
    /// How long a blocking call spins before it sleeps.
    pub spin: SpinPolicy,
    /// Whether only lossy subscribers are admitted.
    pub lossy_only: bool,
    /// How the pages of the ring are allocated.
    pub pages: Pages,
}

impl Default for FeedOptions {
    fn default() -> Self {
        Self {
            size: 0,
            message_max: 0,
            message_align: 0,
            subscribers_max: 0,
            stall_ms: 0,
            spin: SpinPolicy::Adaptive(PUBLISHER_SPIN),
            lossy_only: false,
            pages: Pages::default(),
        }
    }
}

impl FeedOptions {
    /// The geometry of the ring.
    pub fn geometry(&self) -> Result<Geometry> {
        let align = alignment(self.message_align)?;
        let size = if self.size == 0 { RING_SIZE } else { self.size };
        let for_message = match self.message_max {
            0 => 0,
            len if len <= broadcast::geometry(RING_MAX, align).longest() => {
                size_for(len + broadcast::EXTRA)
            }
            _ => return Err(errno!(EINVAL)),
        };
        let size = ring_size(size.max(for_message))?;
        if size > RING_MAX {
            return Err(errno!(EINVAL));
        }
        Ok(broadcast::geometry(size, align))
    }

    /// The number of subscribers that the feed may have.
    pub fn subscribers_max(&self) -> Result<usize> {
        match self.subscribers_max as usize {
            0 => Ok(SUBSCRIBERS_MAX),
            max if max <= SUBSCRIBERS_LIMIT => Ok(max),
            _ => Err(errno!(EINVAL)),
        }
    }
}

/// Where a subscriber begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With the next message that is published.
    Newest,
    /// With the oldest message that is left.
    Oldest,
    /// With the message that has this sequence number.
    Sequence(u64),
}

/// The options of a subscriber.
#[derive(Clone, Copy, Debug)]
pub struct SubscriberOptions {
    /// Whether the publisher does not wait for it.
    pub is_lossy: bool,
    /// Where it begins.
    pub begin: Begin,
    /// The feed that it continues to read; zeros for any.
    pub feed_id: [u8; 16],
    /// Its name, padded with zeros; the last byte is 0.
    pub name: [u8; NAME_SIZE],
    /// The largest ring that it accepts; 0 for the default.
    pub size_max: u64,
    /// How long a blocking call spins before it sleeps.
    pub spin: SpinPolicy,
    /// Whether connecting waits until a process listens.
    pub wait: bool,
}

impl Default for SubscriberOptions {
    fn default() -> Self {
        Self {
            is_lossy: false,
            begin: Begin::Newest,
            feed_id: [0; 16],
            name: [0; NAME_SIZE],
            size_max: 0,
            spin: SpinPolicy::Adaptive(ADAPTIVE_SPIN),
            wait: false,
        }
    }
}

impl SubscriberOptions {
    /// The size of the largest ring that is accepted.
    pub fn size_max(&self) -> u64 {
        match self.size_max {
            0 => RING_SIZE_MAX,
            size => size,
        }
    }
}
