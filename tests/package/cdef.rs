//! packaging/unixipc.cdef.h: the declarations of the header for Python's cffi, without preprocessor
//! directives and attributes.

use crate::support::*;
use common::tools::ignored;
use common::{assert_golden, needs, root, run, stage, text};
use libtest_mimic::Trial;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What precedes the declarations: the system's types. The header accepts 64-bit Linux only, where
/// these definitions hold.
const SYSTEM_TYPES: &str = "\
/*
 * The declarations of unixipc for Python's cffi and similar tools.
 *
 * Generated from unixipc.h: changes made here are lost. The constants are enumerators. Objects that
 * lie in memory of the program (struct ipc_mutex, ipc_rwlock, ipc_cond, ipc_event) need an address
 * that is divisible by 16.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

typedef int pid_t;
typedef int key_t;
typedef unsigned int uid_t;
typedef unsigned int gid_t;
typedef unsigned int mode_t;
struct timespec {
    long tv_sec;
    long tv_nsec;
};
struct iovec {
    void *iov_base;
    size_t iov_len;
};
struct sembuf {
    unsigned short sem_num;
    short sem_op;
    short sem_flg;
};
struct shmid_ds;

";

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("golden: unixipc.cdef.h agrees with the header", drift),
        python_trial("cdef: sizes, offsets and constants", same_as_header),
        python_trial("cdef: the program of doc/python.md", documented_program),
    ]
}

/// A test that gets the Python with cffi, and an empty directory.
fn python_trial(name: &str, run: fn(&str, &Path) -> Result<()>) -> Trial {
    match needs::python_cffi() {
        Ok(python) => trial(name, &["make", "cc", "pkg-config"], move |directory| {
            run(python, directory)
        }),
        Err(why) => ignored(name, why),
    }
}

fn drift() -> Result<()> {
    let made = format!("{SYSTEM_TYPES}{}", declarations(&stage::header_code()?)?);
    assert_golden(&root().join("packaging/unixipc.cdef.h"), &made)
}

/// The declarations of a header that has no comments.
fn declarations(header: &str) -> Result<String> {
    let mut made = String::new();
    let mut for_cxx = false;
    for line in header.replace("\\\n", " ").lines() {
        let line = line.trim_end();
        if let Some(directive) = line.strip_prefix('#') {
            match directive {
                "ifdef __cplusplus" => for_cxx = true,
                "endif" => for_cxx = false,
                _ => made += &constant(directive).unwrap_or_default(),
            }
        } else if !for_cxx && !line.is_empty() && line != "struct timespec;" {
            made += &without_attribute(line)?;
            made.push('\n');
        }
    }
    Ok(made)
}

/// An enumerator for `define NAME NUMBER`.
fn constant(directive: &str) -> Option<String> {
    let (name, value) = directive.strip_prefix("define ")?.split_once(' ')?;
    let value: i32 = value.trim_matches(['(', ')']).parse().ok()?;
    Some(format!("enum {{ {name} = {value} }};\n"))
}

/// `struct UNIXIPC_ALIGNED(16) ipc_mutex {` without the attribute.
fn without_attribute(line: &str) -> Result<String> {
    match line.split_once("UNIXIPC_ALIGNED(") {
        Some((before, rest)) => {
            let (_, after) = rest.split_once(") ").ok_or("an attribute without end")?;
            Ok(format!("{before}{after}"))
        }
        None => Ok(line.into()),
    }
}

fn same_as_header(python: &str, directory: &Path) -> Result<()> {
    let prefix = install_prefix(directory)?;
    let printed = run(Command::new(python)
        .arg(root().join("tests/package/compare_cdef.py"))
        .arg(prefix.join("share/unixipc/unixipc.cdef.h"))
        .arg(prefix.join("lib/libunixipc.so.0")))?;
    let source = directory.join("compare.c");
    fs::write(&source, printed.stdout)?;
    run(Command::new("cc")
        .args(["-std=c11", "-Wall", "-Werror", "-fsyntax-only", "-I"])
        .arg(prefix.join("include"))
        .arg(&source))
    .map(drop)
}

fn documented_program(python: &str, directory: &Path) -> Result<()> {
    let page = fs::read_to_string(root().join("doc/python.md"))?;
    let lib = install_prefix(directory)?.join("lib");
    fs::write(directory.join("prog.py"), block(&page, "python")?)?;
    let printed = shell(directory, &lib, &format!("timeout 60 {python} prog.py"))?;
    let expected = block(&page, "text")?;
    if text(&printed) == expected {
        Ok(())
    } else {
        Err(format!("it prints {:?}, not {expected:?}", text(&printed)).into())
    }
}

/// The first block of code in this language.
fn block<'a>(page: &'a str, language: &str) -> Result<&'a str> {
    let (_, rest) = page
        .split_once(&format!("```{language}\n"))
        .ok_or("the block is missing")?;
    Ok(rest.split_once("```").ok_or("the block has no end")?.0)
}
