//! channel.c, with the library built for AddressSanitizer.

use crate::common::process::scaled;
use crate::common::{find_tool, root, run, text};
use libtest_mimic::Failed;
use std::path::PathBuf;
use std::process::Command;

/// How long the victim has to suffer, on each kernel.
const SECONDS: u64 = 4;

/// What has to have happened, or the test shows nothing.
const LEAST: [(&str, u64); 6] = [
    ("connections", 20),
    ("sent", 200),
    ("received", 50),
    ("shown", 50),
    ("eproto", 50),
    ("epipe", 20),
];

/// Why it cannot be done here, if so.
pub fn why_not() -> Option<&'static str> {
    if find_tool("clang").is_none() {
        return Some("clang is missing");
    }
    let folder = tempfile::tempdir().ok()?;
    let source = folder.path().join("empty.c");
    std::fs::write(&source, "int main(void) { return 0; }\n").ok()?;
    let linked = Command::new("clang")
        .arg("-fsanitize=address")
        .arg(&source)
        .arg("-o")
        .arg(folder.path().join("empty"))
        .output();
    match linked {
        Ok(output) if output.status.success() => None,
        _ => Some("clang has no AddressSanitizer"),
    }
}

/// The library, with checks of each access.
fn library() -> Result<PathBuf, Failed> {
    let target = root().join("target/asan");
    let version = run(Command::new("rustc").arg("-vV"))?;
    let version = text(&version);
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or("rustc names no host")?;
    // With --target the flags are not for build scripts.
    run(Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["rustc", "--release", "--locked", "--lib"])
        .args(["--crate-type", "staticlib", "--target", host])
        .arg("--target-dir")
        .arg(&target)
        // The sanitizers are not for stable compilers otherwise.
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "RUSTFLAGS",
            "-Zsanitizer=address -C debug-assertions=on -C overflow-checks=on",
        )
        .env("CARGO_PROFILE_RELEASE_LTO", "off"))?;
    Ok(target.join(host).join("release/libunixipc.a"))
}

fn suffer(kernel: u32) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("channel");
    let source = root().join("tests/hostile/channel.c");
    let flags = "-std=c11 -Wall -Wextra -Wpedantic -Werror -g -O1 -fsanitize=address -pthread \
                 -Wl,--wrap=mmap,--wrap=munmap";
    run(Command::new("clang")
        .args(flags.split_whitespace())
        .arg("-I")
        .arg(root().join("include"))
        .arg(source)
        .arg(library().unwrap())
        .arg("-o")
        .arg(&program))
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

pub fn this_kernel() {
    suffer(0);
}

pub fn before_6_18() {
    suffer(1);
}

pub fn before_6_5() {
    suffer(2);
}
