//! The engine that carries messages between machines, as the bridge sees it.
//!
//! An engine stores the messages of a subject in order, and removes duplicates by their ids. The
//! bridge needs four roles of it, each of which is a trait:
//!
//! | role | from | to |
//! |---|---|---|
//! | [`Outlet`] | a local source | the stream of a subject |
//! | [`Inlet`] | the stream of a subject | a local sink |
//! | [`Requester`] | local callers | a subject |
//! | [`Responder`] | a subject | a local server |
//!
//! [`nats`] implements them. A second engine implements the same traits; nothing outside its
//! directory changes, except the choice in `bridge.rs`.

mod id;
pub mod nats;

pub use id::{FeedId, MessageId};

use crate::config::{EngineSettings, Route};
use bytes::Bytes;
use std::fmt;
use std::time::Duration;

/// One entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The feed, and the sequence number there. A marker has the number of the last message that it
    /// stands for.
    pub id: MessageId,
    /// The content.
    pub body: Body,
}

/// The content of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A message.
    Message(Bytes),
    /// A marker: this number of messages was lost.
    Lost(u64, Loss),
    /// A marker: the feed before this one ended while no bridge read it, so that an unknown number
    /// of its messages may be lost.
    Replaced,
}

/// Why messages were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The publisher has overwritten them before the bridge read them.
    Overwritten,
    /// They exceed the largest message of the engine.
    TooLarge,
}

impl Loss {
    /// The name of the reason in a marker and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overwritten => "overwritten",
            Self::TooLarge => "too large",
        }
    }
}

impl Record {
    /// The number of bytes that count against the limits of the bridge.
    pub fn size(&self) -> usize {
        /// The memory of a record in addition to its message.
        const OVERHEAD: usize = 128;
        match &self.body {
            Body::Message(bytes) => bytes.len() + OVERHEAD,
            _ => OVERHEAD,
        }
    }
}

/// A record that an [`Inlet`] has received.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The number of the record in its stream. Numbers of a subject grow, and may have gaps.
    pub number: u64,
    /// The number of this delivery. Without a lost delivery, it is one more than the last.
    pub delivery: u64,
    /// The id, if a bridge has sent the record.
    pub id: Option<MessageId>,
    /// The content.
    pub body: Body,
    /// What acknowledges this record and all before it.
    pub receipt: String,
}

/// Where an inlet continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Identifies the stream: another value if it was deleted and made again.
    pub stream: u64,
    /// The number of the last record that the stream had.
    pub last: u64,
    /// The number of the last record that is acknowledged; 0 if there is none.
    pub acknowledged: u64,
    /// The number of the next delivery.
    pub next_delivery: u64,
    /// The number of the last record that was delivered.
    pub delivered: u64,
    /// The number of records that were delivered and are not acknowledged.
    pub unacknowledged: u64,
}

/// What went wrong in an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The engine cannot be reached, or does not answer.
    Unreachable,
    /// The stream is full.
    Refused,
    /// The order of the records is no longer certain: ask for the position, and send again.
    Disordered,
    /// The engine's configuration does not fit: an administrator must change it.
    Misconfigured,
    /// The connection is not made again, or the stream no longer exists: open both again.
    Closed,
    /// No process answers requests for the subject, or the server there has failed.
    NoResponder,
}

/// An error of an engine.
#[derive(Clone, Debug)]
pub struct EngineError {
    /// What went wrong.
    pub failure: Failure,
    /// For the log. Contains no secret.
    pub text: String,
}

impl EngineError {
    /// An error with its text.
    pub fn new(failure: Failure, text: impl fmt::Display) -> Self {
        let text = text.to_string();
        Self { failure, text }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The result of an engine.
pub type Result<T> = std::result::Result<T, EngineError>;

/// A connection with an engine. It connects again by itself, with growing pauses.
#[allow(
    async_fn_in_trait,
    reason = "each route has its own thread, so no future needs Send"
)]
pub trait Engine: Sized {
    /// See [`Outlet`].
    type Outlet: Outlet;
    /// See [`Inlet`].
    type Inlet: Inlet;
    /// See [`Requester`].
    type Requester: Requester;
    /// See [`Responder`].
    type Responder: Responder;

    /// Makes a connection. Returns before the engine has been reached.
    /// At most `deliveries` messages of a subscription wait for the bridge.
    async fn connect(settings: &EngineSettings, name: &str, deliveries: usize) -> Result<Self>;

    /// Waits until everything was written to the network, for a short time.
    async fn flush(&self);

    /// Opens the stream of a route for sending. Creates it if the route says so.
    async fn outlet(&self, route: &Route) -> Result<Self::Outlet>;

    /// Opens the stream of a route for receiving.
    async fn inlet(&self, route: &Route) -> Result<Self::Inlet>;

    /// Opens the subject of a route for requests to it.
    async fn requester(&self, route: &Route) -> Result<Self::Requester>;

    /// Opens the subject of a route for requests from it.
    async fn responder(&self, route: &Route) -> Result<Self::Responder>;
}

/// Sends records to the stream of a subject.
#[allow(async_fn_in_trait, reason = "as for Engine")]
pub trait Outlet {
    /// The length of the longest message.
    fn message_max(&self) -> usize;

    /// Whether several records may be in flight without endangering their order.
    fn is_ordered(&self) -> bool;

    /// Begins a new round: waits until the engine has been reached, forgets the records of earlier rounds,
    /// and returns the id of the last record in the stream, if a bridge has sent it.
    async fn restart(&mut self) -> Result<Option<MessageId>>;

    /// Sends a record. Waits while the connection is busy. With a tag, the engine confirms the
    /// record, and all that this round has sent before it.
    async fn send(&mut self, record: &Record, tag: Option<u64>) -> Result<()>;

    /// Waits for a confirmation. Returns its tag. An error ends the round.
    async fn confirmed(&mut self) -> Result<u64>;
}

/// Receives records from the stream of a subject.
#[allow(async_fn_in_trait, reason = "as for Engine")]
pub trait Inlet {
    /// Begins a new round: waits until the engine has been reached, drops deliveries of earlier
    /// rounds, and returns where this round continues.
    async fn restart(&mut self) -> Result<Resume>;

    /// How long the engine waits before it delivers an unacknowledged record again.
    fn repeats_after(&self) -> Duration;

    /// Waits for the next delivery. An error ends the round.
    async fn next(&mut self) -> Result<Delivery>;

    /// The next delivery, if it has arrived.
    fn try_next(&mut self) -> Result<Option<Delivery>>;

    /// Acknowledges the record of a receipt, and all before it.
    async fn acknowledge(&mut self, receipt: &str) -> Result<()>;
}

/// Sends requests to a subject.
#[allow(async_fn_in_trait, reason = "as for Engine")]
pub trait Requester: Clone + 'static {
    /// The length of the longest message.
    fn message_max(&self) -> usize;

    /// Sends a request, and waits for the reply.
    async fn request(&self, request: Bytes, limit: Duration) -> Result<Bytes>;
}

/// A request that a [`Responder`] has received.
#[derive(Debug)]
pub struct Request {
    /// The bytes of the caller.
    pub bytes: Bytes,
    /// How long the caller waits from now on, if the request says so.
    pub limit: Option<Duration>,
    /// Where the reply goes.
    pub reply_to: String,
}

/// Receives requests from a subject.
#[allow(async_fn_in_trait, reason = "as for Engine")]
pub trait Responder {
    /// The length of the longest message.
    fn message_max(&self) -> usize;

    /// Waits for a request.
    async fn next(&mut self) -> Result<Request>;

    /// Takes no requests that are sent from now on. [`Responder::next`] returns the earlier ones, and
    /// then fails.
    async fn close(&mut self) -> Result<()>;

    /// Sends the reply to a request; none if the request failed.
    async fn reply(&self, reply_to: &str, reply: Option<Bytes>) -> Result<()>;
}
