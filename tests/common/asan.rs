//! The library built for AddressSanitizer, which then checks each of its accesses too.

use super::{find_tool, root, run, stage};
use libtest_mimic::Failed;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Why there is no AddressSanitizer here, if so.
pub fn why_not() -> Option<&'static str> {
    if find_tool("clang").is_none() {
        return Some("clang is missing");
    }
    let folder = tempfile::tempdir().ok()?;
    let source = folder.path().join("empty.c");
    std::fs::write(&source, "int main(void) { return 0; }\n").ok()?;
    let program = folder.path().join("empty");
    let linked = compiler().arg(&source).arg("-o").arg(&program).output();
    match linked {
        Ok(output) if output.status.success() => None,
        _ => Some("clang has no AddressSanitizer"),
    }
}

/// The C compiler with the sanitizer.
pub fn compiler() -> Command {
    let mut clang = Command::new("clang");
    clang.args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
    clang.args(["-g", "-O1", "-fsanitize=address"]);
    clang
}

/// The static library, with a copy that the sanitizer sees; built once a process. The compiler
/// has the sanitizer without being a nightly one only if it is told that it is.
pub fn library() -> Result<PathBuf, Failed> {
    static DONE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    DONE.get_or_init(|| build().map_err(|failed| format!("{failed:?}")))
        .clone()
        .map_err(Failed::from)
}

fn build() -> Result<PathBuf, Failed> {
    let target = root().join("target/asan");
    // With --target the flags are not for build scripts.
    let triple = stage::host()?;
    run(Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["rustc", "--release", "--locked", "--lib"])
        .args(["--crate-type", "staticlib", "--target", &triple])
        .arg("--target-dir")
        .arg(&target)
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "RUSTFLAGS",
            "-Zsanitizer=address --cfg atomic_copy -Cdebug-assertions=on -Coverflow-checks=on",
        )
        .env("CARGO_PROFILE_RELEASE_LTO", "off"))?;
    Ok(target.join(triple).join("release/libunixipc.a"))
}
