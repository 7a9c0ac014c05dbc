//! The library for musl, a C library whose types and functions differ from those of glibc.

use crate::support::{Result, setting};
use common::programs::{self, CANNOT_RUN, is_cxx, path_text};
use common::stage::Link;
use common::{ignored, root, run, text, trial_with_tools};
use libtest_mimic::Trial;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const TARGET: &str = "x86_64-unknown-linux-musl";
const COMPILER: &str = "musl-gcc";

pub fn trial() -> Trial {
    let name = "musl: the programs of tests/c";
    if !cfg!(target_arch = "x86_64") {
        return ignored(name, "only on x86-64");
    }
    if !has_standard_library() {
        return ignored(name, &format!("missing: the Rust target {TARGET}"));
    }
    trial_with_tools(name, &["make", COMPILER, "pkg-config", "timeout"], || {
        let prefix = install()?;
        let directory = TempDir::new()?;
        let mut failures = String::new();
        for source in programs::programs().iter().filter(|source| !is_cxx(source)) {
            let links: &[Link] = match programs::link_of(source) {
                Link::Dlopen => &[Link::Dlopen],
                _ => &[Link::Shared, Link::Static],
            };
            for link in links {
                if let Err(failed) = check(&prefix, directory.path(), source, *link) {
                    let why = failed.message().unwrap_or_default();
                    failures += &format!("{}, {link:?}: {why}\n", source.display());
                }
            }
        }
        if failures.is_empty() {
            Ok(())
        } else {
            Err(failures.into())
        }
    })
}

/// Whether the compiler can build for the target.
fn has_standard_library() -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let output = rustc.output();
    output.is_ok_and(|output| Path::new(text(&output).trim()).is_dir())
}

/// Builds and installs the library below `target/`. Returns the prefix.
fn install() -> Result<PathBuf> {
    let directory = root().join("target/musl");
    let prefix = directory.join("prefix");
    run(Command::new(root().join("scripts/build-into"))
        .arg(&directory)
        .arg(format!("TARGET={TARGET}"))
        .arg(format!("CC={COMPILER}"))
        .args(["-s", "install", &setting("prefix", &prefix)]))?;
    Ok(prefix)
}

/// Builds and runs a program.
fn check(prefix: &Path, directory: &Path, source: &Path, link: Link) -> Result<()> {
    let binary = directory.join("program");
    programs::build_against(prefix, source, COMPILER, link, &[], &binary)?;
    let environment = programs::environment_for(prefix)?;
    let command = [path_text(&binary)?];
    let output = programs::run_bounded(directory, &command, &environment, |_| {})?;
    match output.status.code() {
        Some(0) => Ok(()),
        Some(CANNOT_RUN) if std::env::var_os("CI").is_none() => Ok(()),
        _ => Err(format!("{}\n{}", output.status, text(&output)).into()),
    }
}
