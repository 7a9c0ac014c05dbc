//! The parts of message passing through shared memory. [`crate::channel`] and [`crate::feed`] are
//! built from them; no part depends on these.
//!
//! | module | responsibility |
//! |---|---|
//! | [`ring`] | publishing messages in a ring, and consuming them |
//! | [`records`] | consecutive records of a ring, for loops over many messages |
//! | [`event_count`] | announcing a sleep, and deciding whether to wake the peer |
//! | [`wait`] | the wait loop |
//! | [`spin`] | how long a blocking call spins before it sleeps |
//! | [`cpu_hint`] | the processors on which the two sides run |
//! | [`doorbell`] | sleeping until the peer wakes this side, and noticing the peer's death |
//! | [`pipe_ends`] | the pipe through which one side wakes the other |
//! | [`sleepers`] | the threads of one process that sleep on one end |
//! | [`liveness`] | how often a call checks that the peer is alive |
//! | [`readiness`] | when the descriptor for event loops is readable |
//! | `polled` | the descriptor for event loops |
//! | [`fd_queue`] | descriptors of messages, which travel over a socket |
//! | [`hello`] | the exchange of one message with descriptors over a socket |
//! | [`listen`] | listening at a path, and replacing the socket of a dead listener |
//! | [`connect`] | connecting a socket to a listener |
//! | `await_listener` | waiting for a listener between attempts to connect |
//! | [`broadcast`] | the ring from one publisher to many subscribers |
//! | [`followers`] | the subscribers of that ring, as the publisher sees them |
//! | [`ring_memory`] | the shared memory of a side that sends |
//!
//! [`ring`], [`records`], [`broadcast`], [`followers`], [`event_count`], [`wait`], [`sleepers`] and
//! [`readiness`] take their atomics from [`crate::atomic`] and the doorbell as a parameter, so that
//! `tests/loom` can run their interleavings.

pub(crate) mod await_listener;
pub mod broadcast;
pub mod connect;
pub mod cpu_hint;
pub mod doorbell;
pub mod event_count;
pub mod fd_queue;
pub mod followers;
pub mod hello;
pub mod label;
pub mod listen;
pub mod liveness;
pub mod pipe_ends;
mod polled;
pub mod readiness;
pub mod records;
pub mod ring;
pub mod ring_memory;
pub mod sleepers;
pub mod spin;
pub mod wait;
