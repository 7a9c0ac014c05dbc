//! Objects in shared memory under the sanitizers, in C programs.
//!
//! cell.c is a hostile neighbour and its victim: processes that scribble over all of a cell's
//! memory, at full speed, while another one uses it, under AddressSanitizer and between pages
//! that cannot be touched. It is linked with the library that is installed, and with one in
//! which every access is checked by the sanitizer as well. threads.c has threads that share a
//! cell, under ThreadSanitizer. UNIXIPC_TEST_SCALE multiplies what they do.

use common::sanitizer::Sanitizer;
use common::{root, run, stage};
use libtest_mimic::{Arguments, Failed, Trial};
use std::env;
use std::path::Path;
use std::process::{Command, ExitCode};

/// How long a victim stands its neighbours.
const SECONDS: f64 = 3.0;
/// How often each thread stores.
const STORES: f64 = 20_000.0;
/// Short values, which are copied in place; longer ones; more than a page.
const SIZES: [usize; 4] = [1, 64, 1000, 100_000];

/// Builds a program of this folder, and runs it.
fn program(
    sanitizer: Sanitizer,
    source: &str,
    library: &Path,
    args: [String; 2],
) -> Result<(), Failed> {
    let folder = tempfile::Builder::new().prefix("unixipc-test-").tempdir()?;
    let program = folder.path().join("program");
    let source = root().join("tests/sanitized").join(source);
    sanitizer.compile(&source, &[], library, &program)?;
    let limit = (120.0 * scale()).to_string();
    let output = run(Command::new("timeout")
        .args(["-k", "1", &limit])
        .arg(&program)
        .args(args))?;
    print!("{}", common::text(&output));
    Ok(())
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
    program(Sanitizer::Address, "cell.c", library, args)
}

fn threads(size: usize) -> Result<(), Failed> {
    // As many bytes with large values as with small ones.
    let stores = (STORES * scale() / (1.0 + size as f64 / 1000.0)).ceil();
    let library = Sanitizer::Thread.library()?;
    let args = [size.to_string(), stores.to_string()];
    program(Sanitizer::Thread, "threads.c", &library, args)
}
