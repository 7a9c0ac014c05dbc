//! Publishing a message: the steps of a send after the message has been written.

use super::endpoint::Link;
use super::send::SendHalf;
use crate::atomic::AtomicU32;
use crate::errno::{Result, errno, preserve_errno_on_success};
use crate::transport::event_count::PeerState;
use crate::transport::ring::Batch;
use crate::transport::wait::{Doorbell as _, Role};
use probe::probe;
use std::ptr;

/// How often a sender checks that messages are received: after this number, a power of two. If none
/// has been received since the last check, it asks the kernel whether the peer is alive.
const LIVENESS_EVERY: u64 = 64;

impl SendHalf<'_> {
    /// The length fields of the first message of a batch, and behind its last one.
    #[inline(always)]
    pub(super) fn length_fields<'l>(
        &self,
        link: &'l Link,
        batch: &Batch,
    ) -> (&'l AtomicU32, &'l AtomicU32) {
        let ring = &self.state.ring;
        let length = |position| link.memory.length(position);
        (length(ring.position()), length(ring.batch_end(batch)))
    }

    /// Publishes a batch of `messages` messages with `bytes` bytes, which have been written. Counts
    /// them, and wakes the receiver if it sleeps.
    #[inline(always)]
    pub(super) fn publish_batch(
        &mut self,
        link: &Link,
        batch: Batch,
        (length, next): (&AtomicU32, &AtomicU32),
        messages: u64,
        bytes: usize,
    ) -> Result<()> {
        let tail = &link.memory.control().tail.at;
        self.state.ring.publish_batch(batch, length, next, tail);
        let sent = &self.channel.sent.0;
        let count = sent.messages.add(messages);
        sent.bytes.add(bytes as u64);
        // Whether one of these messages has a number that is a multiple of it.
        let is_check_due = count % LIVENESS_EVERY < messages;
        let peer_word = &link.peer.control().receiver.word;
        if is_check_due || !self.state.notifier.is_awake(peer_word) {
            return self.reborrow().after_publish(link, is_check_due);
        }
        Ok(())
    }

    /// Publishes the message of `len` bytes in the reserved space.
    #[inline(never)]
    pub(super) fn publish_any(&mut self, link: &Link, len: usize) -> Result<()> {
        probe!(unixipc, channel_send, ptr::from_ref(self.channel), len);
        let batch = self.state.ring.batch_of(len as u32);
        let fields = self.length_fields(link, &batch);
        self.publish_batch(link, batch, fields, 1, len)
    }

    /// The steps after a publication unless the receiver is certainly awake and no check is due.
    #[cold]
    #[inline(never)]
    fn after_publish(mut self, link: &Link, is_check_due: bool) -> Result<()> {
        let peer_word = &link.peer.control().receiver.word;
        let asymmetric = &link.memory.control().tail.asymmetric;
        let peer = self.state.notifier.notify(peer_word, asymmetric, || true);
        if peer == PeerState::Awake && !is_check_due {
            return Ok(());
        }
        preserve_errno_on_success(|| match peer {
            PeerState::Asleep => self.wake_receiver(link),
            PeerState::Ended => {
                let result = self.check_delivered(link);
                self.state.ring.close();
                result
            }
            PeerState::Awake => self.check_liveness(link),
        })
    }

    fn wake_receiver(&mut self, link: &Link) -> Result<()> {
        link.cpus().mine.publish();
        self.channel.sent.0.wakes.add(1);
        probe!(
            unixipc,
            channel_wake,
            ptr::from_ref(self.channel),
            Role::Receiver
        );
        link.peer_bell.notify().or_else(|_| {
            self.channel.bell.set_gone();
            self.check_delivered(link)
        })
    }

    /// Checks that the peer is alive if it has read none of the last messages.
    fn check_liveness(&mut self, link: &Link) -> Result<()> {
        link.cpus().mine.publish();
        let before = self.state.ring.cached_head();
        self.refresh(link)?;
        if self.state.ring.cached_head() == before && self.channel.bell.check_peer() {
            return self.check_delivered(link);
        }
        Ok(())
    }

    /// For a peer that has ended: `EPIPE` if it has not received all messages. If it has, this send
    /// succeeds and the next one fails.
    fn check_delivered(&mut self, link: &Link) -> Result<()> {
        self.refresh(link)?;
        if self.state.ring.is_drained() {
            Ok(())
        } else {
            Err(errno!(EPIPE))
        }
    }

    fn refresh(&mut self, link: &Link) -> Result<()> {
        let refreshed = self.state.ring.refresh(0, &link.peer.control().head.at);
        refreshed
            .map(drop)
            .map_err(|error| self.channel.poison(error))
    }
}
