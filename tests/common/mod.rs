//! What the tests share.
//!
//! Every test file is its own runner on top of libtest-mimic, because much of
//! what is tested here concerns a whole process (its descriptors, its signals,
//! its user) and because a tool that is missing has to be seen to be missing.

#![allow(dead_code)] // each test file uses its part

pub mod filter;
pub mod header;
pub mod isolated;
pub mod process;
pub mod programs;
pub mod sanitizer;
pub mod stage;
pub mod stopped_call;
pub mod strace;

use libtest_mimic::{Failed, Trial};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The root of the source tree.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where `name` is on the PATH.
pub fn find_tool(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// A test that needs tools. Where some are missing the test counts as ignored, under
/// a name that says why; in CI it fails.
pub fn trial_with_tools(
    name: impl Into<String>,
    tools: &[&str],
    run: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let name = name.into();
    let missing: Vec<_> = tools
        .iter()
        .copied()
        .filter(|tool| find_tool(tool).is_none())
        .collect();
    if missing.is_empty() {
        return Trial::test(name, run);
    }
    let why = format!("missing: {}", missing.join(", "));
    let trial_name = format!("{name} ({why})");
    Trial::test(trial_name, move || Err(why.into())).with_ignored_flag(env::var_os("CI").is_none())
}

/// Runs a command to its end; what it printed is the error if it failed.
pub fn run(command: &mut Command) -> Result<Output, Failed> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(output)
    } else {
        Err(format!("{command:?}: {}\n{}", output.status, text(&output)).into())
    }
}

/// What a command printed.
pub fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]]
        .map(String::from_utf8_lossy)
        .concat()
}

/// Compares a file that was made with the one that is committed. With
/// UNIXIPC_BLESS=1 (`make header`) the committed one is replaced.
pub fn assert_golden(committed: &Path, made: &str) -> Result<(), Failed> {
    let old = std::fs::read_to_string(committed).unwrap_or_default();
    if old == made {
        return Ok(());
    }
    if env::var_os("UNIXIPC_BLESS").is_some() {
        std::fs::write(committed, made)?;
        return Ok(());
    }
    let line = old
        .lines()
        .zip(made.lines())
        .take_while(|(a, b)| a == b)
        .count();
    Err(format!(
        "{} is not what the code gives, from line {} on; `make header` makes it anew\n\
         committed: {:?}\n     made: {:?}",
        committed.display(),
        line + 1,
        old.lines().nth(line),
        made.lines().nth(line)
    )
    .into())
}
