//! The staged installation that `make stage` keeps in the source tree, and programs built against
//! it.

use crate::{root, run};
use libtest_mimic::Failed;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// How a program is linked with the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// With libunixipc.so.
    Shared,
    /// With libunixipc.a and the archive of the C library (`-static`).
    Static,
    /// Not at all: the program loads it with dlopen.
    Dlopen,
}

/// The staged prefix. Each test process brings it up to date once.
pub fn prefix() -> Result<&'static Path, Failed> {
    static DONE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    DONE.get_or_init(|| {
        make(&["stage", "examples"]).map_err(|failed| format!("{failed:?}"))?;
        Ok(root().join("build/stage"))
    })
    .as_deref()
    .map_err(|error| error.clone().into())
}

/// Builds the library as an archive with these compiler flags, below `target/` in this directory.
/// `environment` is added to cargo's environment.
pub fn archive(
    directory: &str,
    flags: &str,
    environment: &[(&str, &str)],
) -> Result<PathBuf, Failed> {
    let target = root().join("target").join(directory);
    let triple = host()?;
    let mut cargo = Command::new(env!("CARGO"));
    // With --target, the flags do not apply to build scripts.
    cargo
        .current_dir(root())
        .args(["rustc", "--release", "--locked", "--lib"])
        .args(["--crate-type", "staticlib", "--target", &triple])
        .arg("--target-dir")
        .arg(&target)
        .env("RUSTFLAGS", flags)
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .envs(environment.iter().copied());
    run(&mut cargo)?;
    Ok(target.join(triple).join("release/libunixipc.a"))
}

/// Runs make in the source tree.
pub fn make(goals: &[&str]) -> Result<(), Failed> {
    run_locked(make_command().args(goals))
}

/// A make command in the source tree, for [`run_locked`].
pub fn make_command() -> Command {
    let mut command = Command::new("make");
    command.current_dir(root()).arg("-s");
    // Do not inherit the variables and job slots of an outer make.
    for variable in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"] {
        command.env_remove(variable);
    }
    command
}

/// Runs make under a lock on the source tree, because make itself takes none.
pub fn run_locked(make: &mut Command) -> Result<(), Failed> {
    let directory = File::open(root())?;
    // SAFETY: flock takes no pointer; the descriptor is open.
    if unsafe { libc::flock(directory.as_raw_fd(), libc::LOCK_EX) } == -1 {
        return Err(std::io::Error::last_os_error().into());
    }
    run(make).map(drop)
}

/// What pkg-config prints for the library in `prefix`.
pub fn pkg_config(prefix: &Path, args: &[&str]) -> Result<Vec<String>, Failed> {
    let output = run(Command::new("pkg-config")
        .env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"))
        .args(args)
        .arg("unixipc"))?;
    Ok(String::from_utf8(output.stdout)?
        .split_whitespace()
        .map(String::from)
        .collect())
}

/// Compiles C or C++ sources against the library in `prefix`, as a user would.
pub fn compile(
    compiler: &str,
    prefix: &Path,
    link: Link,
    flags: &[&str],
    sources: &[&Path],
    output: &Path,
) -> Result<(), Failed> {
    let mut command = Command::new(compiler);
    command.args(flags).args(sources).arg("-o").arg(output);
    match link {
        Link::Shared => {
            command.args(pkg_config(prefix, &["--cflags", "--libs"])?);
            command.arg(format!("-Wl,-rpath,{}/lib", prefix.display()));
        }
        Link::Static => {
            command.args(pkg_config(prefix, &["--static", "--cflags", "--libs"])?);
            command.arg("-static");
        }
        Link::Dlopen => {
            command.args(pkg_config(prefix, &["--cflags"])?).arg("-ldl");
        }
    }
    run(&mut command).map(drop)
}

/// The committed header without its comments.
pub fn header_code() -> Result<String, Failed> {
    let header = fs::read_to_string(root().join("include/unixipc.h"))?;
    let mut code = String::new();
    for (i, part) in header.split("/*").enumerate() {
        // Each part except the first begins with the text of a comment.
        let (_, rest) = part.split_once("*/").unwrap_or(("", part));
        code += if i == 0 { part } else { rest };
    }
    Ok(code)
}

/// The functions that the committed header declares.
pub fn header_functions() -> Result<BTreeSet<String>, Failed> {
    let code = header_code()?;
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let functions = code
        .split('(')
        .filter_map(|before| before.rsplit(|c| !is_name(c)).next())
        .filter(|name| name.starts_with("ipc_"));
    Ok(functions.map(String::from).collect())
}

/// The compiler's default target.
pub fn host() -> Result<String, Failed> {
    let output = run(Command::new("rustc").arg("-vV"))?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc does not print its host")?.into())
}
