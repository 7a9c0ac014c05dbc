//! The modules of `src/channel` that the models run, as they are.
#![allow(dead_code)] // the models do without some of it

#[path = "../../src/channel/control.rs"]
pub mod control;
#[path = "../../src/channel/state.rs"]
pub mod state;
