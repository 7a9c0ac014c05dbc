//! The system calls of a child, listed by strace.

use crate::child::fork;
use crate::clock::wait_until;
use crate::descriptors::{own, pipe};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::{env, fs};

/// A call that nothing else here makes.
pub const MARKER: &str = "getppid()";

/// Makes the call by which the parts of a trace are told apart.
pub fn marker() {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::getppid() };
}

/// The name of the system call on a line of strace's; of one that took part of two lines, on
/// the first.
pub fn name(line: &str) -> Option<&str> {
    // With several processes each line begins with its process.
    let line = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    let (name, _) = line.split_once('(')?;
    (!name.is_empty()
        && name
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c == b'_' || c.is_ascii_digit()))
    .then_some(name)
}

/// What strace writes of a child that runs `run`, and of that one's children.
pub fn trace(run: impl FnOnce()) -> String {
    let (wait, mut go) = pipe();
    let output = env::temp_dir().join("trace");
    let gos = go.as_raw_fd();
    let child = fork(move || {
        drop(own(gos));
        let mut wait: File = wait;
        assert_eq!(wait.read(&mut [0; 1]).unwrap(), 1);
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
    let status = format!("/proc/{}/status", child.0);
    wait_until("strace attached", || {
        assert!(strace.try_wait().unwrap().is_none(), "strace cannot trace");
        !fs::read_to_string(&status)
            .unwrap()
            .contains("TracerPid:\t0\n")
    });
    go.write_all(b".").unwrap();
    child.join();
    assert!(strace.wait().unwrap().success());
    let trace = fs::read_to_string(&output).unwrap();
    fs::remove_file(output).unwrap();
    trace
}
