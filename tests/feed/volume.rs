//! Many messages of random lengths to eight subscribers, reliable and lossy ones, which are killed,
//! resume by sequence number, and wait with random time-outs.

use crate::support::*;
use common::memory::Shareable;
use libc::{EAGAIN, EINTR, ESTALE, ETIMEDOUT, c_int};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const SUBSCRIBERS: usize = 8;
/// The length of the longest message.
const LONGEST: usize = 30_000;

/// The receipts of a subscriber, over all its lives.
#[derive(Default)]
struct Seen {
    /// The sequence number of the next message.
    next: AtomicU64,
    received: AtomicU64,
    lost: AtomicU64,
}

// SAFETY: atomics.
unsafe impl Shareable for Seen {}

/// The length of a message, which is mostly short.
fn length(seq: u64) -> usize {
    let mut random = Random(seq);
    let limit = match random.below(2048) {
        0 => LONGEST,
        1..64 => 5000,
        _ => 150,
    };
    1 + random.index(limit)
}

/// A random time-out: 0, short, or without a limit.
fn random_timeout(random: &mut Random) -> c_int {
    match random.below(8) {
        0..3 => 0,
        3 => 1,
        4 => 3,
        5 => INTR,
        _ => -1,
    }
}

/// Whether a call may fail so with this time-out.
fn is_time_out(error: c_int, timeout_ms: c_int) -> bool {
    matches!(
        (error, timeout_ms),
        (EAGAIN, 0) | (ETIMEDOUT, 1..) | (EINTR, INTR)
    )
}

/// Receives until the end of the feed, or until the process is killed. Each receipt is stored
/// after each message, as a subscriber does that resumes.
fn receive(sub: &Sub, seen: &Seen, random: &mut Random, slow: bool) {
    let mut buffer = vec![0u8; LONGEST];
    if random.below(3) == 0 {
        sub.fd().unwrap();
    }
    // This process's own part.
    let (first, mut received_here, mut lost_here) = (seen.next.load(SeqCst), 0, 0);
    loop {
        let timeout_ms = random_timeout(random);
        let next = seen.next.load(SeqCst);
        let received = match random.below(3) {
            0 => sub.peek(timeout_ms).map(|peeked| match peeked {
                Received::Message(seq, bytes) => {
                    buffer[..bytes.len()].copy_from_slice(bytes);
                    let len = bytes.len();
                    match sub.release() {
                        Ok(_) => Received::Message(seq, len),
                        Err(error) => {
                            assert_eq!(error, libc::EOVERFLOW);
                            Received::Lost(sub.info().next_seq)
                        }
                    }
                }
                Received::Lost(seq) => Received::Lost(seq),
                Received::End => Received::End,
            }),
            _ => sub.recv_raw(buffer.as_mut_ptr().cast(), LONGEST, timeout_ms),
        };
        match received {
            Ok(Received::Message(seq, len)) => {
                assert_eq!(seq, next);
                assert_eq!(len, length(seq));
                check_numbered(seq, &buffer[..len]);
                seen.received.fetch_add(1, SeqCst);
                received_here += 1;
                seen.next.store(seq + 1, SeqCst);
            }
            Ok(Received::Lost(seq)) => {
                assert!(seq > next, "{seq} after {next}");
                seen.lost.fetch_add(seq - next, SeqCst);
                lost_here += seq - next;
                assert_eq!(sub.info().lost, lost_here);
                seen.next.store(seq, SeqCst);
            }
            Ok(Received::End) => return assert_eq!(first + received_here + lost_here, next),
            Err(error) => assert!(is_time_out(error, timeout_ms), "{error} {timeout_ms}"),
        }
        if slow && random.below(300) == 0 {
            thread::sleep(Duration::from_micros(random.below(400)));
        }
    }
}

#[apply(isolated)]
fn messages() {
    let count = scaled(200_000);
    let name = abstract_name();
    let seen: &[Seen] = common::memory::shared(SUBSCRIBERS);
    let feed = Feed::with(&ipc_feed_opts {
        stall_ms: 60_000,
        ..FEED
    });
    feed.listen(&name);
    let feed_id = feed.info().feed_id;
    count_signals(0);
    let spawn = |index: usize, life: u64| {
        fork(|| {
            set_alarm(0); // the time limit of `fork` may be too short
            close_copy(&feed);
            if index == 3 {
                storm(3000); // frequent signals
            }
            let mut random = Random(index as u64 * 1000 + life);
            let lossy = if index % 2 == 1 { IPC_SUB_F_LOSSY } else { 0 };
            let opts = ipc_sub_opts {
                flags: IPC_SUB_F_FROM_SEQ | lossy,
                feed_id,
                ..from_seq(seen[index].next.load(SeqCst))
            };
            let sub = connect(&name, &opts, -1);
            let sub = sub.unwrap_or_else(|error| panic!("{error}, not {ESTALE}"));
            receive(&sub, &seen[index], &mut random, index % 4 == 1);
            storm(0);
        })
    };
    let mut children: Vec<_> = (0..SUBSCRIBERS)
        .map(|index| Some(spawn(index, 0)))
        .collect();
    feed.service_until_count(SUBSCRIBERS);
    let (mut random, mut kills) = (Random(11), 0);
    while feed.info().published < count {
        let seq = feed.info().published;
        let bytes = numbered(seq, length(seq));
        let timeout_ms = random_timeout(&mut random);
        let published = if random.below(4) > 0 {
            feed.publish(&bytes, timeout_ms)
        } else {
            feed.reserve(bytes.len() + random.index(50), timeout_ms)
                .and_then(|space| {
                    space[..bytes.len()].copy_from_slice(&bytes);
                    feed.commit(bytes.len())
                })
        };
        if let Err(error) = published {
            assert!(is_time_out(error, timeout_ms), "{error} {timeout_ms}");
        }
        // The first two are never killed: one reliable, one lossy.
        if random.below(4000) == 0 {
            kills += 1;
            let index = 2 + random.index(SUBSCRIBERS - 2);
            kill(children[index].take().unwrap());
            children[index] = Some(spawn(index, kills));
        }
        if random.below(20_000) == 0 {
            thread::sleep(Duration::from_millis(random.below(5)));
        }
    }
    // Those that were started last may not have been admitted yet.
    feed.service_until_count(SUBSCRIBERS);
    drop(feed);
    for child in children {
        child.unwrap().join();
    }
    for (index, seen) in seen.iter().enumerate() {
        let of = |word: &AtomicU64| word.load(SeqCst);
        let (received, lost) = (of(&seen.received), of(&seen.lost));
        println!("subscriber {index}: {received} received, {lost} lost");
        assert_eq!(of(&seen.next), count);
        match index {
            0 => assert_eq!((received, lost), (count, 0)),
            1 => assert_eq!(received + lost, count),
            // It may have been killed between the two stores for one message.
            _ => assert!(received <= count + kills && received + lost >= count),
        }
    }
    println!("{count} messages, {kills} kills");
}
