//! Two builds of the same source give identical libraries.

use crate::support::Result;
use common::{root, run, stage, trial_with_tools};
use libtest_mimic::Trial;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub fn trial() -> Trial {
    let name = "reproducible: in other directories, with another locale, time zone and umask";
    trial_with_tools(name, &["make", "cc", "tar"], || {
        let directory = TempDir::new()?;
        stage::prefix()?;
        let ours = root().join("build");
        let theirs = build_copy(directory.path())?;
        for name in [
            format!("libunixipc.so.{}", env!("CARGO_PKG_VERSION")),
            "libunixipc.a".into(),
        ] {
            if fs::read(ours.join(&name))? != fs::read(theirs.join(&name))? {
                return Err(format!("{name} differs").into());
            }
        }
        Ok(())
    })
}

/// Builds a copy of the source tree. Returns the directory of the libraries.
fn build_copy(directory: &Path) -> Result<PathBuf> {
    let tree = directory.join("another tree");
    fs::create_dir(&tree)?;
    run(Command::new("sh")
        .arg("-c")
        .arg("tar -c --exclude=./target --exclude=./build --exclude=./.git . | tar -x -m -C \"$TREE\"")
        .current_dir(root())
        .env("TREE", &tree))?;
    // The crates are found below another path.
    let home = std::env::home_dir().ok_or("no home directory")?;
    let crates = std::env::var_os("CARGO_HOME").map_or(home.join(".cargo"), PathBuf::from);
    symlink(crates, directory.join("crates"))?;
    run(Command::new("sh")
        .arg("-c")
        .arg("umask 077; make -s -C \"$TREE\"")
        .env("TREE", &tree)
        .env("CARGO_HOME", directory.join("crates"))
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "Pacific/Chatham")
        .env_remove("MAKEFLAGS"))?;
    Ok(tree.join("build"))
}
