//! Two builds of the same source give identical libraries.

use crate::support::Result;
use common::{root, run, stage, trial_with_tools};
use libtest_mimic::{Failed, Trial};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const TOOLS: [&str; 3] = ["make", "cc", "tar"];

pub fn trials() -> Vec<Trial> {
    let name = "reproducible: in other directories, with another locale, time zone and umask";
    vec![
        trial_with_tools(name, &TOOLS, identical),
        trial_with_tools("reproducible: no path of a directory", &TOOLS, no_paths),
    ]
}

fn identical() -> Result<()> {
    let directory = TempDir::new()?;
    stage::prefix()?;
    let ours = root().join("build");
    let theirs = build_copy(directory.path(), &[])?;
    for name in [
        format!("libunixipc.so.{}", env!("CARGO_PKG_VERSION")),
        "libunixipc.a".into(),
    ] {
        if fs::read(ours.join(&name))? != fs::read(theirs.join(&name))? {
            return Err(format!("{name} differs").into());
        }
    }
    Ok(())
}

/// Assertions make the code of the other crates contain paths, for the messages.
fn no_paths() -> Result<()> {
    let directory = TempDir::new()?;
    let settings = [
        ("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true"),
        ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ];
    let build = build_copy(directory.path(), &settings)?;
    let archive = fs::read(build.join("../target/release/libunixipc.a"))?;
    let contains = |text: &[u8]| archive.windows(text.len()).any(|part| part == text);
    if contains(directory.path().as_os_str().as_bytes()) {
        return Err("the library contains the path of the build".into());
    }
    let is_remapped = contains(b"/nix-0.");
    is_remapped
        .then_some(())
        .ok_or(Failed::from("no crate has a path: nothing was tested"))
}

/// Builds a copy of the source tree. Returns the directory of the libraries.
fn build_copy(directory: &Path, settings: &[(&str, &str)]) -> Result<PathBuf> {
    let tree = directory.join("another tree");
    fs::create_dir(&tree)?;
    run(Command::new("sh")
        .arg("-c")
        .arg("tar -c --exclude=./target --exclude=./build --exclude=./.git . | tar -x -m -C \"$TREE\"")
        .current_dir(root())
        .env("TREE", &tree))?;
    run(Command::new("sh")
        .arg("-c")
        .arg("umask 077; make -s -C \"$TREE\"")
        .env("TREE", &tree)
        .env("CARGO_HOME", other_cargo_home(directory)?)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "Pacific/Chatham")
        .envs(settings.iter().copied())
        .env_remove("MAKEFLAGS"))?;
    Ok(tree.join("build"))
}

/// A directory in which cargo unpacks the crates again. It shares what cargo has downloaded.
fn other_cargo_home(directory: &Path) -> Result<PathBuf> {
    let home = std::env::var_os("HOME").ok_or("no HOME")?;
    let default = Path::new(&home).join(".cargo");
    let ours = std::env::var_os("CARGO_HOME").map_or(default, PathBuf::from);
    let theirs = directory.join("crates");
    fs::create_dir_all(theirs.join("registry"))?;
    for part in ["registry/index", "registry/cache"] {
        if ours.join(part).exists() {
            symlink(ours.join(part), theirs.join(part))?;
        }
    }
    for name in ["config.toml", "config"] {
        if ours.join(name).exists() {
            symlink(ours.join(name), theirs.join(name))?;
        }
    }
    Ok(theirs)
}
