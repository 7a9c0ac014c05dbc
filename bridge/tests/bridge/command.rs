//! The command line, the configuration, the status, and the surroundings of the process.

use crate::support::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Output};

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unixipc-bridge"))
        .args(words)
        .output()
        .unwrap()
}

#[track_caller]
fn assert_refused(words: &[&str], says: &str) {
    let output = run(words);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{words:?}: {text}");
    assert!(text.contains(says), "{words:?}: {text}");
}

/// Bad command lines and files are refused, with a reason, and without a secret.
#[apply(isolated)]
fn refused() {
    let _directory = WorkingDirectory::new();
    assert_refused(&[], "no route");
    assert_refused(&["feed:/a", "->"], "a route has three arguments");
    assert_refused(
        &["feed:/a", "->", "a", "feed:/b", "->", "a"],
        "would write the subject a",
    );
    assert_refused(
        &["feed:/a", "<-", "a", "feed:/a", "<-", "b"],
        "two routes would create",
    );
    assert_refused(
        &["-o", "moed=1", "feed:/a", "->", "a"],
        "unknown field `moed`",
    );
    assert_refused(
        &["-e", "nats://user:hunter2@host", "feed:/a", "->", "a"],
        "a name or a secret",
    );
    assert_refused(&["-c", "none", "feed:/a", "->", "a"], "No such file");
    fs::write("config", "engine = 7\n").unwrap();
    assert_refused(&["-c", "config", "feed:/a", "->", "a"], "config: line 1");
    fs::write("config", "password = \"hunter2\"\n").unwrap();
    assert_refused(
        &["-c", "config", "feed:/a", "->", "a"],
        "line 1: unknown field `password`",
    );
    fs::write("config", "[auth]\nuser = \"a\"\n").unwrap();
    assert_refused(
        &["-c", "config", "feed:/a", "->", "a"],
        "user and password together",
    );
    fs::write("config", "[tls]\nkey = \"a\"\n").unwrap();
    assert_refused(
        &["-c", "config", "feed:/a", "->", "a"],
        "certificate and key",
    );
}

/// A secret that stands in a wrong place is not printed.
#[apply(isolated)]
fn misplaced_secrets() {
    let _directory = WorkingDirectory::new();
    let assert_hidden = |words: &[&str], says| {
        assert_refused(words, says);
        let error = run(words).stderr;
        let error = String::from_utf8_lossy(&error);
        assert!(!error.contains("8675309"), "{words:?}: {error}");
    };
    let route = ["feed:/a", "->", "a"];
    for (option, says) in [
        ("--engine=nats://user:8675309@host", "a name or a secret"),
        ("--nkey=8675309", "the file of nkey: No such file"),
        ("--credentials=8675309", "the file of credentials: No such"),
    ] {
        assert_hidden(&[&[option], &route[..]].concat(), says);
    }
    for (text, says) in [
        ("password = 8675309", "line 2: password: expected path"),
        ("token = \"8675309\"", "the file of token: No such file"),
        ("token = \"8675309", "line 2: invalid basic string"),
        ("token = 8675309x", "line 2"),
        ("token = [8675309]", "line 2: token: expected path"),
        ("nkey = { 8675309 = 1 }", "line 2: nkey: expected path"),
        ("[tls]\nrequired = \"8675309\"", "required: expected a bool"),
    ] {
        fs::write("config", format!("[auth]\n{text}\n")).unwrap();
        assert_hidden(&[&["-c", "config"], &route[..]].concat(), says);
    }
    fs::write("config", "auth = 8675309\n").unwrap();
    let words = [&["-c", "config"], &route[..]].concat();
    assert_hidden(&words, "line 1: auth: expected");
}

/// A file and the command line together.
#[apply(isolated)]
fn checked() {
    let _directory = WorkingDirectory::new();
    let text = r#"
        engine = ["nats://127.0.0.1:1", "nats://127.0.0.1:2"]
        log = "warn"
        metrics = "127.0.0.1:9464"
        [[route]]
        route = "feed:/run/md.sock -> md"
        max_bytes = 1000000
        [[route]]
        route = "call:/run/svc.sock <-> svc"
    "#;
    fs::write("config", text).unwrap();
    let output = run(&["-c", "config", "--check", "fifo:/run/log", "<-", "log"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = "fifo:/run/log <- log\nfeed:/run/md.sock -> md\ncall:/run/svc.sock <-> svc\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), lines);
}

/// The status and the metrics.
#[apply(isolated)]
#[needs(nats)]
fn status() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let bridge = Bridge::start(&server, "a", &["feed:md -> md"]);
    let mut publisher = Publisher::new("md");
    publisher.wait_subscribers(2);
    publisher.publish(7);
    bridge.wait_number("messages", 7);
    let metrics = bridge.page("/metrics").unwrap();
    let line = |line: &&str| line.starts_with("unixipc_bridge_messages_total{route=\"feed:");
    assert!(
        metrics.lines().find(line).unwrap().ends_with(" 7"),
        "{metrics}"
    );
    assert_eq!(bridge.page("/other").as_deref(), Some("not found\n"));
    let here = std::env::current_dir().unwrap().join("a.status");
    let shown = run(&["--show", here.to_str().unwrap()]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["routes"][0]["messages"], 7);
    assert_eq!(
        fs::metadata("a.status").unwrap().permissions().mode() & 0o777,
        0o600
    );
    // A client that sends nothing, or too much, does not block the next one.
    let silent = std::os::unix::net::UnixStream::connect("a.status").unwrap();
    assert!(bridge.page("/status").is_some());
    drop(silent);
    assert_eq!(
        bridge
            .page(&"/".repeat(10_000))
            .as_deref()
            .unwrap_or("not found\n"),
        "not found\n"
    );
    bridge.stop();
    assert!(!here.exists());
}

/// The service manager hears of the start and of the end.
#[apply(isolated)]
#[needs(nats)]
fn service_manager() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let manager = UnixDatagram::bind("notify").unwrap();
    let here = std::env::current_dir().unwrap();
    let socket = format!("NOTIFY_SOCKET={}/notify", here.display());
    let prefix = ["env", &socket, "WATCHDOG_USEC=200000", "JOURNAL_STREAM=1:2"];
    let bridge = Bridge::start_with(&server, "a", &prefix, &["feed:md -> md"]);
    manager.set_read_timeout(Some(child_limit())).unwrap();
    let hear = || {
        let mut buffer = [0; 256];
        let len = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    };
    assert_eq!(hear(), "READY=1\nSTATUS=running");
    assert_eq!(hear(), "WATCHDOG=1");
    assert_eq!(hear(), "WATCHDOG=1");
    assert!(bridge.log().starts_with("<6>feed:"), "{}", bridge.log());
    bridge.stop();
    let mut last = hear();
    while last == "WATCHDOG=1" {
        last = hear();
    }
    assert!(last.starts_with("STOPPING=1"), "{last}");
}

/// The bridge becomes another user, and forbids core dumps.
#[apply(isolated)]
#[needs(nats_as_root)]
fn other_user() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    set_mode(".", 0o777);
    set_mode(std::env::temp_dir(), 0o755);
    let bridge = Bridge::start(&server, "a", &["--user=nobody", "feed:local <- md"]);
    wait_until("the socket", || fs::metadata("local").is_ok());
    let meta = fs::metadata("local").unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&meta), NOBODY);
    let status = fs::read_to_string(format!("/proc/{}/status", bridge.pid())).unwrap();
    let has = |line: &str| status.lines().any(|found| found == line);
    assert!(
        has("NoNewPrivs:\t1") && has("Uid:\t65534\t65534\t65534\t65534"),
        "{status}"
    );
    let limits = fs::read_to_string(format!("/proc/{}/limits", bridge.pid())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(
        core.split_whitespace().filter(|&word| word == "0").count(),
        2,
        "{core}"
    );
    bridge.stop();
}

/// Other processes of its user cannot read the memory of the bridge, which contains secrets.
#[apply(isolated)]
#[needs(nats_and_setpriv)]
fn memory_of_the_bridge() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    set_mode(".", 0o777);
    set_mode(std::env::temp_dir(), 0o755);
    let prefix = ["setpriv", "--reuid=65534", "--clear-groups"];
    let bridge = Bridge::start_with(&server, "a", &prefix, &["feed:local <- md"]);
    bridge.wait_log("connected to the server");
    // The files of a process that cannot be read belong to root.
    let meta = fs::metadata(format!("/proc/{}/mem", bridge.pid())).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&meta), 0);
    bridge.stop();
}

fn nats_and_setpriv() -> Option<&'static str> {
    let has_setpriv = common::find_tool("setpriv").is_some();
    nats_as_root().or((!has_setpriv).then_some("needs setpriv"))
}

fn nats_as_root() -> Option<&'static str> {
    nats().or_else(needs::root)
}
