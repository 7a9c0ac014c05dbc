use crate::support::{example, fail, signal, succeed, wait};
use common::isolated::{apply, isolated};
use std::env::temp_dir;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

fn feed(command_name: &str) -> Command {
    let mut command = example("market_feed");
    command.arg(command_name).arg(temp_dir().join("market"));
    command
}

/// Ends a process, however the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A reader waits for the publisher, and gets quotes without a gap. After the publisher has ended,
/// the path is free for the next one.
#[apply(isolated)]
fn publish_and_read() {
    for _ in 0..2 {
        let mut reader = Running(feed("read").stdout(Stdio::piped()).spawn().unwrap());
        let lines = BufReader::new(reader.0.stdout.take().unwrap()).lines();
        let mut publisher = feed("publish");
        publisher.args(["--rate", "1000"]).stdout(Stdio::null());
        let mut publisher = Running(publisher.spawn().unwrap());
        let numbers: Vec<u64> = lines
            .take(100)
            .map(|line| {
                let line = line.unwrap();
                line.split_whitespace().next().unwrap().parse().unwrap()
            })
            .collect();
        assert_eq!(numbers.len(), 100);
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
        signal(publisher.0.id(), libc::SIGTERM);
        assert!(wait(&mut publisher.0).success());
        assert!(!temp_dir().join("market").exists());
    }
}

#[apply(isolated)]
fn demo() {
    let shown = succeed(&mut feed("demo"));
    assert!(shown.contains("stalled"), "{shown}");
    assert!(shown.contains("wrong 0"), "{shown}");
    assert!(!temp_dir().join("market").exists());
}

#[apply(isolated)]
fn unknown_command() {
    assert!(fail(&mut feed("sell"), 2).contains("usage: market_feed"));
    let text = fail(example("market_feed").args(["publish", "/missing/path"]), 1);
    assert!(text.contains("/missing/path"), "{text}");
}
