//! Channels: message passing through shared memory between two ends.
//!
//! | module | responsibility |
//! |---|---|
//! | `options` | the options, and their defaults |
//! | `stats` | counters |
//! | `control` | the control words of an end |
//! | `memory` | the shared memory of an end: the control words and the ring |
//! | `addresses` | the addresses of the records in a ring, for loops |
//! | `state` | the conditions and the sources of readiness of each direction: message, space, end |
//! | `endpoint` | an end: creation, shutdown, the descriptor for event loops, closing |
//! | `send` | reserving space, and writing a message |
//! | `publish` | publishing a message, waking the receiver |
//! | `recv` | finding a message, releasing it, waking the sender |
//! | `batch` | sending or receiving several messages at once |
//! | `descriptors` | messages with descriptors, which travel over the socket of the handshake |
//! | `call` | requests and replies |
//! | `handshake` | the offer that each side sends, and the check of the peer's offer |
//! | `pending` | completing the handshake |
//! | `connect` | connecting, accepting, and using a given socket |
//!
//! A channel is built from the parts in [`crate::transport`]: the ring, the decision whether to
//! wake the peer (`event_count`), noticing its death (`doorbell`), the wait loop, and arming the
//! descriptor (`readiness`).

mod addresses;
mod batch;
mod call;
mod connect;
mod control;
mod descriptors;
mod endpoint;
mod handshake;
mod memory;
mod options;
mod pending;
mod publish;
mod recv;
mod send;
mod state;
mod stats;

pub use call::{CALL_OVERHEAD, Caller};
pub use connect::{accept, connect, from_socket, wait_for_client};
pub use endpoint::Channel;
pub use options::Options;
pub use recv::RecvHalf;
pub use send::SendHalf;
pub use stats::Stats;
