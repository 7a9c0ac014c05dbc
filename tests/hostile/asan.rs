//! Builds channel.c with a library that is built for AddressSanitizer, and runs it.

use common::prelude::*;
use common::sanitizer::Sanitizer;
use common::{root, run, text};
use std::path::Path;
use std::process::Command;

/// The duration of the attack in each test.
const SECONDS: u64 = 4;

/// The minimal counts, without which the test would prove too little.
const MINIMUM: [(&str, u64); 10] = [
    ("connections", 20),
    ("refused", 1),
    ("sent", 200),
    ("received", 50),
    ("peeked", 50),
    ("descriptors", 10),
    ("replies", 5),
    ("requests", 20),
    ("eproto", 50),
    ("epipe", 20),
];

/// Runs the program. `kernel` is its third argument.
fn attack(kernel: u32) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("channel");
    let source = root().join("tests/hostile/channel.c");
    let library = Sanitizer::Address.library().unwrap();
    let wrap = ["-Wl,--wrap=mmap,--wrap=munmap"];
    Sanitizer::Address
        .compile(&source, &wrap, &library, &program)
        .unwrap();
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut missing = None;
    // On a busy machine the first run may be too short to reach the counts.
    for seconds in [SECONDS, 8 * SECONDS].map(scaled) {
        let printed = run_program(&program, seconds, seed, kernel);
        missing = missing_count(&printed);
        if missing.is_none() {
            break;
        }
        println!("{printed}");
    }
    assert_eq!(missing, None, "a count is too low");
}

/// Runs the attack for some seconds. Returns the output of the program, which must succeed.
fn run_program(program: &Path, seconds: u64, seed: u64, kernel: u32) -> String {
    let output = run(Command::new("timeout")
        .arg((seconds + 60).to_string())
        .arg(program)
        .args([seconds.to_string(), seed.to_string(), kernel.to_string()])
        .env("ASAN_OPTIONS", "abort_on_error=0"))
    .unwrap();
    text(&output)
}

/// The name of a printed count that is below its minimum.
fn missing_count(printed: &str) -> Option<&'static str> {
    let words: Vec<&str> = printed.split_whitespace().collect();
    MINIMUM.into_iter().find_map(|(name, minimum)| {
        let count: u64 = words
            .windows(2)
            .find(|pair| pair[0] == name)
            .and_then(|pair| pair[1].parse().ok())
            .unwrap();
        (count < minimum).then_some(name)
    })
}

#[apply(isolated)]
#[needs(needs::address_sanitizer)]
fn this_kernel() {
    attack(0);
}

/// As on kernels before Linux 6.18.
#[apply(isolated)]
#[needs(needs::address_sanitizer)]
fn without_rwf_nosignal() {
    attack(1);
}

/// As on kernels before Linux 6.5.
#[apply(isolated)]
#[needs(needs::address_sanitizer)]
fn without_rwf_nowait() {
    attack(2);
}
