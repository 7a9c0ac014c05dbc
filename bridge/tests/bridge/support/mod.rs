//! A server, a bridge, and the streams that they fill.

mod bridge;
mod local;
mod server;
mod stream;

pub use bridge::Bridge;
pub use local::{Publisher, Reader, bytes_of, number_of};
pub use server::Server;
pub use stream::{Entry, Streams, runtime};

pub use common::prelude::*;

/// Why the tests cannot run here, or None.
pub fn nats() -> Option<&'static str> {
    common::find_tool("nats-server")
        .is_none()
        .then_some("needs nats-server")
}
