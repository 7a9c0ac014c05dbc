//! Programs that use CMake's find_package.

use crate::support::*;
use common::{run, text};
use libtest_mimic::Trial;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub fn trials() -> Vec<Trial> {
    const STATIC: &str = "set(unixipc_USE_STATIC_LIBS ON)";
    const MAIN: &str = "unixipc::unixipc";
    let trial = |name: &str, run: fn(&Path) -> Result<()>| {
        trial(
            &format!("cmake: {name}"),
            &["make", "cc", "c++", "cmake", "readelf"],
            run,
        )
    };
    vec![
        trial("shared", |directory| {
            let prefix = install_prefix(directory)?;
            expect_link(&cmake(directory, &prefix, "", MAIN)?, true)
        }),
        trial("unixipc_USE_STATIC_LIBS", |directory| {
            let prefix = install_prefix(directory)?;
            expect_link(&cmake(directory, &prefix, STATIC, MAIN)?, false)
        }),
        trial("unixipc::unixipc_shared", |directory| {
            let prefix = install_prefix(directory)?;
            expect_link(
                &cmake(directory, &prefix, STATIC, "unixipc::unixipc_shared")?,
                true,
            )
        }),
        trial("unixipc::unixipc_static", |directory| {
            let prefix = install_prefix(directory)?;
            expect_link(
                &cmake(directory, &prefix, "", "unixipc::unixipc_static")?,
                false,
            )
        }),
        trial("only the static library is installed", |directory| {
            let prefix = install_prefix(directory)?;
            remove_shared(&prefix.join("lib"))?;
            expect_link(&cmake(directory, &prefix, "", MAIN)?, false)
        }),
        trial("only the shared library is installed", |directory| {
            let prefix = install_prefix(directory)?;
            fs::remove_file(prefix.join("lib/libunixipc.a"))?;
            expect_link(&cmake(directory, &prefix, "", MAIN)?, true)?;
            let refused = cmake(&directory.join("2"), &prefix, STATIC, MAIN);
            expect_refused(refused.map(drop), "the library is not in")
        }),
        trial("a prefix that was moved", |directory| {
            let moved = moved_prefix(directory)?;
            expect_link(&cmake(directory, &moved, "", MAIN)?, true)
        }),
        trial("a libdir as in Debian", |directory| {
            let prefix = directory.join("usr");
            let lib = prefix.join("lib/x86_64-linux-gnu");
            install(&[&setting("prefix", &prefix), &setting("libdir", &lib)])?;
            let before = "set(CMAKE_LIBRARY_ARCHITECTURE x86_64-linux-gnu)";
            expect_link(&cmake(directory, &prefix, before, MAIN)?, true)
        }),
        trial("found through a link to libdir", |directory| {
            let prefix = install_prefix(directory)?;
            let linked = directory.join("linked");
            fs::create_dir(&linked)?;
            std::os::unix::fs::symlink(prefix.join("lib"), linked.join("lib"))?;
            expect_link(&cmake(directory, &linked, "", MAIN)?, true)
        }),
        trial("versions", |directory| {
            let prefix = install_prefix(directory)?;
            let find = |i: usize, find: &str| {
                cmake_with(&directory.join(i.to_string()), &prefix, "", find, MAIN)
            };
            for (i, accepted) in ["REQUIRED", "0.1.0 EXACT REQUIRED", "0.0.9 REQUIRED"]
                .iter()
                .enumerate()
            {
                find(i, accepted)?;
            }
            for (i, refused) in [
                "0.2 REQUIRED",
                "0.1.1 REQUIRED",
                "1.0 REQUIRED",
                "0.0.9 EXACT REQUIRED",
            ]
            .iter()
            .enumerate()
            {
                expect_refused(
                    find(i + 10, refused).map(drop),
                    "unixipcConfig.cmake, version: 0.1.0",
                )?;
            }
            Ok(())
        }),
    ]
}

/// Builds the program with CMake against the files below `prefix`, and runs it. `before` precedes
/// find_package. Returns the program.
pub fn cmake(directory: &Path, prefix: &Path, before: &str, target: &str) -> Result<PathBuf> {
    cmake_with(directory, prefix, before, "0.1 REQUIRED", target)
}

fn cmake_with(
    directory: &Path,
    prefix: &Path,
    before: &str,
    find: &str,
    target: &str,
) -> Result<PathBuf> {
    let source = directory.join("cmake");
    let build = directory.join("cmake-build");
    fs::create_dir_all(&source)?;
    fs::write(source.join("prog.c"), PROGRAM)?;
    fs::write(source.join("prog.cpp"), cxx_program())?;
    fs::write(
        source.join("CMakeLists.txt"),
        format!(
            "cmake_minimum_required(VERSION 3.13)\n\
             project(prog C CXX)\n\
             {before}\n\
             find_package(unixipc {find})\n\
             find_package(unixipc {find})\n\
             add_executable(prog prog.c)\n\
             target_link_libraries(prog PRIVATE {target})\n\
             add_executable(prog_cxx prog.cpp)\n\
             target_link_libraries(prog_cxx PRIVATE {target})\n"
        ),
    )?;
    run(Command::new("cmake")
        .arg("-S")
        .arg(&source)
        .arg("-B")
        .arg(&build)
        .arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display()))
        .args(["-DCMAKE_C_FLAGS=-Wall -Wextra -Wpedantic -Werror"])
        .args(["-DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF"]))?;
    run(Command::new("cmake").arg("--build").arg(&build))?;
    for program in ["prog", "prog_cxx"] {
        let output = run(&mut Command::new(build.join(program)))?;
        if text(&output).trim() != VERSION {
            return Err(format!("the program prints {:?}", text(&output)).into());
        }
    }
    Ok(build.join("prog"))
}
