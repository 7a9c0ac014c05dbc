//! Channels: socket pairs at memory speed.
//!
//! | module | responsibility |
//! |---|---|
//! | `options` | the options, and their defaults |
//! | `stats` | counters |
//! | `control` | the control words of an end |
//! | `memory` | the shared memory of an end: the control words and the ring |
//! | `state` | what each direction waits for: message, room, end; what makes the descriptor readable |
//! | `endpoint` | an end: making it, shutdown, the descriptor for event loops, closing |
//! | `send` | reserving, publishing a message, waking the receiver |
//! | `recv` | finding a message, releasing it, waking the sender |
//! | `handshake` | what each side offers the other, and how that is checked |
//! | `pending` | completing the handshake |
//! | `connect` | connecting, accepting, and using a given socket |
//! | `listen` | the path at which a listener is found, and taking over that of a dead one |
//!
//! They are built from the parts in [`crate::transport`]: there are the ring, deciding whether to
//! wake the other side (`event_count`), noticing its death (`doorbell`), the wait loop, and arming
//! the descriptor (`readiness`).

mod connect;
mod control;
mod endpoint;
mod handshake;
mod listen;
mod memory;
mod options;
mod pending;
mod recv;
mod send;
mod state;
mod stats;

pub use connect::{accept, connect, from_socket, wait_for_client};
pub use endpoint::Channel;
pub use listen::listen;
pub use options::Options;
pub use recv::RecvHalf;
pub use send::SendHalf;
pub use stats::Stats;
