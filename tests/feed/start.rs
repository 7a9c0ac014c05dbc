//! Where a subscriber begins, and subscribers that continue after a restart.

use crate::support::*;
use libc::{EAGAIN, ESTALE};

#[apply(isolated)]
fn newest() {
    let feed = Feed::with(&SMALL);
    for opts in [RELIABLE, LOSSY] {
        let before = feed.info().published;
        feed.publish_up_to(before + 500, 300, 0);
        let sub = feed.subscribe(&opts);
        assert_eq!(sub.info().next_seq, before + 500);
        assert_eq!(sub.recv(0), Err(EAGAIN));
        feed.publish_up_to(before + 510, 300, 0);
        sub.expect_up_to(before + 510, 0);
        assert_eq!(sub.info().lost, 0);
    }
}

/// The oldest message of an empty feed, of one from which nothing is gone, and of a full ring.
#[apply(isolated)]
fn begin_with_oldest() {
    let feed = Feed::with(&SMALL);
    let begin = |published: u64, first: u64| {
        for flags in [IPC_SUB_F_OLDEST, IPC_SUB_F_OLDEST | IPC_SUB_F_LOSSY] {
            feed.publish_up_to(published, 1000, 0);
            let sub = feed.subscribe(&ipc_sub_opts { flags, ..RELIABLE });
            let most = if first == 0 { 0 } else { first + 65 / 4 + 1 };
            let next = sub.info().next_seq;
            assert!((first..=most.min(published)).contains(&next), "{next}");
            sub.expect_up_to(published, 0);
            assert_eq!((sub.recv(0), sub.info().lost), (Err(EAGAIN), 0));
            drop(sub);
            feed.service_until_count(0);
        }
    };
    begin(0, 0);
    begin(1, 0);
    begin(65, 0);
    begin(66, 1);
    begin(10_000, 10_000 - 65);
    // A reservation overwrites messages before it is published.
    feed.reserve(feed.max(), 0).unwrap();
    begin(10_000, 10_000);
    assert_eq!(feed.cancel(), DONE);
    begin(10_000, 10_000);
}

/// A reliable subscriber that begins with the oldest message: no publication overwrites that,
/// wherever in the ring the publisher is.
#[apply(isolated)]
fn oldest_is_not_overwritten() {
    let feed = Feed::with(&SMALL);
    feed.publish_up_to(200, 1000, 0);
    for round in 0..30 {
        let opts = match round % 2 {
            0 => OLDEST,
            _ => from_seq(oldest(&feed)),
        };
        let sub = feed.subscribe(&opts);
        let first = sub.info().next_seq;
        feed.fill(1000);
        let published = feed.info().published;
        assert!(published <= first + 65);
        assert_eq!(feed.publish(&numbered(published, 1000), 0), Err(EAGAIN));
        assert_eq!(feed.reserve(1000, 0).unwrap_err(), EAGAIN);
        sub.expect_up_to(published, 0);
        feed.publish_up_to(published + 1, 1000, 0);
        sub.expect_up_to(published + 1, 0);
        assert_eq!(sub.info().lost, 0);
        drop(sub);
        feed.service_until_count(0);
    }
}

/// A message that is in the ring, the next one, and one that the feed has not published.
#[apply(isolated)]
fn sequence_number() {
    let feed = Feed::with(&SMALL);
    assert_eq!(feed.try_subscribe(&from_seq(1)).unwrap_err(), ESTALE);
    drop(feed.subscribe(&from_seq(0)));
    feed.publish_up_to(1000, 1000, 0);
    for seq in [oldest(&feed), 960, 999, 1000] {
        for lossy in [0, IPC_SUB_F_LOSSY] {
            let flags = IPC_SUB_F_FROM_SEQ | lossy;
            let sub = feed.subscribe(&ipc_sub_opts {
                flags,
                ..from_seq(seq)
            });
            assert_eq!((sub.info().next_seq, sub.info().lost), (seq, 0));
            sub.expect_up_to(1000, 0);
            assert_eq!(sub.recv(0), Err(EAGAIN));
        }
    }
    for seq in [1001, 5000, 1 << 32, 1 << 62] {
        assert_eq!(
            feed.try_subscribe(&from_seq(seq)).unwrap_err(),
            ESTALE,
            "{seq}"
        );
    }
    feed.service_until_count(0);
}

/// A message that the publisher has overwritten.
#[apply(isolated)]
fn sequence_number_that_is_gone() {
    let feed = Feed::with(&SMALL);
    feed.publish_up_to(1000, 1000, 0);
    let first = oldest(&feed);
    for seq in [0, 1, 500, first - 1] {
        for peeks in [false, true] {
            let sub = feed.subscribe(&from_seq(seq));
            assert_eq!((sub.info().next_seq, sub.info().lost), (first, first - seq));
            assert!(sub.is_readable(0), "messages were lost");
            assert_eq!(sub.release(), Err(libc::EINVAL));
            match peeks {
                true => assert_eq!(sub.peek(0), Ok(Received::Lost(first))),
                false => assert_eq!(sub.recv(LONG), lost_before(first)),
            }
            sub.expect_up_to(1000, 0);
            assert_eq!((sub.recv(0), sub.info().lost), (Err(EAGAIN), first - seq));
        }
    }
    feed.service_until_count(0);
    // No message is left.
    feed.reserve(feed.max(), 0).unwrap();
    let subs = [false, true].map(|polled| (polled, feed.subscribe(&from_seq(990))));
    assert_eq!(feed.cancel(), DONE);
    for (polled, sub) in &subs {
        if *polled {
            assert!(sub.is_readable(0), "messages were lost");
        }
        assert_eq!(sub.recv(0), lost_before(1000));
        assert_eq!((sub.recv(0), sub.info().lost), (Err(EAGAIN), 10));
    }
    feed.publish_up_to(1001, 8, 0);
    for (_, sub) in &subs {
        sub.expect_up_to(1001, 0);
    }
}

#[apply(isolated)]
fn other_feed() {
    let (feed, other) = (Feed::new(), Feed::new());
    let (id, other_id) = (feed.info().feed_id, other.info().feed_id);
    assert_ne!(id, other_id);
    assert_ne!(id, [0; 16]);
    for opts in [RELIABLE, LOSSY, OLDEST, from_seq(0)] {
        let with_id = |feed_id| ipc_sub_opts { feed_id, ..opts };
        assert_eq!(feed.try_subscribe(&with_id(other_id)).unwrap_err(), ESTALE);
        let sub = feed.subscribe(&with_id(id));
        assert_eq!(sub.info().feed_id, id);
        drop(feed.subscribe(&with_id([0; 16])));
    }
    feed.service_until_count(0);
}

/// A subscriber that is killed at any time, and continues where it ended before. The parent stores
/// its position, as a file would.
#[apply(isolated)]
fn restarts() {
    let (feed, shared) = (Feed::with(&SMALL), Counters::new());
    let feed_id = feed.info().feed_id;
    let mut random = Random(4);
    for round in 0..scaled(20) {
        let seq = shared.get(0);
        let lossy = if round % 2 == 0 { IPC_SUB_F_LOSSY } else { 0 };
        let opts = ipc_sub_opts {
            flags: IPC_SUB_F_FROM_SEQ | lossy,
            feed_id,
            ..from_seq(seq)
        };
        let child = spawn_sub(&feed, &opts, |sub| {
            loop {
                match sub.recv(LONG).unwrap() {
                    Received::Message(seq, bytes) => {
                        assert_eq!(seq, shared.get(0));
                        check_numbered(seq, &bytes);
                        shared.set(0, seq + 1);
                    }
                    Received::Lost(seq) => {
                        assert!(seq > shared.get(0));
                        shared.set(1, shared.get(1) + seq - shared.get(0));
                        shared.set(0, seq);
                    }
                    Received::End => panic!("the end"),
                }
            }
        });
        let before = feed.info().published;
        feed.publish_up_to(before + random.below(400), 700, LONG);
        shared.wait_for(0, before);
        kill(child);
        feed.service_until_count(0);
        // Some messages, or more than the ring holds, meanwhile.
        feed.publish_up_to(feed.info().published + random.below(200), 700, LONG);
    }
    println!("{} lost of {}", shared.get(1), feed.info().published);
    assert!(shared.get(1) > 0);
}
