//! The bridge beside a bare client of NATS, in one run: acknowledged throughput, latency, and the
//! processor time of a message.
//!
//! The bare client has the same guarantees: it sends ids, has as many messages in flight, confirms all
//! of them, and acknowledges the received ones in groups. `make bench-bridge` runs this program.
//! Arguments: the number of messages (default 200,000) and their length (default 100).

#[allow(dead_code, unused_imports, reason = "the tests use more")]
#[path = "../tests/bridge/support/mod.rs"]
mod support;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, Context, stream};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use std::fs;
use std::time::{Duration, Instant};
use support::{Bridge, Publisher, Reader, Server, runtime};
use unixipc::deadline::Deadline;
use unixipc::errno::Errno;

/// The number of messages in flight, that of the bridge.
const WINDOW: usize = 4096;
/// The number of messages that one acknowledgement of a receiver covers, that of the bridge.
const GROUP: usize = 256;
/// The number of messages for the latency, one each millisecond.
const PACED: u64 = 2000;
/// How often each test runs.
const ROUNDS: usize = 3;

/// A result: the time of all messages, and the processor time of the client or of the bridge.
#[derive(Clone, Copy)]
struct Run {
    time: Duration,
    cpu: Duration,
}

impl Run {
    fn line(&self, name: &str, count: u64) -> String {
        let rate = count as f64 / self.time.as_secs_f64();
        let cpu = self.cpu.as_secs_f64() * 1e6 / count as f64;
        format!("{name:28} {rate:10.0} messages/s {cpu:8.2} us of processor time a message")
    }
}

fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse::<u64>().ok());
    let count = numbers.next().unwrap_or(200_000);
    let len = numbers.next().unwrap_or(100) as usize;
    if support::nats().is_some() {
        eprintln!("compare: nats-server is missing");
        std::process::exit(1);
    }
    let directory = tempfile::tempdir().unwrap();
    std::env::set_current_dir(directory.path()).unwrap();
    println!("{count} messages of {len} bytes, {ROUNDS} rounds, the best of each");
    let mut runs: [Vec<Run>; 4] = Default::default();
    for round in 0..ROUNDS {
        let server = Server::start(&format!("nats{round}"));
        let bare = Bare::new(&server);
        runs[0].push(bare.send(count, len));
        runs[1].push(export(&server, round, count, len));
        runs[2].push(bare.receive(count));
        runs[3].push(import(&server, round, count));
    }
    let best = runs.map(|list| list.into_iter().min_by_key(|run| run.time).unwrap());
    let [sent, exported, received, imported] = &best;
    println!("{}", sent.line("bare producer", count));
    println!("{}", exported.line("bridge, feed to stream", count));
    println!("{}", received.line("bare consumer", count));
    println!("{}", imported.line("bridge, stream to feed", count));
    let ratio = |ours: &Run, theirs: &Run| theirs.time.as_secs_f64() / ours.time.as_secs_f64();
    println!(
        "throughput: feed to stream {:.2} x bare",
        ratio(exported, sent)
    );
    println!(
        "throughput: stream to feed {:.2} x bare",
        ratio(imported, received)
    );
    let server = Server::start("latency");
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    let mut publisher = Publisher::new("md");
    for round in 0..ROUNDS {
        theirs.push(percentiles(&mut Bare::new(&server).latency(round, len)));
        ours.push(percentiles(&mut latency(&server, &mut publisher, len)));
    }
    // The round with the best median.
    let [theirs, ours] = [theirs, ours].map(|rounds| rounds.into_iter().min().unwrap());
    println!(
        "{:28} median {:6} us, 99% {:6} us",
        "bare, end to end", theirs.0, theirs.1
    );
    println!(
        "{:28} median {:6} us, 99% {:6} us",
        "two bridges, end to end", ours.0, ours.1
    );
    println!("latency: {:.2} x bare", ours.0 as f64 / theirs.0 as f64);
    std::env::set_current_dir("/").unwrap();
}

/// The median and the 99th percentile, in microseconds.
fn percentiles(times: &mut [Duration]) -> (u128, u128) {
    times.sort_unstable();
    let at = |part: f64| times[(times.len() as f64 * part) as usize].as_micros();
    (at(0.5), at(0.99))
}

/// A client without a bridge.
struct Bare {
    runtime: tokio::runtime::Runtime,
    jetstream: Context,
}

impl Bare {
    fn new(server: &Server) -> Self {
        let runtime = runtime();
        let jetstream = runtime.block_on(async {
            let client = async_nats::connect(server.url()).await.unwrap();
            jetstream::new(client)
        });
        Self { runtime, jetstream }
    }

    async fn create(&self, name: &str) -> stream::Stream {
        let config = stream::Config {
            name: name.into(),
            discard: stream::DiscardPolicy::New,
            ..Default::default()
        };
        self.jetstream.create_stream(config).await.unwrap()
    }

    fn message(number: u64, payload: Vec<u8>) -> PublishMessage {
        let id = format!("{:032x}-{number}", 77u128 << 80);
        PublishMessage::build()
            .payload(payload.into())
            .message_id(id)
    }

    /// Sends messages, and waits for all confirmations.
    fn send(&self, count: u64, len: usize) -> Run {
        self.runtime.block_on(async {
            self.create("bare").await;
            let (start, cpu) = (Instant::now(), common::clock::cpu_time());
            let mut flight = FuturesUnordered::new();
            for number in 0..count {
                if flight.len() >= WINDOW {
                    let confirmed: Result<_, _> = flight.next().await.unwrap();
                    let _: jetstream::publish::PublishAck = confirmed.unwrap();
                }
                let message = Self::message(number, vec![7; len]);
                let sent = self.jetstream.send_publish("bare", message).await.unwrap();
                flight.push(sent.into_future());
                while let Some(Some(confirmed)) = flight.next().now_or_never() {
                    confirmed.unwrap();
                }
            }
            while let Some(confirmed) = flight.next().await {
                confirmed.unwrap();
            }
            Run {
                time: start.elapsed(),
                cpu: common::clock::cpu_time() - cpu,
            }
        })
    }

    async fn consumer(&self, name: &str) -> pull::Stream {
        let stream = self.jetstream.get_stream(name).await.unwrap();
        let config = pull::Config {
            durable_name: Some("bare".into()),
            ack_policy: AckPolicy::All,
            max_ack_pending: 2 * WINDOW as i64,
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await.unwrap();
        consumer
            .stream()
            .max_messages_per_batch(WINDOW)
            .messages()
            .await
            .unwrap()
    }

    /// Receives and acknowledges all messages. The time begins with the first one.
    fn receive(&self, count: u64) -> Run {
        self.runtime.block_on(async {
            let mut messages = self.consumer("md").await;
            let mut begin = None;
            for number in 1..=count as usize {
                let message = messages.next().await.unwrap().unwrap();
                if number.is_multiple_of(GROUP) || number == count as usize {
                    message.ack().await.unwrap();
                }
                begin.get_or_insert_with(|| (Instant::now(), common::clock::cpu_time()));
            }
            let (start, cpu) = begin.unwrap();
            Run {
                time: start.elapsed(),
                cpu: common::clock::cpu_time() - cpu,
            }
        })
    }

    /// The times from a producer to a consumer.
    fn latency(&self, round: usize, len: usize) -> Vec<Duration> {
        let name = format!("paced{round}");
        self.runtime.block_on(async {
            self.create(&name).await;
            let mut messages = self.consumer(&name).await;
            let mut times = Vec::new();
            for number in 0..PACED {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let start = Instant::now();
                let message = Self::message(number, vec![7; len]);
                let sent = self.jetstream.send_publish(name.clone(), message);
                let sent = sent.await.unwrap();
                messages.next().await.unwrap().unwrap().ack().await.unwrap();
                times.push(start.elapsed());
                sent.await.unwrap();
            }
            times
        })
    }
}

/// The processor time of a bridge.
fn cpu_of(bridge: &Bridge) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", bridge.pid())).unwrap();
    let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11..13]
        .iter()
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// A feed becomes a stream.
fn export(server: &Server, round: usize, count: u64, len: usize) -> Run {
    let mut publisher = Publisher::with("md", |options| options.size = 4 << 20);
    let bridge = Bridge::start(server, &format!("export{round}"), &["feed:md -> md"]);
    publisher.wait_subscribers(2);
    let message = vec![7; len];
    let (start, cpu) = (Instant::now(), cpu_of(&bridge));
    for _ in 0..count {
        publisher
            .feed
            .publish(&message, Deadline::forever())
            .unwrap();
    }
    while bridge.number("messages") != Some(count) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let run = Run {
        time: start.elapsed(),
        cpu: cpu_of(&bridge) - cpu,
    };
    bridge.stop();
    run
}

/// A stream becomes a feed. The time begins with the first message. The reader takes the messages once
/// a millisecond: one that sleeps, and is woken for each message, would cost more than the bridge.
fn import(server: &Server, round: usize, count: u64) -> Run {
    let words = ["-o", "ring_size=4194304", "feed:local <- md"];
    let bridge = Bridge::start(server, &format!("import{round}"), &words);
    let mut reader = Reader::new("local");
    let mut buffer = vec![0; 1 << 20];
    let mut recv = |deadline| {
        let buffer = unixipc::bytes::to_fill(&mut buffer);
        reader.subscriber.recv(buffer, deadline)
    };
    recv(Deadline::forever()).unwrap();
    let (start, cpu) = (Instant::now(), cpu_of(&bridge));
    for _ in 1..count {
        while let Err(errno) = recv(Deadline::never()) {
            assert_eq!(errno, Errno::EAGAIN);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let run = Run {
        time: start.elapsed(),
        cpu: cpu_of(&bridge) - cpu,
    };
    bridge.stop();
    run
}

/// The times from a publisher through two bridges to a subscriber.
fn latency(server: &Server, publisher: &mut Publisher, len: usize) -> Vec<Duration> {
    let export = Bridge::start(server, "export", &["feed:md -> md"]);
    publisher.wait_subscribers(2);
    let import = Bridge::start(server, "import", &["feed:local <- md"]);
    let mut reader = Reader::new("local");
    let message = vec![7; len];
    let mut buffer = vec![0; 1 << 20];
    let mut times = Vec::new();
    // The first one waits for the consumer of the bridge.
    for number in 0..=PACED {
        std::thread::sleep(Duration::from_millis(1));
        let start = Instant::now();
        publisher
            .feed
            .publish(&message, Deadline::forever())
            .unwrap();
        let buffer = unixipc::bytes::to_fill(&mut buffer);
        reader.subscriber.recv(buffer, Deadline::forever()).unwrap();
        if number > 0 {
            times.push(start.elapsed());
        }
    }
    export.stop();
    import.stop();
    times
}
