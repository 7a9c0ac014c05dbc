//! `cat` and `send` with feeds.

use crate::support::*;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use unixipc::deadline::Deadline;

#[test]
fn from_send_to_cat() {
    let place = Place::new();
    let address = format!("feed:{}", place.text("feed"));
    let cat = Running::start(&mut command(&["cat", "--wait", "--reliable", &address]));
    assert_output(&run(&["send", &address, "one", "two", "3"]), "");
    assert_output(&cat.output(), "one\ntwo\n3\n");
    assert!(!place.path("feed").exists());
}

#[test]
fn input_in_every_format() {
    let all: Vec<u8> = (0..=255).collect();
    let prefixed = [
        &5u32.to_le_bytes()[..],
        b"hello",
        &256u32.to_le_bytes(),
        &all,
    ]
    .concat();
    let hex: String = all.iter().map(|byte| format!("{byte:02x}")).collect();
    let lines = format!("68656c6c6f\n{hex}\n");
    let inputs = [("prefixed", &prefixed[..]), ("hex", lines.as_bytes())];
    for (format, input) in inputs {
        for (output_format, expected) in inputs {
            let place = Place::new();
            let address = format!("feed:{}", place.text("feed"));
            let args = ["cat", "-w", "--reliable", "-f", output_format, &address];
            let cat = Running::start(&mut command(&args));
            let sent = run_with_input(&["send", "-f", format, &address], input);
            assert_output(&sent, "");
            assert_output(&cat.output(), expected);
        }
    }
}

#[test]
fn a_lossy_subscriber_reports_losses() {
    let place = Place::new();
    let path = place.text("feed");
    let mut feed = feed(&place.path("feed"));
    let cat = Running::start(&mut command(&["cat", "--json", &path]));
    await_subscribers(&mut feed, 1);
    feed.publish(b"first", limit()).unwrap();
    cat.suspend();
    for _ in 0..1000 {
        feed.publish(&[b'x'; 2000], limit()).unwrap();
    }
    cat.signal(libc::SIGCONT);
    drop(feed);
    let output = cat.output();
    assert_code(&output, 0);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let lost: u64 = lines.iter().filter_map(|line| line["lost"].as_u64()).sum();
    let messages = lines.iter().filter(|line| !line["message"].is_null());
    let numbers: Vec<u64> = messages
        .filter_map(|line| line["sequence"].as_u64())
        .collect();
    assert!(lost > 0, "{} lines", lines.len());
    assert_eq!(numbers.len() as u64 + lost, 1001);
    assert_eq!(numbers.last(), Some(&1000));
}

/// A signal ends it, although there is always a message.
#[test]
fn a_signal_ends_a_busy_cat() {
    let place = Place::new();
    let mut feed = feed(&place.path("feed"));
    // It takes more time to print a message than to publish one, and the output never waits.
    let mut cat = command(&["cat", "-f", "hex", "--reliable", &place.text("feed")]);
    cat.stdout(Stdio::null()).stderr(Stdio::null());
    let mut cat = Running::start_as_is(&mut cat);
    await_subscribers(&mut feed, 1);
    let mut publish = || feed.publish(&[b'x'; 60_000], Deadline::new(0).unwrap());
    let mut published = 0;
    wait_until("cat does not print", || {
        published += (0..1000).filter(|_| publish().is_ok()).count();
        published > 100
    });
    cat.signal(libc::SIGTERM);
    wait_until("cat does not end", || {
        let _ = (0..1000).filter(|_| publish().is_ok()).count();
        cat.has_ended()
    });
    assert_eq!(cat.wait().signal(), Some(libc::SIGTERM));
}

/// The library does not let a subscriber that is only curious hold the publisher up.
#[test]
fn a_stopped_cat_delays_nobody() {
    let place = Place::new();
    let mut feed = feed(&place.path("feed"));
    let cat = Running::start(&mut command(&["cat", &place.text("feed")]));
    await_subscribers(&mut feed, 1);
    cat.suspend();
    for _ in 0..1000 {
        feed.publish(&[b'x'; 2000], unixipc::deadline::Deadline::never())
            .unwrap();
    }
}

#[test]
fn the_publisher_dies() {
    let place = Place::new();
    let address = format!("feed:{}", place.text("feed"));
    let cat = Running::start(&mut command(&["cat", "-w", "--reliable", &address]));
    let mut send = Running::start(command(&["send", &address]).stdin(Stdio::piped()));
    use std::io::Write;
    let mut input = send.child.stdin.take().unwrap();
    input.write_all(b"before\n").unwrap();
    // Its publisher is killed when the subscriber has the message.
    let output = {
        let mut cat = cat;
        let mut stdout = cat.child.stdout.take().unwrap();
        let mut line = [0; 7];
        std::io::Read::read_exact(&mut stdout, &mut line).unwrap();
        assert_eq!(&line, b"before\n");
        send.signal(libc::SIGKILL);
        send.wait();
        cat.wait()
    };
    assert_eq!(output.code(), Some(0));
    // The path of a dead publisher can be used again.
    let cat = Running::start(&mut command(&["cat", "-w", "--reliable", &address]));
    assert_output(&run(&["send", "--timeout", "20", &address, "again"]), "");
    drop(cat);
}

#[test]
fn wrong_input_ends_with_an_error() {
    let place = Place::new();
    let address = format!("feed:{}", place.text("feed"));
    for (format, input, what) in [
        ("lines", &b"a\n\nb\n"[..], "message 2"),
        ("hex", b"zz\n", "message 1"),
        ("escaped", b"a\n\\q\n", "message 2"),
        ("prefixed", b"\xff\xff\xff\xff", "too long"),
        ("prefixed", b"\x05\0\0\0abc", "ends within"),
    ] {
        let args = ["send", "--subscribers", "0", "-f", format, &address];
        let output = run_with_input(&args, input);
        assert_code(&output, 3);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains(what), "{errors}");
        assert!(!place.path("feed").exists());
    }
}

#[test]
fn signals_remove_the_path() {
    let place = Place::new();
    let address = format!("feed:{}", place.text("feed"));
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        use std::os::unix::process::ExitStatusExt;
        let mut send = Running::start(command(&["send", &address]).stdin(Stdio::piped()));
        await_listener(&place.path("feed"));
        send.signal(signal);
        assert_eq!(send.wait().signal(), Some(signal));
        assert!(!place.path("feed").exists());
    }
}
