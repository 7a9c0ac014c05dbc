//! Channels, as include/unixipc.h describes them.
//!
//! UNIXIPC_TEST_SCALE multiplies how much the tests with many messages do.

mod accept;
mod arguments;
mod barriers;
mod blocking;
mod concurrent;
mod cost;
mod end;
mod event_loop;
mod first_call;
mod fork;
mod fork_points;
mod handshake;
mod listen;
mod listen_lock;
mod message;
mod peer;
mod poll;
mod priority;
mod readiness;
mod retry;
mod storm;
mod support;
mod threads;
mod timeout;
mod two_processes;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
