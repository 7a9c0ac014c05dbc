//! From a feed to a stream.

use crate::support::*;
use std::fs;
use std::time::Duration;
use unixipc::deadline::Deadline;
use unixipc::errno::Errno;
use unixipc::feed::Kind;

fn all(count: u64) -> Vec<u64> {
    (0..count).collect()
}

/// Every message arrives once, in order, with the id of its feed.
#[apply(isolated)]
#[needs(nats)]
fn every_message() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let mut publisher = Publisher::new("md");
    let bridge = Bridge::start(&server, "a", &["feed:md -> md"]);
    publisher.publish(10);
    publisher.wait_subscribers(2);
    publisher.publish(5000);
    let streams = Streams::of(&server);
    streams.wait_count("md", 5010);
    assert_eq!(streams.numbers("md"), all(5010));
    let id = streams.read("md")[7]
        .header("Nats-Msg-Id")
        .unwrap()
        .to_owned();
    let feed = u128::from_be_bytes(publisher.feed.id());
    assert_eq!(id, format!("{feed:032x}-7"));
    bridge.wait_number("messages", 5010);
    assert_eq!(bridge.number("pending"), Some(0));
    bridge.stop();
}

/// A publisher that ends has published, and the next one follows.
#[apply(isolated)]
#[needs(nats)]
fn next_publisher() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let bridge = Bridge::start(&server, "a", &["feed:md -> md"]);
    let streams = Streams::of(&server);
    let mut ids = Vec::new();
    for round in 1..=3 {
        let mut publisher = Publisher::new("md");
        publisher.wait_subscribers(2);
        publisher.publish(100);
        ids.push(publisher.feed.id());
        drop(publisher);
        streams.wait_count("md", 100 * round);
    }
    let numbers = streams.numbers("md");
    assert_eq!(numbers, [all(100), all(100), all(100)].concat());
    assert_eq!(
        bridge.number("replaced"),
        Some(0),
        "the bridge has seen each end"
    );
    bridge.stop();
}

/// After a crash the bridge continues behind the last message in the stream.
#[apply(isolated)]
#[needs(nats)]
fn crash_of_the_bridge() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let mut publisher = Publisher::with("md", |options| options.size = 1 << 20);
    let mut bridge = Bridge::start(&server, "a", &["feed:md -> md"]);
    let streams = Streams::of(&server);
    publisher.wait_subscribers(2);
    publisher.publish(2000);
    for _ in 0..5 {
        bridge.kill();
        publisher.publish(500);
        bridge.restart();
        publisher.wait_subscribers(2);
        publisher.publish(500);
    }
    streams.wait_count("md", publisher.next);
    assert_eq!(streams.numbers("md"), all(publisher.next));
    bridge.stop();
}

/// Messages that were overwritten while no bridge read the feed are counted, and a marker reports them.
#[apply(isolated)]
#[needs(nats)]
fn overwritten() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let mut publisher = Publisher::new("md");
    let mut bridge = Bridge::start(&server, "a", &["feed:md -> md"]);
    let streams = Streams::of(&server);
    publisher.wait_subscribers(2);
    publisher.publish(10);
    streams.wait_count("md", 10);
    bridge.kill();
    publisher.publish(10_000);
    bridge.restart();
    publisher.wait_subscribers(2);
    publisher.publish(1);
    let last = |entries: &[Entry]| entries.last().unwrap().sequence();
    wait_until("the last message", || {
        last(&streams.read("md")) == publisher.next - 1
    });
    let entries = streams.read("md");
    let marker = &entries[10];
    let lost: u64 = marker
        .header("Unixipc-Lost")
        .expect("a marker")
        .parse()
        .unwrap();
    assert_eq!(marker.header("Unixipc-Reason"), Some("overwritten"));
    assert_eq!(marker.sequence(), 10 + lost - 1);
    assert!(marker.payload.is_empty());
    assert_eq!(lost + entries.len() as u64 - 1, publisher.next);
    assert_eq!(number_of(&entries[11].payload), 10 + lost);
    assert_eq!(bridge.number("lost"), Some(lost));
    assert!(
        bridge
            .log()
            .contains(&format!("{lost} messages lost: overwritten"))
    );
    bridge.stop();
}

/// A feed that was replaced while no bridge read it may have lost its last messages.
#[apply(isolated)]
#[needs(nats)]
fn replaced() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    let mut publisher = Publisher::new("md");
    let mut bridge = Bridge::start(&server, "a", &["feed:md -> md"]);
    publisher.wait_subscribers(2);
    publisher.publish(3);
    streams.wait_count("md", 3);
    bridge.kill();
    drop(publisher);
    let mut publisher = Publisher::new("md");
    publisher.publish(3);
    bridge.restart();
    publisher.wait_subscribers(2);
    streams.wait_count("md", 7);
    let entries = streams.read("md");
    assert_eq!(entries[3].header("Unixipc-Lost"), Some("unknown"));
    assert!(
        entries[3]
            .header("Nats-Msg-Id")
            .unwrap()
            .ends_with("-begin")
    );
    assert_eq!(number_of(&entries[4].payload), 0);
    assert_eq!(bridge.number("replaced"), Some(1));
    bridge.stop();
}

/// Without an engine, the publisher waits; nothing is lost.
#[apply(isolated)]
#[needs(nats)]
fn engine_comes_later() {
    let _directory = WorkingDirectory::new();
    let mut server = Server::start("nats");
    server.kill();
    let bridge = Bridge::start(&server, "a", &["feed:md -> md"]);
    let mut publisher = Publisher::new("md");
    publisher.wait_subscribers(2);
    publisher.fill(50);
    assert_eq!(publisher.try_publish(0), Err(Errno::EAGAIN));
    let reports = publisher.subscribers();
    assert_eq!(reports[0].kind, Kind::Reliable);
    assert!(reports[0].name.starts_with(b"bridge:md\0"));
    assert_eq!(reports[0].lag.0, publisher.next);
    server.restart();
    publisher.publish(100);
    let streams = Streams::of(&server);
    streams.wait_count("md", publisher.next);
    assert_eq!(streams.numbers("md"), all(publisher.next));
    bridge.stop();
}

/// A publisher that ends before the engine is reached has published.
#[apply(isolated)]
#[needs(nats)]
fn publisher_ends_before_the_engine_comes() {
    let _directory = WorkingDirectory::new();
    let mut server = Server::start("nats");
    server.kill();
    let bridge = Bridge::start(&server, "a", &["feed:md -> md"]);
    let mut publisher = Publisher::new("md");
    wait_until("a subscriber", || !publisher.subscribers().is_empty());
    publisher.publish(100);
    drop(publisher);
    server.restart();
    let streams = Streams::of(&server);
    streams.wait_count("md", 100);
    assert_eq!(streams.numbers("md"), all(100));
    bridge.stop();
}

/// A feed that admits one subscriber only.
#[apply(isolated)]
#[needs(nats)]
fn one_place() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let mut publisher = Publisher::with("md", |options| options.subscribers_max = 1);
    let bridge = Bridge::start(&server, "a", &["feed:md -> md"]);
    wait_until("the refusal of the second one", || {
        publisher.feed.service().unwrap();
        bridge.log().contains("a second subscriber: ")
    });
    publisher.publish(5000);
    let streams = Streams::of(&server);
    wait_until("the messages", || {
        publisher.feed.service().unwrap();
        streams.count("md") == Some(5000)
    });
    assert_eq!(streams.numbers("md"), all(5000));
    bridge.stop();
}

/// Another program has written an id that the feed has not used yet.
#[apply(isolated)]
#[needs(nats)]
fn foreign_position() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    streams.create("md", |_| ());
    let mut publisher = Publisher::new("md");
    let id = u128::from_be_bytes(publisher.feed.id());
    streams.send_with_id("md", &format!("{id:032x}-1000"), bytes_of(1000));
    publisher.publish(10);
    let bridge = Bridge::start(&server, "a", &["feed:md -> md"]);
    wait_until("the messages", || {
        publisher.feed.service().unwrap();
        streams.count("md") == Some(11)
    });
    assert_eq!(streams.numbers("md")[1..], all(10));
    bridge.wait_log("which the feed has not published");
    bridge.stop();
}

/// A full stream holds the publisher up, and loses nothing when it has space again.
#[apply(isolated)]
#[needs(nats)]
fn full_stream() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    let mut publisher = Publisher::new("md");
    let words = [
        "-o",
        "max_messages=1000",
        "-o",
        "window_messages=100",
        "feed:md -> md",
    ];
    let bridge = Bridge::start(&server, "a", &words);
    publisher.wait_subscribers(2);
    publisher.fill(1000);
    assert_eq!(streams.count("md"), Some(1000));
    bridge.wait_log("the stream is full: maximum messages exceeded");
    assert_eq!(bridge.number("refused"), Some(1));
    let pending = bridge.number("pending").unwrap();
    assert!((1..=100).contains(&pending), "{pending}");
    // The feed keeps all that is not confirmed.
    let lag = publisher
        .subscribers()
        .iter()
        .map(|report| report.lag.0)
        .max();
    assert_eq!(lag, Some(publisher.next - 1000));
    streams.update("md", |config| config.max_messages = -1);
    publisher.publish(100);
    streams.wait_count("md", publisher.next);
    assert_eq!(streams.numbers("md"), all(publisher.next));
    bridge.wait_log("the stream accepts messages again");
    bridge.stop();
}

/// The account of the bridge has a limit: that is a full stream too.
#[apply(isolated)]
#[needs(nats)]
fn full_account() {
    let _directory = WorkingDirectory::new();
    let account = "jetstream { max_file: 100K, max_mem: 0 }, users: [ { user: a, password: a } ]";
    let config = format!("accounts {{ A {{ {account} }} }}\nno_auth_user: a\n");
    fs::write("server.conf", config).unwrap();
    let server = Server::start_with("nats", "127.0.0.1", &[], &["-c", "server.conf"]);
    let mut publisher = Publisher::new("md");
    let bridge = Bridge::start(&server, "a", &["feed:md -> md"]);
    publisher.wait_subscribers(2);
    publisher.fill(1000);
    bridge.wait_log("the stream is full: resource limits exceeded for account");
    assert_eq!(bridge.number("refused"), Some(1));
    bridge.stop();
}

/// The server, and then the stream, accept only shorter messages than before. A message that was taken
/// from the feed is lost, and reported.
#[apply(isolated)]
#[needs(nats)]
fn smaller_limits() {
    let _directory = WorkingDirectory::new();
    fs::write("server.conf", "max_payload: 1048576\n").unwrap();
    let mut server = Server::start_with("nats", "127.0.0.1", &[], &["-c", "server.conf"]);
    let mut publisher = Publisher::with("md", |options| options.size = 1 << 20);
    let bridge = Bridge::start(&server, "a", &["feed:md -> md"]);
    publisher.wait_subscribers(2);
    publisher.publish(1);
    bridge.wait_number("messages", 1);
    server.kill();
    let mut publish = |len| {
        let message = vec![1; len];
        publisher
            .feed
            .publish(&message, Deadline::forever())
            .unwrap();
    };
    publish(100_000);
    wait_until("a record", || bridge.number("pending") > Some(0));
    publish(10);
    fs::write("server.conf", "max_payload: 65536\n").unwrap();
    server.restart();
    publish(100_000);
    publish(10);
    // Markers count too.
    bridge.wait_number("messages", 5);
    assert_eq!(bridge.number("lost"), Some(2));
    let streams = Streams::of(&server);
    streams.update("md", |config| config.max_message_size = 2000);
    publish(5000);
    publish(10);
    bridge.wait_number("messages", 7);
    assert_eq!(bridge.number("lost"), Some(3));
    assert_eq!(bridge.number("refused"), Some(0));
    bridge.stop();
}

/// A stream that loses space and gets it again keeps the order.
#[apply(isolated)]
#[needs(nats)]
fn space_comes_and_goes() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    let mut publisher = Publisher::new("md");
    let words = [
        "-o",
        "max_messages=300",
        "-o",
        "window_messages=1000",
        "feed:md -> md",
    ];
    let bridge = Bridge::start(&server, "a", &words);
    publisher.wait_subscribers(2);
    let mut seen = Vec::new();
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while publisher.next < 3000 || seen.len() < 3000 {
        assert!(std::time::Instant::now() < end, "{} messages", seen.len());
        while publisher.next < 3000 && publisher.try_publish(0).is_ok() {}
        publisher.feed.service().unwrap();
        if streams.count("md").unwrap_or(0) >= 100 || publisher.next == 3000 {
            // Between the two, the stream can accept messages in the middle of a refused group.
            let numbers = streams.numbers("md");
            let count = numbers.len().min(100) as u64;
            for number in numbers {
                if seen.last().is_none_or(|&last| last < number) {
                    seen.push(number);
                }
            }
            if let Some(first) = streams.first_number("md") {
                streams.purge_to("md", first + count);
            }
        }
    }
    assert_eq!(seen, all(3000));
    bridge.stop();
}

/// A stream that discards old messages is refused, unless the route accepts it.
#[apply(isolated)]
#[needs(nats)]
fn stream_that_discards() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    streams.create("md", |config| {
        config.discard = async_nats::jetstream::stream::DiscardPolicy::Old;
        config.max_messages = 10;
    });
    let mut publisher = Publisher::new("md");
    let bridge = Bridge::start(&server, "a", &["feed:md -> md"]);
    publisher.wait_subscribers(2);
    bridge.wait_log("the stream md discards old messages when it is full");
    drop(bridge);
    let bridge = Bridge::start(&server, "b", &["-o", "discard_old=true", "feed:md -> md"]);
    publisher.wait_subscribers(2);
    publisher.publish(100);
    bridge.wait_number("messages", 100);
    bridge.stop();
}

/// In a stream of several subjects, only one message is in flight.
#[apply(isolated)]
#[needs(nats)]
fn stream_of_several_subjects() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    streams.create("all", |config| config.subjects = vec!["md.*".into()]);
    let mut publishers = [Publisher::new("a"), Publisher::new("b")];
    let bridge = Bridge::start(&server, "a", &["feed:a -> md.a", "feed:b -> md.b"]);
    for publisher in &mut publishers {
        publisher.wait_subscribers(2);
        publisher.publish(500);
    }
    bridge.wait_log("the stream all has other subjects");
    streams.wait_count("all", 1000);
    let mut numbers = streams.numbers("all");
    numbers.sort_unstable();
    let twice: Vec<_> = (0..1000).map(|number| number / 2).collect();
    assert_eq!(numbers, twice);
    bridge.stop();
}

/// A message that exceeds the engine's largest is lost, and a marker tells it.
#[apply(isolated)]
#[needs(nats)]
fn too_large() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    let mut publisher = Publisher::with("md", |options| options.message_max = 3 << 20);
    let bridge = Bridge::start(&server, "a", &["feed:md -> md"]);
    publisher.wait_subscribers(2);
    for len in [1000, 1 << 20, 2 << 20, 1_000_000, 100] {
        publisher
            .feed
            .publish(&vec![7; len], unixipc::deadline::Deadline::forever())
            .unwrap();
    }
    streams.wait_count("md", 5);
    let entries = streams.read("md");
    let lens: Vec<_> = entries.iter().map(|entry| entry.payload.len()).collect();
    assert_eq!(lens, [1000, 0, 0, 1_000_000, 100]);
    for marker in &entries[1..3] {
        assert_eq!(marker.header("Unixipc-Lost"), Some("1"));
        assert_eq!(marker.header("Unixipc-Reason"), Some("too large"));
    }
    let sequences: Vec<_> = entries.iter().map(Entry::sequence).collect();
    assert_eq!(sequences, all(5));
    bridge.stop();
}

/// A stream that is deleted is created again. It gets the messages after the last confirmed one.
#[apply(isolated)]
#[needs(nats)]
fn deleted_stream() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    let mut publisher = Publisher::new("md");
    let bridge = Bridge::start(&server, "a", &["feed:md -> md"]);
    publisher.wait_subscribers(2);
    publisher.publish(10);
    bridge.wait_number("messages", 10);
    streams.delete("md");
    publisher.publish(10);
    wait_until("the messages", || {
        publisher.feed.service().unwrap();
        // The bridge creates it.
        streams.count("md").is_some_and(|count| count >= 10)
    });
    assert_eq!(streams.numbers("md"), all(20)[10..]);
    bridge.stop();
}

/// A lossy route never delays the publisher, and reports its losses.
#[apply(isolated)]
#[needs(nats)]
fn lossy() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    let mut publisher = Publisher::new("md");
    let bridge = Bridge::start(&server, "a", &["-o", "lossy=true", "feed:md -> md"]);
    publisher.wait_subscribers(1);
    bridge.wait_log("created the stream");
    server.suspend();
    for _ in 0..100_000 {
        publisher.try_publish(0).unwrap();
    }
    server.signal(libc::SIGCONT);
    wait_until("the last message", || {
        publisher.feed.service().unwrap();
        streams
            .read("md")
            .last()
            .is_some_and(|entry| entry.sequence() + 1 == publisher.next)
    });
    let mut next = 0;
    for entry in streams.read("md") {
        match entry.header("Unixipc-Lost") {
            Some(count) => next += count.parse::<u64>().unwrap(),
            None => {
                assert_eq!(number_of(&entry.payload), next);
                next += 1;
            }
        }
    }
    assert_eq!(next, publisher.next);
    assert!(bridge.number("lost").unwrap() > 0);
    bridge.stop();
}
