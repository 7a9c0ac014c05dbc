//! The interface of a local source.

use crate::engine::{Loss, MessageId};
use bytes::Bytes;

/// An item of a source.
#[derive(Debug)]
pub enum Item {
    /// A message with its id.
    Message(MessageId, Bytes),
    /// This number of messages up to the id was lost.
    Lost(MessageId, u64, Loss),
    /// The source before this one ended while no bridge read it.
    Replaced(MessageId),
    /// Nothing follows.
    End,
}

/// A local source of messages.
#[allow(async_fn_in_trait, reason = "each route has its own thread")]
pub trait Source {
    /// The next item; none if there is none now. Messages longer than `message_max` are lost.
    fn try_next(&mut self, message_max: usize) -> Option<Item>;

    /// Waits until [`Source::try_next`], which has returned none, may return something.
    async fn ready(&mut self);

    /// The message with this id and all before it are confirmed.
    fn confirmed(&mut self, last: MessageId);

    /// Whether the messages that were not read are lost when the bridge ends, so that it reads them
    /// before.
    fn ends_with_bridge(&self) -> bool;

    /// Admits no new clients.
    fn close(&mut self) {}
}
