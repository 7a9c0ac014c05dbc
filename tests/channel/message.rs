//! Messages: contents, lengths and order; reserve and peek.

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
        // Each message begins at another position in the ring.
        let (from, to) = if number % 2 == 0 { (&a, &b) } else { (&b, &a) };
        assert_eq!(from.send(&bytes[..len], 0), DONE);
        assert!(to.recv_cap(len, 0).unwrap() == bytes[..len], "{len}");
    }
    assert_eq!(a.recv(0), Err(EAGAIN));
    assert_eq!(b.recv(0), Err(EAGAIN));
}

/// A random length. Short lengths are as likely as long ones.
fn random_length(random: &mut Random, longest: usize) -> usize {
    let limit = (longest as u64).min(1 << (random.below(17) + 1));
    1 + random.below(limit) as usize
}

/// Messages of random lengths. The ring holds several of them, and wraps around many times.
#[apply(isolated)]
fn mixture() {
    let (a, b) = small();
    let longest = a.max();
    let mut random = Random(2);
    let mut directions = [(&a, &b, VecDeque::new()), (&b, &a, VecDeque::new())];
    let mut bytes = 0;
    for seed in 0..scaled(5_000) {
        let (from, to, in_ring) = &mut directions[random.below(2) as usize];
        let message = pattern(random_length(&mut random, longest), seed);
        match from.send(&message, 0) {
            Ok(_) => {
                bytes += message.len();
                in_ring.push_back(message);
            }
            Err(error) => {
                assert_eq!(error, EAGAIN);
                assert!(
                    !in_ring.is_empty(),
                    "no room for {} bytes in an empty ring",
                    message.len()
                );
            }
        }
        for _ in 0..random.below(3) {
            let received = to.recv_cap(longest, 0);
            let expected = in_ring.pop_front().ok_or(EAGAIN);
            assert!(received == expected, "message {seed}");
        }
    }
    let rings = scaled(100) as usize;
    assert!(bytes > rings * SMALL_RING, "{bytes} bytes");
}

/// A ring holds as many messages as fit, and a full ring loses none.
#[apply(isolated)]
fn capacity() {
    for len in [1usize, 4, 5, 12, 1000, 4092, 60_000] {
        let (a, b) = small();
        // A message takes four bytes more, rounded up to a multiple of eight. Eight bytes stay
        // free.
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
    assert_eq!(
        b.recv_cap(999, 0),
        Err(EMSGSIZE),
        "the peeked message is too long too"
    );
    assert_eq!(b.recv_cap(1000, 0).unwrap(), message);
    assert_eq!(b.recv(0).unwrap(), b"next");
}

#[apply(isolated)]
fn reserve() {
    let (a, b) = small();
    for len in (1..200).chain([60_000, a.max()]) {
        let message = pattern(len, len as u64);
        a.reserve(len, 0).unwrap().copy_from_slice(&message);
        assert_eq!(b.recv(0), Err(EAGAIN), "received before the commit");
        // The other direction can be used during that time.
        assert_eq!(b.send(b"other", 0), DONE);
        assert_eq!(a.recv(0).unwrap(), b"other");
        assert_eq!(a.commit(len), DONE);
        assert!(b.recv_cap(len, 0).unwrap() == message, "{len}");
    }
}

#[apply(isolated)]
fn commit_part() {
    let (a, b) = small();
    for len in [1, 7, 8, 1000] {
        let reserved = a.reserve(a.max(), 0).unwrap();
        reserved[..len].fill(len as u8);
        assert_eq!(a.commit(len), DONE);
        // The rest of the reserved room is free.
        assert_eq!(a.send(b"behind", 0), DONE);
        assert_eq!(b.recv_cap(len, 0).unwrap(), vec![len as u8; len]);
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
    // A message that is reserved when the end closes is not sent.
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
            let peeked = b.peek(0).unwrap();
            assert!(peeked == message);
            let again = b.peek(-1).unwrap();
            assert_eq!(again.as_ptr(), peeked.as_ptr(), "the message has moved");
            assert_eq!(again.len(), peeked.len());
            assert_eq!(b.release(), DONE);
        }
        assert_eq!(b.peek(0).unwrap_err(), EAGAIN);
    }
}

/// A peeked message is not overwritten even if the ring is full. Its room is free after the
/// release.
#[apply(isolated)]
fn peek_in_a_full_ring() {
    let (a, b) = small();
    let message = pattern(30_000, 5);
    assert_eq!(a.send(&message, 0), DONE);
    let peeked = b.peek(0).unwrap();
    for len in [1000, 100, 1] {
        a.fill(len);
    }
    assert!(peeked == message);
    assert_eq!(a.send(&message, 10), Err(libc::ETIMEDOUT));
    assert!(peeked == message);
    assert_eq!(b.release(), DONE);
    assert_eq!(a.send(&message[..29_000], 0), DONE);
}

/// Reserve and peek mixed with send and recv.
#[apply(isolated)]
fn mixed_calls() {
    let (a, b) = small();
    let mut random = Random(7);
    let mut in_ring = VecDeque::new();
    let mut seed = 0;
    for _ in 0..scaled(8_000) {
        let len = random_length(&mut random, 20_000);
        let message = pattern(len, seed);
        let sent = match random.below(3) {
            0 => a.send(&message, 0),
            1 => a.reserve(len, 0).and_then(|reserved| {
                reserved.copy_from_slice(&message);
                a.commit(len)
            }),
            _ => a.reserve(len + 1, 0).and_then(|reserved| {
                reserved[..len].copy_from_slice(&message);
                if random.below(2) == 0 {
                    a.commit(len)
                } else {
                    a.cancel().and(Err(EAGAIN))
                }
            }),
        };
        if sent == DONE {
            in_ring.push_back(message);
            seed += 1;
        } else {
            assert_eq!(sent, Err(EAGAIN));
        }
        for _ in 0..random.below(3) {
            let expected = in_ring.pop_front().ok_or(EAGAIN);
            match random.below(3) {
                0 => assert!(b.recv_cap(SMALL_RING, 0) == expected),
                action => {
                    let peeked = b.peek(0);
                    assert!(peeked.map(<[u8]>::to_vec) == expected);
                    if peeked.is_ok() && action == 1 {
                        assert_eq!(b.release(), DONE);
                    } else if peeked.is_ok() {
                        assert!(b.recv_cap(SMALL_RING, 0) == expected);
                    }
                }
            }
        }
    }
    assert!(seed > scaled(1000));
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
    // Failed calls are not counted, except sends that find no room.
    assert_eq!(b.recv_cap(9, 0), Err(EMSGSIZE));
    assert_eq!(a.send(&[], 0), Err(libc::EINVAL));
    assert_eq!(numbers(b.stats()), [0, 0, 2, 20, 0]);
    assert_eq!(a.stats().sleeps + b.stats().sleeps, 0);
    assert_eq!(a.send(&[0; 65_000], 0), DONE);
    assert_eq!(a.send(&[0; 65_000], 0), Err(EAGAIN));
    assert_eq!(a.send(&[0; 65_000], 10), Err(libc::ETIMEDOUT));
    assert_eq!(numbers(a.stats()), [5, 65_080, 0, 0, 2]);
    assert!(a.stats().sleeps >= 1, "the send waited");
    b.drain();
    // The receiver sleeps, and a send wakes it.
    let before = (a.stats(), b.stats());
    std::thread::scope(|scope| {
        let (receiver, _) = spawn_sleeper(scope, || assert_eq!(b.recv(LONG).unwrap(), b"wake"));
        assert_eq!(a.send(b"wake", 0), DONE);
        receiver.join().unwrap();
    });
    assert_eq!(a.stats().wakes - before.0.wakes, 1);
    // An earlier wake-up in the pipe can end the first sleep at once.
    let sleeps = b.stats().sleeps - before.1.sleeps;
    assert!((1..=2).contains(&sleeps), "{sleeps}");
}
