use crate::support::{Server, example, fail, signal, succeed, wait, wait_until};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

fn board(what: &str) -> (Command, String) {
    let name = format!("/unixipc-test-{}", std::process::id());
    let mut command = example("sensor_board");
    command.args([what, "--name", &name]);
    (command, format!("/dev/shm{name}"))
}

fn is_there() -> bool {
    Path::new(&board("").1).exists()
}

/// Takes the name away from a writer that a failed test leaves.
struct Name;

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(board("").1);
    }
}

pub fn readers_come_and_go() {
    let _name = Name;
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
    let said = fail(&mut board("write").0, 1);
    assert!(said.contains("has a writer already"), "{said}");
    assert!(writer.end(libc::SIGTERM).success());
    assert!(!is_there());
}

/// Its readers go on with the next writer, whether the one before was killed or ended.
pub fn writer_replaced() {
    let _name = Name;
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
        assert_eq!(is_there(), sig == libc::SIGKILL);
    }
    signal(reader.id(), libc::SIGTERM);
    assert!(lines.all(|line| line.is_ok()));
    assert!(wait(&mut reader).success());
}

pub fn demo() {
    let _name = Name;
    let shown = succeed(&mut board("demo").0);
    assert!(shown.contains("2 writers, 0 torn"), "{shown}");
    assert!(!is_there());
    let mut demo = board("demo").0.stdout(Stdio::null()).spawn().unwrap();
    wait_until("the board", is_there);
    signal(demo.id(), libc::SIGTERM);
    assert_eq!(wait(&mut demo).code(), Some(128 + libc::SIGTERM));
    assert!(!is_there());
}
