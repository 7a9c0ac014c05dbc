//! The parts of message passing through shared memory. None of them knows what is built from it;
//! [`crate::channel`] is.
//!
//! | module | responsibility |
//! |---|---|
//! | [`ring`] | publishing messages in a ring, and consuming them |
//! | [`event_count`] | announcing a sleep, and deciding whether to wake the other side |
//! | [`wait`] | the wait loop |
//! | [`spin`] | how long a blocking call spins before it sleeps |
//! | [`cpu_hint`] | where the two sides run |
//! | [`doorbell`] | waking the other side, and noticing its death |
//! | [`pipe_ends`] | the pipe by which it is woken |
//! | [`sleepers`] | the threads of one process that sleep on one end |
//! | [`liveness`] | how often a call asks whether the other side is alive |
//! | [`readiness`] | when the descriptor for event loops is readable |
//! | `polled` | that descriptor |
//! | [`hello`] | one message with descriptors each way, over a socket |
//!
//! [`ring`], [`event_count`], [`wait`], [`sleepers`] and [`readiness`] take their atomics from [`crate::atomic`]
//! and the doorbell as a parameter: `tests/loom` runs all their interleavings.

pub mod cpu_hint;
pub mod doorbell;
pub mod event_count;
pub mod hello;
pub mod liveness;
pub mod pipe_ends;
mod polled;
pub mod readiness;
pub mod ring;
pub mod sleepers;
pub mod spin;
pub mod wait;
