//! Channels: socket pairs at memory speed.
//!
//! | module | what is in it |
//! |---|---|
//! | `memory` | what each side owns in shared memory, and how the other sees it |
//! | [`ring`] | the cursors of the ring |
//! | [`sleep`] | who sleeps, and when to wake it |
//! | `signal` | waking, and learning that the other side is gone |
//! | `handshake` | how two processes exchange their memory |
//! | `listen` | paths by which unrelated processes meet |
//!
//! [`ring`] and [`sleep`] are protocols over atomics alone; `tests/loom` runs through their
//! interleavings.

#[cfg(not(loom))]
mod end;
#[cfg(not(loom))]
mod handshake;
#[cfg(not(loom))]
mod listen;
#[cfg(not(loom))]
mod memory;
pub mod ring;
#[cfg(not(loom))]
mod signal;
pub mod sleep;

#[cfg(not(loom))]
pub use end::{Channel, Options, Spin, Stats};
#[cfg(not(loom))]
pub use listen::{accept, connect, listen};
