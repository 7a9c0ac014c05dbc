//! The ways in which a subscriber comes to a feed, in threads and in processes.

use crate::support::*;
use libc::SOCK_SEQPACKET;
use std::os::fd::AsRawFd;
use std::{env, process, thread};
use unixipc::ffi::pair::ipc_pair_open;

/// The number of messages that each test sends.
const COUNT: u64 = 3000;

/// Publishes with waits, while children and threads receive.
#[track_caller]
fn publish_all(feed: &Feed) {
    feed.publish_up_to(COUNT, 200, LONG);
}

/// Receives all messages and the end.
#[track_caller]
fn receive_all(sub: &Sub) {
    sub.expect_up_to(COUNT, LONG);
    assert_eq!(sub.recv(LONG), END);
    assert_eq!(sub.recv(0), END);
    assert_eq!(sub.info().next_seq, COUNT);
}

#[apply(isolated)]
fn threads() {
    for flags in [0, IPC_FEED_F_NO_SPIN] {
        let feed = Feed::with(&ipc_feed_opts { flags, ..SMALL });
        let subs = [0; 3].map(|_| feed.subscribe(&RELIABLE));
        thread::scope(|scope| {
            for sub in &subs {
                scope.spawn(|| receive_all(sub));
            }
            publish_all(&feed);
            drop(feed);
        });
    }
}

/// The publisher is not the thread that made the feed.
#[apply(isolated)]
fn publishing_thread() {
    let feed = Feed::with(&SMALL);
    let sub = feed.subscribe(&RELIABLE);
    thread::scope(|scope| {
        scope.spawn(move || {
            publish_all(&feed);
            drop(feed);
        });
        receive_all(&sub);
    });
}

#[apply(isolated)]
fn sockets_of_both_types() {
    for socket_type in SOCKET_TYPES {
        for nonblocking in [0, libc::SOCK_NONBLOCK] {
            let feed = Feed::with(&SMALL);
            let children: Vec<Child> = (0..3)
                .map(|_| {
                    let (one, other) = sockets(socket_type | nonblocking);
                    let child = fork(|| {
                        close_copy(&feed);
                        let sub = from_fd(&other, &RELIABLE, LONG).unwrap();
                        drop(other);
                        receive_all(&sub);
                    });
                    assert_eq!(feed.add(&one), DONE);
                    child
                })
                .collect();
            feed.service_until_count(3);
            publish_all(&feed);
            drop(feed);
            children.into_iter().for_each(Child::join);
        }
    }
}

/// ipc_feed_add before the subscriber asks and after it. The pair is from the library.
#[apply(isolated)]
fn either_side_first() {
    for subscriber_first in [false, true] {
        let feed = Feed::with(&SMALL);
        let mut fds = [-1; 2];
        // SAFETY: an array of two.
        assert_eq!(
            unsafe { ipc_pair_open(SOCK_SEQPACKET, fds.as_mut_ptr()) },
            0
        );
        let (one, other) = (own(fds[0]), own(fds[1]));
        if !subscriber_first {
            assert_eq!(feed.add(&one), DONE);
        }
        let child = fork(|| {
            close_copy(&feed);
            receive_all(&from_fd(&other, &RELIABLE, LONG).unwrap());
        });
        if subscriber_first {
            assert_ne!(poll(one.as_raw_fd(), 10_000), 0);
            assert_eq!(feed.add(&one), DONE);
            assert_eq!(feed.count(), 1, "admitted at once");
        } else {
            feed.service_until_count(1);
        }
        drop((one, other));
        publish_all(&feed);
        drop(feed);
        child.join();
    }
}

#[apply(isolated)]
fn paths() {
    let _directory = WorkingDirectory::new();
    let absolute = env::temp_dir().join("d/absolute");
    for path in ["s", "./t", absolute.to_str().unwrap(), &abstract_name()] {
        let feed = Feed::with(&SMALL);
        feed.listen(path);
        let children: Vec<Child> = (0..3)
            .map(|_| {
                fork(|| {
                    close_copy(&feed);
                    let sub = connect(path, &RELIABLE, LONG).unwrap();
                    assert!(is_me(sub.info().publisher.pid) ^ true);
                    receive_all(&sub);
                })
            })
            .collect();
        feed.service_until_count(3);
        let pids: Vec<_> = feed.subscribers().iter().map(|sub| sub.pid).collect();
        assert!(children.iter().all(|child| pids.contains(&child.0)));
        publish_all(&feed);
        drop(feed);
        children.into_iter().for_each(Child::join);
    }
}

/// Subscribers by path, by socket and in a thread, of one feed. ipc_sub_info names the publisher.
#[apply(isolated)]
fn mixed() {
    let (feed, name) = (Feed::with(&SMALL), abstract_name());
    feed.listen(&name);
    let me = process::id() as i32;
    let by_path = fork(|| {
        close_copy(&feed);
        let sub = connect(&name, &RELIABLE, LONG).unwrap();
        assert_eq!(sub.info().publisher.pid, me);
        receive_all(&sub);
    });
    feed.service_until_count(1);
    let by_socket = spawn_sub(&feed, &RELIABLE, |sub| receive_all(&sub));
    let here = feed.subscribe(&RELIABLE);
    assert_eq!(here.info().feed_id, feed.info().feed_id);
    thread::scope(|scope| {
        scope.spawn(|| receive_all(&here));
        publish_all(&feed);
        drop(feed);
    });
    by_path.join();
    by_socket.join();
}

/// A feed of another process, which the parent reads.
#[apply(isolated)]
fn publisher_is_the_child() {
    let name = abstract_name();
    let child = fork(|| {
        let feed = Feed::with(&SMALL);
        feed.listen(&name);
        feed.service_until_count(1);
        publish_all(&feed);
    });
    let opts = ipc_sub_opts {
        flags: IPC_SUB_F_WAIT,
        ..RELIABLE
    };
    let sub = connect(&name, &opts, LONG).unwrap();
    assert_eq!(sub.info().publisher.pid, child.0);
    receive_all(&sub);
    child.join();
}
