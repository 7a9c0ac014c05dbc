//! An installation, and programs that use it.

use common::{run, stage, text, trial_with_tools};
use libtest_mimic::{Failed, Trial};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

pub type Result<T> = std::result::Result<T, Failed>;

/// A program that is valid in C and in C++.
pub const PROGRAM: &str = r#"
#include <unixipc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
    int sv[2];

    if (ipc_socketpair(AF_UNIX, SOCK_STREAM, 0, sv) != 0 || close(sv[0]) != 0 || close(sv[1]) != 0) {
        return 1;
    }
    printf("%s\n", ipc_version());
    return strcmp(ipc_version(), UNIXIPC_VERSION) != 0;
}
"#;
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The library directory of Debian.
pub const MULTIARCH: [&str; 2] = ["prefix=/usr", "libdir=/usr/lib/x86_64-linux-gnu"];

/// A test that gets an empty directory.
pub fn trial(
    name: &str,
    tools: &[&str],
    run: impl Fn(&Path) -> Result<()> + Send + 'static,
) -> Trial {
    trial_with_tools(name, tools, move || {
        let directory = TempDir::new()?;
        run(directory.path())
    })
}

/// `make install`, after everything is compiled.
pub fn install(args: &[&str]) -> Result<()> {
    stage::prefix()?;
    stage::run_locked(&mut install_command(args))
}

pub fn install_command(args: &[&str]) -> Command {
    let mut command = stage::make_command();
    // Whether the tool has been built does not matter.
    let fixed = ["install", "CARGO=/bin/false", "tool="];
    command.args(fixed).args(args);
    command
}

/// An installation with prefix=`directory`/prefix.
pub fn install_prefix(directory: &Path) -> Result<PathBuf> {
    let prefix = directory.join("prefix");
    install(&[&setting("prefix", &prefix)])?;
    Ok(prefix)
}

/// A variable for make's command line.
pub fn setting(name: &str, value: &Path) -> String {
    format!("{name}={}", value.display())
}

pub fn remove_shared(lib: &Path) -> Result<()> {
    for entry in fs::read_dir(lib)? {
        let path = entry?.path();
        if path.to_string_lossy().contains(".so") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

pub fn moved_prefix(directory: &Path) -> Result<PathBuf> {
    let moved = directory.join("moved/to/here");
    fs::create_dir_all(directory.join("moved/to"))?;
    fs::rename(install_prefix(directory)?, &moved)?;
    Ok(moved)
}

/// All files below a directory: type or mode, name, and link target.
pub fn list(directory: &Path) -> Result<String> {
    fn visit(directory: &Path, below: &Path, lines: &mut Vec<(String, String)>) -> Result<()> {
        for entry in fs::read_dir(below)? {
            let path = entry?.path();
            let meta = fs::symlink_metadata(&path)?;
            let mode = format!("{:04o}", meta.permissions().mode() & 0o7777);
            let mut name = path.strip_prefix(directory)?.display().to_string();
            if meta.is_dir() {
                name.push('/');
                visit(directory, &path, lines)?;
            }
            let line = if meta.is_symlink() {
                format!("link {name} -> {}\n", fs::read_link(&path)?.display())
            } else {
                format!("{mode} {name}\n")
            };
            lines.push((name, line));
        }
        Ok(())
    }
    let mut lines = Vec::new();
    visit(directory, directory, &mut lines)?;
    lines.sort();
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

pub fn expect_gone(directory: &Path) -> Result<()> {
    if directory.exists() {
        return Err(format!("{} is left:\n{}", directory.display(), list(directory)?).into());
    }
    Ok(())
}

/// The program with the C++ header, if the compiler compiles C++17.
pub fn cxx_program() -> String {
    format!("#if __cplusplus >= 201703L\n#include <unixipc.hpp>\n#endif\n{PROGRAM}")
}

/// A directory that contains only the program.
pub fn work(directory: &Path) -> Result<PathBuf> {
    let work = directory.join("work");
    fs::create_dir(&work)?;
    fs::write(work.join("prog.c"), PROGRAM)?;
    fs::write(work.join("prog.cpp"), cxx_program())?;
    Ok(work)
}

/// Runs a shell line with `libdir` in the search paths.
pub fn shell(work: &Path, libdir: &Path, line: &str) -> Result<Output> {
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .current_dir(work)
        .env("PKG_CONFIG_PATH", libdir.join("pkgconfig"))
        .env("LD_LIBRARY_PATH", libdir);
    run(&mut command)
}

/// Compiles the program with the flags from pkg-config, and runs it.
pub fn compile_and_run(
    work: &Path,
    libdir: &Path,
    compiler: &str,
    pkg_config: &str,
    is_static: bool,
) -> Result<()> {
    let source = if compiler.starts_with("c++") {
        "prog.cpp"
    } else {
        "prog.c"
    };
    let option = if is_static { "-static" } else { "" };
    let line = format!(
        "{compiler} -Wall -Wextra -Wpedantic -Werror {option} -o prog {source} \
         $(pkg-config {pkg_config} unixipc) && ./prog"
    );
    let output = shell(work, libdir, &line)?;
    if text(&output).trim() != VERSION {
        return Err(format!("the program prints {:?}", text(&output)).into());
    }
    expect_link(&work.join("prog"), !is_static)
}

/// readelf shows whether a program needs the shared library.
pub fn expect_link(program: &Path, is_shared: bool) -> Result<()> {
    let output = run(Command::new("readelf")
        .args(["-W", "--dynamic"])
        .arg(program))?;
    if text(&output).contains("[libunixipc.so.0]") == is_shared {
        Ok(())
    } else {
        Err(format!("shared: {is_shared} is wrong\n{}", text(&output)).into())
    }
}

/// The build system must refuse, for this reason.
pub fn expect_refused(result: Result<()>, reason: &str) -> Result<()> {
    match result {
        Ok(()) => Err("it is accepted".into()),
        Err(failed)
            if failed
                .message()
                .is_some_and(|message| message.contains(reason)) =>
        {
            Ok(())
        }
        Err(failed) => Err(failed),
    }
}
