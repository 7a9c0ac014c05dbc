//! The C and C++ programs of tests/c: each is compiled as a user would, in several
//! ways, and run. They exit 0 (passed), 1 (failed) or 77 (cannot be run here).

use common::programs::{
    self, CANNOT_RUN, WARNINGS, is_cxx, path_text, programs, run_bounded, tests_c,
};
use common::stage::{self, Link};
use common::{find_tool, run, text, trial_with_tools};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use tempfile::TempDir;

/// A C and a C++ compiler.
const COMPILERS: [(&str, &str); 2] = [("gcc", "g++"), ("clang", "clang++")];

/// How a program is built and run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Shared,
    Static,
    Valgrind,
    Sanitized,
}

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for source in programs() {
        for (c, cxx) in COMPILERS {
            let compiler = if is_cxx(&source) { cxx } else { c };
            for how in [How::Shared, How::Static, How::Valgrind, How::Sanitized] {
                // A static program has no dlopen to speak of.
                if how != How::Static || !source.ends_with("dlopen.c") {
                    trials.push(program(source.clone(), compiler, how));
                }
            }
        }
    }
    for (compiler, _) in COMPILERS {
        trials.extend(two_rust(compiler));
        trials.push(renamed_c(compiler));
    }
    trials.push(renamed_script("perl", "rename.pl", &PERL_CALLS));
    trials.push(renamed_script("python3", "rename.py", &ALL_CALLS));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A program compiled and run in one way.
fn program(source: PathBuf, compiler: &'static str, how: How) -> Trial {
    let file = source.file_name().unwrap_or_default().to_string_lossy();
    let name = format!("{file}, {compiler}, {how:?}").to_lowercase();
    let mut tools = vec![compiler, "pkg-config", "timeout"];
    if how == How::Valgrind {
        tools.push("valgrind");
    }
    // One that cannot be run here says so only when it runs.
    if tools.iter().all(|tool| find_tool(tool).is_some()) {
        Trial::ignorable_test(name, move || build_and_run(&source, compiler, how))
    } else {
        trial_with_tools(name, &tools, || Ok(()))
    }
}

fn build_and_run(source: &Path, compiler: &str, how: How) -> Result<Completion, Failed> {
    let folder = TempDir::new()?;
    let link = match how {
        How::Static => Link::Static,
        _ => programs::link_of(source),
    };
    let sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    let more: &[&str] = match how {
        How::Sanitized => &sanitizers,
        _ => &[],
    };
    let binary = folder.path().join("program");
    programs::build(source, compiler, link, more, &binary)?;

    let mut command = Vec::new();
    if how == How::Valgrind {
        command.extend(valgrind(folder.path(), link));
    }
    command.push(path_text(&binary)?);
    let environment = programs::environment()?;
    let output = run_bounded(folder.path(), &command, &environment, |_| {})?;
    match output.status.code() {
        Some(0) if how == How::Valgrind => {
            judge_valgrind(folder.path()).map(|()| Completion::Completed)
        }
        Some(0) => Ok(Completion::Completed),
        Some(CANNOT_RUN) if std::env::var_os("CI").is_none() => {
            Ok(Completion::ignored_with(text(&output).trim()))
        }
        _ => Err(format!(
            "{}\n{}{}",
            output.status,
            text(&output),
            valgrind_logs(folder.path())?
        )
        .into()),
    }
}

/// The command that a program runs under.
fn valgrind(folder: &Path, link: Link) -> Vec<String> {
    let log = format!("--log-file={}/valgrind.%p", folder.display());
    // The loader keeps some memory of a library that is never unloaded; it stays reachable.
    let leaks = match link {
        Link::Dlopen => "--errors-for-leak-kinds=definite,indirect,possible",
        _ => "--errors-for-leak-kinds=all",
    };
    [
        "valgrind",
        "--error-exitcode=9",
        "--leak-check=full",
        "--show-leak-kinds=all",
        leaks,
        "--track-fds=yes",
        "--trace-children=yes",
        // The tests concern no programs of the system.
        "--trace-children-skip=/bin/*,/usr/bin/*",
        "--vgdb=no",
        &log,
    ]
    .map(String::from)
    .to_vec()
}

/// What valgrind wrote of the program and of its children.
fn valgrind_logs(folder: &Path) -> Result<String, Failed> {
    let mut logs = String::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_stem() == Some(OsStr::new("valgrind")) {
            logs += &fs::read_to_string(path)?;
        }
    }
    Ok(logs)
}

/// An error ends in the program's exit status; an open descriptor is only written down.
fn judge_valgrind(folder: &Path) -> Result<(), Failed> {
    let logs = valgrind_logs(folder)?;
    let lines: Vec<&str> = logs.lines().collect();
    let leaked = lines
        .windows(2)
        .find(|pair| pair[0].contains("== Open ") && !pair[1].contains("<inherited from parent>"));
    if !logs.contains("FILE DESCRIPTORS:") {
        return Err(format!("valgrind tells nothing of descriptors:\n{logs}").into());
    }
    match leaked {
        Some(lines) => Err(format!("a descriptor is left open: {}\n{logs}", lines[0]).into()),
        None => Ok(()),
    }
}

/// Two static libraries that are written in Rust, in one program.
fn two_rust(compiler: &'static str) -> Vec<Trial> {
    let mut trials = Vec::new();
    for unixipc_first in [true, false] {
        for is_static in [false, true] {
            let first = if unixipc_first {
                "unixipc"
            } else {
                "the other"
            };
            let libc = if is_static { "static" } else { "shared" };
            trials.push(trial_with_tools(
                format!("two_rust.c, {compiler}, {first} first, libc {libc}"),
                &[compiler, "pkg-config", "timeout", "rustc"],
                move || {
                    let folder = TempDir::new()?;
                    let other = other_rust(folder.path())?;
                    let prefix = stage::prefix()?;
                    let mut archives = [prefix.join("lib/libunixipc.a"), other];
                    if !unixipc_first {
                        archives.reverse();
                    }
                    let binary = folder.path().join("program");
                    let mut command = Command::new(compiler);
                    command
                        .args(["-std=c11"])
                        .args(WARNINGS)
                        .arg(tests_c().join("two_rust.c"))
                        .args(stage::pkg_config(prefix, &["--cflags"])?)
                        .args(&archives)
                        .arg("-o")
                        .arg(&binary);
                    if is_static {
                        command.arg("-static");
                    }
                    run(&mut command)?;
                    expect_success(run_bounded(
                        folder.path(),
                        &[path_text(&binary)?],
                        &[],
                        |_| {},
                    )?)
                },
            ));
        }
    }
    trials
}

/// Another static library that is written in Rust, and brings the standard library too.
fn other_rust(folder: &Path) -> Result<PathBuf, Failed> {
    let source = folder.join("other.rs");
    fs::write(
        &source,
        r#"
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn other_sum(text: *const std::ffi::c_char) -> i32 {
            let text = unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy();
            let numbers: Vec<i32> = text.split(' ').map(|n| n.parse().unwrap()).collect();
            std::thread::spawn(move || numbers.iter().sum()).join().unwrap()
        }
        "#,
    )?;
    let library = folder.join("libother.a");
    run(Command::new("rustc")
        .args(["--crate-type", "staticlib", "--edition", "2024", "-o"])
        .args([&library, &source]))?;
    Ok(library)
}

fn expect_success(output: Output) -> Result<(), Failed> {
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{}\n{}", output.status, text(&output)).into())
    }
}

/// The system's names that rename.c takes over.
const ALL_CALLS: [&str; 11] = [
    "ftok",
    "mkfifo",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    "socketpair",
];
/// Perl has no semtimedop.
const PERL_CALLS: [&str; 10] = [
    "ftok",
    "mkfifo",
    "semctl",
    "semget",
    "semop",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    "socketpair",
];

/// A C program that is pointed at unixipc by renaming.
fn renamed_c(compiler: &'static str) -> Trial {
    trial_with_tools(
        format!("rename.c preloaded into a C program, {compiler}"),
        &[compiler, "pkg-config", "timeout"],
        move || {
            let folder = TempDir::new()?;
            let binary = folder.path().join("plain");
            run(Command::new(compiler)
                .args(["-std=c11"])
                .args(WARNINGS)
                .arg(tests_c().join("rename_plain.c"))
                .arg("-o")
                .arg(&binary))?;
            renamed(folder.path(), compiler, &[path_text(&binary)?], &ALL_CALLS)
        },
    )
}

/// The same for a script in another language.
fn renamed_script(
    interpreter: &'static str,
    script: &'static str,
    calls: &'static [&'static str],
) -> Trial {
    trial_with_tools(
        format!("rename.c preloaded into {interpreter}"),
        &["cc", "pkg-config", "timeout", interpreter],
        move || {
            let folder = TempDir::new()?;
            let script = path_text(&tests_c().join(script))?;
            renamed(folder.path(), "cc", &[interpreter.into(), script], calls)
        },
    )
}

/// Runs a command with rename.c preloaded and without: it prints the same, and did
/// make `calls` through it.
fn renamed(
    folder: &Path,
    compiler: &str,
    command: &[String],
    calls: &[&str],
) -> Result<(), Failed> {
    let shim = folder.join("rename.so");
    let mut flags = vec!["-std=c11", "-shared", "-fPIC"];
    flags.extend(WARNINGS);
    stage::compile(
        compiler,
        stage::prefix()?,
        Link::Shared,
        &flags,
        &[&tests_c().join("rename.c")],
        &shim,
    )?;
    let log = folder.join("calls");
    let mut printed = Vec::new();
    for preload in [String::new(), path_text(&shim)?] {
        // Only the program itself gets the shim, not the shell and timeout.
        let mut words = vec![
            "env".into(),
            format!("LD_PRELOAD={preload}"),
            format!("RENAME_LOG={}", log.display()),
        ];
        words.extend(command.iter().cloned());
        words.push(path_text(&folder.join("tmp/fifo"))?);
        let output = run_bounded(folder, &words, &[], |_| {})?;
        printed.push(text(&output));
        expect_success(output)?;
        if preload.is_empty() && log.exists() {
            return Err("it was preloaded already".into());
        }
    }
    if printed[0] != printed[1] {
        return Err(format!("without:\n{}with:\n{}", printed[0], printed[1]).into());
    }
    let log = fs::read_to_string(log)?;
    let made: BTreeSet<&str> = log.lines().filter_map(|l| l.split(' ').next()).collect();
    if made != calls.iter().copied().collect() {
        return Err(format!("not the calls that were to be made: {made:?}").into());
    }
    Ok(())
}
