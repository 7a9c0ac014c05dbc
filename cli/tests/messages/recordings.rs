//! `record` and `replay`.

use crate::support::*;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Publishes lines, and records them. Returns the path of the recording.
fn record(place: &Place, lines: &str) -> String {
    let (path, file) = (place.text("feed"), place.text("recording"));
    let count = lines.lines().count().to_string();
    let args = ["record", "--wait", "--reliable", "-n", &count, &path, &file];
    let record = Running::start(&mut command(&args));
    let address = format!("feed:{path}");
    assert_output(&run_with_input(&["send", &address], lines.as_bytes()), "");
    assert_code(&record.output(), 0);
    file
}

/// Replays a recording to `cat`.
fn replay(place: &Place, args: &[&str]) -> (std::process::Output, std::process::Output) {
    let path = place.text("replay");
    let cat = Running::start(&mut command(&["cat", "-w", "--reliable", &path]));
    let replayed = run(&[&["replay"], args, &[&path]].concat());
    (replayed, cat.output())
}

/// The length of a file; 0 if there is none yet.
fn len(file: &str) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}

/// The JSON of a program that has ended with this code.
#[track_caller]
fn summary(output: &std::process::Output, code: i32) -> serde_json::Value {
    assert_code(output, code);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_message_comes_back() {
    let place = Place::new();
    let lines: String = (0..5000)
        .map(|number| format!("message {number}\n"))
        .collect();
    let file = record(&place, &lines);
    let (replayed, cat) = replay(&place, &["--json", "--fast", &file]);
    let summary = summary(&replayed, 0);
    assert_eq!(summary["messages"], 5000);
    assert_eq!(summary["lost"], 0);
    assert_eq!(summary["complete"], true);
    assert_eq!(summary["feed_id"].as_str().map(str::len), Some(32));
    assert_output(&cat, lines);
}

#[test]
fn long_messages_from_a_pipe() {
    let place = Place::new();
    let line = "z".repeat(60_000) + "\n";
    let file = record(&place, &line.repeat(3));
    let recording = std::fs::read(file).unwrap();
    let path = place.text("replay");
    let cat = Running::start(&mut command(&["cat", "-w", "--reliable", &path]));
    assert_output(
        &run_with_input(&["replay", "--fast", "-", &path], &recording),
        "",
    );
    assert_output(&cat.output(), line.repeat(3));
}

/// The messages keep their distances in time, divided by the speed.
#[test]
fn times() {
    let place = Place::new();
    let (path, file) = (place.path("feed"), place.text("recording"));
    let mut feed = feed(&path);
    let args = ["record", "--reliable", path.to_str().unwrap(), &file];
    let record = Running::start(&mut command(&args));
    await_subscribers(&mut feed, 1);
    feed.publish(b"first", limit()).unwrap();
    wait_until("nothing recorded", || len(&file) > 64);
    std::thread::sleep(Duration::from_millis(400));
    feed.publish(b"second", limit()).unwrap();
    drop(feed);
    assert_code(&record.output(), 0);
    let mut took = Vec::new();
    for args in [&[&*file][..], &["--speed", "4", &file]] {
        let start = Instant::now();
        let (replayed, cat) = replay(&place, args);
        took.push(start.elapsed());
        assert_code(&replayed, 0);
        assert_output(&cat, "first\nsecond\n");
    }
    // The recorder may have received the first message late.
    let recording = std::fs::read(&file).unwrap();
    let time = |record: usize| -> u64 {
        let bytes = &recording[record + 16..record + 24];
        u64::from_le_bytes(bytes.try_into().unwrap())
    };
    let distance = Duration::from_nanos(time(64 + 32 + 5) - time(64));
    // The second message may be delayed by the machine, but is never early.
    assert!(took[0] >= distance, "{took:?}, {distance:?}");
    assert!(took[1] >= distance / 4, "{took:?}, {distance:?}");
}

#[test]
fn a_signal_completes_the_recording() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let place = Place::new();
        let (path, file) = (place.path("feed"), place.text("recording"));
        let mut feed = feed(&path);
        let args = ["record", "--json", path.to_str().unwrap(), &file];
        let record = Running::start(&mut command(&args));
        await_subscribers(&mut feed, 1);
        feed.publish(b"one", limit()).unwrap();
        // It flushes what it has before it waits.
        wait_until("nothing recorded", || len(&file) > 64);
        record.signal(signal);
        assert_eq!(summary(&record.output(), 0)["messages"], 1);
        let (replayed, cat) = replay(&place, &["--fast", &file]);
        assert_code(&replayed, 0);
        assert_output(&cat, "one\n");
    }
}

#[test]
fn a_recording_without_its_end() {
    let place = Place::new();
    let (path, file) = (place.path("feed"), place.text("recording"));
    let mut feed = feed(&path);
    let args = ["record", path.to_str().unwrap(), &file];
    let mut record = Running::start(&mut command(&args));
    await_subscribers(&mut feed, 1);
    feed.publish(b"one", limit()).unwrap();
    wait_until("nothing recorded", || len(&file) > 64);
    record.signal(libc::SIGKILL);
    record.wait();
    let (replayed, cat) = replay(&place, &["--json", "--fast", &file]);
    let summary = summary(&replayed, 1);
    assert_eq!(summary["messages"], 1);
    assert!(summary["lost"].is_null());
    assert_eq!(summary["complete"], false);
    assert_output(&cat, "one\n");
}

/// A signal ends a replay that waits for the rest of its input, and removes the path.
#[test]
fn a_signal_ends_a_replay() {
    use std::io::Write;
    use std::os::unix::process::ExitStatusExt;
    let place = Place::new();
    let file = record(&place, "one\n");
    let recording = std::fs::read(file).unwrap();
    for len in [64, 80, 97] {
        let path = place.text("replay");
        let cat = Running::start(&mut command(&["cat", "-w", "--reliable", &path]));
        let args = ["replay", "--fast", "-", &path];
        let mut replay = Running::start(command(&args).stdin(Stdio::piped()));
        let mut input = replay.child.stdin.take().unwrap();
        input.write_all(&recording[..len]).unwrap();
        await_listener(&place.path("replay"));
        replay.signal(libc::SIGTERM);
        assert_eq!(replay.wait().signal(), Some(libc::SIGTERM));
        assert!(!place.path("replay").exists());
        drop(cat);
    }
}

#[test]
fn damaged_and_hostile_files() {
    let place = Place::new();
    let file = record(&place, "one\ntwo\n");
    let good = std::fs::read(&file).unwrap();
    let path = place.text("replay");
    let replay = |bytes: &[u8], what: &str| {
        let name = place.path("bad\u{1b}[2J");
        std::fs::write(&name, bytes).unwrap();
        let args = ["replay", "--fast", "--subscribers", "0"];
        let output = run(&[&args[..], &[name.to_str().unwrap(), &path]].concat());
        assert_code(&output, 3);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains(what), "{errors}");
        assert!(!place.path("replay").exists());
    };
    replay(b"", "not a recording");
    replay(&good[..63], "not a recording");
    replay(&[b'x'; 1000], "not a recording");
    let mut other = good.clone();
    other[8] = 2;
    replay(&other, "version 2");
    let mut damaged = good.clone();
    damaged[64 + 32] ^= 1;
    replay(&damaged, "record 1, at byte 64: the message is damaged");
    let mut damaged = good.clone();
    damaged[64 + 32 + 3] ^= 1;
    replay(&damaged, "record 2, at byte 99: the head is damaged");
}

#[test]
fn files_are_not_replaced() {
    let place = Place::new();
    let path = place.path("feed");
    let _feed = feed(&path);
    let file = place.path("file");
    std::fs::write(&file, "precious").unwrap();
    let args = ["record", path.to_str().unwrap(), file.to_str().unwrap()];
    assert_code(&run_while_serving(&path, &args), 3);
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
}

/// Runs the program beside a new feed at the path, which admits it.
fn run_while_serving(path: &std::path::Path, args: &[&str]) -> std::process::Output {
    let _ = std::fs::remove_file(path);
    let mut feed = feed(path);
    let mut running = Running::start(command(args).stdin(Stdio::null()));
    wait_until("the program does not end", || {
        feed.service().unwrap();
        running.child.try_wait().unwrap().is_some()
    });
    running.output()
}

/// A signal ends the command, although nothing reads its output.
#[test]
fn a_full_pipe() {
    let place = Place::new();
    let path = place.path("feed");
    let mut feed = feed(&path);
    let args = ["record", "--reliable", path.to_str().unwrap(), "-"];
    let mut record = Running::start(&mut command(&args));
    await_subscribers(&mut feed, 1);
    let mut publish = || {
        let now = unixipc::deadline::Deadline::new(0).unwrap();
        feed.publish(&[b'x'; 10_000], now).is_ok()
    };
    wait_until("the pipe is not full", || {
        !publish() && common::child::is_asleep(record.pid()) && !publish()
    });
    record.signal(libc::SIGTERM);
    assert_eq!(record.wait().signal(), Some(libc::SIGTERM));
}
