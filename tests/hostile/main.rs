//! Hostile peers: in the handshake (`handshake`, `descriptors`), after it (`session`, `doorbell`),
//! and with random actions at full speed against a victim under AddressSanitizer (`asan`).
//!
//! UNIXIPC_TEST_SCALE multiplies the duration of the last.

mod asan;
#[path = "../common/mod.rs"]
mod common;
mod descriptors;
mod doorbell;
mod handshake;
mod session;
mod support;

use common::isolated::{self, Test};
use common::sanitizer::Sanitizer;

fn main() -> std::process::ExitCode {
    let mut tests: Vec<Test> = tests![
        handshake::well,
        handshake::words,
        handshake::sizes,
        handshake::pieces,
        handshake::empty_message,
        handshake::longer,
        handshake::ends,
        handshake::silent_clients,
        descriptors::memories,
        descriptors::pipes,
        descriptors::counts,
        descriptors::few_descriptors,
        descriptors::few_descriptors_to_accept,
        session::reflection,
        session::received_and_gone,
        session::broken_for_both_directions,
        session::head_beyond_tail,
        session::broken_while_another_waits,
        session::unfenced_unasked,
        doorbell::stolen_wake_ups,
        doorbell::stolen_wake_ups_before_6_5,
        doorbell::stolen_before_read,
        doorbell::stolen_before_read_before_6_5,
        doorbell::nonblocking_while_asleep,
        doorbell::write_end_elsewhere,
        doorbell::full_pipes,
        doorbell::reopened,
    ]
    .to_vec();
    let with_asan: &[Test] = tests![asan::this_kernel, asan::before_6_18, asan::before_6_5];
    let why_not = if isolated::is_child() {
        None
    } else {
        Sanitizer::Address.why_not()
    };
    tests.extend(with_asan.iter().map(|test| Test {
        ignored: why_not,
        ..*test
    }));
    isolated::main(tests.leak(), &[])
}
