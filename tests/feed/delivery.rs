//! Reliable subscribers receive each message once, in order.

use crate::support::*;
use libc::{EAGAIN, EMSGSIZE};
use std::slice;

/// Messages of all short lengths, of lengths around powers of two, and of the longest.
#[apply(isolated)]
fn lengths() {
    let feed = Feed::with(&SMALL);
    let subs = [0; 3].map(|_| feed.subscribe(&RELIABLE));
    let max = feed.max();
    let powers = (8..16).flat_map(|power| (1 << power) - 12..(1 << power) + 12);
    let lengths = (1..=300).chain(powers).filter(|len| *len <= max);
    let lengths = lengths.chain([max, 1, max - 1, max, 3, max - 7, max]);
    for (seq, len) in lengths.enumerate() {
        let bytes = pattern(len, seq as u64);
        assert_eq!(feed.publish(&bytes, 0), DONE, "{len}");
        for sub in &subs {
            assert!(sub.recv_cap(len, 0) == message(seq as u64, &bytes), "{len}");
            assert_eq!(sub.recv(0), Err(EAGAIN));
        }
    }
}

/// Many messages wrap around in the ring, at each alignment. Reserved and received messages are
/// aligned.
#[apply(isolated)]
fn alignment() {
    for align in [8, 16, 32, 64] {
        let feed = Feed::with(&ipc_feed_opts {
            message_align: align,
            ..SMALL
        });
        let sub = feed.subscribe(&RELIABLE);
        let max = feed.max();
        assert!(max > SMALL_RING - 72 - 2 * align as usize, "{max}");
        let mut random = Random(align.into());
        for seq in 0..3000 {
            let len = match random.below(100) {
                0 => max,
                _ => 1 + random.index(600),
            };
            let space = feed.reserve(len, 0).unwrap();
            assert!(space.as_ptr().addr() % align as usize == 0);
            space.copy_from_slice(&numbered(seq, len));
            assert_eq!(feed.commit(len), DONE);
            let Received::Message(number, bytes) = sub.peek(0).unwrap() else {
                panic!("no message");
            };
            assert!(bytes.as_ptr().addr() % align as usize == 0);
            assert_eq!((number, bytes.len()), (seq, len));
            check_numbered(seq, bytes);
            assert_eq!(sub.release(), DONE);
        }
    }
}

/// Messages of random lengths, of which several are in the ring at once. A message is not
/// overwritten before the slowest reliable subscriber has received it.
#[apply(isolated)]
fn full_ring() {
    let feed = Feed::with(&SMALL);
    let subs = [0; 4].map(|_| feed.subscribe(&RELIABLE));
    let mut random = Random(7);
    let (mut lens, mut read) = (Vec::new(), [0usize; 4]);
    for _ in 0..scaled(20_000) {
        let len = 1 + random.index(5000);
        match feed.publish(&numbered(lens.len() as u64, len), 0) {
            Ok(_) => lens.push(len),
            Err(error) => {
                assert_eq!(error, EAGAIN);
                let slowest = *read.iter().min().unwrap();
                let unread: usize = lens[slowest..].iter().map(|len| len + 16).sum();
                assert!(unread + len + 16 > SMALL_RING - 128, "refused without need");
            }
        }
        let index = random.index(4);
        for _ in 0..random.below(6) {
            let seq = read[index];
            match subs[index].recv_cap(5000, 0) {
                Ok(Received::Message(number, bytes)) => {
                    assert_eq!((number, bytes.len()), (seq as u64, lens[seq]));
                    check_numbered(number, &bytes);
                    read[index] += 1;
                }
                other => {
                    assert_eq!(other, Err(EAGAIN));
                    assert_eq!(seq, lens.len());
                }
            }
        }
    }
    println!("{} messages", lens.len());
}

/// A subscriber begins with the next message, and leaves at any time.
#[apply(isolated)]
fn come_and_go() {
    let feed = Feed::with(&SMALL);
    let mut subs: Vec<Sub> = Vec::new();
    for round in 0..60u64 {
        let sub = feed.subscribe(&RELIABLE);
        assert_eq!(sub.info().next_seq, round * 3);
        subs.push(sub);
        feed.publish_up_to(round * 3 + 3, 900, 0);
        for sub in &subs {
            sub.expect_up_to(round * 3 + 3, 0);
            assert_eq!(sub.recv(0), Err(EAGAIN));
        }
        if round % 2 == 1 {
            subs.remove(round as usize % subs.len());
            feed.service_until_count(subs.len());
        }
    }
}

#[apply(isolated)]
fn reserve_and_commit() {
    let feed = Feed::with(&SMALL);
    let sub = feed.subscribe(&RELIABLE);
    let space = feed.reserve(1000, 0).unwrap();
    space.fill(b'a');
    assert_eq!(sub.recv(0), Err(EAGAIN), "not published yet");
    // A shorter message than reserved.
    assert_eq!(feed.commit(10), DONE);
    assert_eq!(sub.recv(0), message(0, b"aaaaaaaaaa"));
    // A cancelled message has no sequence number.
    feed.reserve(feed.max(), 0).unwrap().fill(b'b');
    assert_eq!((feed.cancel(), feed.info().published), (DONE, 1));
    assert_eq!(sub.recv(0), Err(EAGAIN));
    assert_eq!(feed.publish(b"c", 0), DONE);
    assert_eq!(sub.recv(0), message(1, b"c"));
    // A reservation waits for subscribers as a publication does.
    let count = feed.fill(4000);
    assert_eq!(feed.reserve(4000, 0).unwrap_err(), EAGAIN);
    sub.expect_up_to(2 + count, 0);
    feed.reserve(4000, 0).unwrap();
    assert_eq!(feed.cancel(), DONE);
}

#[apply(isolated)]
fn peek_and_release() {
    let feed = Feed::with(&SMALL);
    let sub = feed.subscribe(&RELIABLE);
    assert_eq!(sub.peek(0).unwrap_err(), EAGAIN);
    for seq in 0..500 {
        feed.publish_up_to(seq + 1, 700, 0);
        for _ in 0..2 {
            let Received::Message(number, bytes) = sub.peek(0).unwrap() else {
                panic!("no message");
            };
            assert_eq!((number, bytes.len()), (seq, 700));
            check_numbered(seq, bytes);
        }
        assert_eq!(sub.info().next_seq, seq);
        assert_eq!(sub.release(), DONE);
        assert_eq!(sub.info().next_seq, seq + 1);
    }
    // A message that is being read is not overwritten.
    let Received::Message(_, bytes) = ({
        feed.publish_up_to(501, 700, 0);
        sub.peek(0).unwrap()
    }) else {
        panic!("no message");
    };
    let (at, len) = (bytes.as_ptr(), bytes.len());
    feed.fill(600);
    // SAFETY: the message is not released.
    check_numbered(500, unsafe { slice::from_raw_parts(at, len) });
    assert_eq!(sub.release(), DONE);
}

/// A message that is longer than the buffer stays.
#[apply(isolated)]
fn small_buffer() {
    let feed = Feed::new();
    let sub = feed.subscribe(&RELIABLE);
    for (seq, len) in [2, 9, 64, 65, 100, 5000].into_iter().enumerate() {
        let bytes = pattern(len, 1);
        assert_eq!(feed.publish(&bytes, 0), DONE);
        for cap in [1, len / 2, len - 1] {
            assert_eq!(sub.recv_cap(cap, LONG), Err(EMSGSIZE), "{cap} of {len}");
        }
        assert_eq!(sub.info().next_seq, seq as u64);
        assert_eq!(sub.recv_cap(len, 0), message(seq as u64, &bytes));
    }
    assert_eq!(sub.info().lost, 0);
}

/// A feed without subscribers accepts every message.
#[apply(isolated)]
fn no_subscribers() {
    let feed = Feed::with(&SMALL);
    feed.publish_up_to(10_000, 100, -1);
    let sub = feed.subscribe(&RELIABLE);
    feed.publish_up_to(10_001, 100, 0);
    sub.expect_up_to(10_001, 0);
}
