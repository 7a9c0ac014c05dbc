//! Compiles and runs the programs. The exit status is 0 (passed) or 1 (failed).

use crate::{COMPILERS, STANDARDS, TOOLS, file, flags};
use common::programs::{path_text, run_bounded};
use common::stage::{self, Link};
use common::{root, run, text, trial_with_tools};
use libtest_mimic::{Failed, Trial};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// The programs that every compiler compiles in every revision of the language.
const PROGRAMS: [&str; 11] = [
    "allocations",
    "cancel",
    "channel",
    "feed",
    "lock",
    "memory",
    "no_exceptions",
    "process",
    "timeout",
    "types",
    "wait",
];
const NO_EXCEPTIONS: [&str; 2] = ["-fno-exceptions", "-fno-rtti"];
const SANITIZERS: [&str; 3] = [
    "-fsanitize=address,undefined",
    "-g",
    "-fno-sanitize-recover=undefined",
];

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for compiler in COMPILERS {
        for standard in STANDARDS {
            for program in PROGRAMS {
                trials.push(trial(program, compiler, standard, &[]));
            }
            trials.push(trial("units", compiler, standard, &[]));
        }
        for program in PROGRAMS {
            // A sanitizer replaces malloc itself, and that of g++ does not support the unwinding of a
            // cancelled thread.
            if !["allocations", "cancel"].contains(&program) {
                trials.push(trial(program, compiler, "-std=c++17", &SANITIZERS));
            }
        }
        // The library is not instrumented, so only a program whose threads meet in the headers alone
        // can be checked for data races.
        trials.push(trial(
            "share",
            compiler,
            "-std=c++17",
            &["-fsanitize=thread"],
        ));
        trials.push(mixed(compiler));
        trials.push(readme(compiler));
    }
    trials
}

/// A test that compiles source files to a program, and runs it.
fn trial(
    program: &'static str,
    compiler: &'static str,
    standard: &'static str,
    more: &'static [&'static str],
) -> Trial {
    let mut title = format!("{program}.cc, {compiler}, {standard}");
    if let Some(flag) = more.first() {
        title += &format!(", {flag}");
    }
    let tools = [&TOOLS[..], &[compiler]].concat();
    trial_with_tools(title, &tools, move || {
        let directory = TempDir::new()?;
        let mut sources = vec![file(&format!("{program}.cc"))];
        if program == "units" {
            sources.push(file("units_other.cc"));
        }
        let sources: Vec<_> = sources.iter().map(PathBuf::as_path).collect();
        let mut flags = flags(standard, more);
        if program == "no_exceptions" {
            flags.extend(NO_EXCEPTIONS);
        }
        let binary = directory.path().join("program");
        let prefix = stage::prefix()?;
        stage::compile(compiler, prefix, Link::Shared, &flags, &sources, &binary)?;
        let output = run_bounded(directory.path(), &[path_text(&binary)?], &[], |_| {})?;
        if output.status.success() {
            Ok(())
        } else {
            Err(format!("{}\n{}", output.status, text(&output)).into())
        }
    })
}

/// Files that disagree about the standard types in the interface do not link.
fn mixed(compiler: &'static str) -> Trial {
    let tools = [&TOOLS[..], &[compiler]].concat();
    trial_with_tools(
        format!("c++17 and c++20 do not mix, {compiler}"),
        &tools,
        move || {
            let directory = TempDir::new()?;
            let prefix = stage::prefix()?;
            let object = directory.path().join("other.o");
            let source = file("units_other.cc");
            let compile = |standard| {
                run(Command::new(compiler)
                    .args(flags(standard, &["-c"]))
                    .arg(&source)
                    .args(stage::pkg_config(prefix, &["--cflags"])?)
                    .arg("-o")
                    .arg(&object))
            };
            let link = || {
                let flags = flags("-std=c++17", &[]);
                let sources = [file("units.cc"), object.clone()];
                let sources: Vec<_> = sources.iter().map(PathBuf::as_path).collect();
                let binary = directory.path().join("program");
                stage::compile(compiler, prefix, Link::Shared, &flags, &sources, &binary)
            };
            compile("-std=c++17")?;
            link()?;
            compile("-std=c++20")?;
            match link() {
                Err(failed)
                    if format!("{failed:?}").contains("undefined reference to `pass_on(") =>
                {
                    Ok(())
                }
                Err(failed) => Err(failed),
                Ok(()) => Err(Failed::from("the program is linked")),
            }
        },
    )
}

/// The program that README.md shows.
fn readme(compiler: &'static str) -> Trial {
    let tools = [&TOOLS[..], &[compiler]].concat();
    trial_with_tools(format!("README.md, {compiler}"), &tools, move || {
        let directory = TempDir::new()?;
        let readme = fs::read_to_string(root().join("README.md"))?;
        let (_, rest) = readme.split_once("```cpp\n").ok_or("no C++ program")?;
        let (program, _) = rest.split_once("```").ok_or("the program has no end")?;
        let source = directory.path().join("readme.cc");
        let binary = directory.path().join("readme");
        fs::write(&source, program)?;
        let flags = flags("-std=c++17", &[]);
        let prefix = stage::prefix()?;
        stage::compile(compiler, prefix, Link::Shared, &flags, &[&source], &binary)?;
        let output = run(&mut Command::new(&binary))?;
        match text(&output).as_str() {
            "a text\n2.5\nthe end\n" => Ok(()),
            other => Err(format!("the program prints {other:?}").into()),
        }
    })
}
