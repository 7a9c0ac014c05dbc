//! From a stream to a feed.

use crate::support::*;
use std::time::{Duration, Instant};
use unixipc::deadline::Deadline;
use unixipc::errno::Errno;

/// The route in these tests, and the name of its consumer.
const ROUTE: [&str; 5] = [
    "-o",
    "durable=here",
    "-o",
    "ack_wait_ms=300",
    "feed:local <- md",
];

fn messages(numbers: std::ops::Range<u64>) -> impl Iterator<Item = Vec<u8>> {
    numbers.map(bytes_of)
}

/// Every message of a subject arrives, in order, from any sender.
#[apply(isolated)]
#[needs(nats)]
fn every_message() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    streams.create("md", |_| ());
    streams.send("md", messages(0..100));
    let bridge = Bridge::start(&server, "a", &ROUTE);
    let mut reader = Reader::new("local");
    reader.expect(0..100);
    streams.send("md", messages(100..200));
    reader.expect(100..200);
    streams.wait_acknowledged("md", "here");
    bridge.wait_number("messages", 200);
    bridge.stop();
    assert_eq!(reader.recv(LONG), Ok(None), "the end of the feed");
}

/// From a feed to a feed.
#[apply(isolated)]
#[needs(nats)]
fn through_both() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let import = Bridge::start(&server, "b", &ROUTE);
    let mut reader = Reader::new("local");
    import.wait_log("no stream contains the subject md");
    let export = Bridge::start(&server, "a", &["feed:md -> md"]);
    let mut publisher = Publisher::new("md");
    publisher.wait_subscribers(2);
    for round in 0..20 {
        publisher.publish(500);
        reader.expect(round * 500..(round + 1) * 500);
    }
    export.stop();
    import.stop();
}

/// The largest messages cross, within the limit of the memory.
#[apply(isolated)]
#[needs(nats)]
fn large_messages() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let import = Bridge::start(&server, "b", &ROUTE);
    let mut reader = Reader::new("local");
    let export = Bridge::start(&server, "a", &["feed:md -> md"]);
    let mut publisher = Publisher::with("md", |options| options.message_max = 1 << 20);
    publisher.wait_subscribers(2);
    for round in 0..40 {
        let message = vec![round; (1 << 20) - 512 - round as usize];
        publisher
            .feed
            .publish(&message, Deadline::forever())
            .unwrap();
        if round % 8 == 7 {
            for round in round - 7..=round {
                let found = reader.recv(LONG).unwrap().unwrap();
                assert!(found == vec![round; (1 << 20) - 512 - round as usize]);
            }
        }
    }
    assert_eq!(export.number("lost"), Some(0));
    export.stop();
    import.stop();
}

/// A slow subscriber holds the bridge up; the messages stay in the stream.
#[apply(isolated)]
#[needs(nats)]
fn slow_subscriber() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    streams.create("md", |_| ());
    let words = [
        &["-o", "message_max=1000", "-o", "ring_size=65536"],
        &ROUTE[..],
    ]
    .concat();
    let bridge = Bridge::start(&server, "a", &words);
    let mut reader = Reader::new("local");
    streams.send("md", messages(0..3000));
    // Longer than the time after which the server repeats.
    let mut last = None;
    let mut since = Instant::now();
    wait_until("a full ring", || {
        let now = bridge.number("messages");
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_millis(800)
    });
    let taken = last.unwrap();
    assert!(taken > 0 && taken < 3000, "{taken}");
    reader.expect(0..3000);
    reader.expect_nothing();
    streams.wait_acknowledged("md", "here");
    bridge.stop();
}

/// A bridge that is killed at any time continues, and publishes nothing twice.
#[apply(isolated)]
#[needs(nats)]
fn crash_of_the_bridge() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    streams.create("md", |_| ());
    let mut bridge = Bridge::start(&server, "a", &ROUTE);
    let (mut sent, mut next) = (0, 0);
    let mut random = Random(7);
    for _ in 0..6 {
        let mut reader = Reader::new("local");
        streams.send("md", messages(sent..sent + 400));
        sent += 400;
        let until = next + random.below(sent - next);
        reader.expect(next..until);
        bridge.kill();
        // The subscriber receives the messages that were published before.
        next = until;
        while let Some(message) = reader.recv(LONG).unwrap() {
            assert_eq!(number_of(&message), next);
            next += 1;
        }
        bridge.restart();
    }
    let mut reader = Reader::new("local");
    reader.expect(next..sent);
    reader.expect_nothing();
    assert_eq!(bridge.number("uncertain"), Some(0));
    bridge.stop();
}

/// A bridge that has published and acknowledged the first message, and its reader.
#[track_caller]
fn start_with_a_message(server: &Server, streams: &Streams) -> (Bridge, Reader) {
    streams.create("md", |_| ());
    let bridge = Bridge::start(server, "a", &ROUTE);
    let mut reader = Reader::new("local");
    streams.send("md", messages(0..1));
    reader.expect(0..1);
    streams.wait_acknowledged("md", "here");
    (bridge, reader)
}

/// Messages that were published, and whose acknowledgements the server has not received, are not
/// published again by a bridge that was killed.
#[apply(isolated)]
#[needs(nats)]
fn lost_acknowledgements() {
    let _directory = WorkingDirectory::new();
    let mut server = Server::start("nats");
    let streams = Streams::of(&server);
    let (mut bridge, mut reader) = start_with_a_message(&server, &streams);
    // The server delivers to a bridge that is stopped, and is stopped when the bridge acknowledges.
    bridge.suspend();
    streams.send("md", messages(1..50));
    streams.wait_unacknowledged("md", "here", 49);
    server.suspend();
    bridge.signal(libc::SIGCONT);
    reader.expect(1..50);
    bridge.kill();
    server.restart();
    bridge.restart();
    let mut reader = Reader::new("local");
    Streams::of(&server).send("md", messages(50..60));
    reader.expect(50..60);
    // The server may also have forgotten the first acknowledgement.
    assert!(bridge.number("duplicates").unwrap() >= 49);
    bridge.stop();
}

/// Messages that were delivered to a bridge that was killed come before later ones.
#[apply(isolated)]
#[needs(nats)]
fn lost_deliveries() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    let (mut bridge, _reader) = start_with_a_message(&server, &streams);
    bridge.suspend();
    streams.send("md", messages(1..50));
    streams.wait_unacknowledged("md", "here", 49);
    bridge.kill();
    streams.send("md", messages(50..60));
    bridge.restart();
    let mut reader = Reader::new("local");
    reader.expect(1..60);
    reader.expect_nothing();
    bridge.stop();
}

/// Deliveries at different times are repeated at different times: not in the order of the messages.
#[apply(isolated)]
#[needs(nats)]
fn repeated_deliveries() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    let (mut bridge, _reader) = start_with_a_message(&server, &streams);
    bridge.suspend();
    for number in 1..11 {
        streams.send("md", messages(number..number + 1));
        std::thread::sleep(Duration::from_millis(100));
    }
    streams.wait_unacknowledged("md", "here", 10);
    bridge.kill();
    bridge.restart();
    let mut reader = Reader::new("local");
    streams.send("md", messages(11..20));
    reader.expect(1..20);
    reader.expect_nothing();
    bridge.stop();
}

/// An administrator has limited the requests of the consumer.
#[apply(isolated)]
#[needs(nats)]
fn limited_requests() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    streams.create("md", |_| ());
    streams.create_consumer("md", "here", |config| {
        config.max_batch = 10;
        config.max_expires = Duration::from_secs(1);
        config.max_bytes = 10_000;
    });
    let bridge = Bridge::start(&server, "a", &ROUTE);
    let mut reader = Reader::new("local");
    streams.send("md", messages(0..100));
    reader.expect(0..100);
    streams.wait_acknowledged("md", "here");
    // A message that no request may ask for.
    streams.send("md", [vec![0; 20_000]].into_iter());
    bridge.wait_log("the server refuses requests for messages");
    assert!(bridge.number("failures") > Some(0));
    bridge.stop();
}

/// Without a directory for the state, the bridge continues after the last acknowledgement.
#[apply(isolated)]
#[needs(nats)]
fn crash_without_state() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    streams.create("md", |_| ());
    let url = server.url();
    let words = [&["--state-dir=none", "--engine", &url], &ROUTE[..]].concat();
    let mut bridge = Bridge::start_alone("a", &[], &words);
    let mut reader = Reader::new("local");
    streams.send("md", messages(0..100));
    reader.expect(0..100);
    streams.wait_acknowledged("md", "here");
    bridge.kill();
    bridge.restart();
    let mut reader = Reader::new("local");
    streams.send("md", messages(100..110));
    reader.expect(100..110);
    bridge.stop();
}

/// Messages that are missing in the stream, and markers, are counted, and told to local subscribers.
#[apply(isolated)]
#[needs(nats)]
fn told_losses() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    let mut publisher = Publisher::new("md");
    let mut export = Bridge::start(&server, "a", &["feed:md -> md"]);
    publisher.wait_subscribers(2);
    publisher.publish(10);
    streams.wait_count("md", 10);
    export.kill();
    publisher.publish(10_000);
    export.restart();
    publisher.wait_subscribers(2);
    export.wait_number("pending", 0);
    wait_until("a marker", || {
        export.number("lost").is_some_and(|lost| lost > 0)
    });
    let lost = export.number("lost").unwrap();
    streams.wait_count("md", publisher.next - lost + 1);
    streams.delete_message("md", 4);
    streams.delete_message("md", 5);
    let words = [&["-o", "markers=true"], &ROUTE[..]].concat();
    let import = Bridge::start(&server, "b", &words);
    let mut reader = Reader::new("local");
    reader.expect(0..3);
    let expect_marker = |reader: &mut Reader, count: u64| {
        let message = reader.recv(LONG).unwrap().unwrap();
        let expected = [b"uib-lost", &count.to_le_bytes()[..], &publisher.feed.id()].concat();
        assert_eq!(message, expected);
    };
    expect_marker(&mut reader, 2);
    reader.expect(5..10);
    expect_marker(&mut reader, lost);
    reader.expect(10 + lost..publisher.next);
    assert_eq!(
        (import.number("missing"), import.number("lost")),
        (Some(2), Some(lost))
    );
    export.stop();
    import.stop();
}

/// An empty message, which no feed can carry, is told and skipped.
#[apply(isolated)]
#[needs(nats)]
fn empty_message() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    streams.create("md", |_| ());
    streams.send("md", [bytes_of(0), vec![], bytes_of(1)].into_iter());
    let bridge = Bridge::start(&server, "a", &ROUTE);
    let mut reader = Reader::new("local");
    reader.expect(0..2);
    bridge.wait_number("undeliverable", 1);
    bridge.stop();
}

/// The socket of the feed has the mode of the route.
#[apply(isolated)]
#[needs(nats)]
fn mode_of_the_socket() {
    use std::os::unix::fs::PermissionsExt;
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let bridge = Bridge::start(&server, "a", &["-o", "mode=0640", "feed:local <- md"]);
    let mode = || Some(std::fs::metadata("local").ok()?.permissions().mode() & 0o777);
    wait_until("the socket", || mode() == Some(0o640));
    bridge.stop();
    assert!(!std::path::Path::new("local").exists());
}

/// A route that admits only lossy subscribers.
#[apply(isolated)]
#[needs(nats)]
fn lossy_subscribers() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    streams.create("md", |_| ());
    let words = [
        "-o",
        "lossy=true",
        "-o",
        "message_max=1000",
        "-o",
        "ring_size=65536",
    ];
    let words = [&words[..], &ROUTE[..]].concat();
    let bridge = Bridge::start(&server, "a", &words);
    let mut reader = Reader::with("local", |options| options.is_lossy = true);
    streams.send("md", messages(0..3000));
    bridge.wait_number("messages", 3000);
    assert_eq!(reader.recv(0), Err(Errno::EOVERFLOW));
    bridge.stop();
}
