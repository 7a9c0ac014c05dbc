//! Messages: their contents, lengths and order; reserving and peeking.

use crate::support::*;
use libc::{EAGAIN, EMSGSIZE};
use std::collections::VecDeque;
use unixipc::ffi::channel::*;

#[apply(isolated)]
fn every_length() {
    let (a, b) = small();
    let longest = a.max();
    let bytes = pattern(longest, 1);
    let lengths = (1..600).chain((longest - 600)..=longest);
    for (number, len) in lengths.enumerate() {
        // The places in the ring differ, as the lengths do.
        let (from, to) = if number % 2 == 0 { (&a, &b) } else { (&b, &a) };
        assert_eq!(from.send(&bytes[..len], 0), DONE);
        assert!(to.recv_cap(len, 0).unwrap() == bytes[..len], "{len}");
    }
    assert_eq!(a.recv(0), Err(EAGAIN));
    assert_eq!(b.recv(0), Err(EAGAIN));
}

/// A length of which short ones are as likely as long ones.
fn any_length(random: &mut Random, longest: usize) -> usize {
    let limit = (longest as u64).min(1 << (random.below(17) + 1));
    1 + random.below(limit) as usize
}

/// A mixture of all lengths, several at a time in the ring, over its end many times.
#[apply(isolated)]
fn mixture() {
    let (a, b) = small();
    let longest = a.max();
    let mut random = Random(2);
    let mut ways = [(&a, &b, VecDeque::new()), (&b, &a, VecDeque::new())];
    let mut bytes = 0;
    for seed in 0..scaled(5_000) {
        let (from, to, under_way) = &mut ways[random.below(2) as usize];
        let message = pattern(any_length(&mut random, longest), seed);
        match from.send(&message, 0) {
            Ok(_) => {
                bytes += message.len();
                under_way.push_back(message);
            }
            Err(error) => {
                assert_eq!(error, EAGAIN);
                assert!(!under_way.is_empty(), "{} do not fit", message.len());
            }
        }
        for _ in 0..random.below(3) {
            let received = to.recv_cap(longest, 0);
            let expected = under_way.pop_front().ok_or(EAGAIN);
            assert!(received == expected, "message {seed}");
        }
    }
    assert!(bytes > 100 * SMALL_RING, "{bytes} bytes");
}

/// As many messages are there as have room, and none is lost where there is none.
#[apply(isolated)]
fn capacity() {
    for len in [1usize, 4, 5, 12, 1000, 4092, 60_000] {
        let (a, b) = small();
        // Each takes four bytes more, and a multiple of eight; eight bytes stay free.
        let expected = (SMALL_RING - 8) / (len + 4).next_multiple_of(8);
        for _ in 0..3 {
            assert_eq!(a.fill(len), expected as u64, "{len}");
            assert_eq!(b.recv_cap(len, 0).unwrap(), vec![b'f'; len]);
            assert_eq!(a.fill(len), 1, "{len}");
            assert_eq!(b.drain(), expected as u64, "{len}");
        }
    }
}

#[apply(isolated)]
fn too_long_for_the_buffer() {
    let (a, b) = pair();
    let message = pattern(1000, 3);
    assert_eq!(a.send(&message, 0), DONE);
    assert_eq!(a.send(b"next", 0), DONE);
    for cap in [1, 8, 996, 999] {
        for timeout_ms in [0, 10, -1] {
            assert_eq!(b.recv_cap(cap, timeout_ms), Err(EMSGSIZE));
        }
    }
    assert_eq!(b.peek(0).unwrap(), message);
    assert_eq!(b.recv_cap(999, 0), Err(EMSGSIZE), "also what was shown");
    assert_eq!(b.recv_cap(1000, 0).unwrap(), message);
    assert_eq!(b.recv(0).unwrap(), b"next");
}

#[apply(isolated)]
fn reserve() {
    let (a, b) = small();
    for len in (1..200).chain([60_000, a.max()]) {
        let message = pattern(len, len as u64);
        a.reserve(len, 0).unwrap().copy_from_slice(&message);
        assert_eq!(b.recv(0), Err(EAGAIN), "not yet");
        // Meanwhile the other direction is free.
        assert_eq!(b.send(b"other", 0), DONE);
        assert_eq!(a.recv(0).unwrap(), b"other");
        assert_eq!(a.commit(len), DONE);
        assert!(b.recv_cap(len, 0).unwrap() == message, "{len}");
    }
}

#[apply(isolated)]
fn commit_less() {
    let (a, b) = small();
    for less in [1, 7, 8, 1000] {
        let room = a.reserve(a.max(), 0).unwrap();
        room[..less].fill(less as u8);
        assert_eq!(a.commit(less), DONE);
        // The rest is given back.
        assert_eq!(a.send(b"behind", 0), DONE);
        assert_eq!(b.recv_cap(less, 0).unwrap(), vec![less as u8; less]);
        assert_eq!(b.recv(0).unwrap(), b"behind");
    }
}

#[apply(isolated)]
fn cancel() {
    let (a, b) = small();
    for _ in 0..10 {
        a.reserve(a.max(), 0).unwrap().fill(1);
        assert_eq!(a.cancel(), DONE);
        assert_eq!(b.recv(0), Err(EAGAIN));
        assert_eq!(a.send(b"instead", 0), DONE);
        assert_eq!(b.recv(0).unwrap(), b"instead");
    }
    let stats = a.stats();
    assert_eq!((stats.sent_messages, stats.sent_bytes), (10, 70));
    // What is reserved at the end is not sent.
    a.reserve(100, 0).unwrap().fill(2);
    drop(a);
    assert_eq!(b.recv(0), Ok(vec![]));
}

#[apply(isolated)]
fn peek() {
    let (a, b) = small();
    for round in 0..2000 {
        let messages = [round + 1, 3, 20_000].map(|len| pattern(len, round as u64));
        for message in &messages {
            assert_eq!(a.send(message, 0), DONE);
        }
        for message in &messages {
            let shown = b.peek(0).unwrap();
            assert!(shown == message);
            let again = b.peek(-1).unwrap();
            assert_eq!(again.as_ptr(), shown.as_ptr(), "it stays where it is");
            assert_eq!(again.len(), shown.len());
            assert_eq!(b.release(), DONE);
        }
        assert_eq!(b.peek(0).unwrap_err(), EAGAIN);
    }
}

/// What is shown is not written over, however full the ring is; its room is free afterwards.
#[apply(isolated)]
fn peek_in_a_full_ring() {
    let (a, b) = small();
    let message = pattern(30_000, 5);
    assert_eq!(a.send(&message, 0), DONE);
    let shown = b.peek(0).unwrap();
    for len in [1000, 100, 1] {
        a.fill(len);
    }
    assert!(shown == message);
    assert_eq!(a.send(&message, 10), Err(libc::ETIMEDOUT));
    assert!(shown == message);
    assert_eq!(b.release(), DONE);
    assert_eq!(a.send(&message[..29_000], 0), DONE);
}

/// Reserving and peeking mixed with sending and receiving.
#[apply(isolated)]
fn all_ways_mixed() {
    let (a, b) = small();
    let mut random = Random(7);
    let mut under_way = VecDeque::new();
    let mut seed = 0;
    for _ in 0..scaled(8_000) {
        let len = any_length(&mut random, 20_000);
        let message = pattern(len, seed);
        let sent = match random.below(3) {
            0 => a.send(&message, 0),
            1 => a.reserve(len, 0).and_then(|room| {
                room.copy_from_slice(&message);
                a.commit(len)
            }),
            _ => a.reserve(len + 1, 0).and_then(|room| {
                room[..len].copy_from_slice(&message);
                if random.below(2) == 0 {
                    a.commit(len)
                } else {
                    a.cancel().and(Err(EAGAIN))
                }
            }),
        };
        if sent == DONE {
            under_way.push_back(message);
            seed += 1;
        } else {
            assert_eq!(sent, Err(EAGAIN));
        }
        for _ in 0..random.below(3) {
            let expected = under_way.pop_front().ok_or(EAGAIN);
            match random.below(3) {
                0 => assert!(b.recv_cap(SMALL_RING, 0) == expected),
                kind => {
                    let shown = b.peek(0);
                    assert!(shown.map(<[u8]>::to_vec) == expected);
                    if shown.is_ok() && kind == 1 {
                        assert_eq!(b.release(), DONE);
                    } else if shown.is_ok() {
                        assert!(b.recv_cap(SMALL_RING, 0) == expected);
                    }
                }
            }
        }
    }
    assert!(seed > 1000);
}

#[apply(isolated)]
fn statistics() {
    let (a, b) = small();
    let numbers = |stats: ipc_channel_stats| {
        [
            stats.sent_messages,
            stats.sent_bytes,
            stats.received_messages,
            stats.received_bytes,
            stats.full,
        ]
    };
    assert_eq!(numbers(a.stats()), [0; 5]);
    for _ in 0..3 {
        assert_eq!(a.send(&[0; 10], 0), DONE);
    }
    a.reserve(100, 0).unwrap();
    assert_eq!(a.commit(50), DONE);
    assert_eq!(numbers(a.stats()), [4, 80, 0, 0, 0]);
    assert_eq!(numbers(b.stats()), [0; 5]);
    b.recv(0).unwrap();
    b.peek(0).unwrap();
    assert_eq!(numbers(b.stats()), [0, 0, 1, 10, 0]);
    assert_eq!(b.release(), DONE);
    assert_eq!(numbers(b.stats()), [0, 0, 2, 20, 0]);
    // What was refused, or is too long for the buffer, is not counted; having found no room is.
    assert_eq!(b.recv_cap(9, 0), Err(EMSGSIZE));
    assert_eq!(a.send(&[], 0), Err(libc::EINVAL));
    assert_eq!(numbers(b.stats()), [0, 0, 2, 20, 0]);
    assert_eq!(a.stats().sleeps + b.stats().sleeps, 0);
    assert_eq!(a.send(&[0; 65_000], 0), DONE);
    assert_eq!(a.send(&[0; 65_000], 0), Err(EAGAIN));
    assert_eq!(a.send(&[0; 65_000], 10), Err(libc::ETIMEDOUT));
    assert_eq!(numbers(a.stats()), [5, 65_080, 0, 0, 2]);
    assert!(a.stats().sleeps >= 1, "it waited");
    b.drain();
    // The receiver sleeps, and is woken.
    let before = (a.stats(), b.stats());
    let tid = Counters::new();
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            tid.set(0, thread_id());
            assert_eq!(b.recv(LONG).unwrap(), b"wake");
        });
        tid.wait_for(0, 1);
        wait_thread_asleep(tid.get(0));
        assert_eq!(a.send(b"wake", 0), DONE);
        receiver.join().unwrap();
    });
    assert_eq!(a.stats().wakes - before.0.wakes, 1);
    // What rang before it slept ends its first sleep at once.
    let sleeps = b.stats().sleeps - before.1.sleeps;
    assert!((1..=2).contains(&sleeps), "{sleeps}");
}
