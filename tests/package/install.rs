//! The files that `make install` installs and `make uninstall` removes.

use crate::cmake::cmake;
use crate::support::*;
use common::{assert_golden, root, stage};
use libtest_mimic::Trial;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;

/// The tools of a user of pkg-config and CMake.
const WITH_CMAKE: [&str; 6] = ["make", "cc", "c++", "pkg-config", "cmake", "readelf"];

pub fn trials() -> Vec<Trial> {
    let make = |name: &str, run: fn(&Path) -> Result<()>| trial(name, &["make", "cc"], run);
    vec![
        make("golden: installed.txt lists files, modes and links", files),
        make("install: the same under umask 077", files_under_umask),
        make("install: twice", files_twice),
        trial(
            "install: libdir, includedir, datadir and mandir",
            &WITH_CMAKE,
            overrides,
        ),
        trial("install: names with a space", &WITH_CMAKE, spaces),
        make("install: the tool and the bridge", programs),
        make("uninstall: nothing is left", uninstall_all),
        make("uninstall: other files stay", uninstall_among_others),
        make("uninstall: a relative DESTDIR", uninstall_relative),
    ]
}

pub fn files(directory: &Path) -> Result<()> {
    install(&[&[setting("DESTDIR", directory).as_str()], &MULTIARCH[..]].concat())?;
    check_files(directory)
}

/// The golden list, which omits the version, and the pages from man/.
fn check_files(directory: &Path) -> Result<()> {
    let is_page = |line: &str| line.contains("share/man/man") && !line.ends_with('/');
    let installed = list(directory)?.replace(VERSION, "@version@");
    let (pages, others): (Vec<&str>, Vec<&str>) = installed.lines().partition(|l| is_page(l));
    let others: String = others.into_iter().flat_map(|line| [line, "\n"]).collect();
    assert_golden(&root().join("tests/abi/installed.txt"), &others)?;

    let mut expected = Vec::new();
    for entry in fs::read_dir(root().join("man"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some((_, section @ ("3" | "7"))) = name.rsplit_once('.') {
            expected.push(format!("0644 usr/share/man/man{section}/{name}"));
        }
    }
    expected.sort();
    if pages != expected {
        return Err(format!("the pages are {pages:?}, not {expected:?}").into());
    }
    Ok(())
}

fn files_under_umask(directory: &Path) -> Result<()> {
    stage::prefix()?;
    let destdir = setting("DESTDIR", directory);
    let mut command = install_command(&[&[destdir.as_str()], &MULTIARCH[..]].concat());
    // SAFETY: umask is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            libc::umask(0o077);
            Ok(())
        });
    }
    stage::run_locked(&mut command)?;
    check_files(directory)
}

fn files_twice(directory: &Path) -> Result<()> {
    files(directory)?;
    files(directory)
}

/// Each variable takes effect, for pkg-config and CMake too, and no file is installed elsewhere.
fn overrides(directory: &Path) -> Result<()> {
    let [prefix, lib, include, data, man] =
        ["p", "libraries/64", "p/inc/deep", "data", "pages"].map(|n| directory.join(n));
    install(&[
        &setting("prefix", &prefix),
        &setting("libdir", &lib),
        &setting("includedir", &include),
        &setting("datadir", &data),
        &setting("mandir", &man),
    ])?;
    for file in [
        lib.join("libunixipc.a"),
        lib.join("libunixipc.so.0"),
        lib.join("pkgconfig/unixipc.pc"),
        lib.join("cmake/unixipc/unixipcConfig.cmake"),
        include.join("unixipc.h"),
        include.join("unixipc.hpp"),
        include.join("unixipc/channel.hpp"),
        data.join("unixipc/unixipc.cdef.h"),
        man.join("man7"),
    ] {
        fs::metadata(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    for wrong in ["p/lib", "p/share", "p/include"] {
        if directory.join(wrong).exists() {
            return Err(format!("{wrong} exists").into());
        }
    }
    compile_and_run(
        &work(directory)?,
        &lib,
        "cc -std=c11",
        "--cflags --libs",
        false,
    )?;
    let before = format!("set(unixipc_DIR {}/cmake/unixipc)", lib.display());
    cmake(directory, &prefix, &before, "unixipc::unixipc")
        .and_then(|program| expect_link(&program, true))
}

/// Names with a space: pkg-config quotes them, so a shell must evaluate its output.
fn spaces(directory: &Path) -> Result<()> {
    let prefix = directory.join("a prefix");
    install(&[&setting("prefix", &prefix)])?;
    let work = work(directory)?;
    shell(
        &work,
        &prefix.join("lib"),
        "eval \"cc -o prog prog.c $(pkg-config --cflags --libs unixipc)\" && ./prog",
    )?;
    cmake(directory, &prefix, "", "unixipc::unixipc")
        .and_then(|program| expect_link(&program, true))?;
    let destdir = directory.join("a dest");
    install(&[&[setting("DESTDIR", &destdir).as_str()], &MULTIARCH[..]].concat())?;
    check_files(&destdir)?;
    stage::make(
        &[
            &[setting("DESTDIR", &destdir).as_str(), "uninstall"],
            &MULTIARCH[..],
        ]
        .concat(),
    )?;
    stage::make(&["uninstall", &setting("prefix", &prefix)])?;
    expect_gone(&destdir)?;
    expect_gone(&prefix)
}

/// The programs, which have targets of their own. Stand-ins show where they are installed.
fn programs(directory: &Path) -> Result<()> {
    fs::write(directory.join("other"), "")?;
    let build = directory.join("build");
    fs::create_dir_all(build.join("completions"))?;
    for file in ["unixipc", "unixipc-bridge"] {
        fs::write(build.join(file), "#!/bin/sh\n")?;
    }
    for shell in ["bash", "zsh", "fish"] {
        fs::write(build.join(format!("completions/unixipc.{shell}")), shell)?;
    }
    let dest = directory.join("dest");
    let settings = [
        setting("build", &build),
        setting("DESTDIR", &dest),
        "prefix=/usr".into(),
    ];
    let settings = settings.each_ref().map(String::as_str);
    stage::make(&[&["install-tools", "install-bridge-files"], &settings[..]].concat())?;
    let is_file = |line: &&str| !line.ends_with('/');
    let installed = list(&dest)?;
    let files: Vec<_> = installed.lines().filter(is_file).collect();
    let expected = [
        "0755 usr/bin/unixipc",
        "0755 usr/bin/unixipc-bridge",
        "0644 usr/lib/systemd/system/unixipc-bridge.service",
        "0644 usr/share/bash-completion/completions/unixipc",
        "0644 usr/share/fish/vendor_completions.d/unixipc.fish",
        "0644 usr/share/man/man1/unixipc-bridge.1",
        "0644 usr/share/man/man1/unixipc.1",
        "0644 usr/share/unixipc/unixipc-bridge.toml",
        "0644 usr/share/zsh/site-functions/_unixipc",
    ];
    if files != expected {
        return Err(format!("installed:\n{installed}").into());
    }
    let unit = fs::read_to_string(dest.join("usr/lib/systemd/system/unixipc-bridge.service"))?;
    if !unit.contains("ExecStart=/usr/bin/unixipc-bridge ") || unit.contains("@bindir") {
        return Err(unit.into());
    }
    stage::make(&[&["uninstall"], &settings[..]].concat())?;
    expect_gone(&dest)
}

fn uninstall_all(directory: &Path) -> Result<()> {
    // Uninstalling removes the directories that it empties; this one must not be empty.
    fs::write(directory.join("other"), "")?;
    let prefix = install_prefix(directory)?;
    stage::make(&["uninstall", &setting("prefix", &prefix)])?;
    expect_gone(&prefix)?;

    let destdir = directory.join("dest");
    files(&destdir)?;
    stage::make(
        &[
            &[setting("DESTDIR", &destdir).as_str(), "uninstall"],
            &MULTIARCH[..],
        ]
        .concat(),
    )?;
    expect_gone(&destdir)
}

fn uninstall_among_others(directory: &Path) -> Result<()> {
    let prefix = directory.join("prefix");
    for other in [
        "include/unixipc-other.h",
        "lib/libunixipc-other.so.0",
        "lib/libunixipc.so.1",
        "lib/pkgconfig/other.pc",
        "lib/cmake/other/otherConfig.cmake",
        "share/man/man3/other.3",
        "share/man/man7/other.7",
    ] {
        let path = prefix.join(other);
        fs::create_dir_all(path.parent().ok_or("no directory")?)?;
        fs::write(path, "")?;
    }
    let before = list(&prefix)?;
    let prefix_setting = setting("prefix", &prefix);
    install(&[&prefix_setting])?;
    if list(&prefix)? == before {
        return Err("nothing was installed".into());
    }
    stage::make(&["uninstall", &prefix_setting])?;
    let after = list(&prefix)?;
    if after != before {
        return Err(format!("before:\n{before}after:\n{after}").into());
    }
    Ok(())
}

/// A DESTDIR relative to the source tree, as packagers write it.
fn uninstall_relative(directory: &Path) -> Result<()> {
    fs::write(directory.join("other"), "")?;
    let up = "../".repeat(root().components().count() - 1);
    let dest = directory.join("dest");
    let destdir = format!("DESTDIR={up}{}", dest.strip_prefix("/")?.display());
    install(&[&[destdir.as_str()], &MULTIARCH[..]].concat())?;
    check_files(&dest)?;
    stage::make(&[&[destdir.as_str(), "uninstall"], &MULTIARCH[..]].concat())?;
    expect_gone(&dest)
}
