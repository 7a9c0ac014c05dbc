//! Tools that a test runs, and files of the source tree.

use libtest_mimic::{Failed, Trial};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The root of the source tree.
pub fn root() -> &'static Path {
    let this_package = Path::new(env!("CARGO_MANIFEST_DIR"));
    this_package.ancestors().nth(2).expect("tests/common")
}

/// The path of the program `name` on the PATH.
pub fn find_tool(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

/// A test that needs tools. If some are missing, the test is ignored, and its name gives the
/// reason; in CI it fails.
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
    ignored(&name, &format!("missing: {}", missing.join(", ")))
}

/// A test that cannot run here: it is ignored, and its name gives the reason; in CI it fails. A reason
/// that begins with `only` names another machine. There is nothing to install, so CI ignores it too.
pub fn ignored(name: &str, why: &str) -> Trial {
    let why = why.to_owned();
    let name = format!("{name} ({why})");
    let is_ignored = env::var_os("CI").is_none() || why.starts_with("only ");
    Trial::test(name, move || Err(why.into())).with_ignored_flag(is_ignored)
}

/// Runs a command to its end. If it fails, the error is its output.
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

/// The output of a command: standard output, then standard error.
pub fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]]
        .map(String::from_utf8_lossy)
        .concat()
}

/// Compares a generated text with the committed file. With UNIXIPC_BLESS=1 (`make header`), it
/// replaces the committed file.
pub fn assert_golden(committed: &Path, generated: &str) -> Result<(), Failed> {
    let old = std::fs::read_to_string(committed).unwrap_or_default();
    if old == generated {
        return Ok(());
    }
    if env::var_os("UNIXIPC_BLESS").is_some() {
        std::fs::write(committed, generated)?;
        return Ok(());
    }
    let line = old
        .lines()
        .zip(generated.lines())
        .take_while(|(a, b)| a == b)
        .count();
    Err(format!(
        "{} differs from the generated text from line {} on; `make header` replaces it\n\
         committed: {:?}\ngenerated: {:?}",
        committed.display(),
        line + 1,
        old.lines().nth(line),
        generated.lines().nth(line)
    )
    .into())
}
