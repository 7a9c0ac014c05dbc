//! Counts the instructions of the same operations in C and in C++ (cost.cc).

use crate::{COMPILERS, TOOLS, file, flags};
use common::stage::{self, Link};
use common::{run, text, trial_with_tools};
use libtest_mimic::{Failed, Trial};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// The number of operations that a function of cost.cc performs.
const ROUNDS: f64 = 1000.0;
/// An operation, and the instructions that C++ may need in addition: those that copy the value which
/// it returns, or compare its state.
const OPERATIONS: [(&str, f64); 5] = [
    ("send", 1.0),
    ("recv", 6.0),
    ("load", 6.0),
    ("lock", 3.0),
    ("event", 1.0),
];

pub fn trials() -> Vec<Trial> {
    COMPILERS
        .map(|compiler| {
            let tools = [&TOOLS[..], &[compiler, "valgrind"]].concat();
            trial_with_tools(
                format!("C++ costs as many instructions as C, {compiler}"),
                &tools,
                move || compare(compiler),
            )
        })
        .into()
}

fn compare(compiler: &str) -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let program = directory.path().join("cost");
    let flags = flags("-std=c++17", &["-O2"]);
    let prefix = stage::prefix()?;
    stage::compile(
        compiler,
        prefix,
        Link::Shared,
        &flags,
        &[&file("cost.cc")],
        &program,
    )?;
    let mut table = format!("{:<8} {:>8} {:>8} {:>8}\n", "", "C", "C++", "try_");
    let mut is_equal = true;
    for (operation, more) in OPERATIONS {
        let c = count(&program, &format!("c_{operation}"))?;
        let throwing = count(&program, &format!("cxx_{operation}"))?;
        let returning = count(&program, &format!("cxx_try_{operation}"))?;
        is_equal &= throwing <= c + more && returning <= c + more;
        table += &format!("{operation:<8} {c:>8.1} {throwing:>8.1} {returning:>8.1}\n");
    }
    print!("{compiler}, instructions of an operation\n{table}");
    if is_equal { Ok(()) } else { Err(table.into()) }
}

/// The instructions of one operation of a function.
fn count(program: &Path, function: &str) -> Result<f64, Failed> {
    let output = run(Command::new("timeout")
        .args(["100", "valgrind", "--tool=callgrind"])
        .arg("--callgrind-out-file=/dev/null")
        .arg(format!("--toggle-collect={function}"))
        .arg(program)
        .arg(function))?;
    let shown = text(&output);
    let collected = shown
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .ok_or_else(|| format!("valgrind reports no instructions:\n{shown}"))?;
    let instructions: f64 = collected.1.trim().parse()?;
    if instructions < ROUNDS {
        return Err(format!("{function} did not run: {instructions} instructions").into());
    }
    Ok(instructions / ROUNDS)
}
