//! Projects of Meson and CMake that build the library as a part of themselves, or take a prebuilt one.

use crate::support::*;
use common::{root, run, text};
use libtest_mimic::Trial;
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

const MESON: [&str; 7] = [
    "make",
    "cc",
    "c++",
    "meson",
    "ninja",
    "pkg-config",
    "readelf",
];
const CMAKE: [&str; 5] = ["make", "cc", "c++", "cmake", "readelf"];

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "meson: as a subproject, and installed",
            &MESON,
            meson_source,
        ),
        trial("meson: a prebuilt library", &MESON, meson_prebuilt),
        trial("meson: the installed library", &MESON, meson_installed),
        trial("meson: cargo is missing", &MESON, meson_without_cargo),
        trial("cmake: FetchContent, and installed", &CMAKE, cmake_source),
        trial("cmake: a prebuilt library", &CMAKE, cmake_prebuilt),
        trial("cmake: cargo is missing", &CMAKE, cmake_without_cargo),
    ]
}

const MESON_BUILD: &str = "\
project('prog', 'c', 'cpp', default_options: ['werror=true', 'warning_level=3'])
unixipc = dependency('unixipc', version: '>=0.1')
executable('prog', 'prog.c', dependencies: unixipc)
executable('prog_cxx', 'prog.cpp', dependencies: unixipc)
executable('prog_static', 'prog.c', dependencies: dependency('unixipc', static: true))
";

/// A project with the library as a subproject. Its path contains a space.
fn meson_project(directory: &Path) -> Result<PathBuf> {
    let project = directory.join("a project");
    fs::create_dir(&project)?;
    programs(&project)?;
    fs::write(project.join("meson.build"), MESON_BUILD)?;
    fs::create_dir(project.join("subprojects"))?;
    symlink(root(), project.join("subprojects/unixipc"))?;
    Ok(project)
}

fn programs(project: &Path) -> Result<()> {
    fs::write(project.join("prog.c"), PROGRAM)?;
    fs::write(project.join("prog.cpp"), cxx_program())?;
    Ok(())
}

/// Runs the programs of a build directory: a C and a C++ program with the shared library, and a C
/// program with the static one.
fn run_programs(build: &Path, libdir: &str) -> Result<()> {
    for name in ["prog", "prog_cxx", "prog_static"] {
        let program = build.join(name);
        let output = run(Command::new(&program).env("LD_LIBRARY_PATH", libdir))?;
        if text(&output).trim() != VERSION {
            return Err(format!("{name} prints {:?}", text(&output)).into());
        }
        expect_link(&program, name != "prog_static")?;
    }
    Ok(())
}

fn meson(project: &Path, args: &[&str]) -> Result<()> {
    let mut meson = Command::new("meson");
    meson.current_dir(project).args(args);
    run(&mut meson).map(drop)
}

fn meson_source(directory: &Path) -> Result<()> {
    let project = meson_project(directory)?;
    // The default of libdir differs between distributions.
    meson(
        &project,
        &[
            "setup",
            "build",
            "--libdir=lib",
            "--wrap-mode=forcefallback",
        ],
    )?;
    meson(&project, &["compile", "-C", "build"])?;
    run_programs(&project.join("build"), "")?;
    let destdir = directory.join("a dest");
    let mut install = Command::new("meson");
    install
        .current_dir(&project)
        .args(["install", "-C", "build"])
        .env("DESTDIR", &destdir);
    run(&mut install)?;
    expect_same_files(directory, &destdir.join("usr/local"))
}

/// The files are those that `make install` installs.
fn expect_same_files(directory: &Path, prefix: &Path) -> Result<()> {
    let listed = |prefix: &Path| -> Result<Vec<String>> {
        let listed = list(prefix)?.replace("x86_64-linux-gnu/", "");
        let mut lines: Vec<_> = listed.lines().map(String::from).collect();
        lines.retain(|line| !line.ends_with('/') && !line.contains("/prog"));
        Ok(lines)
    };
    let (ours, theirs) = (listed(&install_prefix(directory)?)?, listed(prefix)?);
    if ours != theirs {
        return Err(format!("make installs {ours:?}, this {theirs:?}").into());
    }
    Ok(())
}

fn meson_prebuilt(directory: &Path) -> Result<()> {
    let prefix = install_prefix(directory)?;
    let project = meson_project(directory)?;
    let option = format!("-Dunixipc:prebuilt={}", prefix.display());
    let fallback = "--wrap-mode=forcefallback";
    meson(&project, &["setup", "build", fallback, &option])?;
    meson(&project, &["compile", "-C", "build"])?;
    run_programs(&project.join("build"), "")?;

    let option = "-Dunixipc:prebuilt=/nonexistent";
    let refused = meson(&project, &["setup", "other", fallback, option]);
    expect_refused(refused, "unixipc.h is missing below")
}

fn meson_installed(directory: &Path) -> Result<()> {
    let prefix = install_prefix(directory)?;
    let project = meson_project(directory)?;
    fs::remove_file(project.join("subprojects/unixipc"))?;
    let lib = prefix.join("lib");
    let setup = "meson setup build && meson compile -C build";
    shell(&project, &lib, setup)?;
    run_programs(&project.join("build"), &lib.display().to_string())
}

/// A directory for PATH, with all programs except cargo.
fn without_cargo(directory: &Path) -> Result<PathBuf> {
    let bin = directory.join("bin");
    fs::create_dir(&bin)?;
    let path = env::var_os("PATH").ok_or("no PATH")?;
    for entry in env::split_paths(&path).filter_map(|directory| fs::read_dir(directory).ok()) {
        for program in entry {
            let program = program?;
            let link = bin.join(program.file_name());
            if program.file_name() != "cargo" && fs::symlink_metadata(&link).is_err() {
                symlink(program.path(), link)?;
            }
        }
    }
    Ok(bin)
}

fn meson_without_cargo(directory: &Path) -> Result<()> {
    let mut setup = Command::new("meson");
    setup
        .args(["setup".as_ref(), directory.join("build").as_os_str()])
        .arg(root())
        .env("PATH", without_cargo(directory)?);
    let failed = run(&mut setup).map(drop);
    expect_refused(failed, "cargo is missing: Rust 1.85 or newer")
}

/// A project with the library as a part. Its path contains a space.
fn cmake_project(directory: &Path, options: &[String]) -> Result<PathBuf> {
    let project = directory.join("a project");
    fs::create_dir_all(&project)?;
    programs(&project)?;
    let lines = format!(
        "cmake_minimum_required(VERSION 3.16)\n\
         project(prog C CXX)\n\
         include(FetchContent)\n\
         FetchContent_Declare(unixipc SOURCE_DIR \"{}\")\n\
         FetchContent_MakeAvailable(unixipc)\n\
         foreach(prog prog prog_static)\n\
             add_executable(${{prog}} prog.c)\n\
         endforeach()\n\
         add_executable(prog_cxx prog.cpp)\n\
         target_link_libraries(prog PRIVATE unixipc::unixipc)\n\
         target_link_libraries(prog_cxx PRIVATE unixipc::unixipc_shared)\n\
         target_link_libraries(prog_static PRIVATE unixipc::unixipc_static)\n",
        root().display()
    );
    fs::write(project.join("CMakeLists.txt"), lines)?;
    let build = project.join("build");
    run(Command::new("cmake")
        .arg("-S")
        .arg(&project)
        .arg("-B")
        .arg(&build)
        .args(options)
        .arg("-DCMAKE_C_FLAGS=-Wall -Wextra -Wpedantic -Werror"))?;
    run(Command::new("cmake").arg("--build").arg(&build))?;
    Ok(build)
}

fn cmake_source(directory: &Path) -> Result<()> {
    let build = cmake_project(directory, &["-DUNIXIPC_INSTALL=ON".into()])?;
    run_programs(&build, "")?;
    let prefix = directory.join("another prefix");
    run(Command::new("cmake")
        .arg("--install")
        .arg(&build)
        .arg("--prefix")
        .arg(&prefix))?;
    expect_same_files(directory, &prefix)
}

fn cmake_prebuilt(directory: &Path) -> Result<()> {
    let prefix = install_prefix(directory)?;
    let option = |path: &Path| vec![format!("-DUNIXIPC_PREBUILT={}", path.display())];
    let build = cmake_project(directory, &option(&prefix))?;
    run_programs(&build, "")?;
    let refused = cmake_project(&directory.join("2"), &option(Path::new("/nonexistent")));
    expect_refused(refused.map(drop), "unixipcConfig.cmake")
}

fn cmake_without_cargo(directory: &Path) -> Result<()> {
    let mut configure = Command::new("cmake");
    configure
        .arg("-S")
        .arg(root())
        .arg("-B")
        .arg(directory.join("build"))
        .env("PATH", without_cargo(directory)?);
    let failed = run(&mut configure).map(drop);
    expect_refused(failed, "cargo is missing: Rust 1.85 or newer")
}
