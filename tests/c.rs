//! The C and C++ programs of tests/c. Each is compiled as a user would compile it, in several ways,
//! and run. The exit status is 0 (passed), 1 (failed) or 77 (cannot run here).

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
enum Mode {
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
            for mode in [Mode::Shared, Mode::Static, Mode::Valgrind, Mode::Sanitized] {
                // A static program cannot use dlopen.
                if mode != Mode::Static || !source.ends_with("dlopen.c") {
                    trials.push(program(source.clone(), compiler, mode));
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

/// A test that compiles and runs a program.
fn program(source: PathBuf, compiler: &'static str, mode: Mode) -> Trial {
    let file = source.file_name().unwrap_or_default().to_string_lossy();
    let name = format!("{file}, {compiler}, {mode:?}").to_lowercase();
    let mut tools = vec![compiler, "pkg-config", "timeout"];
    if mode == Mode::Valgrind {
        tools.push("valgrind");
    }
    // A program finds out only when it runs whether it can run here.
    if tools.iter().all(|tool| find_tool(tool).is_some()) {
        Trial::ignorable_test(name, move || build_and_run(&source, compiler, mode))
    } else {
        trial_with_tools(name, &tools, || Ok(()))
    }
}

fn build_and_run(source: &Path, compiler: &str, mode: Mode) -> Result<Completion, Failed> {
    let directory = TempDir::new()?;
    let link = match mode {
        Mode::Static => Link::Static,
        _ => programs::link_of(source),
    };
    let sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    let extra_flags: &[&str] = match mode {
        Mode::Sanitized => &sanitizers,
        _ => &[],
    };
    let binary = directory.path().join("program");
    programs::build(source, compiler, link, extra_flags, &binary)?;

    let mut command = Vec::new();
    if mode == Mode::Valgrind {
        command.extend(valgrind(directory.path(), link));
    }
    command.push(path_text(&binary)?);
    let environment = programs::environment()?;
    let output = run_bounded(directory.path(), &command, &environment, |_| {})?;
    match output.status.code() {
        Some(0) if mode == Mode::Valgrind => {
            check_valgrind_logs(directory.path()).map(|()| Completion::Completed)
        }
        Some(0) => Ok(Completion::Completed),
        Some(CANNOT_RUN) if std::env::var_os("CI").is_none() => {
            Ok(Completion::ignored_with(text(&output).trim()))
        }
        _ => Err(format!(
            "{}\n{}{}",
            output.status,
            text(&output),
            valgrind_logs(directory.path())?
        )
        .into()),
    }
}

/// The valgrind command, to which the program is appended.
fn valgrind(directory: &Path, link: Link) -> Vec<String> {
    let log = format!("--log-file={}/valgrind.%p", directory.display());
    // The loader keeps some reachable memory for a library that is never unloaded.
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
        // Programs of the system are not tested.
        "--trace-children-skip=/bin/*,/usr/bin/*",
        "--vgdb=no",
        &log,
    ]
    .map(String::from)
    .to_vec()
}

/// The logs of valgrind about the program and its children.
fn valgrind_logs(directory: &Path) -> Result<String, Failed> {
    let mut logs = String::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.file_stem() == Some(OsStr::new("valgrind")) {
            logs += &fs::read_to_string(path)?;
        }
    }
    Ok(logs)
}

/// Looks for open descriptors, which valgrind only logs. Errors change the exit status.
fn check_valgrind_logs(directory: &Path) -> Result<(), Failed> {
    let logs = valgrind_logs(directory)?;
    let lines: Vec<&str> = logs.lines().collect();
    let leaked = lines
        .windows(2)
        .find(|pair| pair[0].contains("== Open ") && !pair[1].contains("<inherited from parent>"));
    if !logs.contains("FILE DESCRIPTORS:") {
        return Err(format!("valgrind does not report descriptors:\n{logs}").into());
    }
    match leaked {
        Some(lines) => Err(format!("a descriptor is left open: {}\n{logs}", lines[0]).into()),
        None => Ok(()),
    }
}

/// Tests that link two static Rust libraries into one program.
fn two_rust(compiler: &'static str) -> Vec<Trial> {
    let mut trials = Vec::new();
    for unixipc_first in [true, false] {
        for is_static in [false, true] {
            let first = if unixipc_first { "unixipc" } else { "other" };
            let libc = if is_static { "static" } else { "shared" };
            trials.push(trial_with_tools(
                format!("two_rust.c, {compiler}, {first} first, libc {libc}"),
                &[compiler, "pkg-config", "timeout", "rustc"],
                move || {
                    let directory = TempDir::new()?;
                    let other = other_rust(directory.path())?;
                    let prefix = stage::prefix()?;
                    let mut archives = [prefix.join("lib/libunixipc.a"), other];
                    if !unixipc_first {
                        archives.reverse();
                    }
                    let binary = directory.path().join("program");
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
                        directory.path(),
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

/// Another static Rust library, which also contains the standard library.
fn other_rust(directory: &Path) -> Result<PathBuf, Failed> {
    let source = directory.join("other.rs");
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
    let library = directory.join("libother.a");
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

/// The system functions that rename.c replaces.
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

/// A C program whose library calls rename.c redirects to unixipc.
fn renamed_c(compiler: &'static str) -> Trial {
    trial_with_tools(
        format!("rename.c preloaded into a C program, {compiler}"),
        &[compiler, "pkg-config", "timeout"],
        move || {
            let directory = TempDir::new()?;
            let binary = directory.path().join("plain");
            run(Command::new(compiler)
                .args(["-std=c11"])
                .args(WARNINGS)
                .arg(tests_c().join("rename_plain.c"))
                .arg("-o")
                .arg(&binary))?;
            renamed(
                directory.path(),
                compiler,
                &[path_text(&binary)?],
                &ALL_CALLS,
            )
        },
    )
}

/// The same test for a script in another language.
fn renamed_script(
    interpreter: &'static str,
    script: &'static str,
    calls: &'static [&'static str],
) -> Trial {
    trial_with_tools(
        format!("rename.c preloaded into {interpreter}"),
        &["cc", "pkg-config", "timeout", interpreter],
        move || {
            let directory = TempDir::new()?;
            let script = path_text(&tests_c().join(script))?;
            renamed(directory.path(), "cc", &[interpreter.into(), script], calls)
        },
    )
}

/// Runs a command without and with rename.c preloaded. The output must be the same, and `calls` must
/// have gone through rename.c.
fn renamed(
    directory: &Path,
    compiler: &str,
    command: &[String],
    calls: &[&str],
) -> Result<(), Failed> {
    let shim = directory.join("rename.so");
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
    let log = directory.join("calls");
    let mut printed = Vec::new();
    for preload in [String::new(), path_text(&shim)?] {
        // Preloads into the program only, not into the shell and timeout.
        let mut words = vec![
            "env".into(),
            format!("LD_PRELOAD={preload}"),
            format!("RENAME_LOG={}", log.display()),
        ];
        words.extend(command.iter().cloned());
        words.push(path_text(&directory.join("tmp/fifo"))?);
        let output = run_bounded(directory, &words, &[], |_| {})?;
        printed.push(text(&output));
        expect_success(output)?;
        if preload.is_empty() && log.exists() {
            return Err("rename.c was already preloaded".into());
        }
    }
    if printed[0] != printed[1] {
        return Err(format!("without:\n{}with:\n{}", printed[0], printed[1]).into());
    }
    let log = fs::read_to_string(log)?;
    let made: BTreeSet<&str> = log.lines().filter_map(|l| l.split(' ').next()).collect();
    if made != calls.iter().copied().collect() {
        return Err(format!("unexpected calls: {made:?}").into());
    }
    Ok(())
}
