//! How and when a publisher admits subscribers.

use crate::support::*;
use common::connection::full_listener;
use libc::{EAGAIN, EINTR, EMFILE, EPIPE, ETIMEDOUT, EUSERS};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

/// A feed that listens, and its name.
fn listening() -> (Feed, String) {
    let (feed, name) = (Feed::with(&SMALL), abstract_name());
    feed.listen(&name);
    (feed, name)
}

/// A child that subscribes and receives one message.
fn subscriber(name: &str, opts: &ipc_sub_opts) -> Child {
    fork(|| {
        let sub = connect(name, opts, LONG).unwrap();
        assert!(matches!(sub.recv(LONG).unwrap(), Received::Message(..)));
    })
}

/// An idle publisher admits no subscriber, and each call ends with its time-out.
#[apply(isolated)]
fn idle_publisher() {
    let (feed, name) = listening();
    let before = open_numbers();
    assert_eq!(connect(&name, &RELIABLE, 0).unwrap_err(), EAGAIN);
    let start = Instant::now();
    assert_eq!(connect(&name, &RELIABLE, 50).unwrap_err(), ETIMEDOUT);
    assert_waited(start, Duration::from_millis(50));
    let (one, _two) = sockets(libc::SOCK_SEQPACKET);
    let start = Instant::now();
    assert_eq!(from_fd(&one, &RELIABLE, 50).unwrap_err(), ETIMEDOUT);
    assert_waited(start, Duration::from_millis(50));
    drop((one, _two));
    ends_with_signal(|| match connect(&name, &RELIABLE, INTR) {
        Err(error) => Err(error),
        Ok(_) => Err(EINTR + 1000),
    });
    assert_eq!(open_numbers(), before);
    // The publisher forgets those that have given up.
    feed.publish_up_to(200, 1000, 0);
    feed.service_until_count(0);
    assert_eq!(open_numbers(), before);
}

/// A full queue of the listener: the time-out covers the wait for a place.
#[apply(isolated)]
fn full_queue() {
    let name = abstract_name();
    let _full = full_listener(&name);
    assert_eq!(connect(&name, &RELIABLE, 0).unwrap_err(), EAGAIN);
    let start = Instant::now();
    assert_eq!(connect(&name, &RELIABLE, 50).unwrap_err(), ETIMEDOUT);
    assert_waited(start, Duration::from_millis(50));
}

/// A publisher that sleeps in poll(2) on the descriptor.
#[apply(isolated)]
fn by_the_descriptor() {
    let (feed, name) = listening();
    let fd = feed.fd().unwrap();
    assert!(!is_readable(fd, 20));
    for count in 1..=5 {
        let child = fork(|| {
            close_copy(&feed);
            drop(connect(&name, &RELIABLE, LONG).unwrap());
            sleep_forever();
        });
        // Connected, admitted, and ended.
        let mut most = 0;
        let mut wake_ups = 0;
        while !(most == 1 && feed.count() == 0) {
            assert!(is_readable(fd, LONG), "subscriber {count}");
            assert_eq!(feed.service(), DONE);
            most = most.max(feed.count());
            wake_ups += 1;
        }
        assert!(wake_ups < 20, "{wake_ups}");
        assert!(!is_readable(fd, 0));
        kill(child);
    }
}

/// Publications admit at once if there is no subscriber.
#[apply(isolated)]
fn by_publications_without_subscribers() {
    let (feed, name) = listening();
    let child = subscriber(&name, &RELIABLE);
    let start = Instant::now();
    wait_until("the admission", || {
        feed.publish_up_to(feed.info().published + 1, 8, 0);
        feed.count() == 1
    });
    println!("{:?}", start.elapsed());
    feed.publish_up_to(feed.info().published + 1, 8, 0);
    child.join();
}

/// Publications admit at once if they find a subscriber asleep, also if publishing is rare.
#[apply(isolated)]
fn by_publications_to_sleepers() {
    let (feed, name) = listening();
    let fd = feed.fd().unwrap();
    let first = spawn_sub(&feed, &RELIABLE, |sub| sub.expect_up_to(1000, LONG));
    let (mut publications, mut children) = (0, vec![first]);
    for count in 2..6 {
        children.push(fork(|| {
            close_copy(&feed);
            let sub = connect(&name, &RELIABLE, LONG).unwrap();
            sub.expect_up_to(1000, LONG);
        }));
        assert!(is_readable(fd, LONG));
        while feed.count() < count {
            children[0].wait_asleep();
            thread::sleep(Duration::from_millis(10)); // rarely
            feed.publish_up_to(feed.info().published + 1, 8, 0);
            publications += 1;
        }
    }
    // A client may have connected, and not asked yet.
    assert!(publications <= 3 * 4, "{publications} publications");
    feed.publish_up_to(1000, 8, LONG);
    children.into_iter().for_each(Child::join);
}

/// Publications at full speed admit too.
#[apply(isolated)]
fn by_publications_at_full_speed() {
    let (feed, name) = listening();
    let lossy = feed.subscribe(&LOSSY);
    let shared = Counters::new();
    let child = fork(|| {
        let sub = connect(&name, &LOSSY, LONG).unwrap();
        // A message, or the report of a loss.
        assert_ne!(sub.recv(LONG).unwrap(), Received::End);
        shared.set(0, 1);
    });
    let end = Instant::now() + child_limit() / 4;
    while shared.get(0) == 0 {
        feed.publish_up_to(feed.info().published + 100, 8, 0);
        assert!(Instant::now() < end, "not admitted");
    }
    child.join();
    drop(lossy);
}

/// A publication that waits for space admits too.
#[apply(isolated)]
fn by_a_publication_that_waits() {
    for (timeout_ms, opts) in [(-1, RELIABLE), (LONG, LOSSY), (INTR, OLDEST)] {
        let (feed, name) = listening();
        let slow = feed.subscribe(&RELIABLE);
        let count = feed.fill(1000);
        thread::scope(|scope| {
            let feed = &feed;
            let publish = move || feed.publish(&numbered(count, 1000), timeout_ms);
            let (publisher, _) = spawn_sleeper(scope, publish);
            let sub = connect(&name, &opts, LONG).unwrap();
            assert!(!publisher.is_finished());
            slow.expect_up_to(count, 0);
            // A subscriber that begins with the oldest message holds the publisher up, too.
            if opts.flags == OLDEST.flags {
                sub.expect_up_to(count, 0);
            }
            assert_eq!(publisher.join().unwrap(), DONE);
            sub.expect_up_to(count + 1, LONG);
        });
        slow.expect_up_to(count + 1, 0);
        assert_eq!(feed.service(), DONE);
    }
}

/// A client waits, and the publisher has no descriptor left: the client stays in the queue, and is
/// admitted later. The event loop does not spin in the mean time.
#[apply(isolated)]
fn no_descriptor_left() {
    let (feed, name) = listening();
    let fd = feed.fd().unwrap();
    let child = subscriber(&name, &RELIABLE);
    assert!(is_readable(fd, LONG));
    let before = open_numbers();
    for _ in 0..3 {
        with_room_for(0, || {
            wait_until("an attempt to accept", || feed.service() == Err(EMFILE));
            assert!(!is_readable(fd, 0), "an event loop would spin");
        });
        assert_eq!((feed.count(), open_numbers()), (0, before.clone()));
        // Publishing is not disturbed, also when it tries to accept the client again.
        with_room_for(0, || {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(30) {
                feed.publish_up_to(feed.info().published + 1, 8, 0);
            }
        });
    }
    feed.service_until_count(1);
    feed.publish_up_to(feed.info().published + 1, 8, 0);
    child.join();
    feed.service_until_count(0);
    assert_eq!(open_numbers(), before);
}

/// A few descriptors are left, which do not suffice for a subscriber. It is told by EPIPE, or
/// admitted later, and nothing leaks.
#[apply(isolated)]
fn few_descriptors_left() {
    let (feed, name) = listening();
    let before = open_numbers();
    let mut refused = 0;
    for available in 1..12 {
        let child = fork_reporter(|| {
            close_copy(&feed);
            let sub = connect(&name, &RELIABLE, LONG)?;
            match sub.recv(LONG) {
                Ok(Received::End) => Ok(0u8),
                other => panic!("{other:?}"),
            }
        });
        let ended = || child.has_ended();
        with_room_for(available, || {
            wait_until("an admission or a refusal", || {
                let _ = feed.service();
                feed.count() == 1 || ended()
            });
        });
        let admitted = feed.count() == 1;
        println!("{available} descriptors: admitted {admitted}");
        if admitted {
            kill_quietly(&child);
            feed.service_until_count(0);
            drop(child);
        } else {
            assert_eq!(child.outcome(), Err(EPIPE));
            refused += 1;
        }
        assert_eq!((feed.service(), open_numbers()), (DONE, before.clone()));
    }
    assert!((1..8).contains(&refused), "{refused}");
}

fn kill_quietly(child: &Child) {
    child.signal(libc::SIGKILL);
}

/// A subscriber that is admitted between a reservation and its publication: the publisher waits for
/// it, and for the earlier ones.
#[apply(isolated)]
fn during_a_reservation() {
    let feed = Feed::with(&SMALL);
    let first = feed.subscribe(&RELIABLE);
    feed.reserve(100, 0)
        .unwrap()
        .copy_from_slice(&numbered(0, 100));
    let second = feed.subscribe(&RELIABLE);
    assert_eq!(feed.commit(100), DONE);
    let mut count = 1;
    while feed.publish(&numbered(count, 100), 0) == DONE {
        count += 1;
        assert!(count < 10_000, "the publisher does not wait");
    }
    for sub in [first, second] {
        sub.expect_up_to(count, 0);
        assert_eq!(sub.info().lost, 0);
    }
}

/// The place of a subscriber that has ended is free at once, although the publisher has not handled
/// the end yet.
#[apply(isolated)]
fn place_of_an_ended_subscriber() {
    let feed = Feed::with(&ipc_feed_opts {
        subscribers_max: 1,
        ..SMALL
    });
    let ended = feed.subscribe(&RELIABLE);
    let (one, other) = sockets(libc::SOCK_SEQPACKET);
    thread::scope(|scope| {
        let thread = scope.spawn(move || from_fd(&other, &RELIABLE, LONG));
        assert!(is_readable(one.as_raw_fd(), LONG), "the request");
        drop(ended);
        assert_eq!(feed.add(&one), DONE);
        let _sub = feed.serve(thread).unwrap();
        assert_eq!(feed.try_subscribe(&RELIABLE).map(drop), Err(EUSERS));
    });
}
