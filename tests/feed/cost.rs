//! The system calls that a feed makes.

use crate::support::*;
use common::strace::{MARKER, marker, name, trace};
use libc::EAGAIN;
use std::collections::BTreeMap;

/// The number of publications after which a feed looks for clients.
const SERVICE_EVERY: u64 = 16;

/// The system calls between the markers.
fn phases(trace: &str) -> Vec<Vec<&str>> {
    let phases = trace.split(MARKER);
    phases
        .map(|phase| phase.lines().filter_map(name).collect())
        .collect()
}

/// A publisher and a subscriber that are both awake make no system call, except for the look for
/// clients at most once in a tick of the coarse clock.
#[apply(isolated)]
#[needs(needs::strace)]
fn no_system_calls() {
    type Calls = fn(&Feed, &[Sub]);
    let calls: [(&str, Calls); 4] = [
        ("publish and recv", |feed, subs| {
            for timeout_ms in [-1, 0, 10, INTR] {
                for len in [1, 64, 5000] {
                    assert_eq!(feed.publish(&[7; 5000][..len], timeout_ms), DONE);
                    let mut buffer = [0u8; 5000];
                    for sub in subs {
                        let at = buffer.as_mut_ptr().cast();
                        let received = sub.recv_raw(at, 5000, timeout_ms);
                        assert!(matches!(received, Ok(Received::Message(_, n)) if n == len));
                    }
                }
            }
        }),
        ("a burst", |feed, subs| {
            (0..60).for_each(|_| assert_eq!(feed.publish(&[7; 64], -1), DONE));
            let mut buffer = [0u8; 64];
            for sub in subs {
                for _ in 0..60 {
                    let received = sub.recv_raw(buffer.as_mut_ptr().cast(), 64, -1);
                    assert!(matches!(received, Ok(Received::Message(..))));
                }
            }
        }),
        ("reserve, commit, peek and release", |feed, subs| {
            for _ in 0..20 {
                feed.reserve(2000, -1).unwrap()[0] = 1;
                assert_eq!(feed.commit(1000), DONE);
                for sub in subs {
                    assert!(matches!(sub.peek(-1), Ok(Received::Message(..))));
                    assert_eq!(sub.release(), DONE);
                }
            }
        }),
        ("cancel and the facts", |feed, subs| {
            feed.reserve(100, 0).unwrap();
            assert_eq!(feed.cancel(), DONE);
            feed.info();
            assert_eq!(feed.count(), 3);
            subs.iter().for_each(|sub| assert_eq!(sub.info().lost, 0));
        }),
    ];
    let took = Counters::new();
    let trace = trace(|| {
        let feed = Feed::with(&FEED);
        let subs = [RELIABLE, LOSSY, RELIABLE].map(|opts| feed.subscribe(&opts));
        // Before its first receive a subscriber counts as asleep.
        assert_eq!(feed.publish(b"x", 0), DONE);
        for sub in &subs {
            assert_eq!((sub.recv(0), sub.recv(0)), (message(0, b"x"), Err(EAGAIN)));
        }
        for (at, (_, run)) in calls.iter().enumerate() {
            marker();
            let start = now();
            (0..20).for_each(|_| run(&feed, &subs));
            took.set(at, now() - start);
        }
        marker();
    });
    let phases = phases(&trace);
    assert_eq!(phases.len(), calls.len() + 2, "{trace}");
    for (at, (what, _)) in calls.iter().enumerate() {
        let phase = &phases[at + 1];
        println!("{what}: {} system calls", phase.len());
        assert!(
            phase.iter().all(|call| call.starts_with("epoll")),
            "{what}: {phase:?}"
        );
        // The coarse clock has a tick of at least a millisecond.
        let most = took.get(at) / 1_000_000 + 1;
        assert!(phase.len() as u64 <= most, "{what}: {phase:?}");
    }
}

/// A receive that finds nothing, and a publication that is refused.
#[apply(isolated)]
#[needs(needs::strace)]
fn finds_nothing() {
    const TIMES: usize = 50;
    let took = Counters::new();
    let trace = trace(|| {
        let feed = Feed::with(&SMALL);
        let sub = feed.subscribe(&RELIABLE);
        assert_eq!(sub.recv(0), Err(EAGAIN));
        marker();
        let start = now();
        (0..TIMES).for_each(|_| assert_eq!(sub.recv(0), Err(EAGAIN)));
        took.set(0, now() - start);
        marker();
        feed.fill(1000);
        marker();
        (0..TIMES).for_each(|_| assert_eq!(feed.publish(&[0; 1000], 0), Err(EAGAIN)));
        marker();
    });
    let phases = phases(&trace);
    let [_, receives, _, publications, _] = &phases[..] else {
        panic!("{trace}");
    };
    // A receive checks that the publisher is alive at most once in 20 microseconds.
    assert!(receives.iter().all(|call| *call == "poll"), "{receives:?}");
    assert!(
        receives.len() as u64 <= took.get(0) / 20_000 + 1,
        "{receives:?}"
    );
    // A publication that is refused looks for dead subscribers.
    assert!(
        publications.iter().all(|call| call.starts_with("epoll")),
        "{publications:?}"
    );
    assert!(publications.len() <= 2 * TIMES, "{publications:?}");
}

/// A subscriber that sleeps costs the publisher one system call to wake it, and the look for
/// clients. A subscriber that is awake costs none.
#[apply(isolated)]
#[needs(needs::strace)]
fn wake_ups() {
    const ROUNDS: usize = 200;
    let trace = trace(|| {
        let feed = Feed::with(&SMALL);
        let subs = [0; 2].map(|_| feed.subscribe(&RELIABLE));
        subs[0].fd().unwrap();
        feed.publish_up_to(1, 8, 0);
        subs.iter().for_each(|sub| sub.expect_up_to(1, 0));
        for round in 0..ROUNDS as u64 {
            assert_eq!(subs[0].recv(0), Err(EAGAIN)); // waits by its descriptor
            marker();
            feed.publish_up_to(round + 2, 8, 0);
            marker();
            feed.publish_up_to(round + 2, 8, 0);
            subs.iter().for_each(|sub| sub.expect_up_to(round + 2, 0));
        }
    });
    let phases = phases(&trace);
    let publications: Vec<_> = phases.iter().skip(1).step_by(2).collect();
    assert_eq!(publications.len(), ROUNDS);
    for calls in publications {
        let wakes = calls.iter().filter(|call| **call == "pwritev2");
        assert_eq!(wakes.count(), 1, "{calls:?}");
        // Before Linux 6.18 a write with SIGPIPE blocked replaces the refused one.
        let replacement = ["pwritev2", "fcntl", "rt_sigprocmask", "write"];
        // The rest is the look for clients, and at most one barrier.
        let rest = calls.iter().filter(|call| !replacement.contains(call));
        assert!(rest.count() <= 2, "{calls:?}");
    }
}

/// Two busy processes: a publisher at full speed, and a lossy subscriber.
#[apply(isolated)]
#[needs(needs::strace)]
fn full_speed() {
    let count = 200_000u64;
    let took = Counters::new();
    let trace = trace(|| {
        let feed = Feed::with(&FEED);
        let child = spawn_sub(&feed, &LOSSY, |sub| {
            loop {
                match sub.recv_raw([0u8; 64].as_mut_ptr().cast(), 64, 0) {
                    Ok(Received::End) => break,
                    Ok(_) | Err(EAGAIN) => {}
                    other => panic!("{other:?}"),
                }
            }
        });
        feed.publish_up_to(1000, 64, 0);
        marker();
        let start = now();
        let bytes = [7; 64];
        (0..count).for_each(|_| assert_eq!(feed.publish(&bytes, -1), DONE));
        took.set(0, now() - start);
        marker();
        drop(feed);
        child.join();
    });
    // The calls of the publisher: each line begins with the process. A call may take two lines.
    let is_marker = |line: &&str| name(line) == Some("getppid");
    let publisher = trace.lines().find(is_marker).unwrap();
    let publisher = publisher.split_whitespace().next().unwrap();
    let calls = trace
        .lines()
        .filter(|line| line.starts_with(publisher))
        .skip_while(|line| !is_marker(line))
        .skip(1)
        .take_while(|line| !is_marker(line));
    let calls: Vec<&str> = calls.filter_map(name).collect();
    let mut by_name = BTreeMap::new();
    for call in &calls {
        *by_name.entry(*call).or_insert(0u64) += 1;
    }
    println!("{count} messages: {by_name:?}");
    let most = (took.get(0) / 1_000_000 + 1).min(count / SERVICE_EVERY);
    let looks: u64 = by_name
        .iter()
        .filter(|(call, _)| call.starts_with("epoll"))
        .map(|(_, count)| count)
        .sum();
    assert!(looks <= most, "{looks} looks for clients");
    assert!(calls.len() as u64 - looks < count / 1000, "{by_name:?}");
}
