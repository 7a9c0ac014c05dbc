//! `unixipc top`.

use crate::support::*;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;
use unixipc::ffi::feed::IPC_SUB_F_WAIT;

fn flows(arguments: &[&str]) -> Vec<Value> {
    let report = json(&[&["top", "--once", "--interval", "0.3"], arguments].concat());
    report["flows"].as_array().unwrap().clone()
}

/// The messages and bytes of a channel: exact, because the ring holds those of the interval.
#[apply(isolated)]
#[needs(needs::root)]
fn slow_channel() {
    in_container(|| {
        let _traffic = fork(|| {
            let [a, b] = channel_pair();
            loop {
                send(a, &[7; 100]);
                receive(b);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        wait_until("traffic", || !objects("channel", &[]).is_empty());
        let found = flows(&[]);
        assert_eq!(found.len(), 2, "{found:?}");
        let busy = &found[0];
        let (messages, bytes) = (&busy["messages_per_second"], &busy["bytes_per_second"]);
        let (messages, bytes) = (messages.as_f64().unwrap(), bytes.as_f64().unwrap());
        assert!(messages > 1.0, "{busy}");
        // A record of 100 bytes has 104.
        assert!((bytes / messages - 104.0).abs() < 0.01, "{busy}");
        assert_eq!(busy["estimated"], Value::Null, "{busy}");
        assert_eq!(found[1]["bytes_per_second"], 0.0);
    });
}

/// At full speed the number of messages is an estimate from a part of them.
#[apply(isolated)]
#[needs(needs::root)]
fn fast_channel() {
    in_container(|| {
        let [a, b] = channel_pair();
        let _receiver = fork(|| while receive(b) > 0 {});
        let _sender = fork(|| {
            loop {
                send(a, &[7; 100]);
            }
        });
        wait_until("an estimate", || {
            let found = flows(&[]);
            let Some(messages) = found[0]["messages_per_second"].as_f64() else {
                return false;
            };
            let bytes = found[0]["bytes_per_second"].as_f64().unwrap();
            messages > 0.0 && (bytes / messages - 104.0).abs() < 1.0
        });
    });
}

#[apply(isolated)]
#[needs(needs::root)]
fn feed_with_a_stopped_subscriber() {
    in_container(|| {
        let publisher = fork(|| {
            let feed = feed("/run/feed");
            admit(feed, 1);
            loop {
                publish(feed, &[7; 100]);
            }
        });
        let subscriber = program(|| _ = subscribe("/run/feed", c"slow", IPC_SUB_F_WAIT));
        // It reads nothing, so the publisher waits for it.
        wait_until("a waiting publisher", || {
            flows(&[])
                .iter()
                .any(|flow| flow["state"] == "publisher waits for subscribers")
        });
        subscriber.stop();
        let found = flows(&["--sort", "lag"]);
        let slow = &found[0];
        assert_eq!(
            (&slow["kind"], &slow["state"]),
            (&"subscriber".into(), &"stopped".into()),
            "{found:?}"
        );
        assert!(slow["lag_messages"].as_u64().unwrap() > 1000, "{slow}");
        let text = run(tool(&["top", "--prometheus"]), 0);
        let line = text
            .lines()
            .find(|line| line.starts_with("unixipc_subscriber_lag_messages{"));
        assert!(line.unwrap().contains("name=\"slow\""), "{text}");
        for line in text.lines() {
            let is_comment = line.starts_with("# HELP ") || line.starts_with("# TYPE ");
            let value = line
                .rsplit_once(' ')
                .and_then(|(_, value)| value.parse::<f64>().ok());
            assert!(is_comment || value.is_some(), "{line}");
        }
        let table = run(tool(&["top", "--once", "-i", "0.1"]), 0);
        assert!(
            table.contains("stopped") && table.contains("slow"),
            "{table}"
        );
        kill(publisher);
        let found = flows(&[]);
        assert!(
            found.iter().any(|flow| flow["state"] == "publisher gone"),
            "{found:?}"
        );
    });
}

/// A line of JSON for each interval, until the reader goes away.
#[apply(isolated)]
#[needs(needs::root)]
fn lines_of_json() {
    in_container(|| {
        let mut child = tool(&["top", "--json", "--interval", "0.05"]);
        let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..3 {
            let report: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            assert!(report["interval"].as_f64().unwrap() >= 0.05, "{report}");
        }
        drop(lines);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGPIPE));
    });
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// On a terminal: the table is drawn, a key ends it, and the terminal is restored.
#[apply(isolated)]
#[needs(needs::script)]
fn on_a_terminal() {
    let tool = env!("CARGO_BIN_EXE_unixipc");
    let inner = format!("stty rows 20 cols 60; {tool} top -i 0.1; echo status=$?");
    let mut script = Command::new("script");
    script
        .args(["-q", "-e", "-c", &inner, "/dev/null"])
        .env("TERM", "xterm");
    let mut child = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut shown = Vec::new();
    // The tool reads keys from now on.
    while !contains(&shown, b"unixipc top: ") {
        let mut bytes = [0; 256];
        let len = stdout.read(&mut bytes).unwrap();
        assert_ne!(len, 0, "{}", String::from_utf8_lossy(&shown));
        shown.extend(&bytes[..len]);
    }
    stdin.write_all(b"sq").unwrap();
    stdout.read_to_end(&mut shown).unwrap();
    child.wait().unwrap();
    let shown = String::from_utf8_lossy(&shown);
    assert!(shown.contains("unixipc top"), "{shown:?}");
    assert!(
        shown.contains("\u{1b}[?1049h") && shown.contains("\u{1b}[?1049l"),
        "{shown:?}"
    );
    assert!(shown.contains("status=0"), "{shown:?}");
}
