//! Builds the programs of tests/c as a user would, and runs them. Their exit status is 0 (passed),
//! 1 (failed) or 77 (cannot run here).

use crate::root;
use crate::stage::{self, Link};
use libtest_mimic::Failed;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// Files of tests/c that are not stand-alone programs.
const NOT_RUN: [&str; 3] = ["rename.c", "rename_plain.c", "two_rust.c"];
pub const WARNINGS: [&str; 5] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread"];
/// The time limit of a program, in seconds.
const LIMIT: &str = "120";
/// The exit status of a program that cannot run here.
pub const CANNOT_RUN: i32 = 77;

/// The programs of tests/c.
pub fn programs() -> Vec<PathBuf> {
    let mut programs: Vec<PathBuf> = fs::read_dir(tests_c())
        .expect("tests/c")
        .map(|entry| entry.expect("tests/c").path())
        .filter(|path| matches!(path.extension().and_then(OsStr::to_str), Some("c" | "cpp")))
        .filter(|path| !NOT_RUN.iter().any(|file| path.ends_with(file)))
        .collect();
    programs.sort();
    programs
}

pub fn tests_c() -> PathBuf {
    root().join("tests/c")
}

pub fn is_cxx(source: &Path) -> bool {
    source.extension() == Some(OsStr::new("cpp"))
}

/// Compiles a program with the usual flags and `extra_flags`.
pub fn build(
    source: &Path,
    compiler: &str,
    link: Link,
    extra_flags: &[&str],
    binary: &Path,
) -> Result<(), Failed> {
    build_against(
        stage::prefix()?,
        source,
        compiler,
        link,
        extra_flags,
        binary,
    )
}

/// [`build`], against the library in `prefix`.
pub fn build_against(
    prefix: &Path,
    source: &Path,
    compiler: &str,
    link: Link,
    extra_flags: &[&str],
    binary: &Path,
) -> Result<(), Failed> {
    let standard = if is_cxx(source) {
        "-std=c++11"
    } else {
        "-std=c11"
    };
    let mut flags = vec![standard, "-gdwarf-4"];
    flags.extend(WARNINGS);
    flags.extend(extra_flags);
    stage::compile(compiler, prefix, link, &flags, &[source], binary)
}

/// How a program is linked. dlopen.c loads the library itself.
pub fn link_of(source: &Path) -> Link {
    if source.ends_with("dlopen.c") {
        Link::Dlopen
    } else {
        Link::Shared
    }
}

/// The environment variables that the programs expect.
pub fn environment() -> Result<Vec<(&'static str, String)>, Failed> {
    environment_for(stage::prefix()?)
}

/// [`environment`], for the library in `prefix`.
pub fn environment_for(prefix: &Path) -> Result<Vec<(&'static str, String)>, Failed> {
    let version = stage::pkg_config(prefix, &["--modversion"])?.join(" ");
    let library = path_text(&prefix.join("lib/libunixipc.so.0"))?;
    Ok(vec![
        ("UNIXIPC_PKG_VERSION", version),
        ("UNIXIPC_SO", library),
    ])
}

pub fn path_text(path: &Path) -> Result<String, Failed> {
    let text = path.to_str().ok_or("a path that is not UTF-8")?;
    Ok(text.into())
}

/// Runs a command with a time limit, in its own IPC namespace if the system permits one. Fails if
/// the command leaves a System V object or a file behind. `prepare` may change the command, for
/// example by a step between fork and exec.
pub fn run_bounded(
    directory: &Path,
    command: &[String],
    environment: &[(&str, String)],
    prepare: impl FnOnce(&mut Command),
) -> Result<Output, Failed> {
    // The namespace ends with its last process, so the shell lists the objects before it exits.
    const SCRIPT: &str = "left=$1; shift; \"$@\"; status=$?; \
        for table in shm sem msg; do sed 1d /proc/sysvipc/$table; done >\"$left\"; exit $status";
    let left = directory.join("left");
    let temporary = directory.join("tmp");
    fs::create_dir_all(&temporary)?;
    let namespace = own_ipc();
    let mut words = namespace.unwrap_or_default().to_vec();
    let left_text = path_text(&left)?;
    words.extend([
        "sh", "-c", SCRIPT, "sh", &left_text, "timeout", "-k", "5", LIMIT,
    ]);
    words.extend(command.iter().map(String::as_str));
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env("TMPDIR", &temporary)
        .stdin(Stdio::null());
    prepare(&mut command);
    let output = command.output()?;
    if !output.status.success() {
        return Ok(output);
    }
    let objects = fs::read_to_string(&left)?;
    if namespace.is_some() && !objects.is_empty() {
        return Err(format!("System V objects are left behind:\n{objects}").into());
    }
    if let Some(file) = fs::read_dir(&temporary)?.next() {
        return Err(format!("a file is left behind: {:?}", file?.path()).into());
    }
    Ok(output)
}

/// The command that runs a program in its own IPC namespace, if one works.
fn own_ipc() -> Option<&'static [&'static str]> {
    static OWN: OnceLock<Option<&'static [&'static str]>> = OnceLock::new();
    *OWN.get_or_init(|| {
        let commands: [&[&str]; 2] = [&["unshare", "-i"], &["unshare", "-U", "-r", "-i"]];
        commands.into_iter().find(|words| {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).arg("true");
            command.output().is_ok_and(|output| output.status.success())
        })
    })
}
