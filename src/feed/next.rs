//! The condition for which a subscriber waits: the next message, or the end of the feed.

use super::control::{FeedControl, SubscriberControl};
use super::handshake::FeedMemory;
use crate::atomic::Ordering;
use crate::errno::Result;
use crate::transport::broadcast::{Next, Reader};
use crate::transport::readiness::{Source, arm, rearm};
use crate::transport::wait::{Condition, Doorbell, EventWords, Progress};

/// The parts of a subscriber that the waiting code needs.
pub struct View<'a, B> {
    /// The memory of the feed.
    pub memory: &'a FeedMemory,
    /// The control words of the subscriber.
    pub mine: &'a SubscriberControl,
    /// The doorbell of the subscriber.
    pub bell: &'a B,
    /// Whether a receive has reported the end of the feed.
    pub end_received: bool,
    /// Whether messages were lost, and no receive has reported it.
    pub has_gap: bool,
}

impl<B> Clone for View<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for View<'_, B> {}

impl<'a, B: Doorbell> View<'a, B> {
    fn feed(&self) -> &'a FeedControl {
        self.memory.control()
    }

    /// The words by which the subscriber announces that it waits for a message.
    pub fn words(&self) -> EventWords<'a> {
        EventWords {
            event_count: &self.mine.receiver.word,
            peer_asymmetric: &self.feed().words.published.asymmetric,
        }
    }

    /// Whether no message will follow those in the ring. If so, all of those are visible: the
    /// acquire loads pair with the release in the drop of `Feed` and in `set_gone`.
    fn is_ended(&self) -> bool {
        self.bell.is_peer_gone() || self.feed().words.seldom.ended.load(Ordering::Acquire) != 0
    }

    /// Arms the descriptor for event loops; see [`arm`].
    pub fn arm(&self, reader: &Reader) {
        arm(self.bell, &Messages(*self, reader), &Nothing);
    }

    /// Clears the descriptor and arms it; see [`rearm`].
    pub fn rearm(&self, reader: &Reader) {
        rearm(self.bell, &Messages(*self, reader), &Nothing);
    }
}

/// The source of readiness: a message, or the end of the feed.
struct Messages<'a, B>(View<'a, B>, &'a Reader);

impl<B: Doorbell> Source<B> for Messages<'_, B> {
    fn announce(&self, bell: &B) -> bool {
        self.0.words().announce(bell)
    }

    fn is_ready(&self) -> bool {
        let Self(end, reader) = self;
        end.has_gap
            || reader.has_news(end.memory, &end.feed().words)
            || (end.is_ended() && !end.end_received)
    }
}

/// A source that is never ready.
struct Nothing;

impl<B: Doorbell> Source<B> for Nothing {
    fn announce(&self, _bell: &B) -> bool {
        true
    }

    fn is_ready(&self) -> bool {
        false
    }
}

/// The condition that a subscriber waits for. It also holds when the subscriber was overtaken.
pub struct NextCondition<'a, B> {
    /// The subscriber.
    pub end: View<'a, B>,
    /// Its side of the ring.
    pub reader: &'a mut Reader,
    /// The result of the last search. A second search could find something else if the publisher is
    /// hostile.
    pub found: Next,
}

impl<B: Doorbell> Condition for NextCondition<'_, B> {
    fn poll(&mut self) -> Result<bool> {
        let words = &self.end.feed().words;
        self.found = self.reader.poll(self.end.memory, words)?;
        Ok(self.found != Next::Nothing)
    }

    fn check(&mut self) -> Result<Progress> {
        if self.poll()? {
            return Ok(Progress::Ready);
        }
        if !self.end.is_ended() {
            return Ok(Progress::Pending);
        }
        // The last message may have come after the first check and before the end.
        Ok(match self.poll()? {
            true => Progress::Ready,
            false => Progress::Ended,
        })
    }

    fn arm(&self) {
        self.end.arm(self.reader);
    }
}
