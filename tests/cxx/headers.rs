//! The headers themselves: each compiles alone and without warnings, and together they use every
//! function and every flag of the C header.

use crate::{COMPILERS, STANDARDS, WARNINGS};
use common::header;
use common::{root, run, trial_with_tools};
use libtest_mimic::{Failed, Trial};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

/// Warnings that the test programs, which contain macros of C, cannot ask for.
const MORE_WARNINGS: [&str; 8] = [
    "-Wold-style-cast",
    "-Wundef",
    "-Wcast-qual",
    "-Wcast-align",
    "-Wformat=2",
    "-Wnull-dereference",
    "-Wredundant-decls",
    "-Wextra-semi",
];
/// The system's own calls, which C++ programs call as they are. unixipc.hpp(3) lists them.
const NOT_WRAPPED: [&str; 10] = [
    "ipc_mkfifo",
    "ipc_semctl",
    "ipc_semget",
    "ipc_semop",
    "ipc_semtimedop",
    "ipc_shmat",
    "ipc_shmctl",
    "ipc_shmdt",
    "ipc_shmget",
    "ipc_socketpair",
];

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        Trial::test("every function of the C header is used", functions),
        Trial::test("every constant of the C header is used", constants),
        Trial::test("unixipc.hpp includes every header", complete),
        Trial::test("macros have the prefix UNIXIPC_", macros),
    ];
    for compiler in COMPILERS {
        trials.push(trial_with_tools(
            format!("each header compiles alone, {compiler}"),
            &[compiler],
            move || {
                names()?
                    .iter()
                    .try_for_each(|name| compile(name, compiler, "-std=c++17", &[]))
            },
        ));
        for standard in STANDARDS {
            for more in [&[][..], &["-fno-exceptions", "-fno-rtti"]] {
                trials.push(trial_with_tools(
                    format!("no warnings, {compiler}, {standard}{}", more.concat()),
                    &[compiler],
                    move || compile("unixipc.hpp", compiler, standard, more),
                ));
            }
        }
        trials.push(trial_with_tools(
            format!("refuses C++14, {compiler}"),
            &[compiler],
            move || match compile("unixipc.hpp", compiler, "-std=c++14", &[]) {
                Err(failed) if format!("{failed:?}").contains("needs C++17 or newer") => Ok(()),
                other => Err(format!("{other:?}").into()),
            },
        ));
    }
    trials
}

/// The headers, by their names for `#include`.
fn names() -> Result<Vec<String>, Failed> {
    let mut names = vec!["unixipc.hpp".into()];
    for entry in fs::read_dir(root().join("include/unixipc"))? {
        names.push(format!("unixipc/{}", entry?.file_name().to_string_lossy()));
    }
    names.sort();
    Ok(names)
}

/// The code of all headers, without comments.
fn code() -> Result<String, Failed> {
    let mut code = String::new();
    for name in names()? {
        for line in fs::read_to_string(root().join("include").join(name))?.lines() {
            code += line.split("//").next().unwrap_or_default();
            code.push('\n');
        }
    }
    Ok(code)
}

/// The names in a text that begin with a prefix.
fn words(text: &str, prefix: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with(prefix))
        .map(String::from)
        .collect()
}

fn functions() -> Result<(), Failed> {
    let code = code()?;
    let unused: BTreeSet<String> = header::functions()
        .into_iter()
        .map(|function| function.name)
        .filter(|name| !code.contains(&format!("::{name}(")))
        .collect();
    let expected = NOT_WRAPPED.map(String::from).into();
    expect_same(&unused, &expected)
}

fn constants() -> Result<(), Failed> {
    let header = fs::read_to_string(root().join("include/unixipc.h"))?;
    let defined: BTreeSet<String> = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define "))
        .flat_map(|rest| words(rest.split(' ').next().unwrap_or_default(), "IPC_"))
        .collect();
    let used = words(&code()?, "IPC_");
    let unused = defined.difference(&used).cloned().collect();
    expect_same(&unused, &BTreeSet::new())
}

fn expect_same(found: &BTreeSet<String>, expected: &BTreeSet<String>) -> Result<(), Failed> {
    if found == expected {
        return Ok(());
    }
    Err(format!("not used: {found:?}, expected: {expected:?}").into())
}

fn complete() -> Result<(), Failed> {
    let main = fs::read_to_string(root().join("include/unixipc.hpp"))?;
    let mut included: BTreeSet<String> = main
        .lines()
        .filter_map(|line| line.strip_prefix("#include <")?.strip_suffix('>'))
        .map(String::from)
        .collect();
    included.insert("unixipc.hpp".into());
    // The parts of unixipc/channel.hpp.
    let mut expected: BTreeSet<String> = names()?.into_iter().collect();
    expected.retain(|name| !name.contains("channel_"));
    if included == expected {
        return Ok(());
    }
    Err(format!("included: {included:?}, files: {expected:?}").into())
}

fn macros() -> Result<(), Failed> {
    let wrong: Vec<String> = code()?
        .lines()
        .filter_map(|line| line.strip_prefix("#define "))
        .filter(|rest| !rest.starts_with("UNIXIPC_"))
        .map(String::from)
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("{wrong:?}").into())
}

fn compile(name: &str, compiler: &str, standard: &str, more: &[&str]) -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let source = directory.path().join("alone.cc");
    fs::write(&source, format!("#include <{name}>\n#include <{name}>\n"))?;
    run(Command::new(compiler)
        .arg(standard)
        .args(WARNINGS)
        .args(MORE_WARNINGS)
        .args(more)
        .args(["-fsyntax-only", "-I"])
        .arg(root().join("include"))
        .arg(&source))
    .map(drop)
}
