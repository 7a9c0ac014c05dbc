//! Coverage-guided fuzzing of the messages of a peer, and of its writes into the memory that a
//! channel or a subscriber reads. The targets are fuzz/*.c, linked with libFuzzer and with a library that has
//! coverage counters and assertions. Each target runs for some seconds and starts with fuzz/corpus.
//! UNIXIPC_TEST_SCALE multiplies the time.

use common::{find_tool, root, run, stage, text};
use libtest_mimic::{Arguments, Failed, Trial};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::OnceLock;

/// How long a target is fuzzed.
const SECONDS: u64 = 20;
/// The maximum length of an input. It exceeds the maximum length of a piece of a stream.
const LEN_MAX: usize = 16384;
/// The limits of one input: seconds and megabytes.
const LIMITS: [&str; 2] = ["-timeout=5", "-rss_limit_mb=256"];

/// The targets: a directory of fuzz/corpus, and its program.
const TARGETS: [(&str, &str); 6] = [
    ("stream", "receive.c"),
    ("seqpacket", "receive.c"),
    ("fifo", "receive.c"),
    ("handshake", "handshake.c"),
    ("ring", "ring.c"),
    ("feed", "feed.c"),
];

/// Instrumentation by the LLVM of rustc. Every version of libFuzzer supports it.
const COVERAGE: &str = "-C passes=sancov-module \
    -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters \
    -C llvm-args=-sanitizer-coverage-pc-table \
    -C llvm-args=-sanitizer-coverage-trace-compares \
    -C codegen-units=1 -C lto=off -C debug-assertions=on -C overflow-checks=on";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let unavailable = if arguments.list { None } else { unavailable() };
    let trials = TARGETS
        .map(|(channel, source)| match &unavailable {
            None => Trial::test(channel, move || fuzz(channel, source)),
            Some(reason) => {
                let reason = reason.clone();
                Trial::test(format!("{channel} ({reason})"), move || Err(reason.into()))
                    .with_ignored_flag(env::var_os("CI").is_none())
            }
        })
        .into();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The reason why fuzzing is not possible, if there is one.
fn unavailable() -> Option<String> {
    if find_tool("clang").is_none() {
        return Some("clang is missing".into());
    }
    let directory = tempfile::tempdir().ok()?;
    let source = directory.path().join("empty.c");
    let program = "int LLVMFuzzerTestOneInput(const char *d, unsigned long n);\n\
        int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return !d && n; }\n";
    std::fs::write(&source, program).ok()?;
    let linked = Command::new("clang")
        .arg("-fsanitize=fuzzer,address")
        .arg(&source)
        .arg("-o")
        .arg(directory.path().join("empty"))
        .output();
    match linked {
        Ok(output) if output.status.success() => None,
        _ => Some("clang has no libFuzzer".into()),
    }
}

/// The library with coverage counters, which is built once per test process.
fn library() -> Result<&'static Path, Failed> {
    static DONE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    DONE.get_or_init(|| {
        stage::archive("fuzz", COVERAGE, &[]).map_err(|failed| format!("{failed:?}"))
    })
    .as_deref()
    .map_err(|error| error.clone().into())
}

fn fuzz(channel: &str, source: &str) -> Result<(), Failed> {
    let directory = tempfile::Builder::new().prefix("unixipc-test-").tempdir()?;
    let program = directory.path().join("fuzzer");
    run(Command::new("clang")
        .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        .args(["-g", "-O1", "-fsanitize=fuzzer,address"])
        .arg(format!("-DCHANNEL={}", channel.to_uppercase()))
        .arg("-I")
        .arg(root().join("include"))
        .arg(root().join("fuzz").join(source))
        .arg(library()?)
        .arg("-o")
        .arg(&program))?;

    let scale = env::var("UNIXIPC_TEST_SCALE").ok();
    let scale: u64 = scale.and_then(|scale| scale.parse().ok()).unwrap_or(1);
    let found = directory.path().join("found");
    std::fs::create_dir(&found)?;
    let output = run(Command::new("timeout")
        .arg((SECONDS * scale + 60).to_string())
        .arg(&program)
        .args(LIMITS)
        .arg(format!("-max_total_time={}", SECONDS * scale))
        .arg(format!("-max_len={LEN_MAX}"))
        .arg("-use_value_profile=1")
        // A larger quarantine of freed memory would exceed the limit.
        .env("ASAN_OPTIONS", "quarantine_size_mb=16")
        .arg(&found)
        .arg(root().join("fuzz/corpus").join(channel))
        .current_dir(directory.path()))?;

    // The fuzzer is useless without coverage.
    let log = text(&output);
    let covered = |mark: &str| {
        let line = log.lines().find(|line| line.contains(mark))?;
        let (_, after) = line.split_once("cov: ")?;
        after.split_whitespace().next()?.parse::<u32>().ok()
    };
    match (covered("INITED"), covered("DONE")) {
        (Some(first), Some(last)) if first > 20 && last > first => Ok(()),
        counts => Err(format!("the coverage does not grow: {counts:?}\n{log}").into()),
    }
}
