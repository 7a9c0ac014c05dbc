//! channel.c, with the library built for AddressSanitizer.

use common::prelude::*;
use common::sanitizer::Sanitizer;
use common::{root, run, text};
use std::process::Command;

/// How long the victim is attacked, on each kernel.
const SECONDS: u64 = 4;

/// The counts that the test must reach to show anything.
const LEAST: [(&str, u64); 7] = [
    ("connections", 20),
    ("refused", 1),
    ("sent", 200),
    ("received", 50),
    ("shown", 50),
    ("eproto", 50),
    ("epipe", 20),
];

fn suffer(kernel: u32) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("channel");
    let source = root().join("tests/hostile/channel.c");
    let library = Sanitizer::Address.library().unwrap();
    let wrap = ["-Wl,--wrap=mmap,--wrap=munmap"];
    Sanitizer::Address
        .compile(&source, &wrap, &library, &program)
        .unwrap();
    let seconds = scaled(SECONDS);
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let output = run(Command::new("timeout")
        .arg((seconds + 60).to_string())
        .arg(&program)
        .args([seconds.to_string(), seed.to_string(), kernel.to_string()])
        .env("ASAN_OPTIONS", "abort_on_error=0"))
    .unwrap();
    let said = text(&output);
    let words: Vec<&str> = said.split_whitespace().collect();
    for (what, least) in LEAST {
        let count: u64 = words
            .windows(2)
            .find(|pair| pair[0] == what)
            .and_then(|pair| pair[1].parse().ok())
            .unwrap();
        assert!(count >= least, "{what}: {said}");
    }
}

#[apply(isolated)]
#[needs(needs::address_sanitizer)]
fn this_kernel() {
    suffer(0);
}

#[apply(isolated)]
#[needs(needs::address_sanitizer)]
fn before_6_18() {
    suffer(1);
}

#[apply(isolated)]
#[needs(needs::address_sanitizer)]
fn before_6_5() {
    suffer(2);
}
