//! The modules of `src/channel` that the models run, included unchanged.
#![allow(dead_code)] // the models do not use every item

#[path = "../../src/channel/control.rs"]
pub mod control;
#[path = "../../src/channel/state.rs"]
pub mod state;
