//! The modules of `src/lock` that the models run, as they are.
#![allow(dead_code)] // the models do without some of it

#[path = "../../src/lock/announce.rs"]
pub mod announce;
#[path = "../../src/lock/event_state.rs"]
pub mod event_state;
