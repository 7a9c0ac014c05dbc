//! The types of the functions, which abidw describes and abidiff compares.

use super::{Failed, Trial, exported, golden};
use common::{ignored, root, run, text, trial_with_tools};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The tools of the comparison.
pub const TOOLS: [&str; 4] = ["make", "cc", "abidw", "abidiff"];

pub fn golden_trial() -> Trial {
    let name = "golden: unixipc.abi describes the types of the functions";
    x86_64_only(name, |name| trial_with_tools(name, &TOOLS, types))
}

/// A trial that runs only on the architecture of the committed descriptions.
pub fn x86_64_only(name: &str, trial: impl FnOnce(&str) -> Trial) -> Trial {
    if cfg!(target_arch = "x86_64") {
        trial(name)
    } else {
        ignored(name, "only on x86-64")
    }
}

/// Compares types with abidiff, which reads the debug information.
fn types() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let library = debug_library(directory.path())?;
    let committed = golden("unixipc.abi");
    let bless = std::env::var_os("UNIXIPC_BLESS").is_some();
    if bless && !committed.exists() {
        return describe(&library, &committed);
    }
    match compare(&committed, &library, &[]) {
        Err(_) if bless => describe(&library, &committed),
        Err(failed) => {
            let failed = failed.message().unwrap_or_default();
            Err(format!("`make header` replaces the description\n{failed}").into())
        }
        same => same,
    }
}

/// Compares a description with a library by abidiff, without the members of opaque types.
pub fn compare(description: &Path, library: &Path, options: &[&str]) -> Result<(), Failed> {
    let output = Command::new("abidiff")
        .arg("--suppressions")
        .arg(golden("opaque.abignore"))
        .args(options)
        .arg(description)
        .arg(library)
        .output()?;
    // If abidiff cannot parse the description, it finds no types and so no differences.
    if output.status.success() && output.stderr.is_empty() {
        return Ok(());
    }
    let description = description.display();
    let (status, text) = (output.status, text(&output));
    Err(format!("the ABI differs from {description}: {status}\n{text}").into())
}

/// Links the library from an archive with debug information, which the installed library does not
/// have. The archive is kept below target/.
pub fn debug_library(directory: &Path) -> Result<PathBuf, Failed> {
    let target = root().join("target/abi-debug");
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    run(Command::new(cargo)
        .current_dir(root())
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
        .env_remove("CARGO_BUILD_TARGET")
        .args([
            "rustc",
            "--release",
            "--locked",
            "--lib",
            "--crate-type",
            "staticlib",
        ])
        .arg("--target-dir")
        .arg(&target))?;
    let map = root().join("packaging/unixipc.map");
    let library = directory.join("libunixipc.so");
    let mut command = Command::new("cc");
    command
        .args(["-shared", "-static-libgcc", "-Wl,--gc-sections", "-o"])
        .arg(&library);
    command.args(
        exported()?
            .iter()
            .map(|symbol| format!("-Wl,-u,{}", symbol.name)),
    );
    command
        .arg(target.join("release/libunixipc.a"))
        .arg(format!(
            "-Wl,-soname,libunixipc.so.0,--version-script={}",
            map.display()
        ));
    run(&mut command)?;
    Ok(library)
}

/// Writes the description of the library, without parts that depend on the machine or compiler:
/// paths, hashes, and the empty parts of other crates.
fn describe(library: &Path, file: &Path) -> Result<(), Failed> {
    let output = run(Command::new("abidw")
        .args(["--no-corpus-path", "--no-comp-dir-path", "--no-show-locs"])
        .arg("--drop-undefined-syms")
        .arg(library))?;
    let printed = String::from_utf8(output.stdout)?;
    let mut lines = printed.lines().peekable();
    let mut kept = String::new();
    let mut units = 0;
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("<abi-instr ") {
            if lines
                .peek()
                .is_some_and(|next| next.trim() == "</abi-instr>")
            {
                lines.next();
                continue;
            }
            let (start, path) = line
                .split_once(" path='")
                .ok_or("an abi-instr without path")?;
            let (_, rest) = path.split_once('\'').ok_or("a path that does not end")?;
            // The path is arbitrary but unique, because abidiff aborts on a duplicate.
            units += 1;
            kept += &format!("{start} path='{units}'{rest}");
        } else {
            kept += line;
        }
        kept.push('\n');
    }
    fs::write(file, kept)?;
    Ok(())
}
