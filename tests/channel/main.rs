//! Channels, as include/unixipc.h describes them.
//!
//! UNIXIPC_TEST_SCALE multiplies the number of messages and of rounds in the long tests.

mod accept;
mod alignment;
mod arguments;
mod await_listener;
mod await_listener_errors;
mod barriers;
mod batch;
mod blocking;
mod call;
mod call_end;
mod call_late;
mod call_poll;
mod concurrent;
mod connections;
mod cost;
mod descriptors;
mod end;
mod event_loop;
mod fd_support;
mod first_call;
mod fork;
mod fork_points;
mod gather;
mod handshake;
mod inherited;
mod listen;
mod listen_lock;
mod message;
mod peer;
mod peer_pidfd;
mod poll;
mod poll_epoll;
mod poll_room;
mod poll_threads;
mod priority;
mod readiness;
mod resources;
mod retry;
mod shutdown;
mod silent_client;
mod storm;
mod support;
mod threads;
mod timeout;
mod two_processes;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
