//! The C++ headers. The programs of this directory are compiled as a user would compile them, with
//! each compiler and each revision of the language, and run.

mod cost;
mod headers;
mod programs;
mod refusals;

use libtest_mimic::Arguments;
use std::path::PathBuf;
use std::process::ExitCode;

const COMPILERS: [&str; 2] = ["g++", "clang++"];
/// The revisions of the language, with the names that all supported compilers know.
const STANDARDS: [&str; 3] = ["-std=c++17", "-std=c++20", "-std=c++2b"];
/// The tools that compile a program and run it.
const TOOLS: [&str; 2] = ["pkg-config", "timeout"];
/// A program gets no warning from the headers, whichever it asks for.
const WARNINGS: [&str; 10] = [
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wshadow",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wnon-virtual-dtor",
    "-Woverloaded-virtual",
    "-Werror",
    "-pthread",
];

fn main() -> ExitCode {
    let mut trials = programs::trials();
    trials.extend(headers::trials());
    trials.extend(refusals::trials());
    trials.extend(cost::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A file of this directory.
fn file(name: &str) -> PathBuf {
    common::root().join("tests/cxx").join(name)
}

/// The flags for a revision of the language, with `more`.
fn flags<'a>(standard: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut flags = vec![standard];
    flags.extend(WARNINGS);
    flags.extend(more);
    flags
}
