//! A hostile neighbour: processes that scribble over all of a cell's memory, at full speed,
//! while a victim uses it. cell.c is both, under AddressSanitizer and between pages that cannot
//! be touched; it is linked with the library that is installed, and with one in which every
//! access is checked by the sanitizer as well. UNIXIPC_TEST_SCALE multiplies the time.

#[path = "../common/mod.rs"]
mod common;

use common::{asan, root, run, stage};
use libtest_mimic::{Arguments, Failed, Trial};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// How long a victim stands it.
const SECONDS: f64 = 4.0;
/// Short values, which are copied in place; longer ones; more than a page.
const SIZES: [usize; 4] = [1, 64, 1000, 100_000];

/// Where a static library is, once it is built.
type Library = fn() -> Result<PathBuf, Failed>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let why_not = if arguments.list {
        None
    } else {
        asan::why_not()
    };
    let libraries: [(&str, Library); 2] = [
        ("as installed", installed),
        ("every access checked", asan::library),
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

fn installed() -> Result<PathBuf, Failed> {
    Ok(stage::prefix()?.join("lib/libunixipc.a"))
}

fn hostile(library: &Path, size: usize) -> Result<(), Failed> {
    let folder = tempfile::Builder::new().prefix("unixipc-test-").tempdir()?;
    let program = folder.path().join("cell");
    run(asan::compiler()
        .arg("-I")
        .arg(root().join("include"))
        .arg(root().join("tests/neighbour/cell.c"))
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
