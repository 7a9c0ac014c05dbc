//! The control words of a feed and of its subscribers, in shared memory. Each side writes its own;
//! the other side only reads them.

use crate::atomic::{AtomicU32, AtomicU64};
use crate::transport::broadcast::Words;
use crate::transport::cpu_hint::CpuHint;
use crate::transport::ring_memory::ControlWords;

/// The words of a side that waits.
#[repr(C, align(128))]
#[derive(Default)]
pub struct Waiting {
    /// Its event count; see `event_count`.
    pub word: AtomicU32,
    /// The processor on which it ran last.
    pub cpu: CpuHint,
}

/// What identifies a feed.
#[repr(C, align(128))]
#[derive(Default)]
pub struct Identity {
    /// Random bytes.
    pub id: [AtomicU64; 2],
}

/// The control words of the publisher.
#[repr(C)]
#[derive(Default)]
pub struct FeedControl {
    /// The words of the broadcast ring.
    pub words: Words,
    /// The publisher, which waits for space.
    pub space: Waiting,
    /// The identity of the feed.
    pub identity: Identity,
}

/// How far a subscriber has come.
#[repr(C, align(128))]
#[derive(Default)]
pub struct Progress {
    /// The cursor of the next message.
    pub head: AtomicU64,
    /// The sequence number of the next message.
    pub sequence: AtomicU64,
    /// The number of messages that the subscriber has lost.
    pub lost: AtomicU64,
}

/// The control words of a subscriber.
#[repr(C)]
#[derive(Default)]
pub struct SubscriberControl {
    /// How far it has come.
    pub progress: Progress,
    /// The subscriber, which waits for a message.
    pub receiver: Waiting,
}

// SAFETY: atomics only.
unsafe impl ControlWords for FeedControl {}
// SAFETY: atomics only.
unsafe impl ControlWords for SubscriberControl {}

#[cfg(not(loom))]
const _: () = {
    use crate::transport::broadcast::{Published, Seldom};
    use std::mem::offset_of;
    assert!(size_of::<FeedControl>() == 640);
    assert!(offset_of!(FeedControl, words.published) == 0);
    assert!(offset_of!(Published, count) == 8);
    assert!(offset_of!(Published, asymmetric) == 16);
    assert!(offset_of!(FeedControl, words.oldest) == 128);
    assert!(offset_of!(FeedControl, words.seldom) == 256);
    assert!(offset_of!(Seldom, demotions) == 64);
    assert!(offset_of!(Seldom, ended) == 68);
    assert!(offset_of!(FeedControl, space) == 384);
    assert!(offset_of!(Waiting, cpu) == 4);
    assert!(offset_of!(FeedControl, identity) == 512);
    assert!(size_of::<SubscriberControl>() == 256);
    assert!(offset_of!(Progress, sequence) == 8);
    assert!(offset_of!(Progress, lost) == 16);
    assert!(offset_of!(SubscriberControl, receiver) == 128);
};
