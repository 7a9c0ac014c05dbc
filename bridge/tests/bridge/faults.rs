//! Faults: killed servers, bridges, publishers and subscribers, at random times, and a cut network.

use crate::support::*;
use std::process::Command;
use std::time::{Duration, Instant};
use unixipc::errno::Errno;

pub const IMPORT: [&str; 5] = [
    "-o",
    "durable=here",
    "-o",
    "ack_wait_ms=300",
    "feed:local <- md",
];

/// Publishes and receives with two bridges between, and calls `disturb` with a number after each
/// eighth of the messages. Everything must arrive once and in order. If the importing bridge is
/// restarted, its feed ends, and the reader connects to the next one.
pub fn carry(count: u64, mut disturb: impl FnMut(u64)) {
    let mut publisher = Publisher::with("md", |options| options.size = 1 << 20);
    publisher.wait_subscribers(2);
    let mut reader = Reader::new("local");
    let (mut next, mut step) = (0, 0);
    let part = count / 8;
    // A feed thus holds less than a part when it ends, and the reader has connected to the next feed
    // before that one ends: a feed that ends without a subscriber loses its messages.
    let ahead = part / 2;
    let end = Instant::now() + Duration::from_secs(90);
    while next < count {
        assert!(Instant::now() < end, "{next} of {count} messages");
        for _ in 0..20 {
            let may_publish = publisher.next < count.min(next + ahead);
            if !may_publish || publisher.try_publish(0) == Err(Errno::EAGAIN) {
                break;
            }
        }
        publisher.feed.service().unwrap();
        loop {
            match reader.recv(1) {
                Ok(Some(message)) => {
                    assert_eq!(number_of(&message), next);
                    next += 1;
                }
                Ok(None) => reader = Reader::new("local"),
                Err(_) => break,
            }
        }
        if next / part > step {
            step += 1;
            disturb(step);
        }
    }
    reader.expect_nothing();
}

/// The server is killed and restarted.
#[apply(isolated)]
#[needs(nats)]
fn killed_server() {
    let _directory = WorkingDirectory::new();
    let mut server = Server::start("nats");
    // The server soon forgets the ids: only the position in the stream tells which messages it has.
    let window = Duration::from_millis(100);
    Streams::of(&server).create("md", |config| config.duplicate_window = window);
    let export = Bridge::start(&server, "a", &["feed:md -> md"]);
    let import = Bridge::start(&server, "b", &IMPORT);
    carry(4000, |_| {
        server.kill();
        std::thread::sleep(2 * window);
        server.restart();
    });
    assert_eq!(Streams::of(&server).count("md"), Some(4000));
    export.stop();
    import.stop();
}

/// Both bridges are killed, the importing one together with its local feed.
#[apply(isolated)]
#[needs(nats)]
fn killed_bridges() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let mut export = Bridge::start(&server, "a", &["feed:md -> md"]);
    let mut import = Bridge::start(&server, "b", &IMPORT);
    carry(4000, |step| match step % 2 {
        0 => export.restart(),
        _ => import.restart(),
    });
    assert_eq!(Streams::of(&server).count("md"), Some(4000));
    assert_eq!(import.number("uncertain"), Some(0));
    export.stop();
    import.stop();
}

/// The first of two servers is not there.
#[apply(isolated)]
#[needs(nats)]
fn missing_server() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let words = ["-e", "nats://127.0.0.1:1", "-e", &server.url()];
    let bridge = Bridge::start_alone("a", &[], &[&words[..], &["feed:md -> md"]].concat());
    let mut publisher = Publisher::new("md");
    publisher.wait_subscribers(2);
    publisher.publish(10);
    bridge.wait_number("messages", 10);
    bridge.stop();
}

/// A server that hangs: the bridge notices it, and continues when the server does.
#[apply(isolated)]
#[needs(nats)]
fn stopped_server() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let url = server.url();
    let config = format!("engine = \"{url}\"\nping_ms = 200\ntimeout_ms = 300\n");
    std::fs::write("config", config).unwrap();
    let export = Bridge::start_alone("a", &[], &["--config=config", "feed:md -> md"]);
    let mut publisher = Publisher::new("md");
    publisher.wait_subscribers(2);
    publisher.publish(100);
    export.wait_number("messages", 100);
    server.suspend();
    publisher.fill(100);
    wait_until("a failure", || {
        export.number("failures").is_some_and(|count| count > 0)
    });
    export.wait_log("disconnected from the server");
    server.signal(libc::SIGCONT);
    publisher.publish(100);
    export.wait_number("messages", publisher.next);
    let streams = Streams::of(&server);
    assert_eq!(
        streams.numbers("md"),
        (0..publisher.next).collect::<Vec<_>>()
    );
    export.stop();
}

/// A killed publisher has published; a killed subscriber holds nothing up.
#[apply(isolated)]
#[needs(nats)]
fn killed_local_programs() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let import = Bridge::start(&server, "b", &IMPORT);
    let export = Bridge::start(&server, "a", &["feed:md -> md"]);
    let publisher = fork(|| {
        let mut publisher = Publisher::new("md");
        publisher.wait_subscribers(2);
        publisher.publish(500);
        loop {
            std::thread::park();
        }
    });
    let mut reader = Reader::new("local");
    let subscriber = fork(|| {
        let mut reader = Reader::new("local");
        reader.expect(0..1);
        loop {
            std::thread::park();
        }
    });
    reader.expect(0..100);
    kill(publisher);
    reader.expect(100..500);
    kill(subscriber);
    let mut publisher = Publisher::new("md");
    publisher.wait_subscribers(2);
    let mut published = 0;
    while published < 5000 {
        publisher.publish(500);
        reader.expect(published..published + 500);
        published += 500;
    }
    assert_eq!(export.number("replaced"), Some(0));
    export.stop();
    import.stop();
}

/// Everything starts in the reverse order.
#[apply(isolated)]
#[needs(nats)]
fn reverse_order() {
    let _directory = WorkingDirectory::new();
    let mut server = Server::start("nats");
    server.kill();
    let import = Bridge::start(&server, "b", &IMPORT);
    // Admitted before the engine is reached.
    let mut reader = Reader::new("local");
    let export = Bridge::start(&server, "a", &["feed:md -> md"]);
    let mut publisher = Publisher::new("md");
    publisher.publish(50);
    publisher.wait_subscribers(2);
    server.restart();
    reader.expect(0..50);
    export.stop();
    import.stop();
}

/// Two network namespaces, as two machines.
struct Machines {
    names: [String; 2],
}

impl Machines {
    const ADDRESSES: [&str; 2] = ["10.255.77.1", "10.255.77.2"];

    fn new() -> Self {
        let pid = std::process::id();
        let machines = Self {
            names: [format!("uib{pid}a"), format!("uib{pid}b")],
        };
        let [a, b] = &machines.names;
        for name in &machines.names {
            ip(&format!("netns add {name}"));
            ip(&format!("-n {name} link set lo up"));
        }
        ip(&format!(
            "-n {a} link add veth type veth peer name veth netns {b}"
        ));
        for (name, address) in machines.names.iter().zip(Self::ADDRESSES) {
            ip(&format!("-n {name} address add {address}/24 dev veth"));
            ip(&format!("-n {name} link set veth up"));
        }
        machines
    }

    /// The words that run a program on a machine.
    fn run(&self, machine: usize) -> [&str; 4] {
        ["ip", "netns", "exec", &self.names[machine]]
    }

    /// Connects or disconnects the machines.
    fn set_connected(&self, is_connected: bool) {
        let state = if is_connected { "up" } else { "down" };
        ip(&format!("-n {} link set veth {state}", self.names[0]));
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

/// Runs ip(8).
#[track_caller]
pub fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(
        output.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// NATS, root, and network namespaces.
pub fn machines() -> Option<&'static str> {
    let may_create = || {
        let unshare = Command::new("unshare").args(["--net", "true"]).output();
        unshare.is_ok_and(|output| output.status.success()) && common::find_tool("ip").is_some()
    };
    nats()
        .or_else(needs::root)
        .or_else(|| (!may_create()).then_some("needs network namespaces"))
}

/// The network between two machines is cut, and comes back.
#[apply(isolated)]
#[needs(machines)]
fn cut_network() {
    let _directory = WorkingDirectory::new();
    let machines = Machines::new();
    let [host, _] = Machines::ADDRESSES;
    let server = Server::start_with("nats", host, &machines.run(0), &[]);
    let url = server.url();
    let config = format!("engine = \"{url}\"\nping_ms = 200\ntimeout_ms = 500\n");
    std::fs::write("config", config).unwrap();
    let words = |route: &[&'static str]| [&["--config=config"], route].concat();
    let export = Bridge::start_alone(
        "a",
        &machines.run(0),
        &words(&["-l", "debug", "feed:md -> md"]),
    );
    let import = Bridge::start_alone("b", &machines.run(1), &words(&IMPORT));
    carry(2000, |step| {
        let number = |name| import.number(name).unwrap_or(0);
        if step == 1 {
            // Before that it has no connection whose end would be a failure.
            wait_until("an imported message", || number("messages") > 0);
        }
        let before = number("failures");
        machines.set_connected(false);
        if step == 1 {
            wait_until("the cut", || number("failures") > before);
        }
        machines.set_connected(true);
    });
    import.wait_log("disconnected from the server");
    export.stop();
    import.stop();
}
