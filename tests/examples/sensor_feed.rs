use crate::support::{Server, example, fail, succeed};
use common::isolated::{apply, isolated};
use std::env::temp_dir;
use std::process::Command;

fn feed(command_name: &str) -> Command {
    let mut command = example("sensor_feed");
    command.arg(command_name).arg(temp_dir().join("sensors"));
    command
}

/// A reader gets each reading. A second writer at the same path is refused.
#[apply(isolated)]
fn every_reading() {
    let writer = Server::start(&mut feed("write"));
    let shown = succeed(feed("read").args(["--count", "50"]));
    let numbers: Vec<u64> = shown
        .lines()
        .map(|line| {
            let number = line.split_whitespace().nth(3).unwrap();
            number.trim_end_matches(',').parse().unwrap()
        })
        .collect();
    assert_eq!(numbers.len(), 50);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
    let text = fail(&mut feed("write"), 1);
    assert!(text.contains("Address already in use"), "{text}");
    assert!(writer.end(libc::SIGTERM).success());
    assert!(!temp_dir().join("sensors").exists());
}

/// The readers continue with another writer after the first one was killed.
#[apply(isolated)]
fn demo() {
    let shown = succeed(&mut feed("demo"));
    assert!(shown.contains("2 writers, 0 lost, 0 torn"), "{shown}");
    assert!(!temp_dir().join("sensors").exists());
}
