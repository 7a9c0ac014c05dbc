//! Objects in shared memory under the sanitizers, in C programs.
//!
//! In cell.c, hostile processes overwrite a cell's memory at full speed while another process uses
//! the cell. It runs under AddressSanitizer, and the memory is between inaccessible pages. It is
//! linked with the installed library, and with a library in which the sanitizer checks every
//! access. In threads.c, threads share a cell under ThreadSanitizer. UNIXIPC_TEST_SCALE multiplies
//! the work of both.

use common::random::scale;
use common::sanitizer::Sanitizer;
use common::{root, run, stage, tools};
use libtest_mimic::{Arguments, Failed, Trial};
use std::path::Path;
use std::process::{Command, ExitCode};

/// The duration of the attack.
const SECONDS: f64 = 3.0;
/// The number of stores of each thread.
const STORES: f64 = 20_000.0;
/// Short values, which inlined code copies; longer values; and more than a page.
const SIZES: [usize; 4] = [1, 64, 1000, 100_000];

/// Builds a program of this directory, and runs it.
fn program(
    sanitizer: Sanitizer,
    source: &str,
    library: &Path,
    args: [String; 2],
) -> Result<(), Failed> {
    let directory = tempfile::Builder::new().prefix("unixipc-test-").tempdir()?;
    let program = directory.path().join("program");
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
                Some(why) => tools::ignored(&name, why),
            });
        };
    for size in SIZES {
        let name = format!("hostile writers, cell of {size} bytes");
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
    // Fewer stores of large values, so that the number of bytes is similar.
    let stores = (STORES * scale() / (1.0 + size as f64 / 1000.0)).ceil();
    let library = Sanitizer::Thread.library()?;
    let args = [size.to_string(), stores.to_string()];
    program(Sanitizer::Thread, "threads.c", &library, args)
}
