//! Clients and publishers that do not use the library: silent ones, and such that send anything.

use crate::support::*;
use common::connection::*;
use common::stopped_call::StoppedCalls;
use libc::{EOPNOTSUPP, EPIPE, EPROTO, ESTALE, EUSERS, POLLIN, SOCK_SEQPACKET, c_int};
use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The number of clients that may be silent at once.
const SILENT_MAX: usize = 16;

/// The request that a subscriber sends. The subscriber has ended since.
fn request() -> Hello {
    let (one, two) = sockets(SOCK_SEQPACKET);
    assert!(from_fd(&one, &RELIABLE, 0).is_err());
    recv_hello(&two)
}

/// A page and a pipe for a request, of which the test has the other side.
struct Client {
    page: File,
    read_end: File,
    _write_end: File,
}

impl Client {
    fn new() -> Self {
        let (read_end, write_end) = pipe();
        Self {
            page: sealed_memfd(65_536, SEALS),
            read_end,
            _write_end: write_end,
        }
    }

    fn fds(&self) -> [c_int; 2] {
        [self.page.as_raw_fd(), self.read_end.as_raw_fd()]
    }
}

/// The publisher's reaction to a request.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// It was admitted.
    Admitted,
    /// It was refused for this reason.
    Refused(u8),
    /// The publisher has closed the connection.
    Closed,
}

/// Adds a client, which has sent bytes and descriptors, to a feed. Returns the answer.
#[track_caller]
fn answer_to(feed: &Feed, bytes: &[u8], fds: &[c_int]) -> Answer {
    let (one, two) = sockets(SOCK_SEQPACKET);
    send_with_fds(&one, bytes, fds);
    let before = (feed.count(), open_numbers());
    assert_eq!(feed.add(&two), DONE);
    drop(two);
    if poll(one.as_raw_fd(), 0) & POLLIN == 0 || feed.count() == before.0 && !has_data(&one) {
        let mut after = open_numbers();
        after.extend(
            before
                .1
                .iter()
                .filter(|fd| !after.contains(fd))
                .copied()
                .collect::<Vec<_>>(),
        );
        after.sort_unstable();
        assert_eq!(after, before.1, "nothing is left of the client");
        assert_eq!(feed.count(), before.0);
        return Answer::Closed;
    }
    let hello = recv_hello(&one);
    assert_eq!(&hello.bytes[..6], b"uifp\x01\x00");
    assert_eq!(hello.fds.len(), 2);
    match hello.bytes[8] {
        0 => {
            assert_eq!(feed.count(), before.0 + 1);
            Answer::Admitted
        }
        reason => {
            assert_eq!(feed.count(), before.0);
            Answer::Refused(reason)
        }
    }
}

/// Whether a byte can be read.
fn has_data(socket: &OwnedFd) -> bool {
    let mut byte = 0u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    // SAFETY: a buffer of one byte.
    unsafe { libc::recv(socket.as_raw_fd(), (&raw mut byte).cast(), 1, flags) == 1 }
}

#[apply(isolated)]
fn requests() {
    let feed = Feed::with(&SMALL);
    let keeper = feed.subscribe(&RELIABLE);
    let (valid, client) = (request(), Client::new());
    assert_eq!((&valid.bytes[..4], valid.fds.len()), (&b"uifs"[..], 2));
    let with = |changes: &[(usize, u8)]| {
        let mut bytes = valid.bytes;
        changes.iter().for_each(|(at, byte)| bytes[*at] = *byte);
        answer_to(&feed, &bytes, &client.fds())
    };
    assert_eq!(with(&[]), Answer::Admitted);
    assert_eq!(
        with(&[(6, 0xff), (7, 0xff)]),
        Answer::Admitted,
        "unknown flags"
    );
    for at in 0..4 {
        assert_eq!(with(&[(at, b'x')]), Answer::Closed, "magic");
    }
    for (at, byte) in [(4, 0), (4, 2), (5, 1)] {
        assert_eq!(with(&[(at, byte)]), Answer::Refused(1), "version");
    }
    for at in (8..16).chain(48..64) {
        assert_eq!(with(&[(at, 1)]), Answer::Closed, "reserved {at}");
    }
    assert_eq!(with(&[(47, 1)]), Answer::Closed, "an endless name");
    assert_eq!(with(&[(20, 0xff), (46, 7)]), Answer::Admitted, "any name");
    // Other lengths and other descriptors.
    let [page, pipe] = client.fds();
    let long = [valid.bytes, valid.bytes].concat();
    for (bytes, fds) in [
        (&valid.bytes[..63], &[page, pipe][..]),
        (&long, &[page, pipe]),
        (&valid.bytes[..1], &[]),
        (&valid.bytes, &[]),
        (&valid.bytes, &[page]),
        (&valid.bytes, &[page, pipe, pipe]),
        (&valid.bytes, &[pipe, page]),
        (&valid.bytes, &[page, page]),
    ] {
        assert_eq!(
            answer_to(&feed, bytes, fds),
            Answer::Closed,
            "{}",
            bytes.len()
        );
    }
    // Pages that could be truncated, or written by the publisher's peers.
    for (size, seals) in [
        (65_536, 0),
        (65_536, SEALS & !libc::F_SEAL_SHRINK),
        (65_536, SEALS & !libc::F_SEAL_FUTURE_WRITE),
        (65_536, SEALS & !libc::F_SEAL_SEAL),
        (4096, SEALS),
        (65_537, SEALS),
        (0, SEALS),
    ] {
        let page = sealed_memfd(size, seals);
        let answer = answer_to(&feed, &valid.bytes, &[page.as_raw_fd(), pipe]);
        assert_eq!(answer, Answer::Closed, "{size} {seals:#x}");
    }
    drop(client);
    feed.service_until_count(1);
    feed.publish_up_to(1, 8, 0);
    keeper.expect_up_to(1, 0);
}

/// A subscriber that was admitted and has not read the answer yet: its page contains zeros.
#[apply(isolated)]
fn subscriber_that_has_not_begun() {
    let (feed, client) = (Feed::with(&SMALL), Client::new());
    feed.publish_up_to(500, 1000, 0);
    assert_eq!(
        answer_to(&feed, &request().bytes, &client.fds()),
        Answer::Admitted
    );
    let lag = || (feed.subscriber().lag_messages, feed.subscriber().lag_bytes);
    assert_eq!(lag(), (0, 0));
    // Nothing that is published from now on is overwritten.
    assert_eq!(feed.fill(1000), 65);
    assert_eq!(lag(), (65, 65 * 1008));
    drop(client);
    feed.service_until_count(0);
}

/// Answers to a subscriber that do not come from the library.
#[apply(isolated)]
fn answers() {
    let feed = Feed::with(&SMALL);
    let (request, client) = (request(), Client::new());
    let (one, two) = sockets(SOCK_SEQPACKET);
    send_with_fds(&one, &request.bytes, &client.fds());
    assert_eq!(feed.add(&two), DONE);
    let valid = recv_hello(&one);
    let fds = valid.raw_fds();
    let subscribe = |bytes: &[u8], fds: &[c_int]| {
        let (one, two) = sockets(SOCK_SEQPACKET);
        let before = open_numbers();
        send_with_fds(&two, bytes, fds);
        let made = from_fd(&one, &RELIABLE, LONG).map(drop);
        assert_eq!(open_numbers(), before);
        made
    };
    let with = |changes: &[(usize, u8)]| {
        let mut bytes = valid.bytes;
        changes.iter().for_each(|(at, byte)| bytes[*at] = *byte);
        subscribe(&bytes, &fds)
    };
    assert_eq!(with(&[]), Ok(()));
    for at in 0..4 {
        assert_eq!(with(&[(at, b'x')]), Err(EPROTO), "magic");
    }
    assert_eq!(
        (with(&[(4, 2)]), with(&[(5, 1)])),
        (Err(ESTALE), Err(ESTALE)),
        "version"
    );
    for (reason, error) in [
        (1, ESTALE),
        (2, EOPNOTSUPP),
        (3, EUSERS),
        (4, EPROTO),
        (255, EPROTO),
    ] {
        assert_eq!(with(&[(8, reason)]), Err(error), "reason {reason}");
    }
    for align in [0, 1, 4, 9, 24, 128] {
        assert_eq!(with(&[(12, align)]), Err(EPROTO), "alignment {align}");
    }
    // The memory has a ring of 64 KiB.
    for (at, byte) in [
        (16, 1),
        (17, 1),
        (18, 0),
        (18, 2),
        (18, 3),
        (19, 1),
        (23, 0x80),
    ] {
        assert_eq!(with(&[(at, byte)]), Err(EPROTO), "size of the ring");
    }
    assert_eq!(
        with(&[(24, 4)]),
        Err(EPROTO),
        "a cursor that is not aligned"
    );
    for at in 44..64 {
        assert_eq!(with(&[(at, 1)]), Err(EPROTO), "reserved {at}");
    }
    let [memory, pipe] = [fds[0], fds[1]];
    assert_eq!(subscribe(&valid.bytes[..63], &fds), Err(EPROTO));
    assert_eq!(subscribe(&valid.bytes, &[memory]), Err(EPROTO));
    assert_eq!(subscribe(&valid.bytes, &[pipe, memory]), Err(EPROTO));
    let unsealed = sealed_memfd(2 * 65_536, 0);
    assert_eq!(
        subscribe(&valid.bytes, &[unsealed.as_raw_fd(), pipe]),
        Err(EPROTO)
    );
    // A publisher that closes without an answer.
    let (one, two) = sockets(SOCK_SEQPACKET);
    drop(two);
    assert_eq!(from_fd(&one, &RELIABLE, LONG).unwrap_err(), EPIPE);
    drop(client);
    feed.service_until_count(0);
}

/// Another process that has the socket receives the answer, after the subscriber has peeked at it.
#[apply(isolated)]
fn answer_is_taken() {
    let feed = Feed::with(&SMALL);
    let (one, two) = sockets(SOCK_SEQPACKET);
    let before = open_numbers();
    let made = thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let socket = &one;
        let thread = scope.spawn(move || {
            let calls = StoppedCalls::of_this_thread(libc::SYS_recvfrom);
            sender.send(calls).unwrap();
            from_fd(socket, &RELIABLE, LONG).map(drop)
        });
        let calls = receiver.recv().unwrap();
        assert_ne!(poll(two.as_raw_fd(), 10_000), 0);
        assert_eq!(feed.add(&two), DONE);
        let call = calls.next(10_000).expect("the end of the peek");
        drop(recv_hello(&one));
        calls.resume(call);
        thread.join().unwrap()
    });
    assert_eq!(made, Err(libc::EBUSY));
    feed.service_until_count(0);
    assert_eq!(open_numbers(), before);
}

/// Clients that connect and send nothing: the publisher is not disturbed, their descriptors are
/// few, and an honest client gets in.
#[apply(isolated)]
fn silent_clients() {
    let (feed, name) = (Feed::with(&SMALL), abstract_name());
    feed.listen(&name);
    let keeper = feed.subscribe(&RELIABLE);
    let before = open_numbers().len();
    let mut silent = Vec::new();
    for round in 1..=30 {
        silent.extend((0..10).map(|_| silent_client(&name)));
        feed.publish_up_to(round * 50, 1000, 0);
        keeper.expect_up_to(round * 50, 0);
        assert_eq!(feed.service(), DONE);
        let accepted = open_numbers().len() - before - silent.len();
        assert!(accepted <= SILENT_MAX, "{accepted}");
    }
    let start = Instant::now();
    thread::scope(|scope| {
        let thread = scope.spawn(|| connect(&name, &RELIABLE, LONG).unwrap());
        drop(feed.serve(thread));
    });
    assert!(start.elapsed() < Duration::from_secs(10));
    // After about a second none is left.
    feed.service_until("the end of the silent clients", || {
        open_numbers().len() == before + silent.len() && feed.count() == 1
    });
    // Those that were dropped notice it.
    for client in &silent {
        assert_eq!(poll(client.as_raw_fd(), 0) & libc::POLLHUP, libc::POLLHUP);
    }
    assert_eq!(keeper.info().lost, 0);
}

/// Honest clients get in while another process connects silent ones as fast as it can.
#[apply(isolated)]
fn flood() {
    let (feed, name) = (Feed::with(&SMALL), abstract_name());
    feed.listen(&name);
    let keeper = feed.subscribe(&RELIABLE);
    let flood = fork(|| {
        close_copy(&feed);
        let mut silent = VecDeque::new();
        loop {
            silent.push_back(silent_client(&name));
            if silent.len() == 200 {
                silent.drain(..100);
            }
        }
    });
    for round in 1..=8 {
        let published = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // A machine that is slow to send the request lets the publisher drop the client.
                for _ in 0..50 {
                    match connect(&name, &RELIABLE, LONG) {
                        Err(EPIPE) => {}
                        sub => return sub.unwrap(),
                    }
                }
                panic!("dropped 50 times");
            });
            drop(feed.serve(thread));
            feed.info().published
        });
        feed.publish_up_to(published + 10, 1000, LONG);
        keeper.expect_up_to(published + 10, 0);
        assert_eq!(keeper.info().next_seq, 10 * round);
    }
    kill(flood);
    feed.service_until_count(1);
}

/// An honest client gets in while all places for added sockets are taken.
#[apply(isolated)]
fn added_and_silent() {
    let (feed, name) = (Feed::with(&SMALL), abstract_name());
    feed.listen(&name);
    let pairs: Vec<_> = (0..64).map(|_| sockets(SOCK_SEQPACKET)).collect();
    for (_, two) in &pairs {
        assert_eq!(feed.add(two), DONE);
    }
    thread::scope(|scope| {
        let thread = scope.spawn(|| connect(&name, &RELIABLE, LONG).map(drop));
        assert_eq!(feed.serve(thread), Ok(()));
    });
    let silent: Vec<_> = (0..40).map(|_| silent_client(&name)).collect();
    for _ in 0..5 {
        assert_eq!(feed.service(), DONE);
    }
    // An added socket stays until it asks or closes.
    for (one, _) in pairs {
        send_with_fds(&one, &request().bytes, &[]);
    }
    assert_eq!(silent.len(), 40);
    feed.service_until_count(0);
}

/// Random bytes at random lengths.
#[apply(isolated)]
fn garbage() {
    let (feed, name) = (Feed::with(&SMALL), abstract_name());
    feed.listen(&name);
    let keeper = feed.subscribe(&RELIABLE);
    let before = open_numbers();
    let (mut random, valid) = (Random(9), request());
    for round in 1..scaled(500) {
        let client = silent_client(&name);
        let mut bytes = match round % 2 {
            0 => valid.bytes.to_vec(),
            _ => pattern(random.index(300), round),
        };
        if !bytes.is_empty() {
            let at = random.index(bytes.len());
            bytes[at] = random.below(256) as u8;
            bytes[0] |= u8::from(round % 3 > 0); // mostly another magic
        }
        let fds: Vec<_> = (0..random.index(3)).map(|_| client.as_raw_fd()).collect();
        send_with_fds(&client, &bytes, &fds);
        assert_eq!(feed.service(), DONE);
        feed.publish_up_to(round, 100, 0);
        keeper.expect_up_to(round, 0);
    }
    assert_eq!(feed.service(), DONE);
    drop(valid);
    feed.service_until("the end of the clients", || {
        open_numbers().len() < before.len() + 1
    });
    assert_eq!(feed.count(), 1);
}
