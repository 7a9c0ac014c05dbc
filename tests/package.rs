//! Uses the files that `make install` installs as a user does: from a directory outside the source
//! tree that contains nothing but the installed files.

use common::{assert_golden, root, run, stage, text, trial_with_tools};
use libtest_mimic::{Arguments, Failed, Trial};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use tempfile::TempDir;

type Result<T> = std::result::Result<T, Failed>;

/// A program that is valid in C and in C++.
const PROGRAM: &str = r#"
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
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The library directory of Debian.
const MULTIARCH: [&str; 2] = ["prefix=/usr", "libdir=/usr/lib/x86_64-linux-gnu"];

/// The tools of a user of pkg-config and CMake.
const WITH_CMAKE: [&str; 6] = ["make", "cc", "c++", "pkg-config", "cmake", "readelf"];

fn main() -> ExitCode {
    let make = |name: &str, run: fn(&Path) -> Result<()>| trial(name, &["make", "cc"], run);
    let mut trials = vec![
        make("golden: installed.txt lists files, modes and links", files),
        make("install: the same under umask 077", files_under_umask),
        make("install: twice", files_twice),
        trial(
            "install: libdir, includedir and mandir",
            &WITH_CMAKE,
            overrides,
        ),
        trial("install: names with a space", &WITH_CMAKE, spaces),
        make("uninstall: nothing is left", uninstall_all),
        make("uninstall: other files stay", uninstall_among_others),
        make("uninstall: a relative DESTDIR", uninstall_relative),
    ];
    trials.extend(pkg_config_trials());
    trials.extend(cmake_trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A test that gets an empty directory.
fn trial(name: &str, tools: &[&str], run: impl Fn(&Path) -> Result<()> + Send + 'static) -> Trial {
    trial_with_tools(name, tools, move || {
        let directory = TempDir::new()?;
        run(directory.path())
    })
}

/// `make install`, after everything is compiled.
fn install(args: &[&str]) -> Result<()> {
    stage::prefix()?;
    stage::run_locked(&mut install_command(args))
}

fn install_command(args: &[&str]) -> Command {
    let mut command = stage::make_command();
    command.args(["install", "CARGO=/bin/false"]).args(args);
    command
}

/// An installation with prefix=`directory`/prefix.
fn install_prefix(directory: &Path) -> Result<PathBuf> {
    let prefix = directory.join("prefix");
    install(&[&setting("prefix", &prefix)])?;
    Ok(prefix)
}

/// A variable for make's command line.
fn setting(name: &str, value: &Path) -> String {
    format!("{name}={}", value.display())
}

/// All files below a directory: type or mode, name, and link target.
fn list(directory: &Path) -> Result<String> {
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

fn files(directory: &Path) -> Result<()> {
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
    let [prefix, lib, include, man] =
        ["p", "libraries/64", "p/inc/deep", "pages"].map(|n| directory.join(n));
    install(&[
        &setting("prefix", &prefix),
        &setting("libdir", &lib),
        &setting("includedir", &include),
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

fn expect_gone(directory: &Path) -> Result<()> {
    if directory.exists() {
        return Err(format!("{} is left:\n{}", directory.display(), list(directory)?).into());
    }
    Ok(())
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

/// The program with the C++ header, if the compiler compiles C++17.
fn cxx_program() -> String {
    format!("#if __cplusplus >= 201703L\n#include <unixipc.hpp>\n#endif\n{PROGRAM}")
}

/// A directory that contains only the program.
fn work(directory: &Path) -> Result<PathBuf> {
    let work = directory.join("work");
    fs::create_dir(&work)?;
    fs::write(work.join("prog.c"), PROGRAM)?;
    fs::write(work.join("prog.cpp"), cxx_program())?;
    Ok(work)
}

/// Runs a shell line with `libdir` in the search paths.
fn shell(work: &Path, libdir: &Path, line: &str) -> Result<Output> {
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .current_dir(work)
        .env("PKG_CONFIG_PATH", libdir.join("pkgconfig"))
        .env("LD_LIBRARY_PATH", libdir);
    run(&mut command)
}

/// Compiles the program with the flags from pkg-config, and runs it.
fn compile_and_run(
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
fn expect_link(program: &Path, is_shared: bool) -> Result<()> {
    let output = run(Command::new("readelf")
        .args(["-W", "--dynamic"])
        .arg(program))?;
    if text(&output).contains("[libunixipc.so.0]") == is_shared {
        Ok(())
    } else {
        Err(format!("shared: {is_shared} is wrong\n{}", text(&output)).into())
    }
}

fn pkg_config_trials() -> Vec<Trial> {
    let tools = ["make", "cc", "pkg-config", "readelf"];
    let mut trials = Vec::new();
    for compiler in ["cc -std=c11", "c++ -std=c++11", "c++ -std=c++17"] {
        for (flags, is_static) in [
            ("--cflags --libs", false),
            ("--static --cflags --libs", false),
            ("--static --cflags --libs", true),
        ] {
            let option = if is_static { " -static" } else { "" };
            let name = format!("pkg-config: {compiler}{option}, {flags}");
            let tools = [&tools[..], &[compiler.split(' ').next().unwrap()][..]].concat();
            trials.push(trial(&name, &tools, move |directory| {
                let lib = install_prefix(directory)?.join("lib");
                compile_and_run(&work(directory)?, &lib, compiler, flags, is_static)
            }));
        }
    }
    trials.push(trial(
        "pkg-config: only the static library",
        &tools,
        |directory| {
            let lib = install_prefix(directory)?.join("lib");
            remove_shared(&lib)?;
            let work = work(directory)?;
            let line = "cc -o prog prog.c $(pkg-config --static --cflags --libs unixipc) && ./prog";
            shell(&work, &lib, line)?;
            expect_link(&work.join("prog"), false)
        },
    ));
    trials.push(trial("pkg-config: what it prints", &tools, printed));
    trials.push(trial("pkg-config: PKG_CONFIG_SYSROOT_DIR", &tools, sysroot));
    trials.push(trial(
        "pkg-config: a prefix that was moved",
        &tools,
        |directory| {
            let moved = moved_prefix(directory)?;
            let flags = "--define-prefix --cflags --libs";
            compile_and_run(
                &work(directory)?,
                &moved.join("lib"),
                "cc -std=c11",
                flags,
                false,
            )
        },
    ));
    trials.push(trial("c_examples build outside the tree", &tools, examples));
    trials
}

fn remove_shared(lib: &Path) -> Result<()> {
    for entry in fs::read_dir(lib)? {
        let path = entry?.path();
        if path.to_string_lossy().contains(".so") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn moved_prefix(directory: &Path) -> Result<PathBuf> {
    let moved = directory.join("moved/to/here");
    fs::create_dir_all(directory.join("moved/to"))?;
    fs::rename(install_prefix(directory)?, &moved)?;
    Ok(moved)
}

/// The output of pkg-config for the system's directories and for others.
fn printed(directory: &Path) -> Result<()> {
    let prefix = install_prefix(directory)?;
    let dest = directory.join("dest");
    files(&dest)?;
    let own = prefix.display().to_string();
    let system = dest.join("usr/lib/x86_64-linux-gnu").display().to_string();
    for (libdir, args, want) in [
        (format!("{own}/lib"), "--modversion", VERSION.into()),
        (format!("{own}/lib"), "--cflags", format!("-I{own}/include")),
        (
            format!("{own}/lib"),
            "--libs",
            format!("-L{own}/lib -lunixipc"),
        ),
        (
            format!("{own}/lib"),
            "--static --libs",
            format!("-L{own}/lib -lunixipc"),
        ),
        // The compiler searches this directory by default.
        (system.clone(), "--cflags", String::new()),
        (
            system.clone(),
            "--variable=libdir",
            MULTIARCH[1]["libdir=".len()..].into(),
        ),
        (
            system.clone(),
            "--variable=includedir",
            "/usr/include".into(),
        ),
    ] {
        let line = format!("pkg-config {args} unixipc");
        let output = shell(directory, Path::new(&libdir), &line)?;
        if text(&output).trim() != want {
            return Err(format!("{line}: {:?}, not {want:?}", text(&output)).into());
        }
    }
    Ok(())
}

/// A system image below a directory, as a cross compiler uses it.
fn sysroot(directory: &Path) -> Result<()> {
    let dest = directory.join("dest");
    install(&[&setting("DESTDIR", &dest), "prefix=/opt/unixipc"])?;
    let line = format!(
        "export PKG_CONFIG_SYSROOT_DIR='{}'; cc -o prog prog.c $(pkg-config --cflags --libs unixipc) && ./prog",
        dest.display()
    );
    let work = work(directory)?;
    shell(&work, &dest.join("opt/unixipc/lib"), &line)?;
    expect_link(&work.join("prog"), true)
}

/// The examples need nothing from the source tree.
fn examples(directory: &Path) -> Result<()> {
    let lib = install_prefix(directory)?.join("lib");
    let copy = directory.join("c_examples");
    run(Command::new("cp")
        .arg("-r")
        .arg(root().join("c_examples"))
        .arg(&copy))?;
    let out = directory.join("out");
    let mut make = stage::make_command();
    make.current_dir(&copy)
        .env("PKG_CONFIG_PATH", lib.join("pkgconfig"))
        .env_remove("LDFLAGS")
        .arg(setting("out", &out));
    run(&mut make)?;
    let programs: Vec<PathBuf> = fs::read_dir(&out)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    // A program that only reads a FIFO needs no function of the library.
    if !programs
        .iter()
        .any(|program| expect_link(program, true).is_ok())
    {
        return Err(format!("none uses the library: {programs:?}").into());
    }
    Ok(())
}

/// Builds the program with CMake against the files below `prefix`, and runs it. `before` precedes
/// find_package. Returns the program.
fn cmake(directory: &Path, prefix: &Path, before: &str, target: &str) -> Result<PathBuf> {
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

fn cmake_trials() -> Vec<Trial> {
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
            expect_refused(refused, "the library is not in")
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
                expect_refused(find(i + 10, refused), "unixipcConfig.cmake, version: 0.1.0")?;
            }
            Ok(())
        }),
    ]
}

/// CMake must refuse, for this reason.
fn expect_refused(result: Result<PathBuf>, reason: &str) -> Result<()> {
    match result {
        Ok(_) => Err("CMake accepts it".into()),
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
