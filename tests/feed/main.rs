//! Feeds, as include/unixipc.h describes them.
//!
//! UNIXIPC_TEST_SCALE multiplies the number of messages and of rounds in the long tests.

mod admission;
mod arguments;
mod cost;
mod death;
mod delivery;
mod event_loop;
mod handshake;
mod hostile;
mod listen;
mod lossy;
mod resources;
mod stall;
mod start;
mod state;
mod support;
mod transports;
mod volume;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
