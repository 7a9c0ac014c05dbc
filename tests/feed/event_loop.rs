//! Event loops: the descriptors of a subscriber and of a publisher, with poll(2) and epoll(7).

use crate::support::*;
use common::epoll::{add, new_epoll, ready};
use common::filter::refuse;
use libc::{EAGAIN, SOCK_SEQPACKET};
use nix::sys::epoll::EpollFlags;
use std::thread;
use std::time::Duration;

/// The descriptor is readable for messages until a receive fails with EAGAIN.
#[apply(isolated)]
fn messages() {
    let feed = Feed::with(&SMALL);
    for opts in [RELIABLE, LOSSY] {
        let sub = feed.subscribe(&opts);
        assert_eq!(sub.fd(), sub.fd());
        assert!(!sub.is_readable(0));
        for _ in 0..50 {
            let count = feed.info().published + 3;
            feed.publish_up_to(count, 100, 0);
            assert!(sub.is_readable(0));
            sub.expect_up_to(count - 1, 0);
            assert!(sub.is_readable(0));
            assert!(matches!(sub.peek(0), Ok(Received::Message(..))));
            assert!(sub.is_readable(0));
            assert_eq!((sub.release(), sub.recv(0)), (DONE, Err(EAGAIN)));
            assert!(!sub.is_readable(0));
            assert_eq!(sub.peek(0).unwrap_err(), EAGAIN);
        }
        // The descriptor is made after a message, and after a loss.
        let late = feed.subscribe(&LOSSY);
        feed.publish_up_to(feed.info().published + 1, 8, 0);
        assert!(late.is_readable(0));
        drop(sub);
        feed.service_until_count(1);
        feed.publish_up_to(feed.info().published + 500, 1000, 0);
        let later = feed.subscribe(&LOSSY);
        feed.publish_up_to(feed.info().published + 500, 1000, 0);
        for sub in [late, later] {
            assert!(sub.is_readable(0));
            assert!(matches!(sub.recv(0), Ok(Received::Lost(_))));
            assert!(sub.is_readable(0));
            sub.expect_up_to(feed.info().published, 0);
            assert_eq!(sub.recv(0), Err(EAGAIN));
            assert!(!sub.is_readable(0));
        }
        feed.service_until_count(0);
    }
}

/// A subscriber that has waited in the functions, and polls later; and one that does both.
#[apply(isolated)]
fn polls_and_waits() {
    let feed = Feed::with(&SMALL);
    let sub = feed.subscribe(&RELIABLE);
    thread::scope(|scope| {
        let (sleeper, _) = spawn_sleeper(scope, || sub.recv(LONG));
        assert_eq!(feed.publish(b"a", 0), DONE);
        assert_eq!(sleeper.join().unwrap(), message(0, b"a"));
    });
    for seq in 1..20 {
        assert!(!sub.is_readable(0));
        thread::scope(|scope| {
            let (sleeper, _) = spawn_sleeper(scope, || sub.recv(LONG));
            assert_eq!(feed.publish(b"b", 0), DONE);
            assert_eq!(sleeper.join().unwrap(), message(seq, b"b"));
        });
        assert_eq!(sub.recv(0), Err(EAGAIN));
    }
}

/// The end of the feed while another process keeps copies of the publisher's descriptors, and the
/// publisher's death.
#[apply(isolated)]
fn end_and_death() {
    let feed = Feed::with(&SMALL);
    let sub = feed.subscribe(&RELIABLE);
    let late = feed.subscribe(&RELIABLE);
    assert!(!sub.is_readable(0));
    let keeper = fork(|| sleep_forever());
    feed.publish_up_to(1, 8, 0);
    drop(feed);
    for sub in [&sub, &late] {
        assert!(sub.is_readable(10_000));
        sub.expect_up_to(1, 0);
        assert!(sub.is_readable(0), "the end is not reported yet");
        assert_eq!(sub.recv(0), END);
        assert!(!sub.is_readable(0), "the end is reported");
    }
    kill(keeper);
    for sub in [&sub, &late] {
        for _ in 0..3 {
            assert!(sub.is_readable(10_000), "the death");
            assert_eq!(sub.recv(0), END);
        }
    }
}

/// A killed publisher: the descriptor becomes readable, and stays so.
#[apply(isolated)]
fn killed_publisher() {
    for edge in [false, true] {
        let (name, shared) = (abstract_name(), Counters::new());
        let child = fork(|| {
            let feed = Feed::with(&SMALL);
            feed.listen(&name);
            feed.service_until_count(1);
            feed.publish_up_to(2, 8, 0);
            shared.set(0, 1);
            sleep_forever();
        });
        let opts = ipc_sub_opts {
            flags: IPC_SUB_F_WAIT,
            ..RELIABLE
        };
        let sub = connect(&name, &opts, LONG).unwrap();
        let epoll = new_epoll();
        let flags = if edge {
            EpollFlags::EPOLLET
        } else {
            EpollFlags::empty()
        };
        add(&epoll, sub.fd().unwrap(), EpollFlags::EPOLLIN | flags, 1);
        shared.wait_for(0, 1);
        assert_eq!(ready(&epoll, LONG), [1]);
        sub.expect_up_to(2, LONG);
        assert_eq!(sub.recv(0), Err(EAGAIN));
        assert_eq!(ready(&epoll, 20), [0; 0]);
        kill(child);
        assert_eq!(ready(&epoll, 10_000), [1]);
        for _ in 0..3 {
            assert_eq!(sub.recv(0), END);
            assert!(sub.is_readable(0));
        }
    }
}

/// Several subscribers in one event loop.
#[apply(isolated)]
fn edges() {
    for flags in [EpollFlags::empty(), EpollFlags::EPOLLET] {
        let epoll = new_epoll();
        let feeds = [0; 3].map(|_| Feed::with(&SMALL));
        let subs: Vec<Sub> = feeds.iter().map(|feed| feed.subscribe(&RELIABLE)).collect();
        for (at, sub) in subs.iter().enumerate() {
            add(
                &epoll,
                sub.fd().unwrap(),
                EpollFlags::EPOLLIN | flags,
                at as u64,
            );
        }
        assert_eq!(ready(&epoll, 20), [0; 0]);
        let mut random = Random(1);
        for _ in 0..200 {
            let mut expected: Vec<u64> = (0..3).filter(|_| random.below(2) == 0).collect();
            for at in &expected {
                let feed = &feeds[*at as usize];
                feed.publish_up_to(feed.info().published + 1 + random.below(3), 8, 0);
            }
            assert_eq!(ready(&epoll, 0), expected);
            if !flags.is_empty() {
                assert_eq!(ready(&epoll, 0), [0; 0], "no new edge");
            }
            for at in expected.drain(..) {
                let (feed, sub) = (&feeds[at as usize], &subs[at as usize]);
                sub.expect_up_to(feed.info().published, 0);
                assert_eq!(sub.recv(0), Err(EAGAIN));
            }
            assert_eq!(ready(&epoll, 0), [0; 0]);
        }
        drop(feeds);
        let ended = ready(&epoll, 10_000);
        assert!(!ended.is_empty());
    }
}

/// After a publication that failed with EAGAIN, the feed's descriptor reports space.
#[apply(isolated)]
fn space() {
    let feed = Feed::with(&SMALL);
    let fd = feed.fd().unwrap();
    assert_eq!(feed.fd(), Ok(fd));
    let subs = [0; 2].map(|_| feed.subscribe(&RELIABLE));
    feed.service_until("silence", || !is_readable(fd, 0));
    for reserves in [false, true, false] {
        let published = {
            feed.fill(1000);
            feed.info().published
        };
        match reserves {
            true => assert_eq!(feed.reserve(1000, 0).unwrap_err(), EAGAIN),
            false => assert_eq!(feed.publish(&[0; 1000], 0), Err(EAGAIN)),
        }
        assert!(!is_readable(fd, 0));
        subs[0].expect_up_to(published, 0);
        // One of both still leaves no space; readiness may be spurious.
        if is_readable(fd, 0) {
            assert_eq!(
                (feed.service(), feed.publish(&[0; 1000], 0)),
                (DONE, Err(EAGAIN))
            );
            assert!(!is_readable(fd, 0));
        }
        subs[1].expect_up_to(published - 64, 0);
        assert!(!is_readable(fd, 0), "less than half of the ring is free");
        subs[1].expect_up_to(published, 0);
        assert!(is_readable(fd, 0));
        assert_eq!(feed.service(), DONE);
        assert!(!is_readable(fd, 0));
        feed.publish_up_to(published + 1, 1000, 0);
        subs.iter()
            .for_each(|sub| sub.expect_up_to(published + 1, 0));
    }
    // A message that needs the whole ring.
    feed.fill(1000);
    let published = feed.info().published;
    let longest = numbered(published, feed.max());
    let mut refusals = 0;
    while feed.publish(&longest, 0) == Err(EAGAIN) {
        refusals += 1;
        assert!(refusals < 200);
        for sub in &subs {
            while !is_readable(fd, 0) && sub.info().next_seq < published {
                sub.expect_up_to(sub.info().next_seq + 1, 0);
            }
        }
        assert!(is_readable(fd, 0));
        assert_eq!(feed.service(), DONE);
    }
    subs.iter()
        .for_each(|sub| sub.expect_up_to(published + 1, 0));
}

/// A subscriber that holds the publisher up ends: the feed's descriptor reports that.
#[apply(isolated)]
fn space_after_a_death() {
    let feed = Feed::with(&SMALL);
    let fd = feed.fd().unwrap();
    let child = spawn_sub(&feed, &RELIABLE, |_sub| sleep_forever());
    feed.fill(1000);
    assert_eq!(
        feed.publish(b"x", 0).and(feed.publish(&[0; 1000], 0)),
        Err(EAGAIN)
    );
    assert!(!is_readable(fd, 0));
    kill(child);
    assert!(is_readable(fd, 10_000));
    assert_eq!((feed.service(), feed.count()), (DONE, 0));
    assert_eq!(feed.publish(&[0; 1000], 0), DONE);
    assert!(!is_readable(fd, 0));
}

/// Waits until the clock changes by which publications limit how often they look for events.
fn wait_coarse_clock() {
    let now = || nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
    let before = now();
    wait_until("a tick of the coarse clock", || now() != before);
}

/// The event loop of a publisher waits for the descriptor, because a long message was refused. Meanwhile
/// it publishes a short one, without a wait or with one: the descriptor becomes readable nevertheless.
#[apply(isolated)]
fn publication_after_a_refused_one() {
    for waits in [false, true] {
        let feed = Feed::with(&SMALL);
        let (fd, sub) = (feed.fd().unwrap(), feed.subscribe(&RELIABLE));
        let count = feed.fill(1000);
        assert!(!is_readable(fd, 0));
        if waits {
            let message = numbered(count, 1000);
            thread::scope(|scope| {
                let (publisher, _) = spawn_sleeper(scope, || feed.publish(&message, LONG));
                sub.expect_up_to(count, 0);
                assert_eq!(publisher.join().unwrap(), DONE);
            });
        } else {
            sub.expect_up_to(count, 0);
            assert!(!sub.is_readable(0));
            wait_coarse_clock();
            assert_eq!(feed.publish(b"short", 0), DONE);
        }
        assert!(is_readable(fd, LONG), "waits: {waits}");
        assert_eq!(feed.service(), DONE);
        assert_eq!(feed.publish(&[0; 1000], 0), DONE);
    }
}

/// The same when the descriptor becomes readable because of stall_ms.
#[apply(isolated)]
fn publication_before_a_stall() {
    let feed = Feed::with(&ipc_feed_opts {
        stall_ms: 200,
        ..SMALL
    });
    let (fd, sub) = (feed.fd().unwrap(), feed.subscribe(&RELIABLE));
    let count = feed.fill(1000);
    assert_eq!(feed.publish(&vec![0; feed.max()], 0), Err(EAGAIN));
    // The next message fits, but not in the space that the publisher knows of.
    sub.expect_up_to(1, 0);
    assert_eq!(feed.publish(&numbered(count, 1000), 0), DONE);
    assert!(is_readable(fd, LONG));
}

/// A filter refuses membarrier(2) after the publisher has relied on it. Then a subscriber may miss that
/// the publisher waits, so the publisher tries again after a moment.
#[apply(isolated)]
fn without_membarrier() {
    let feed = Feed::with(&SMALL);
    let (fd, sub) = (feed.fd().unwrap(), feed.subscribe(&RELIABLE));
    refuse(libc::SYS_membarrier, libc::EPERM);
    let count = feed.fill(1000);
    for _ in 0..3 {
        assert!(is_readable(fd, LONG));
        assert_eq!(feed.service(), DONE);
        assert!(!is_readable(fd, 0));
        assert_eq!(feed.publish(&[0; 1000], 0), Err(EAGAIN));
    }
    sub.expect_up_to(count, 0);
}

/// A publisher in an event loop that waits for space only by its descriptor, and subscribers that
/// wait by theirs, level-triggered and edge-triggered. A lost wake-up makes a wait time out.
#[apply(isolated)]
fn storm() {
    let count = scaled(40_000);
    let feed = Feed::with(&SMALL);
    let fd = feed.fd().unwrap();
    let children: Vec<Child> = [0, EpollFlags::EPOLLET.bits(), -1]
        .into_iter()
        .map(|flags| {
            let flags = (flags != -1).then(|| EpollFlags::from_bits_retain(flags));
            spawn_sub(&feed, &RELIABLE, |sub| {
                receive_by_events(&sub, count, flags)
            })
        })
        .collect();
    let mut random = Random(5);
    for seq in 0..count {
        let bytes = numbered(seq, 8 + random.index(300));
        while feed.publish(&bytes, 0) == Err(EAGAIN) {
            assert!(is_readable(fd, LONG / 3), "a lost wake-up");
            assert_eq!(feed.service(), DONE);
        }
        if random.below(500) == 0 {
            thread::sleep(Duration::from_micros(random.below(300)));
        }
    }
    drop(feed);
    children.into_iter().for_each(Child::join);
}

/// Receives all messages and the end. Without flags for epoll, in calls that wait.
fn receive_by_events(sub: &Sub, count: u64, flags: Option<EpollFlags>) {
    let epoll = new_epoll();
    if let Some(flags) = flags {
        add(&epoll, sub.fd().unwrap(), EpollFlags::EPOLLIN | flags, 1);
    }
    let timeout_ms = if flags.is_some() { 0 } else { LONG };
    let (mut buffer, mut next) = ([0u8; 400], 0);
    let mut random = Random(count);
    loop {
        match sub.recv_raw(buffer.as_mut_ptr().cast(), 400, timeout_ms) {
            Ok(Received::Message(seq, len)) => {
                assert_eq!(seq, next);
                check_numbered(seq, &buffer[..len]);
                next += 1;
            }
            Ok(Received::End) => break assert_eq!(next, count),
            Err(EAGAIN) => assert_eq!(ready(&epoll, LONG / 3), [1], "a lost wake-up"),
            other => panic!("{other:?}"),
        }
        if random.below(2000) == 0 {
            thread::sleep(Duration::from_micros(random.below(500)));
        }
    }
}

/// Two feeds in opposite directions: each message is answered, so each lost wake-up makes a wait
/// time out.
#[apply(isolated)]
fn ping_pong() {
    let rounds = scaled(6000);
    for flags in [0, IPC_SUB_F_NO_SPIN] {
        for polled in [false, true] {
            let (there, back) = (Feed::with(&SMALL), Feed::with(&SMALL));
            let opts = ipc_sub_opts { flags, ..RELIABLE };
            let sub_back = back.subscribe(&opts);
            let (one, other) = sockets(SOCK_SEQPACKET);
            let next = move |sub: &Sub, seq: u64| {
                if polled {
                    while sub.peek(0) == Err(EAGAIN) {
                        assert!(sub.is_readable(LONG / 3), "a lost wake-up");
                    }
                }
                sub.expect_up_to(seq + 1, LONG / 3);
            };
            thread::scope(|scope| {
                let thread = scope.spawn(move || {
                    let sub = from_fd(&other, &opts_of(flags), LONG).unwrap();
                    for seq in 0..rounds {
                        next(&sub, seq);
                        assert_eq!(back.publish(&numbered(seq, 64), LONG), DONE);
                    }
                });
                assert_eq!(there.add(&one), DONE);
                there.service_until_count(1);
                for seq in 0..rounds {
                    assert_eq!(there.publish(&numbered(seq, 64), LONG), DONE);
                    next(&sub_back, seq);
                }
                thread.join().unwrap();
            });
        }
    }
}

fn opts_of(flags: u32) -> ipc_sub_opts {
    ipc_sub_opts { flags, ..RELIABLE }
}
