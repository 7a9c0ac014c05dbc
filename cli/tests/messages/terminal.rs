//! The output on a terminal, and a reader of the output that leaves.

use crate::support::*;
use nix::pty::{OpenptyResult, openpty};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

/// Runs the program with a terminal as standard output, or also as standard error. Returns what it
/// has written.
fn on_terminal(args: &[&str], input: Stdio, errors: bool) -> String {
    let OpenptyResult { master, slave } = openpty(None, None).unwrap();
    let mut command = command(args);
    command.stdin(input).stdout(slave.try_clone().unwrap());
    match errors {
        true => command.stderr(slave.try_clone().unwrap()),
        false => command.stderr(Stdio::null()),
    };
    let mut running = Running::start_as_is(&mut command);
    drop(command);
    drop(slave);
    let reader = std::thread::spawn(move || read_all(master));
    running.wait();
    reader.join().unwrap()
}

/// Reads until all processes have closed the terminal.
fn read_all(master: OwnedFd) -> String {
    let (mut master, mut text) = (File::from(master), Vec::new());
    let mut buffer = [0; 4096];
    // The end is EIO.
    while let Ok(len @ 1..) = master.read(&mut buffer) {
        text.extend_from_slice(&buffer[..len]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn messages_cannot_control_the_terminal() {
    let place = Place::new();
    let address = format!("feed:{}", place.text("feed"));
    let hex = "1b5b324a\n9b324a\nc29b\ne280ae\n0d\n5c\n";
    let send = std::thread::spawn({
        let address = address.clone();
        move || run_with_input(&["send", "-f", "hex", &address], hex.as_bytes())
    });
    let text = on_terminal(&["cat", "-w", "--reliable", &address], Stdio::null(), true);
    assert_output(&send.join().unwrap(), "");
    let expected = "\\x1b[2J\r\n\\x9b2J\r\n\\u{9b}\r\n\\u{202e}\r\n\\r\r\n\\\\\r\n";
    assert_eq!(text, expected);
}

#[test]
fn names_cannot_control_the_terminal() {
    let text = on_terminal(&["cat", "/nowhere/\u{1b}[2J"], Stdio::null(), true);
    assert!(text.contains("\\x1b[2J"), "{text:?}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn binary_is_not_written_to_a_terminal() {
    let text = on_terminal(&["cat", "-f", "prefixed", "/nowhere"], Stdio::null(), true);
    assert!(text.contains("terminal"), "{text}");
    let text = on_terminal(&["record", "/nowhere", "-"], Stdio::null(), true);
    assert!(!text.is_empty());
}

/// Progress is shown for a long transfer, and is removed at the end.
#[test]
fn progress() {
    let place = Place::new();
    let input = place.path("input");
    let line = "x".repeat(999) + "\n";
    std::fs::write(&input, line.repeat(2000)).unwrap();
    let path = place.path("feed");
    let address = format!("feed:{}", path.to_str().unwrap());
    let receiver = std::thread::spawn({
        let address = address.clone();
        move || {
            let mut cat = command(&["cat", "-w", "--reliable", &address])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut output = cat.stdout.take().unwrap();
            let mut bytes = vec![0; 100_000];
            let mut len = 0;
            // Slowly, so that the transfer takes longer than a second.
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                len += read;
                std::thread::sleep(std::time::Duration::from_millis(40));
            }
            cat.wait().unwrap();
            len
        }
    });
    let file = File::open(&input).unwrap();
    let text = on_terminal(&["send", &address], file.into(), true);
    assert_eq!(receiver.join().unwrap(), 2_000_000);
    assert!(text.contains(" of 2.0 MB ("), "{text:?}");
    assert!(text.ends_with("\r\u{1b}[K"), "{text:?}");
}

#[test]
fn a_reader_that_leaves_ends_the_program() {
    let place = Place::new();
    let path = place.text("feed");
    let mut feed = feed(&place.path("feed"));
    let mut cat = Running::start(&mut command(&["cat", "--reliable", &path]));
    await_subscribers(&mut feed, 1);
    drop(cat.child.stdout.take());
    while cat.child.try_wait().unwrap().is_none() {
        let _ = feed.publish(b"x", unixipc::deadline::Deadline::never());
    }
    assert_eq!(cat.wait().signal(), Some(libc::SIGPIPE));
}
