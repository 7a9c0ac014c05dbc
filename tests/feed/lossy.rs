//! Lossy subscribers: each loss is reported exactly, and no message is torn.

use crate::support::*;
use libc::EAGAIN;
use std::time::{Duration, Instant};

/// The receipts of a lossy subscriber.
#[derive(Default)]
struct Seen {
    received: u64,
    lost: u64,
    overflows: u64,
    bytes: u64,
}

impl Seen {
    /// Receives once. Checks that EOVERFLOW says exactly which message follows. Returns whether the
    /// subscriber has received a message or was told about a loss.
    #[track_caller]
    fn step(&mut self, sub: &Sub, buffer: &mut [u8], timeout_ms: i32) -> bool {
        let next = self.received + self.lost;
        match sub.recv_raw(buffer.as_mut_ptr().cast(), buffer.len(), timeout_ms) {
            Ok(Received::Message(seq, len)) => {
                assert_eq!(seq, next, "after {} losses", self.overflows);
                check_numbered(seq, &buffer[..len]);
                self.received += 1;
                self.bytes += len as u64;
            }
            Ok(Received::Lost(seq)) => {
                assert!(seq > next, "{seq} after {next}");
                self.lost += seq - next;
                self.overflows += 1;
                assert_eq!(sub.info().next_seq, seq);
                assert_eq!(sub.info().lost, self.lost);
            }
            Ok(Received::End) | Err(EAGAIN) => return false,
            Err(error) => panic!("errno {error}"),
        }
        true
    }
}

/// The publisher never waits. The subscriber is told once, and goes on with the oldest message.
#[apply(isolated)]
fn overflow() {
    let feed = Feed::with(&SMALL);
    let sub = feed.subscribe(&LOSSY);
    feed.publish_up_to(10, 1000, 0);
    sub.expect_up_to(3, 0);
    feed.publish_up_to(1000, 1000, 0);
    // A record of 1000 bytes occupies 1008.
    let oldest = 1000 - (SMALL_RING as u64 - 8) / 1008;
    assert_eq!(sub.recv(0), lost_before(oldest));
    assert_eq!((sub.info().lost, sub.info().published), (oldest - 3, 1000));
    sub.expect_up_to(1000, 0);
    assert_eq!(sub.recv(0), Err(EAGAIN));
    assert_eq!(sub.info().lost, oldest - 3);
    // The same for a peek.
    feed.publish_up_to(2000, 1000, 0);
    assert_eq!(sub.peek(0), Ok(Received::Lost(oldest + 1000)));
    sub.expect_up_to(2000, 0);
    // EOVERFLOW precedes EMSGSIZE and the end of the feed.
    feed.publish_up_to(3000, 1000, 0);
    assert_eq!(sub.recv_cap(1, 0), lost_before(oldest + 2000));
    assert_eq!(sub.recv_cap(1, 0), Err(libc::EMSGSIZE));
    feed.publish_up_to(4000, 1000, 0);
    drop(feed);
    assert!(matches!(sub.recv(0), Ok(Received::Lost(_))));
    sub.expect_up_to(4000, 0);
    assert_eq!(sub.recv(0), END);
}

/// A message that is overwritten while it is read: ipc_sub_release reports it.
#[apply(isolated)]
fn overwritten_while_peeked() {
    let feed = Feed::with(&SMALL);
    let sub = feed.subscribe(&LOSSY);
    feed.publish_up_to(1, 1000, 0);
    let mut next = 0;
    for _ in 0..20 {
        assert!(matches!(sub.peek(0), Ok(Received::Message(seq, _)) if seq == next));
        let published = feed.info().published;
        feed.publish_up_to(published + 100, 1000, 0);
        assert_eq!(sub.release(), Err(libc::EOVERFLOW));
        assert_eq!(sub.release(), Err(libc::EINVAL));
        let info = sub.info();
        assert!(info.next_seq > next);
        assert_eq!(info.lost, sub.info().next_seq);
        // The next receive returns the message that the loss ended at.
        next = info.next_seq;
    }
    sub.expect_up_to(feed.info().published, 0);
    // A message that was not overwritten.
    let published = feed.info().published;
    feed.publish_up_to(published + 10, 1000, 0);
    sub.peek(0).unwrap();
    feed.publish_up_to(published + 60, 1000, 0);
    assert_eq!(sub.release(), DONE);
    sub.expect_up_to(published + 60, 0);
    // A reservation overwrites too.
    feed.publish_up_to(published + 61, 1000, 0);
    sub.peek(0).unwrap();
    feed.reserve(feed.max(), 0).unwrap();
    assert_eq!(sub.release(), Err(libc::EOVERFLOW));
    assert_eq!(sub.info().next_seq, published + 61);
    assert_eq!(sub.recv(0), Err(EAGAIN));
    assert_eq!(feed.cancel(), DONE);
    feed.publish_up_to(published + 62, 1000, 0);
    sub.expect_up_to(published + 62, 0);
}

/// Messages of random lengths, published between the receives.
#[apply(isolated)]
fn accounts() {
    let feed = Feed::with(&SMALL);
    let subs = [0; 3].map(|_| feed.subscribe(&LOSSY));
    let mut seen = [0; 3].map(|_| Seen::default());
    let (mut random, mut buffer) = (Random(3), vec![0; SMALL_RING]);
    for round in 0..scaled(3000) {
        for _ in 0..random.below(40) {
            let len = 1 + random.index(if round % 50 == 0 { feed.max() } else { 3000 });
            let seq = feed.info().published;
            assert_eq!(feed.publish(&numbered(seq, len), 0), DONE);
        }
        for (sub, seen) in subs.iter().zip(&mut seen) {
            for _ in 0..random.below(30) {
                seen.step(sub, &mut buffer, 0);
            }
        }
    }
    for (sub, seen) in subs.iter().zip(&mut seen) {
        while seen.step(sub, &mut buffer, 0) {}
        assert_eq!(seen.received + seen.lost, feed.info().published);
        assert!(seen.received > 1000 && seen.lost > 1000);
    }
}

/// A publisher in another process, at full speed.
#[apply(isolated)]
fn full_speed() {
    for (len, many) in [(8, true), (100, true), (1000, true), (20_000, false)] {
        let (name, shared) = (abstract_name(), Counters::new());
        let publisher = fork(|| {
            let feed = Feed::with(&SMALL);
            feed.listen(&name);
            feed.service_until_count(1);
            let end = Instant::now() + Duration::from_millis(scaled(700));
            let mut bytes = vec![0; len];
            for seq in 0u64.. {
                bytes[..8].copy_from_slice(&seq.to_le_bytes());
                for at in (8..len).step_by(8) {
                    let to = (at + 8).min(len);
                    bytes.copy_within(0..to - at, at);
                }
                assert_eq!(feed.publish(&bytes, 0), DONE);
                if seq % 64 == 0 && Instant::now() > end {
                    shared.set(0, seq + 1);
                    return;
                }
            }
        });
        let opts = ipc_sub_opts {
            flags: IPC_SUB_F_LOSSY | IPC_SUB_F_WAIT,
            ..RELIABLE
        };
        let sub = connect(&name, &opts, LONG).unwrap();
        let (mut seen, mut buffer) = (Seen::default(), vec![0; len]);
        while seen.step(&sub, &mut buffer, LONG) {}
        publisher.join();
        assert_eq!(seen.received + seen.lost, shared.get(0));
        assert_eq!(sub.info().published, shared.get(0));
        println!(
            "{len} bytes: {} received ({} bytes), {} lost in {} overflows",
            seen.received, seen.bytes, seen.lost, seen.overflows
        );
        assert!(seen.received > 0 && (!many || seen.received > seen.overflows));
    }
}

/// As `full_speed`, with ipc_sub_peek: if ipc_sub_release succeeds, the message was whole.
#[apply(isolated)]
fn full_speed_peek() {
    let (feed, shared) = (Feed::with(&SMALL), Counters::new());
    let child = spawn_sub(&feed, &LOSSY, |sub| {
        let (mut next, mut kept, mut discarded) = (0, 0u64, 0u64);
        loop {
            match sub.peek(LONG).unwrap() {
                Received::End => break,
                Received::Lost(seq) => {
                    assert!(seq > next);
                    next = seq;
                }
                Received::Message(seq, bytes) => {
                    assert_eq!(seq, next);
                    let copy = bytes.to_vec();
                    match sub.release() {
                        Ok(_) => {
                            check_numbered(seq, &copy);
                            (next, kept) = (seq + 1, kept + 1);
                        }
                        Err(error) => {
                            assert_eq!(error, libc::EOVERFLOW);
                            assert!(sub.info().next_seq > seq);
                            (next, discarded) = (sub.info().next_seq, discarded + 1);
                        }
                    }
                }
            }
        }
        println!("{kept} kept, {discarded} discarded");
        assert!(kept > 0);
        assert_eq!(kept + sub.info().lost, next);
        shared.set(0, next);
    });
    let end = Instant::now() + Duration::from_millis(scaled(1500));
    while Instant::now() < end {
        feed.publish_up_to(feed.info().published + 100, 3000, 0);
    }
    let published = feed.info().published;
    drop(feed);
    child.join();
    assert_eq!(shared.get(0), published);
}

/// Reliable and lossy subscribers of one feed.
#[apply(isolated)]
fn beside_reliable() {
    let feed = Feed::with(&SMALL);
    let (reliable, lossy) = (feed.subscribe(&RELIABLE), feed.subscribe(&LOSSY));
    let mut seen = Seen::default();
    let mut buffer = vec![0; 1000];
    for round in 1..200 {
        feed.fill(1000);
        // The publisher waits for the reliable one, so the lossy one loses only what that has read.
        reliable.expect_up_to(feed.info().published - round % 3, 0);
        if round % 10 == 0 {
            while seen.step(&lossy, &mut buffer, 0) {}
            assert_eq!(seen.received + seen.lost, feed.info().published);
        }
    }
    assert!(seen.lost > 0 && reliable.info().lost == 0);
}
