//! Peers that mean harm: what they say at the beginning (`handshake`), and what they write into
//! all that they can write, at full speed, against a victim under AddressSanitizer (`asan`).
//!
//! UNIXIPC_TEST_SCALE multiplies how long the latter goes on.

mod asan;
#[path = "../common/mod.rs"]
mod common;
mod handshake;

use common::isolated::{self, Test};
use common::sanitizer::Sanitizer;

fn main() -> std::process::ExitCode {
    let mut tests: Vec<Test> = tests![
        handshake::well,
        handshake::words,
        handshake::sizes,
        handshake::memories,
        handshake::pipes,
        handshake::counts_of_descriptors,
        handshake::pieces,
        handshake::ends,
        handshake::few_descriptors,
        handshake::reflection,
        handshake::received_and_gone,
        handshake::broken_for_both_directions,
        handshake::broken_while_another_waits,
        handshake::unfenced_unasked,
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
