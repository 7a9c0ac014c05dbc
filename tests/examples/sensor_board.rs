use crate::support::{Server, example, fail, signal, succeed, wait, wait_until};
use common::isolated::{apply, isolated};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

fn board(command_name: &str) -> (Command, String) {
    let name = format!("/unixipc-test-{}", std::process::id());
    let mut command = example("sensor_board");
    command.args([command_name, "--name", &name]);
    (command, format!("/dev/shm{name}"))
}

fn exists() -> bool {
    Path::new(&board("").1).exists()
}

/// Removes the name if the test fails before a writer has removed it.
struct Cleanup;

impl Drop for Cleanup {
    fn drop(&mut self) {
        let _ = fs::remove_file(board("").1);
    }
}

#[apply(isolated)]
fn readers_come_and_go() {
    let _cleanup = Cleanup;
    let writer = Server::start(&mut board("write").0);
    let args = ["--count", "20", "--every", "5"];
    for _ in 0..3 {
        let mut last = 0;
        for line in succeed(board("read").0.args(args)).lines() {
            let number = line.split_whitespace().nth(3).unwrap();
            let number: u64 = number.trim_end_matches(',').parse().unwrap();
            assert!(number > last, "{line}");
            last = number;
        }
    }
    let text = fail(&mut board("write").0, 1);
    assert!(text.contains("has a writer already"), "{text}");
    assert!(writer.end(libc::SIGTERM).success());
    assert!(!exists());
}

/// A reader continues with the next writer after the first one was killed or has exited.
#[apply(isolated)]
fn writer_replaced() {
    let _cleanup = Cleanup;
    let mut reader = board("read")
        .0
        .args(["--every", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines();
    for sig in [libc::SIGKILL, libc::SIGTERM, libc::SIGINT] {
        let writer = Server::start(&mut board("write").0);
        let pid = format!("writer {},", writer.0.id());
        assert!(lines.any(|line| line.unwrap().starts_with(&pid)));
        writer.end(sig);
        assert_eq!(exists(), sig == libc::SIGKILL);
    }
    signal(reader.id(), libc::SIGTERM);
    assert!(lines.all(|line| line.is_ok()));
    assert!(wait(&mut reader).success());
}

#[apply(isolated)]
fn demo() {
    let _cleanup = Cleanup;
    let shown = succeed(&mut board("demo").0);
    assert!(shown.contains("2 writers, 0 torn"), "{shown}");
    assert!(!exists());
    let mut demo = board("demo").0.stdout(Stdio::null()).spawn().unwrap();
    wait_until("the board", exists);
    signal(demo.id(), libc::SIGTERM);
    assert_eq!(wait(&mut demo).code(), Some(128 + libc::SIGTERM));
    assert!(!exists());
}
