//! Pairs and messages: ipc_pair_open, ipc_send_full, ipc_recv_full, ipc_msg_send, ipc_msg_sendv,
//! ipc_msg_recv, ipc_peer_cred, ipc_peer_pidfd.
//!
//! UNIXIPC_TEST_SCALE multiplies the work of the tests with many messages.

mod arguments;
mod cost;
mod cred;
mod descriptors;
mod end;
mod parts;
mod pidfd;
mod storm;
mod support;
mod timeout;
mod transfer;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
