//! A subscriber, as the publisher sees it.

use super::control::SubscriberControl;
use super::handshake::{Applicant, NAME_SIZE};
use super::page::Page;
use crate::atomic::{AtomicU32, Ordering};
use crate::pair::Cred;
use crate::sys::pipe;
use crate::transport::broadcast::Start;
use crate::transport::cpu_hint::CpuHint;
use crate::transport::event_count::Watch;
use crate::transport::followers::{Follower, Sleeper};
use crate::transport::pipe_ends::PeerDoorbell;
use probe::probe;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Whether the publisher waits for a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It does.
    Reliable,
    /// It does not.
    Lossy,
    /// It does no longer, because the subscriber has held it up for too long.
    Demoted,
}

/// A subscriber of a feed.
pub struct Subscription {
    /// Identifies it among the subscribers of the feed.
    pub id: u32,
    /// Whether the publisher waits for it.
    pub kind: Kind,
    page: Page,
    /// The doorbell by which the publisher wakes it.
    bell: PeerDoorbell,
    /// The read end of the pipe by which it wakes the publisher.
    pipe: OwnedFd,
    watch: Watch,
    follower: Follower,
    /// The sequence number with which it began.
    first: u64,
    /// Since when it holds the publisher up, in nanoseconds; 0 if it does not.
    held_since: u64,
    cred: Cred,
    name: [u8; NAME_SIZE],
}

/// The report of a publisher about a subscriber.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// The credentials of the process that connected.
    pub cred: Cred,
    /// Whether the publisher waits for it.
    pub kind: Kind,
    /// Whether it sleeps, waiting for a message.
    pub is_asleep: bool,
    /// Whether it holds the publisher up.
    pub holds: bool,
    /// The number of messages that it has not read, and of their bytes in the ring.
    pub lag: (u64, u64),
    /// The number of messages that it says it has lost.
    pub lost: u64,
    /// Its name, padded with zeros.
    pub name: [u8; NAME_SIZE],
}

impl Subscription {
    /// Makes a subscriber that begins at `start`.
    pub fn new(
        id: u32,
        applicant: Applicant,
        bell: PeerDoorbell,
        start: Start,
        cred: Cred,
    ) -> Self {
        let request = applicant.request;
        Self {
            id,
            kind: match request.is_lossy {
                true => Kind::Lossy,
                false => Kind::Reliable,
            },
            page: applicant.page,
            bell,
            pipe: applicant.pipe.into_fd(),
            watch: Watch::new(),
            follower: Follower::new(start.cursor),
            first: start.sequence,
            held_since: 0,
            cred,
            name: request.name,
        }
    }

    fn control(&self) -> &SubscriberControl {
        self.page.control()
    }

    /// The pipe by which it wakes the publisher.
    pub fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// The processor on which it ran last.
    pub fn cpu(&self) -> &CpuHint {
        &self.control().receiver.cpu
    }

    /// Loads its cursor, while the publisher's is at `tail`; see [`Follower::refresh`].
    pub fn refresh(&mut self, tail: u64) -> u64 {
        self.follower
            .refresh(tail, &self.page.control().progress.head)
    }

    /// Reads its wake-ups. Returns false if it has ended.
    pub fn read_wake_ups(&self) -> bool {
        let mut bytes = [MaybeUninit::uninit(); 1024];
        pipe::read_without_waiting(self.pipe.as_fd(), &mut bytes) != Ok(0)
    }

    /// Records whether it holds the publisher up at `now`, in nanoseconds. Returns for how long it has
    /// done so.
    pub fn hold(&mut self, holds: bool, now: u64) -> u64 {
        if !holds {
            self.held_since = 0;
            return 0;
        }
        if self.held_since == 0 {
            self.held_since = now.max(1);
        }
        now.saturating_sub(self.held_since)
    }

    /// Whether it holds the publisher up.
    pub fn holds(&self) -> bool {
        self.held_since != 0
    }

    /// Its report. The publisher has published `count` messages up to
    /// `tail`; the oldest one that is left is at `oldest`.
    pub fn report(&mut self, count: u64, tail: u64, oldest: u64) -> Report {
        let head = self.refresh(tail);
        let progress = &self.control().progress;
        let sequence = progress.sequence.load(Ordering::Relaxed);
        let word = self.control().receiver.word.load(Ordering::Relaxed);
        let unread = tail.wrapping_sub(head);
        Report {
            cred: self.cred,
            kind: self.kind,
            is_asleep: word % 2 != 0,
            holds: self.holds(),
            // Each is the subscriber's own claim, limited to possible values.
            lag: (
                count.saturating_sub(sequence.max(self.first)),
                unread.min(tail.wrapping_sub(oldest)),
            ),
            lost: progress.lost.load(Ordering::Relaxed).min(count),
            name: self.name,
        }
    }
}

impl Sleeper for Subscription {
    #[inline]
    fn is_awake(&self) -> bool {
        self.watch.is_awake(&self.page.control().receiver.word)
    }

    fn event_count(&mut self) -> (&AtomicU32, &mut Watch) {
        (&self.page.control().receiver.word, &mut self.watch)
    }

    /// An error is ignored: the death of a subscriber is noticed at its pipe.
    fn wake(&self) {
        probe!(unixipc, feed_wake, self.cred.pid, self.id);
        let _ = self.bell.notify();
    }
}
