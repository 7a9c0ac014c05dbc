//! Traces the system calls of a child with strace.

use crate::child::fork;
use crate::descriptors::{own, pipe};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::{env, fs};

/// The system call of [`marker`], which no other code makes.
pub const MARKER: &str = "getppid()";

/// Makes a system call that separates the parts of a trace.
pub fn marker() {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::getppid() };
}

/// The name of the system call on a line of strace's output. If a call takes two lines, only the
/// first has a name.
pub fn name(line: &str) -> Option<&str> {
    // If there are several processes, each line begins with a process id.
    let line = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    let (name, _) = line.split_once('(')?;
    (!name.is_empty()
        && name
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c == b'_' || c.is_ascii_digit()))
    .then_some(name)
}

/// Runs `run` in a child. Returns what strace prints about the child and its descendants.
pub fn trace(run: impl FnOnce()) -> String {
    let (mut start, mut starter) = pipe();
    let output = env::temp_dir().join("trace");
    let starter_fd = starter.as_raw_fd();
    let child = fork(move || {
        drop(own(starter_fd));
        assert_eq!(start.read(&mut [0; 1]).unwrap(), 1);
        run();
    });
    let mut strace = Command::new("strace")
        .arg("-f")
        .arg("-o")
        .arg(&output)
        .args(["-p", &child.0.to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // When strace says so, the child stops before it continues. The kernel calls strace its tracer
    // a moment earlier.
    let mut messages = BufReader::new(strace.stderr.take().unwrap()).lines();
    let is_attached = messages.any(|line| line.unwrap().contains(" attached"));
    assert!(is_attached, "strace cannot trace");
    starter.write_all(b".").unwrap();
    child.join();
    messages.for_each(drop);
    assert!(strace.wait().unwrap().success());
    let trace = fs::read_to_string(&output).unwrap();
    fs::remove_file(output).unwrap();
    trace
}
