//! Hostile peers: in the handshake (`handshake`, `descriptors`), after it (`session`, `doorbell`),
//! and with random actions at full speed against a victim under AddressSanitizer (`asan`).
//!
//! UNIXIPC_TEST_SCALE multiplies the duration of the last.

mod asan;
mod descriptors;
mod doorbell;
mod handshake;
mod session;
mod support;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
