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
    for words in [
        &["-e", "nats://user:hunter2@host", "feed:/a", "->", "a"][..],
        &["-c", "config"],
    ] {
        let output = run(words);
        assert!(!String::from_utf8_lossy(&output.stderr).contains("hunter2"));
    }
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
    manager.set_read_timeout(Some(LIMIT)).unwrap();
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

fn nats_as_root() -> Option<&'static str> {
    nats().or_else(needs::root)
}

/// Names, passwords and tokens come from files, and are in no log.
#[apply(isolated)]
#[needs(nats)]
fn secrets() {
    let _directory = WorkingDirectory::new();
    let extra = ["--user", "bridge", "--pass", "hunter2"];
    let server = Server::start_with("nats", "127.0.0.1", &[], &extra);
    let url = server.url();
    let mut publisher = Publisher::new("md");
    fs::write("password", "hunter2\n").unwrap();
    fs::write("wrong", "hunter3\n").unwrap();
    let config = |file: &str| {
        let text =
            format!("engine = \"{url}\"\n[auth]\nuser = \"bridge\"\npassword = \"{file}\"\n");
        fs::write(format!("{file}.toml"), text).unwrap();
        format!("--config={file}.toml")
    };
    let words = [&config("wrong"), "--log=trace", "feed:md -> md"];
    let refused = Bridge::start_alone("a", &[], &words);
    publisher.wait_subscribers(1);
    refused.wait_log("authorization violation");
    drop(refused);
    let words = [&config("password"), "--log=trace", "feed:md -> md"];
    let bridge = Bridge::start_alone("b", &[], &words);
    publisher.wait_subscribers(2);
    publisher.publish(3);
    bridge.wait_number("messages", 3);
    let command = fs::read(format!("/proc/{}/cmdline", bridge.pid())).unwrap();
    let environment = fs::read(format!("/proc/{}/environ", bridge.pid())).unwrap();
    let logs = [fs::read("a.log").unwrap(), fs::read("b.log").unwrap()];
    for text in [command, environment].iter().chain(&logs) {
        assert!(!String::from_utf8_lossy(text).contains("hunter"));
    }
    bridge.stop();
}

/// An NKEY proves who the bridge is.
#[apply(isolated)]
#[needs(nats)]
fn nkey() {
    let _directory = WorkingDirectory::new();
    let key = nkeys::KeyPair::new_user();
    let users = format!(
        "authorization {{ users = [ {{ nkey: {} }} ] }}\n",
        key.public_key()
    );
    fs::write("server.conf", users).unwrap();
    fs::write("seed", key.seed().unwrap()).unwrap();
    let server = Server::start_with("nats", "127.0.0.1", &[], &["-c", "server.conf"]);
    let mut publisher = Publisher::new("md");
    let bridge = Bridge::start(&server, "a", &["--nkey=seed", "feed:md -> md"]);
    publisher.wait_subscribers(2);
    publisher.publish(3);
    bridge.wait_number("messages", 3);
    let seed = fs::read_to_string("seed").unwrap();
    assert!(!bridge.log().contains(&seed));
    bridge.stop();
}

/// An encrypted connection, whose certificate the bridge checks.
#[apply(isolated)]
#[needs(nats_and_openssl)]
fn tls() {
    let _directory = WorkingDirectory::new();
    let openssl = |words: &str| {
        let output = Command::new("openssl")
            .args(words.split(' '))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let new =
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test";
    openssl(&format!("{new} -keyout ca.key -out ca.pem"));
    openssl(&format!("{new} -keyout other.key -out other.pem"));
    openssl(
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=server -keyout \
         server.key -out server.csr",
    );
    fs::write("names", "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names \
         -out server.pem",
    );
    let extra = ["--tls", "--tlscert", "server.pem", "--tlskey", "server.key"];
    let server = Server::start_with("nats", "127.0.0.1", &[], &extra);
    let url = server.url().replace("nats:", "tls:");
    let mut publisher = Publisher::new("md");
    let words = |ca: &'static str| {
        [
            "--engine".into(),
            url.clone(),
            ca.into(),
            "feed:md -> md".into(),
        ]
    };
    let start = |name, words: [String; 4]| {
        Bridge::start_alone(name, &[], &words.each_ref().map(String::as_str))
    };
    let refused = start("a", words("--ca=other.pem"));
    publisher.wait_subscribers(1);
    let bridge = start("b", words("--ca=ca.pem"));
    publisher.wait_subscribers(3);
    publisher.publish(3);
    bridge.wait_number("messages", 3);
    assert_eq!(refused.number("messages"), Some(0));
    bridge.stop();
}

fn nats_and_openssl() -> Option<&'static str> {
    nats().or_else(|| {
        common::find_tool("openssl")
            .is_none()
            .then_some("needs openssl")
    })
}
