//! The modules of `src/transport` that the models run, included unchanged.
#![allow(dead_code)] // the models do not use every item

#[path = "../../src/transport/broadcast/mod.rs"]
pub mod broadcast;
#[path = "../../src/transport/cpu_hint.rs"]
pub mod cpu_hint;
#[path = "../../src/transport/event_count.rs"]
pub mod event_count;
#[path = "../../src/transport/followers.rs"]
pub mod followers;
#[path = "../../src/transport/readiness.rs"]
pub mod readiness;
#[path = "../../src/transport/records.rs"]
pub mod records;
#[path = "../../src/transport/ring.rs"]
pub mod ring;
/// The part of the module that does not depend on the system.
pub mod ring_memory {
    /// See the shipped trait.
    ///
    /// # Safety
    ///
    /// None: the models map no memory.
    pub unsafe trait ControlWords {}
}
#[path = "../../src/transport/sleepers.rs"]
pub mod sleepers;
#[path = "../../src/transport/wait.rs"]
pub mod wait;
