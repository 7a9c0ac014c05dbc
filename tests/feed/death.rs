//! Subscribers and publishers that end, are killed, or fork.

use crate::support::*;
use libc::{EAGAIN, EBUSY, EINVAL};
use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

/// A subscriber that holds the publisher up is killed, or closes. The publisher goes on at once.
#[apply(isolated)]
fn subscriber_ends_while_the_publisher_waits() {
    for closes in [false, true] {
        for timeout_ms in [-1, LONG, INTR] {
            let feed = Feed::with(&SMALL);
            let other = feed.subscribe(&RELIABLE);
            let (mut told, mut tell) = pipe();
            let child = spawn_sub(&feed, &RELIABLE, |sub| {
                if closes {
                    told.read_exact(&mut [0]).unwrap();
                    drop(sub);
                }
                sleep_forever();
            });
            let count = feed.fill(1000);
            other.expect_up_to(count, 0);
            thread::scope(|scope| {
                let feed = &feed;
                let publish = move || feed.publish(&numbered(count, 1000), timeout_ms);
                let (publisher, _) = spawn_sleeper(scope, publish);
                match closes {
                    true => tell.write_all(b".").unwrap(),
                    false => child.signal(libc::SIGKILL),
                }
                assert_eq!(publisher.join().unwrap(), DONE);
            });
            assert_eq!(feed.count(), 1);
            other.expect_up_to(count + 1, 0);
            assert_eq!(other.info().lost, 0);
        }
    }
}

/// A subscriber that has ended is noticed by ipc_feed_service and by publications. The publisher's
/// descriptors for it are closed.
#[apply(isolated)]
fn subscriber_ends() {
    let feed = Feed::with(&SMALL);
    let keeper = feed.subscribe(&RELIABLE);
    let before = open_numbers();
    for publishes in [false, true] {
        let child = spawn_sub(&feed, &RELIABLE, |_sub| sleep_forever());
        assert_eq!(open_numbers().len(), before.len() + 2);
        kill(child);
        wait_until("the end of the subscriber", || {
            if publishes {
                feed.publish_up_to(feed.info().published + 1, 8, 0);
                keeper.expect_up_to(feed.info().published, 0);
            } else {
                assert_eq!(feed.service(), DONE);
            }
            feed.count() == 1
        });
        assert_eq!(open_numbers(), before);
    }
}

/// The subscribers receive all messages that were published before the publisher was killed, and
/// then the end.
#[apply(isolated)]
fn publisher_is_killed() {
    for in_call in [false, true] {
        let (name, shared) = (abstract_name(), Counters::new());
        let child = fork(|| {
            let feed = Feed::with(&SMALL);
            feed.listen(&name);
            feed.service_until_count(3);
            feed.publish_up_to(50, 1000, LONG);
            shared.set(0, 1);
            if in_call {
                feed.publish_up_to(200, 1000, -1);
            }
            sleep_forever();
        });
        let connected = |flags: u32| {
            let flags = flags | IPC_SUB_F_WAIT;
            connect(&name, &ipc_sub_opts { flags, ..RELIABLE }, LONG).unwrap()
        };
        let subs = [0, IPC_SUB_F_LOSSY, IPC_SUB_F_NO_SPIN].map(connected);
        shared.wait_for(0, 1);
        subs[1].expect_up_to(50, LONG);
        let (mut lossy_end, mut published) = (Ok(Received::End), 50);
        if in_call {
            child.wait_asleep();
            published = subs[0].info().published;
            assert_eq!(published, 65);
        }
        thread::scope(|scope| {
            let lossy = &subs[1];
            let (sleeper, _) = spawn_sleeper(scope, move || {
                lossy.expect_up_to(published, LONG);
                lossy.recv(-1)
            });
            kill(child);
            lossy_end = sleeper.join().unwrap();
        });
        assert_eq!(lossy_end, END);
        for sub in &subs {
            sub.expect_up_to(published, LONG);
            for timeout_ms in [LONG, -1, INTR] {
                assert_eq!(sub.recv(timeout_ms), END);
                assert_eq!(sub.peek(timeout_ms), Ok(Received::End));
            }
            // A call that does not wait checks now and then.
            wait_until("the end", || sub.recv(0) == END);
            assert_eq!(sub.release(), Err(EINVAL));
        }
    }
}

/// The publisher closes: subscribers that sleep, spin or poll receive the rest and the end.
#[apply(isolated)]
fn publisher_closes() {
    for flags in [0, IPC_SUB_F_NO_SPIN] {
        let opts = ipc_sub_opts { flags, ..RELIABLE };
        let feed = Feed::with(&SMALL);
        let asleep = feed.subscribe(&opts);
        let late = feed.subscribe(&opts);
        let polled = feed.subscribe(&opts);
        assert!(!polled.is_readable(0));
        feed.publish_up_to(60, 1000, 0);
        let last = thread::scope(|scope| {
            let (sleeper, _) = spawn_sleeper(scope, || {
                asleep.expect_up_to(60, 0);
                asleep.recv(LONG)
            });
            drop(feed);
            sleeper.join().unwrap()
        });
        assert_eq!(last, END);
        for sub in [&late, &polled] {
            sub.expect_up_to(60, 0);
            assert_eq!((sub.recv(0), sub.peek(0)), (END, Ok(Received::End)));
        }
        assert_eq!((late.info().published, late.info().next_seq), (60, 60));
    }
}

/// A child that has the feed from fork keeps its copies of all descriptors. The subscribers are told
/// the end that the parent announces.
#[apply(isolated)]
fn publisher_closes_and_a_child_keeps_copies() {
    let feed = Feed::with(&SMALL);
    let (sub, polled) = (feed.subscribe(&RELIABLE), feed.subscribe(&RELIABLE));
    assert!(!polled.is_readable(0));
    let keeper = fork(|| sleep_forever());
    feed.publish_up_to(5, 8, 0);
    thread::scope(|scope| {
        let (sleeper, _) = spawn_sleeper(scope, || {
            sub.expect_up_to(5, LONG);
            sub.recv(LONG)
        });
        drop(feed);
        assert_eq!(sleeper.join().unwrap(), END);
    });
    assert!(polled.is_readable(10_000));
    polled.expect_up_to(5, 0);
    assert_eq!(polled.recv(0), END);
    kill(keeper);
}

/// A child that has the feed from fork can only close it; that changes nothing for the parent.
#[apply(isolated)]
fn child_of_the_publisher() {
    let directory = WorkingDirectory::new();
    let feed = Feed::with(&SMALL);
    feed.listen("s");
    let sub = feed.subscribe(&RELIABLE);
    feed.publish_up_to(1, 8, 0);
    let (one, _two) = sockets(libc::SOCK_STREAM);
    fork(|| {
        assert_eq!(feed.publish(b"x", 0), Err(EBUSY));
        assert_eq!(feed.publish(b"x", -1), Err(EBUSY));
        assert_eq!(feed.reserve(1, 0).unwrap_err(), EBUSY);
        assert_eq!(feed.service(), Err(EBUSY));
        assert_eq!(feed.fd(), Err(EBUSY));
        assert_eq!(feed.add(&one), Err(EBUSY));
        assert_eq!(feed.listen_with("t", 0o600, 0), Err(EBUSY));
        let none = std::ptr::null_mut();
        // SAFETY: the feed is open, and the array has no element.
        let count = outcome(|| unsafe { ipc_feed_subscribers(feed.0, none, 0, 72) });
        assert_eq!(count, Err(EBUSY));
        assert_eq!(feed.info().published, 1, "permitted");
        close_copy(&feed);
    })
    .join();
    assert_eq!(directory.list().len(), 1, "the path is still there");
    // A reservation of the parent.
    feed.reserve(8, 0).unwrap().copy_from_slice(&numbered(1, 8));
    fork(|| {
        assert_eq!((feed.commit(8), feed.cancel()), (Err(EBUSY), Err(EBUSY)));
        assert_eq!(feed.publish(b"x", 0), Err(EBUSY));
        close_copy(&feed);
    })
    .join();
    assert_eq!(feed.commit(8), DONE);
    feed.publish_up_to(3, 8, 0);
    sub.expect_up_to(3, 0);
    assert_eq!(sub.recv(0), Err(EAGAIN));
    // A grandchild that is not the parent, and exits without closing.
    fork(|| assert_eq!(feed.publish(b"x", 0), Err(EBUSY))).join();
    feed.publish_up_to(4, 8, 0);
    sub.expect_up_to(4, 0);
}

/// A child may make its own feed, and may subscribe.
#[apply(isolated)]
fn feeds_after_fork() {
    let (name, feed) = (abstract_name(), Feed::with(&SMALL));
    feed.listen(&name);
    let child = fork(|| {
        let own = Feed::with(&SMALL);
        let to_own = own.subscribe(&RELIABLE);
        own.publish_up_to(3, 8, 0);
        to_own.expect_up_to(3, 0);
        let sub = connect(&name, &RELIABLE, LONG).unwrap();
        sub.expect_up_to(3, LONG);
    });
    feed.service_until_count(1);
    feed.publish_up_to(3, 8, 0);
    child.join();
}

/// Two processes have one subscriber. After one has received, the other one gets EBUSY.
#[apply(isolated)]
fn subscriber_in_two_processes() {
    let feed = Feed::with(&SMALL);
    let sub = feed.subscribe(&RELIABLE);
    feed.publish_up_to(10, 8, 0);
    sub.expect_up_to(2, 0);
    assert!(matches!(sub.peek(0), Ok(Received::Message(2, _))));
    fork(|| {
        sub.expect_up_to(5, 0);
        // SAFETY: an open subscriber, and this is its last use in this process.
        unsafe { ipc_sub_close(sub.0) };
    })
    .join();
    assert_eq!(sub.release(), Err(EBUSY));
    for timeout_ms in [0, 10, -1] {
        assert_eq!(sub.recv(timeout_ms), Err(EBUSY));
        assert_eq!(sub.peek(timeout_ms).unwrap_err(), EBUSY);
    }
    assert_eq!(feed.subscriber().lag_messages, 5);
    feed.publish_up_to(11, 8, 0);
    // The subscriber exists until both processes have closed it.
    let (keeper, sub) = (fork(|| sleep_forever()), drop(sub));
    assert_eq!((feed.service(), feed.count()), (DONE, 1));
    kill(keeper);
    feed.service_until_count(0);
    sub
}

/// A process that sleeps in a receive while another one receives.
#[apply(isolated)]
fn subscriber_in_two_waiting_processes() {
    let feed = Feed::with(&SMALL);
    let sub = feed.subscribe(&ipc_sub_opts {
        flags: IPC_SUB_F_NO_SPIN,
        ..RELIABLE
    });
    let children = [0; 2].map(|_| fork_reporter(|| sub.recv(1500).map(|_| 1u8)));
    children.iter().for_each(|child| child.wait_asleep());
    // Both may receive the first message at the same time, but not the second one.
    for _ in 0..2 {
        feed.publish_up_to(feed.info().published + 1, 8, 0);
    }
    let outcomes = children.map(|child| child.outcome());
    assert!(outcomes.iter().any(Result::is_ok), "{outcomes:?}");
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Ok(1) | Err(EBUSY)))
    );
    assert_eq!(sub.recv(0), Err(EBUSY));
}

/// The publisher does not wait longer for a subscriber that is killed again and again.
#[apply(isolated)]
fn many_deaths() {
    let feed = Feed::with(&SMALL);
    let keeper = feed.subscribe(&RELIABLE);
    let start = Instant::now();
    for round in 0..scaled(30) {
        let child = spawn_sub(&feed, &RELIABLE, |sub| {
            sub.expect_up_to(sub.info().next_seq + round, LONG);
            kill_this_process();
        });
        for _ in 0..200 {
            let published = feed.info().published;
            feed.publish_up_to(published + 1, 1000, LONG);
            keeper.expect_up_to(published + 1, 0);
        }
        assert_eq!(child.end(), End::Signal(libc::SIGKILL));
        feed.service_until_count(1);
    }
    assert!(start.elapsed() < Duration::from_secs(30));
    assert_eq!(keeper.info().lost, 0);
}
