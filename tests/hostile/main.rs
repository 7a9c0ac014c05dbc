//! Hostile peers: during the handshake (`handshake`, `descriptors`), after it (`session`,
//! `doorbell`, `fd_messages`), and with random actions at full speed against a victim that is built
//! for AddressSanitizer (`asan`).
//!
//! UNIXIPC_TEST_SCALE multiplies the duration of `asan`.

mod asan;
mod descriptors;
mod doorbell;
mod fd_messages;
mod handshake;
mod peer;
mod session;
mod support;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
