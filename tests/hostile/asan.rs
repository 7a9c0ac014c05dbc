//! Builds channel.c and feed.c with a library that is built for AddressSanitizer, and runs them.

use common::prelude::*;
use common::sanitizer::Sanitizer;
use common::{root, run, text};
use std::path::Path;
use std::process::Command;

/// The duration of an attack on a channel.
const CHANNEL_SECONDS: u64 = 4;
/// The duration of an attack on a feed. There are four, which make a minute.
const FEED_SECONDS: u64 = 15;

/// Counts that a program prints, with their minima. Without these the test would prove too little.
type Minimum = [(&'static str, u64)];

const CHANNEL: &Minimum = &[
    ("connections", 20),
    ("refused", 1),
    ("sent", 200),
    ("received", 50),
    ("peeked", 50),
    ("descriptors", 10),
    ("replies", 1),
    ("requests", 5),
    ("eproto", 50),
    ("epipe", 20),
];

const SUBSCRIBER: &Minimum = &[
    ("connections", 20),
    ("refused", 5),
    ("received", 500),
    ("lost", 20),
    ("eproto", 10),
];

const PUBLISHER: &Minimum = &[("published", 200), ("admitted", 5)];

/// Runs a program of this directory. `arguments` follow the duration and the seed; the first one is
/// the kernel.
fn attack(name: &str, seconds: u64, arguments: &[&str], minimum: &Minimum) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join(name);
    let source = root().join("tests/hostile").join(name).with_extension("c");
    let library = Sanitizer::Address.library().unwrap();
    let wrap = ["-Wl,--wrap=mmap,--wrap=munmap"];
    Sanitizer::Address
        .compile(&source, &wrap, &library, &program)
        .unwrap();
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut missing = None;
    // On a busy machine the first runs may be too short to reach the counts.
    for seconds in [seconds, 32, 64].map(scaled) {
        let printed = run_program(&program, seconds, seed, arguments);
        missing = missing_count(&printed, minimum);
        if missing.is_none() {
            break;
        }
        println!("{printed}");
    }
    assert_eq!(missing, None, "a count is too low");
}

/// Runs the attack for some seconds. Returns the output of the program, which must succeed.
fn run_program(program: &Path, seconds: u64, seed: u64, arguments: &[&str]) -> String {
    let output = run(Command::new("timeout")
        .arg((seconds + 60).to_string())
        .arg(program)
        .args([seconds.to_string(), seed.to_string()])
        .args(arguments)
        .env("ASAN_OPTIONS", "abort_on_error=0"))
    .unwrap();
    text(&output)
}

/// The name of a printed count that is below its minimum.
fn missing_count(printed: &str, minimum: &Minimum) -> Option<&'static str> {
    let words: Vec<&str> = printed.split_whitespace().collect();
    minimum.iter().find_map(|&(name, minimum)| {
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
    attack("channel", CHANNEL_SECONDS, &["0"], CHANNEL);
}

/// As on kernels before Linux 6.18.
#[apply(isolated)]
#[needs(needs::address_sanitizer)]
fn without_rwf_nosignal() {
    attack("channel", CHANNEL_SECONDS, &["1"], CHANNEL);
}

/// As on kernels before Linux 6.5.
#[apply(isolated)]
#[needs(needs::address_sanitizer)]
fn without_rwf_nowait() {
    attack("channel", CHANNEL_SECONDS, &["2"], CHANNEL);
}

#[apply(isolated)]
#[needs(needs::address_sanitizer)]
fn subscriber() {
    attack("feed", FEED_SECONDS, &["0", "subscriber"], SUBSCRIBER);
}

/// As on kernels before Linux 6.5.
#[apply(isolated)]
#[needs(needs::address_sanitizer)]
fn subscriber_without_rwf_nowait() {
    attack("feed", FEED_SECONDS, &["2", "subscriber"], SUBSCRIBER);
}

#[apply(isolated)]
#[needs(needs::address_sanitizer)]
fn publisher() {
    attack("feed", FEED_SECONDS, &["0", "publisher"], PUBLISHER);
}

/// As on kernels before Linux 6.5.
#[apply(isolated)]
#[needs(needs::address_sanitizer)]
fn publisher_without_rwf_nowait() {
    attack("feed", FEED_SECONDS, &["2", "publisher"], PUBLISHER);
}
