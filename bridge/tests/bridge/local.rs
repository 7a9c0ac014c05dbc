//! Channels, FIFOs and calls.

use crate::support::*;
use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use unixipc::bytes::to_fill;
use unixipc::channel::{self, Channel, Options};
use unixipc::deadline::Deadline;
use unixipc::errno::{Errno, Result};
use unixipc::fifo::{self, Side, record};
use unixipc::transport::listen::listen;

fn options() -> Options {
    Options {
        send_size: 64 << 10,
        wait: true,
        ..Options::default()
    }
}

fn deadline(ms: i32) -> Deadline {
    Deadline::new(ms).unwrap()
}

/// Connects to a listener, and waits for it.
#[track_caller]
fn connect(path: &str) -> Channel {
    channel::connect(&c_path(path), &options(), &mut deadline(LONG)).unwrap()
}

fn send(channel: &Channel, bytes: &[u8], ms: i32) -> Result<()> {
    // SAFETY: this thread has the end for itself.
    unsafe { channel.send_half() }.send(bytes, deadline(ms))
}

fn recv(channel: &Channel, ms: i32) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 64 << 10];
    // SAFETY: this thread has the end for itself.
    let len = unsafe { channel.recv_half() }.recv(to_fill(&mut buffer), deadline(ms))?;
    buffer.truncate(len);
    Ok(buffer)
}

fn call(channel: &Channel, request: &[u8], ms: i32) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 64 << 10];
    // SAFETY: this thread has the end for itself.
    let mut caller = unsafe { channel.caller() };
    let len = caller.call(request, to_fill(&mut buffer), deadline(ms))?;
    buffer.truncate(len);
    Ok(buffer)
}

/// A child that serves calls at a path, for up to eight clients at the same time: the reply is the
/// request backwards.
fn serve(path: &str) -> Child {
    let path = path.to_owned();
    fork(move || {
        let listener = listen(&c_path(&path), 0o600).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| serve_clients(listener.as_fd()));
            }
        });
    })
}

fn serve_clients(listener: BorrowedFd) {
    let options = Options {
        wait: false,
        ..options()
    };
    loop {
        channel::wait_for_client(listener, &mut Deadline::forever()).unwrap();
        let accepted = channel::accept(listener, &options, false, &mut deadline(0));
        if let Ok(Some(client)) = accepted {
            while serve_call(&client).is_ok() {}
        }
    }
}

fn serve_call(client: &Channel) -> Result<()> {
    serve_call_with(client, |request| request.reverse())
}

/// Serves one call: `answer` turns the request into the reply.
fn serve_call_with(client: &Channel, answer: impl Fn(&mut Vec<u8>)) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    // SAFETY: this thread has the end for itself.
    let mut half = unsafe { client.recv_half() };
    let next = half.next_call(to_fill(&mut buffer), Deadline::forever())?;
    let (id, len) = next.ok_or(Errno::EPIPE)?;
    buffer.truncate(len);
    answer(&mut buffer);
    // SAFETY: this thread has the end for itself.
    let mut half = unsafe { client.send_half() };
    half.reply(id, &buffer, Deadline::forever())
}

/// What several clients send arrives, in the order of each.
#[apply(isolated)]
#[needs(nats)]
fn clients_of_a_listener() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    let bridge = Bridge::start(&server, "a", &["channel:in -> in"]);
    let clients = [connect("in"), connect("in"), connect("in")];
    for number in 0..500 {
        for (index, client) in clients.iter().enumerate() {
            send(client, format!("{index} {number}").as_bytes(), LONG).unwrap();
        }
    }
    drop(clients);
    streams.wait_count("in", 1500);
    let mut next = [0; 3];
    for entry in streams.read("in") {
        let text = String::from_utf8(entry.payload).unwrap();
        let (index, number) = text.split_once(' ').unwrap();
        let next = &mut next[index.parse::<usize>().unwrap()];
        assert_eq!(number.parse(), Ok(*next));
        *next += 1;
    }
    bridge.stop();
}

/// Without an engine, the clients wait, and the memory of the bridge is bounded.
#[apply(isolated)]
#[needs(nats)]
fn client_waits() {
    let _directory = WorkingDirectory::new();
    let mut server = Server::start("nats");
    server.kill();
    let words = ["-o", "window_bytes=65536", "channel:in -> in"];
    let bridge = Bridge::start(&server, "a", &words);
    let client = connect("in");
    let message = [7; 1000];
    let mut sent = 0;
    while send(&client, &message, 300) == Ok(()) {
        sent += 1;
        assert!(sent < 1000, "the bridge takes without limit");
    }
    server.restart();
    for _ in 0..100 {
        send(&client, &message, LONG).unwrap();
    }
    Streams::of(&server).wait_count("in", sent + 100);
    bridge.stop();
}

/// Messages of many clients stay in their rings as long as the memory of the route is used up.
#[apply(isolated)]
#[needs(nats)]
fn memory_of_the_route() {
    const CLIENTS: u64 = 16;
    let _directory = WorkingDirectory::new();
    let mut server = Server::start("nats");
    server.kill();
    // In kibibytes, without shared memory: the messages do not fit.
    let prefix = ["sh", "-c", "ulimit -d 81920; exec \"$@\"", "sh"];
    let words = ["-o", "window_bytes=65536", "channel:in -> in"];
    let bridge = Bridge::start_with(&server, "a", &prefix, &words);
    let options = Options {
        message_max: 7 << 20,
        ..options()
    };
    let message = vec![7; 7 << 20];
    let connect = |_| {
        let client = channel::connect(&c_path("in"), &options, &mut deadline(LONG)).unwrap();
        send(&client, &message, LONG).unwrap();
        client
    };
    let clients: Vec<_> = (0..CLIENTS).map(connect).collect();
    bridge.wait_number("clients", CLIENTS);
    server.restart();
    // The server takes none of this length.
    bridge.wait_number("lost", CLIENTS);
    drop(clients);
    bridge.wait_number("clients", 0);
    bridge.stop();
}

/// SIGTERM completes what clients have already sent.
#[apply(isolated)]
#[needs(nats)]
fn drain() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    let bridge = Bridge::start(&server, "a", &["channel:in -> in", "fifo:log -> log"]);
    let client = connect("in");
    send(&client, b"first", LONG).unwrap();
    let fifo = fifo::open(&c_path("log"), Side::Write, deadline(LONG)).unwrap();
    record::send(fifo.as_fd(), b"first", deadline(LONG)).unwrap();
    // Both routes are connected.
    streams.wait_count("in", 1);
    streams.wait_count("log", 1);
    bridge.suspend();
    // A FIFO has space for 16 records.
    for _ in 0..10 {
        send(&client, b"more", 0).unwrap();
        record::send(fifo.as_fd(), b"record", deadline(0)).unwrap();
    }
    bridge.signal(libc::SIGTERM);
    bridge.signal(libc::SIGCONT);
    let mut bridge = bridge;
    assert_eq!(bridge.end(), Some(0));
    streams.wait_count("in", 11);
    streams.wait_count("log", 11);
    assert_eq!(recv(&client, LONG), Ok(vec![]), "the end of the session");
    fs::remove_file("log").unwrap();
}

/// Ends a server, and writes a configuration for it. The drain has a length in milliseconds.
fn end_server(server: &mut Server, drain_ms: u64) {
    let url = server.url();
    server.kill();
    let config = format!("engine = \"{url}\"\ndrain_ms = {drain_ms}\n");
    fs::write("config", config).unwrap();
}

/// SIGTERM, and the publisher of a feed has ended: its messages exist nowhere else.
#[apply(isolated)]
#[needs(nats)]
fn drain_of_an_ended_feed() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    let mut bridge = Bridge::start(&server, "a", &["feed:md -> md"]);
    let mut publisher = Publisher::new("md");
    publisher.wait_subscribers(2);
    publisher.publish(1);
    streams.wait_count("md", 1);
    bridge.suspend();
    publisher.publish(300);
    drop(publisher);
    bridge.signal(libc::SIGTERM);
    bridge.signal(libc::SIGCONT);
    assert_eq!(bridge.end(), Some(0));
    assert_eq!(streams.count("md"), Some(301));
}

/// The same without a server, which comes in time or not.
#[apply(isolated)]
#[needs(nats)]
fn drain_of_an_ended_feed_without_engine() {
    for comes in [true, false] {
        let _directory = WorkingDirectory::new();
        let mut server = Server::start("nats");
        end_server(&mut server, if comes { 90_000 } else { 500 });
        let mut bridge = Bridge::start_alone("a", &[], &["--config=config", "feed:md -> md"]);
        let mut publisher = Publisher::new("md");
        publisher.wait_subscribers(2);
        publisher.publish(10);
        drop(publisher);
        bridge.signal(libc::SIGTERM);
        bridge.wait_log("stopping");
        if comes {
            server.restart();
            assert_eq!(bridge.end(), Some(0));
            assert_eq!(Streams::of(&server).count("md"), Some(10));
        } else {
            assert_eq!(bridge.end(), Some(1));
            assert!(bridge.log().contains("at least 10 messages are lost"));
        }
    }
}

/// SIGTERM, the publisher of a feed has ended, and the stream is full: the bridge has all messages, and
/// reports that they are lost.
#[apply(isolated)]
#[needs(nats)]
fn drain_of_an_ended_feed_into_a_full_stream() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    fs::write(
        "config",
        format!("engine = \"{}\"\ndrain_ms = 500\n", server.url()),
    )
    .unwrap();
    let words = ["--config=config", "-o", "max_messages=5", "feed:md -> md"];
    let mut bridge = Bridge::start_alone("a", &[], &words);
    let mut publisher = Publisher::new("md");
    publisher.wait_subscribers(2);
    publisher.publish(10);
    bridge.wait_log("the stream is full");
    drop(publisher);
    bridge.signal(libc::SIGTERM);
    assert_eq!(bridge.end(), Some(1));
    assert!(bridge.log().contains("at least 5 messages are lost"));
}

/// A bridge without a server that has taken messages from a client, see [`end_server`].
fn drain_without_engine(server: &mut Server, drain_ms: u64) -> (Bridge, Channel) {
    end_server(server, drain_ms);
    let bridge = Bridge::start_alone("a", &[], &["--config=config", "channel:in -> in"]);
    let client = connect("in");
    for number in 0..10 {
        send(&client, &bytes_of(number), LONG).unwrap();
    }
    wait_until("the client", || bridge.number("clients") == Some(1));
    bridge.signal(libc::SIGTERM);
    (bridge, client)
}

/// SIGTERM without a server: the bridge sends its messages if the server comes in time.
#[apply(isolated)]
#[needs(nats)]
fn drain_reaches_the_engine() {
    let _directory = WorkingDirectory::new();
    let mut server = Server::start("nats");
    let (mut bridge, _client) = drain_without_engine(&mut server, 90_000);
    bridge.wait_log("stopping");
    server.restart();
    assert_eq!(bridge.end(), Some(0));
    let streams = Streams::of(&server);
    assert_eq!(streams.count("in"), Some(10));
}

/// SIGTERM without a server, which does not come: the bridge reports the loss.
#[apply(isolated)]
#[needs(nats)]
fn drain_ends() {
    let _directory = WorkingDirectory::new();
    let mut server = Server::start("nats");
    let (mut bridge, _client) = drain_without_engine(&mut server, 500);
    assert_eq!(bridge.end(), Some(1));
    assert!(bridge.log().contains(" messages are lost"));
}

/// SIGTERM without a server and without messages: the bridge ends at once.
#[apply(isolated)]
#[needs(nats)]
fn nothing_to_drain() {
    let _directory = WorkingDirectory::new();
    let words = [
        "--engine=nats://127.0.0.1:1",
        "channel:in -> in",
        "fifo:log -> log",
        "feed:md -> md",
        "call:back <- svc",
    ];
    fs::write("config", "drain_ms = 90000\n").unwrap();
    let words = [&["--config=config"], &words[..]].concat();
    let mut bridge = Bridge::start_alone("a", &[], &words);
    drop(connect("in"));
    wait_until("the FIFO", || fs::metadata("log").is_ok());
    let start = Instant::now();
    bridge.signal(libc::SIGTERM);
    assert_eq!(bridge.end(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(80));
    fs::remove_file("log").unwrap();
}

/// A subject becomes messages to a listener, which may come later, and end.
#[apply(isolated)]
#[needs(nats)]
fn to_a_listener() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    streams.create("out", |_| ());
    streams.send("out", (0..10).map(bytes_of));
    let bridge = Bridge::start(&server, "a", &["channel:out <- out"]);
    for round in 0..2 {
        let listener = listen(&c_path("out"), 0o600).unwrap();
        let listener = listener.as_fd();
        channel::wait_for_client(listener, &mut deadline(LONG)).unwrap();
        let options = Options {
            wait: false,
            ..options()
        };
        let client = channel::accept(listener, &options, false, &mut deadline(LONG)).unwrap();
        let client = client.unwrap();
        for number in round * 10..round * 10 + 10 {
            assert_eq!(number_of(&recv(&client, LONG).unwrap()), number);
        }
        if round == 0 {
            drop(client);
            streams.send("out", (10..20).map(bytes_of));
        }
        fs::remove_file("out").unwrap();
    }
    bridge.stop();
}

/// Records and lines of a shell.
#[apply(isolated)]
#[needs(nats)]
fn records_and_text() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    let bridge = Bridge::start(&server, "a", &["-o", "mode=0600", "fifo:log -> log"]);
    wait_until("the FIFO", || fs::metadata("log").is_ok());
    let fifo = fifo::open(&c_path("log"), Side::Write, deadline(LONG)).unwrap();
    record::send(fifo.as_fd(), b"a record", deadline(LONG)).unwrap();
    drop(fifo);
    streams.wait_count("log", 1);
    let mut text = fs::File::options().write(true).open("log").unwrap();
    text.write_all(b"a line\nanother\n").unwrap();
    drop(text);
    streams.wait_count("log", 3);
    let payloads: Vec<_> = streams
        .read("log")
        .into_iter()
        .map(|entry| entry.payload)
        .collect();
    assert_eq!(payloads, [&b"a record"[..], b"a line\n", b"another\n"]);
    bridge.stop();
    fs::remove_file("log").unwrap();
}

/// A subject becomes records of a FIFO, whose reader may come later.
#[apply(isolated)]
#[needs(nats)]
fn to_a_fifo() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let streams = Streams::of(&server);
    streams.create("log", |_| ());
    streams.send(
        "log",
        [vec![1; 5000]].into_iter().chain((0..300).map(bytes_of)),
    );
    let bridge = Bridge::start(&server, "a", &["fifo:log <- log"]);
    fifo::create(&c_path("log"), 0o600, false).unwrap();
    let fifo = fifo::open(&c_path("log"), Side::Read, deadline(LONG)).unwrap();
    let mut buffer = vec![0; 4096];
    for number in 0..300 {
        let fd = fifo.as_fd();
        let len = record::recv(fd, to_fill(&mut buffer), deadline(LONG)).unwrap();
        assert_eq!(number_of(&buffer[..len]), number);
    }
    bridge.wait_number("undeliverable", 1);
    bridge.stop();
    fs::remove_file("log").unwrap();
}

/// A slow reader gets all that the bridge has received, without a server that takes
/// acknowledgements, and SIGTERM ends the bridge.
#[apply(isolated)]
#[needs(nats)]
fn slow_reader_without_engine() {
    const RECORDS: u64 = 400;
    let _directory = WorkingDirectory::new();
    let mut server = Server::start("nats");
    let streams = Streams::of(&server);
    streams.create("log", |_| ());
    streams.send("log", (0..RECORDS).map(bytes_of));
    fifo::create(&c_path("log"), 0o600, false).unwrap();
    let mut bridge = Bridge::start(&server, "a", &["-o", "durable=here", "fifo:log <- log"]);
    let fifo = fifo::open(&c_path("log"), Side::Read, deadline(LONG)).unwrap();
    wait_until("the deliveries", || {
        streams
            .pending("log", "here")
            .is_some_and(|(_, left)| left == 0)
            && bridge.number("messages") >= Some(16)
    });
    server.kill();
    bridge.wait_log("disconnected from the server");
    let mut buffer = vec![0; 4096];
    for number in 0..RECORDS {
        // The FIFO, which has space for 16 records, is full: the bridge tries to acknowledge.
        wait_until("a full FIFO", || {
            bridge.number("messages") >= Some(RECORDS.min(number + 16))
        });
        let fd = fifo.as_fd();
        let len = record::recv(fd, to_fill(&mut buffer), deadline(LONG)).unwrap();
        assert_eq!(number_of(&buffer[..len]), number);
    }
    bridge.signal(libc::SIGTERM);
    assert_eq!(bridge.end(), Some(0));
    fs::remove_file("log").unwrap();
}

/// Calls cross two bridges.
#[apply(isolated)]
#[needs(nats)]
fn calls() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let callers = Bridge::start(&server, "a", &["call:front <-> svc"]);
    let client = connect("front");
    // No bridge serves the subject: the caller learns that at once.
    let start = Instant::now();
    assert_eq!(call(&client, b"abc", LONG), Err(Errno::EPIPE));
    assert!(start.elapsed() < Duration::from_secs(20));
    let service = serve("back");
    let serving = Bridge::start(&server, "b", &["call:back <- svc"]);
    let client = connect("front");
    wait_until("a reply", || {
        let client = connect("front");
        call(&client, b"abc", 1000).is_ok_and(|reply| reply == b"cba")
    });
    for number in 0..200 {
        let request = format!("request {number}");
        let reply: String = request.chars().rev().collect();
        assert_eq!(
            call(&client, request.as_bytes(), LONG),
            Ok(reply.into_bytes())
        );
    }
    // Another client at the same time.
    let other = connect("front");
    assert_eq!(call(&other, b"xy", LONG), Ok(b"yx".to_vec()));
    kill(service);
    assert_eq!(
        call(&other, b"xy", LONG),
        Err(Errno::EPIPE),
        "the server was killed"
    );
    assert!(serving.number("calls").unwrap() >= 200);
    fs::remove_file("back").unwrap();
    callers.stop();
    serving.stop();
}

/// SIGTERM completes a call in flight, on both sides.
#[apply(isolated)]
#[needs(nats)]
fn calls_in_flight() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    fs::write("config", "drain_ms = 90000\n").unwrap();
    // One channel to the local server.
    let options = ["--config=config", "-o", "workers=1"];
    let start = |name, route| Bridge::start(&server, name, &[&options[..], &[route]].concat());
    let mut callers = start("a", "call:front <-> svc");
    let mut serving = start("b", "call:back <- svc");
    let listener = listen(&c_path("back"), 0o600).unwrap();
    // Both routes carry calls.
    let caller = fork(|| {
        wait_until("a reply", || {
            call(&connect("front"), b"abc", LONG).is_ok_and(|reply| reply == b"cba")
        });
    });
    channel::wait_for_client(listener.as_fd(), &mut deadline(LONG)).unwrap();
    let options = Options {
        wait: false,
        ..self::options()
    };
    let client = channel::accept(listener.as_fd(), &options, false, &mut deadline(LONG)).unwrap();
    let client = client.unwrap();
    serve_call(&client).unwrap();
    caller.join();
    let caller = fork(|| {
        let reply = call(&connect("front"), b"xy", LONG);
        assert_eq!(reply, Ok(b"yx".to_vec()));
    });
    // The local server has the request.
    // SAFETY: this thread has the end for itself.
    let peeked = unsafe { client.recv_half() }.peek(deadline(LONG));
    assert!(peeked.unwrap().is_some());
    for bridge in [&callers, &serving] {
        bridge.signal(libc::SIGTERM);
        bridge.wait_log("stopping");
    }
    serve_call(&client).unwrap();
    caller.join();
    assert_eq!(callers.end(), Some(0));
    assert_eq!(serving.end(), Some(0));
    fs::remove_file("back").unwrap();
}

/// A call in progress when the server has gone, and an idle one: SIGTERM does not wait for the engine.
#[apply(isolated)]
#[needs(nats)]
fn idle_calls_without_engine() {
    let _directory = WorkingDirectory::new();
    let mut server = Server::start("nats");
    let url = server.url();
    let config = format!("engine = \"{url}\"\ndrain_ms = 90000\ntimeout_ms = 500\n");
    fs::write("config", config).unwrap();
    let mut bridge = Bridge::start_alone("a", &[], &["--config=config", "call:back <- svc"]);
    bridge.wait_log("connected to the server");
    server.kill();
    bridge.wait_log("disconnected from the server");
    let start = Instant::now();
    bridge.signal(libc::SIGTERM);
    assert_eq!(bridge.end(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(80));
    assert!(!bridge.log().contains("get no reply"));
}

/// A reply that exceeds the server's largest message fails this call alone.
#[apply(isolated)]
#[needs(nats)]
fn large_reply() {
    let _directory = WorkingDirectory::new();
    fs::write("server.conf", "max_payload: 4096\n").unwrap();
    let server = Server::start_with("nats", "127.0.0.1", &[], &["-c", "server.conf"]);
    let _local = fork(|| {
        let listener = listen(&c_path("back"), 0o600).unwrap();
        loop {
            channel::wait_for_client(listener.as_fd(), &mut Deadline::forever()).unwrap();
            let accepted = channel::accept(listener.as_fd(), &options(), false, &mut deadline(0));
            if let Ok(Some(client)) = accepted {
                while serve_call_with(&client, |request| request.resize(10_000, 0)).is_ok() {}
            }
        }
    });
    let front = Bridge::start(&server, "a", &["call:front <-> svc"]);
    let back = Bridge::start(&server, "b", &["call:back <- svc"]);
    // The calls before the bridge serves the subject fail too, and end the session.
    wait_until("a failed call", || {
        assert_eq!(call(&connect("front"), b"request", LONG), Err(Errno::EPIPE));
        back.number("failed_calls") > Some(0)
    });
    assert!(!back.log().contains("connecting again"));
    front.stop();
    back.stop();
}

/// A request that exceeds the engine's largest message fails at once.
#[apply(isolated)]
#[needs(nats)]
fn large_call() {
    let _directory = WorkingDirectory::new();
    let server = Server::start("nats");
    let bridge = Bridge::start(&server, "a", &["call:front <-> svc"]);
    let options = Options {
        message_max: 2 << 20,
        ..options()
    };
    let client = channel::connect(&c_path("front"), &options, &mut deadline(LONG)).unwrap();
    assert_eq!(
        call(&client, &vec![1; (1 << 20) + 1], LONG),
        Err(Errno::EPIPE)
    );
    bridge.wait_log("is refused: the longest is");
    bridge.stop();
}
