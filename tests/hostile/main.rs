//! A hostile neighbour: processes that scribble over all of a cell's memory, at full speed,
//! while a victim uses it. cell.c is both, under AddressSanitizer and between pages that cannot
//! be touched; it is linked with the library that is installed, and with one in which every
//! access is checked by the sanitizer as well. UNIXIPC_TEST_SCALE multiplies the time.

#[path = "../common/mod.rs"]
mod common;

use common::{find_tool, root, run, stage};
use libtest_mimic::{Arguments, Failed, Trial};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::OnceLock;

/// How long a victim stands it.
const SECONDS: f64 = 4.0;
/// Short values, which are copied in place; longer ones; more than a page.
const SIZES: [usize; 4] = [1, 64, 1000, 100_000];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let why_not = if arguments.list { None } else { why_not() };
    let libraries: [(&str, fn() -> Result<PathBuf, Failed>); 2] = [
        ("as installed", installed),
        ("every access checked", checked),
    ];
    let trials = libraries
        .into_iter()
        .flat_map(|(what, library)| {
            SIZES.map(|size| {
                let name = format!("cell of {size} bytes, {what}");
                match why_not {
                    None => Trial::test(name, move || hostile(&library()?, size)),
                    Some(why) => Trial::test(format!("{name} ({why})"), move || Err(why.into()))
                        .with_ignored_flag(env::var_os("CI").is_none()),
                }
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Why there is no AddressSanitizer here, if so.
fn why_not() -> Option<&'static str> {
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

fn compiler() -> Command {
    let mut clang = Command::new("clang");
    clang.args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
    clang.args(["-g", "-O1", "-fsanitize=address"]);
    clang
}

fn installed() -> Result<PathBuf, Failed> {
    Ok(stage::prefix()?.join("lib/libunixipc.a"))
}

/// The library with the sanitizer's checks, and with a copy that they see; built once a test
/// process. The compiler has them without being a nightly one only if it is told that it is.
fn checked() -> Result<PathBuf, Failed> {
    static DONE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    DONE.get_or_init(|| build_checked().map_err(|failed| format!("{failed:?}")))
        .clone()
        .map_err(Failed::from)
}

fn build_checked() -> Result<PathBuf, Failed> {
    let target = root().join("target/hostile");
    let triple = stage::host()?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo
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
        .env("CARGO_PROFILE_RELEASE_LTO", "off");
    run(&mut cargo)?;
    Ok(target.join(triple).join("release/libunixipc.a"))
}

fn hostile(library: &Path, size: usize) -> Result<(), Failed> {
    let folder = tempfile::Builder::new().prefix("unixipc-test-").tempdir()?;
    let program = folder.path().join("cell");
    run(compiler()
        .arg("-I")
        .arg(root().join("include"))
        .arg(root().join("tests/hostile/cell.c"))
        .arg(library)
        .arg("-o")
        .arg(&program))?;
    let scale = env::var("UNIXIPC_TEST_SCALE").ok();
    let scale: f64 = scale.and_then(|scale| scale.parse().ok()).unwrap_or(1.0);
    let seconds = SECONDS * scale;
    let output = run(Command::new("timeout")
        .args(["-k", "1", &(seconds + 60.0).to_string()])
        .arg(&program)
        .args([size.to_string(), seconds.to_string()]))?;
    print!("{}", common::text(&output));
    Ok(())
}
