//! The modules of `src/feed` that the models run, included unchanged.
#![allow(dead_code)] // the models do not use every item

#[path = "../../../src/feed/control.rs"]
pub mod control;
#[path = "../../../src/feed/next.rs"]
pub mod next;
#[path = "../../../src/feed/space.rs"]
pub mod space;

/// The memory of the model takes the place of the shipped one.
mod handshake {
    pub use crate::feed::memory::FeedMemory;
}
