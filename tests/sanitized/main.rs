//! Objects in shared memory under the sanitizers, in C programs.
//!
//! cell.c is a hostile neighbour and its victim: processes that scribble over all of a cell's
//! memory, at full speed, while another one uses it, under AddressSanitizer and between pages
//! that cannot be touched. It is linked with the library that is installed, and with one in
//! which every access is checked by the sanitizer as well. threads.c has threads that share a
//! cell, under ThreadSanitizer. UNIXIPC_TEST_SCALE multiplies what they do.

#[path = "../common/mod.rs"]
mod common;

use common::{find_tool, root, run, stage};
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::OnceLock;
use std::{env, fs};

/// How long a victim stands its neighbours.
const SECONDS: f64 = 3.0;
/// How often each thread stores.
const STORES: f64 = 20_000.0;
/// Short values, which are copied in place; longer ones; more than a page.
const SIZES: [usize; 4] = [1, 64, 1000, 100_000];

#[derive(Clone, Copy)]
enum Sanitizer {
    Address,
    Thread,
}

impl Sanitizer {
    /// As both compilers call it.
    fn name(self) -> &'static str {
        match self {
            Sanitizer::Address => "address",
            Sanitizer::Thread => "thread",
        }
    }

    /// The sanitizer's run-time library. The compiler's own is taken for the C code too: what
    /// clang brings along may be too old for what it makes of the library.
    fn runtime(self) -> Result<PathBuf, Failed> {
        let output = run(Command::new("rustc").args(["--print", "target-libdir"]))?;
        let folder = PathBuf::from(String::from_utf8(output.stdout)?.trim());
        let end = match self {
            Sanitizer::Address => "_rt.asan.a",
            Sanitizer::Thread => "_rt.tsan.a",
        };
        let found = fs::read_dir(folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| {
                path.as_os_str()
                    .as_encoded_bytes()
                    .ends_with(end.as_bytes())
            });
        Ok(found.ok_or("the compiler has no such sanitizer")?)
    }

    /// Why programs cannot be built with it here, if so.
    fn why_not(self) -> Option<&'static str> {
        if find_tool("clang").is_none() {
            return Some("clang is missing");
        }
        let missing = self.runtime().is_err();
        missing.then_some("the compiler has no such sanitizer")
    }

    /// The library with the sanitizer's checks, and with a copy that they see; built once a
    /// test process. The compiler has them without being a nightly one only if it is told so.
    fn library(self) -> Result<PathBuf, Failed> {
        static ADDRESS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        static THREAD: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let done = match self {
            Sanitizer::Address => &ADDRESS,
            Sanitizer::Thread => &THREAD,
        };
        done.get_or_init(|| self.build().map_err(|failed| format!("{failed:?}")))
            .clone()
            .map_err(Failed::from)
    }

    fn build(self) -> Result<PathBuf, Failed> {
        let target = root().join("target/sanitized").join(self.name());
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
                // The standard library is not built with the sanitizer, which is an ABI of its
                // own to the compiler; what is used of it here does not touch shared memory.
                format!(
                    "-Zsanitizer={} -Cunsafe-allow-abi-mismatch=sanitizer --cfg atomic_copy \
                     -Cdebug-assertions=on -Coverflow-checks=on",
                    self.name()
                ),
            )
            .env("CARGO_PROFILE_RELEASE_LTO", "off");
        run(&mut cargo)?;
        Ok(target.join(triple).join("release/libunixipc.a"))
    }

    /// Builds a program of this folder, and runs it.
    fn program(self, source: &str, library: &Path, args: [String; 2]) -> Result<(), Failed> {
        let folder = tempfile::Builder::new().prefix("unixipc-test-").tempdir()?;
        let program = folder.path().join("program");
        let object = folder.path().join("program.o");
        run(Command::new("clang")
            .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"])
            .args(["-g", "-O1", "-pthread", "-c", "-I"])
            .arg(root().join("include"))
            .arg(format!("-fsanitize={}", self.name()))
            .arg(root().join("tests/sanitized").join(source))
            .arg("-o")
            .arg(&object))?;
        run(Command::new("clang")
            .arg(&object)
            .arg(library)
            .arg("-Wl,--whole-archive")
            .arg(self.runtime()?)
            .args(["-Wl,--no-whole-archive", "-Wl,--export-dynamic"])
            .args(["-pthread", "-ldl", "-lm", "-lrt", "-o"])
            .arg(&program))?;
        let limit = (120.0 * scale()).to_string();
        let output = run(Command::new("timeout")
            .args(["-k", "1", &limit])
            .arg(&program)
            .args(args))?;
        print!("{}", common::text(&output));
        Ok(())
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    let mut add =
        |sanitizer: Sanitizer, name: String, test: fn(usize) -> Result<(), Failed>, size| {
            let why_not = if arguments.list {
                None
            } else {
                sanitizer.why_not()
            };
            trials.push(match why_not {
                None => Trial::test(name, move || test(size)),
                Some(why) => Trial::test(format!("{name} ({why})"), move || Err(why.into()))
                    .with_ignored_flag(env::var_os("CI").is_none()),
            });
        };
    for size in SIZES {
        let name = format!("hostile neighbour, cell of {size} bytes");
        add(
            Sanitizer::Address,
            format!("{name}, as installed"),
            installed,
            size,
        );
        add(
            Sanitizer::Address,
            format!("{name}, every access checked"),
            checked,
            size,
        );
        add(
            Sanitizer::Thread,
            format!("threads, cell of {size} bytes"),
            threads,
            size,
        );
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn scale() -> f64 {
    let scale = env::var("UNIXIPC_TEST_SCALE").ok();
    scale.and_then(|scale| scale.parse().ok()).unwrap_or(1.0)
}

fn installed(size: usize) -> Result<(), Failed> {
    let library = stage::prefix()?.join("lib/libunixipc.a");
    hostile(&library, size)
}

fn checked(size: usize) -> Result<(), Failed> {
    hostile(&Sanitizer::Address.library()?, size)
}

fn hostile(library: &Path, size: usize) -> Result<(), Failed> {
    let args = [size.to_string(), (SECONDS * scale()).to_string()];
    Sanitizer::Address.program("cell.c", library, args)
}

fn threads(size: usize) -> Result<(), Failed> {
    // As many bytes with large values as with small ones.
    let stores = (STORES * scale() / (1.0 + size as f64 / 1000.0)).ceil();
    let library = Sanitizer::Thread.library()?;
    Sanitizer::Thread.program(
        "threads.c",
        &library,
        [size.to_string(), stores.to_string()],
    )
}
