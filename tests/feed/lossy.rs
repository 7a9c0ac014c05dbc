//! Lossy subscribers: each loss is reported exactly, and no message is torn.

use crate::support::*;
use libc::{EAGAIN, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// The receipts of a lossy subscriber.
struct Seen {
    /// Checks the bytes of a message.
    check: fn(u64, &[u8]),
    received: u64,
    lost: u64,
    overflows: u64,
    bytes: u64,
}

impl Seen {
    fn new(check: fn(u64, &[u8])) -> Self {
        Self {
            check,
            received: 0,
            lost: 0,
            overflows: 0,
            bytes: 0,
        }
    }

    /// Receives once. Checks that EOVERFLOW says exactly which message follows. Returns whether the
    /// subscriber has received a message or was told about a loss.
    #[track_caller]
    fn step(&mut self, sub: &Sub, buffer: &mut [u8], timeout_ms: i32) -> bool {
        let next = self.received + self.lost;
        match sub.recv_raw(buffer.as_mut_ptr().cast(), buffer.len(), timeout_ms) {
            Ok(Received::Message(seq, len)) => {
                assert_eq!(seq, next, "after {} losses", self.overflows);
                (self.check)(seq, &buffer[..len]);
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
    let first = oldest(&feed);
    assert_eq!(sub.recv(0), lost_before(first));
    assert_eq!((sub.info().lost, sub.info().published), (first - 3, 1000));
    sub.expect_up_to(1000, 0);
    assert_eq!(sub.recv(0), Err(EAGAIN));
    assert_eq!(sub.info().lost, first - 3);
    // The same for a peek.
    feed.publish_up_to(2000, 1000, 0);
    assert_eq!(sub.peek(0), Ok(Received::Lost(oldest(&feed))));
    sub.expect_up_to(2000, 0);
    // EOVERFLOW precedes EMSGSIZE and the end of the feed.
    feed.publish_up_to(3000, 1000, 0);
    assert_eq!(sub.recv_cap(1, 0), lost_before(oldest(&feed)));
    assert_eq!(sub.recv_cap(1, 0), Err(libc::EMSGSIZE));
    feed.publish_up_to(4000, 1000, 0);
    drop(feed);
    assert!(matches!(sub.recv(0), Ok(Received::Lost(_))));
    sub.expect_up_to(4000, 0);
    assert_eq!(sub.recv(0), END);
}

/// A subscriber that is overtaken twice within a short time goes on with a message up to three
/// eighths of the ring after the oldest one, but not if it has read an eighth of the
/// ring in between.
#[apply(isolated)]
fn overtaken_twice() {
    let feed = Feed::with(&SMALL);
    let sub = feed.subscribe(&LOSSY);
    let publish = || {
        feed.publish_up_to(feed.info().published + 100, 1000, 0);
        oldest(&feed)
    };
    let next = || match sub.recv(0) {
        Ok(Received::Lost(seq)) => seq,
        other => panic!("{other:?}"),
    };
    let first = publish();
    assert_eq!(next(), first);
    for read in [0, 1, 7] {
        let oldest = publish();
        let next = next();
        let most = oldest + 65 * 3 / 8 + 1;
        assert!(next > oldest && next <= most, "{next} {oldest}");
        sub.expect_up_to(next + read, 0);
    }
    let later = publish();
    assert!(next() > later);
    sub.expect_up_to(sub.info().next_seq + 10, 0);
    let last = publish();
    assert_eq!(next(), last);
    sub.expect_up_to(feed.info().published, 0);
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

/// The publisher overwrites a message while it is copied: the copy stops at the write to a page that
/// is not accessible yet, and the handler of the signal publishes.
#[apply(isolated)]
fn overwritten_while_copied() {
    static FEED: AtomicPtr<unixipc::feed::Feed> = AtomicPtr::new(null_mut());
    static PAGE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
    extern "C" fn publish(_: c_int) {
        let feed = ManuallyDrop::new(Feed(FEED.load(SeqCst)));
        feed.publish_up_to(feed.info().published + 200, 1000, 0);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the page of the test.
        let done = unsafe { libc::mprotect(PAGE.load(SeqCst), page_size(), access) };
        assert_eq!(done, 0);
    }
    set_action(libc::SIGSEGV, publish as extern "C" fn(c_int) as usize, 0);
    for len in [1, 8, 64, 65, 500, 4096] {
        let feed = Feed::with(&SMALL);
        let sub = feed.subscribe(&LOSSY);
        FEED.store(feed.0, SeqCst);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping.
        let page = unsafe { libc::mmap(null_mut(), page_size(), libc::PROT_NONE, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        PAGE.store(page, SeqCst);
        feed.publish_up_to(1, len, 0);
        let received = sub.recv_raw(page, page_size(), 0);
        let oldest = oldest(&feed);
        assert_eq!(received, Ok(Received::Lost(oldest)), "{len}");
        assert_eq!(sub.info().lost, oldest);
        sub.expect_up_to(201, 0);
        // SAFETY: the mapping is ours.
        assert_eq!(unsafe { libc::munmap(page, page_size()) }, 0);
    }
    set_action(libc::SIGSEGV, libc::SIG_DFL, 0);
}

/// Messages of random lengths, published between the receives.
#[apply(isolated)]
fn accounts() {
    let feed = Feed::with(&SMALL);
    let subs = [0; 3].map(|_| feed.subscribe(&LOSSY));
    let mut seen = [0; 3].map(|_| Seen::new(check_numbered));
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
        assert!(seen.received > scaled(1000) && seen.lost > scaled(1000));
    }
}

/// Checks a message that begins with its sequence number and consists of the number's low byte.
#[track_caller]
fn check_marked(seq: u64, bytes: &[u8]) {
    let (number, rest) = bytes.split_at(8);
    assert!(number == seq.to_le_bytes(), "message {seq} is another");
    // Comparing the bytes with their neighbours is fast even without optimisation.
    let is_whole = rest.is_empty() || rest[0] == seq as u8 && rest[1..] == rest[..rest.len() - 1];
    assert!(is_whole, "message {seq} is torn");
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
            let mut messages: Vec<_> = (0..=u8::MAX).map(|byte| vec![byte; len]).collect();
            for seq in 0u64.. {
                let bytes = &mut messages[usize::from(seq as u8)];
                bytes[..8].copy_from_slice(&seq.to_le_bytes());
                assert_eq!(feed.publish(bytes, 0), DONE);
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
        let (mut seen, mut buffer) = (Seen::new(check_marked), vec![0; len]);
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

/// As `full_speed`, with ipc_sub_peek. If ipc_sub_release succeeds, the message was whole.
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
    let mut seen = Seen::new(check_numbered);
    let mut buffer = vec![0; 1000];
    for round in 1..200 {
        feed.fill(1000);
        // The publisher waits for the reliable one, so the lossy one loses only messages that the
        // other has read.
        reliable.expect_up_to(feed.info().published - round % 3, 0);
        if round % 10 == 0 {
            while seen.step(&lossy, &mut buffer, 0) {}
            assert_eq!(seen.received + seen.lost, feed.info().published);
        }
    }
    assert!(seen.lost > 0 && reliable.info().lost == 0);
}
