//! The modules of `src/lock` that the models run, included unchanged.
#![allow(dead_code)] // the models do not use every item

#[path = "../../src/lock/announce.rs"]
pub mod announce;
#[path = "../../src/lock/event_state.rs"]
pub mod event_state;
