//! Channels: socket pairs at memory speed.
//!
//! | module | what is in it |
//! |---|---|
//! | `memory` | what each side owns in shared memory, and how the other sees it |
//! | [`ring`] | the lengths and cursors of the ring |
//! | [`sleep`] | who sleeps, and when to wake it |
//! | `signal` | waking, and learning that the other side is gone |
//! | `handshake` | how two processes exchange their memory |
//! | `listen` | paths by which unrelated processes meet |
//!
//! [`ring`] and [`sleep`] are protocols over atomics alone; `tests/loom` runs through their
//! interleavings.

mod end;
mod handshake;
mod listen;
mod memory;
pub mod ring;
mod signal;
pub mod sleep;

pub use end::{Channel, Options, Spin, Stats};
pub use listen::{accept, connect, listen};
