//! ipc_feed_subscribers, ipc_feed_info and ipc_sub_info.

use crate::support::*;
use libc::EAGAIN;
use std::ffi::CStr;
use std::{mem, ptr, thread};

fn name(subscriber: &ipc_feed_subscriber) -> &CStr {
    // SAFETY: the name ends with a null byte.
    unsafe { CStr::from_ptr(subscriber.name.as_ptr()) }
}

#[apply(isolated)]
fn subscribers() {
    let feed = Feed::with(&SMALL);
    assert_eq!(feed.count(), 0);
    let named = |opts: ipc_sub_opts, name: &'static CStr| {
        let name = name.as_ptr();
        feed.subscribe(&ipc_sub_opts { name, ..opts })
    };
    let unnamed = feed.subscribe(&RELIABLE);
    let (reliable, lossy) = (named(RELIABLE, c"a reliable one"), named(LOSSY, c"b"));
    feed.publish_up_to(10, 1000, 0);
    reliable.expect_up_to(4, 0);
    unnamed.expect_up_to(10, 0);
    let list = feed.subscribers();
    let names: Vec<_> = list.iter().map(name).collect();
    assert_eq!(names, [c"", c"a reliable one", c"b"]);
    for subscriber in &list {
        assert!(is_me(subscriber.pid));
        // SAFETY: take nothing.
        let ids = unsafe { (libc::getuid(), libc::getgid()) };
        assert_eq!((subscriber.uid, subscriber.gid), ids);
        assert_eq!(subscriber.lost, 0);
    }
    let lags: Vec<_> = list
        .iter()
        .map(|sub| (sub.lag_messages, sub.lag_bytes))
        .collect();
    assert_eq!(lags, [(0, 0), (6, 6 * 1008), (10, 10 * 1008)]);
    let states: Vec<_> = list.iter().map(|sub| sub.state).collect();
    assert_eq!(states, [0, 0, IPC_SUB_S_LOSSY]);
    // What the lossy one loses. Its lag is limited to what is in the ring.
    reliable.expect_up_to(10, 0);
    feed.publish_up_to(60, 1000, 0);
    [&unnamed, &reliable]
        .iter()
        .for_each(|sub| sub.expect_up_to(60, 0));
    feed.publish_up_to(110, 1000, 0);
    let list = feed.subscribers();
    let first = oldest(&feed);
    assert_eq!(
        (list[2].lag_messages, list[2].lag_bytes),
        (110, (110 - first) * 1008)
    );
    assert_eq!(lossy.recv(0), lost_before(first));
    let list = feed.subscribers();
    assert_eq!((list[2].lag_messages, list[2].lost), (110 - first, first));
    assert_eq!((list[1].lag_messages, list[1].lost), (50, 0));
    drop((unnamed, reliable));
    feed.service_until_count(1);
    assert_eq!(name(&feed.subscriber()), c"b");
}

/// A subscriber that sleeps, and one that holds the publisher up.
#[apply(isolated)]
fn states() {
    let feed = Feed::with(&SMALL);
    let sub = feed.subscribe(&RELIABLE);
    thread::scope(|scope| {
        let (sleeper, _) = spawn_sleeper(scope, || sub.recv(LONG));
        assert_eq!(feed.subscriber().state, IPC_SUB_S_ASLEEP);
        assert_eq!(feed.publish(b"x", 0), DONE);
        assert_eq!(sleeper.join().unwrap(), message(0, b"x"));
    });
    assert_eq!(feed.subscriber().state, 0);
    let other = feed.subscribe(&RELIABLE);
    feed.fill(1000);
    other.expect_up_to(30, 0);
    assert_eq!(feed.publish(&[0; 1000], 0), Err(EAGAIN));
    let states = || -> Vec<_> {
        let list = feed.subscribers();
        list.iter()
            .map(|sub| (sub.lag_messages, sub.state))
            .collect()
    };
    let mut now = states();
    now.sort_unstable();
    assert_eq!(now[0].1, 0, "{now:?}");
    assert_eq!(now[1].1, IPC_SUB_S_HOLDS, "{now:?}");
    // The time-out of a publication leaves the state; a success ends it.
    assert_eq!(feed.publish(&[0; 1000], 10), Err(libc::ETIMEDOUT));
    assert!(states().contains(&now[1]));
    sub.expect_up_to(10, 0);
    assert_eq!(feed.publish(&[0; 1000], 0), DONE);
    assert!(states().iter().all(|(_, state)| *state == 0));
}

/// The credentials are those of the process that connected.
#[apply(isolated)]
#[needs(needs::root)]
fn other_user() {
    let (feed, path) = (Feed::with(&SMALL), abstract_name());
    feed.listen(&path);
    let child = fork(|| {
        close_copy(&feed);
        common::user::become_nobody().unwrap();
        let sub = connect(&path, &RELIABLE, LONG).unwrap();
        assert_eq!(sub.recv(LONG), END);
    });
    feed.service_until_count(1);
    let subscriber = feed.subscriber();
    assert_eq!(subscriber.pid, child.0);
    assert!(subscriber.uid != 0 && subscriber.gid != 0);
    drop(feed);
    child.join();
}

/// An array that is too small, and one with larger elements.
#[apply(isolated)]
fn arrays() {
    const SIZE: usize = size_of::<ipc_feed_subscriber>();
    let feed = Feed::with(&SMALL);
    let subs = [0; 3].map(|_| feed.subscribe(&LOSSY));
    // SAFETY: all zero bytes are a valid value.
    let mut list = [unsafe { mem::zeroed::<ipc_feed_subscriber>() }; 5];
    for count in 0..=5 {
        list.iter_mut().for_each(|subscriber| subscriber.pid = -1);
        // SAFETY: an open feed, and an array of at least this length.
        let total = unsafe { ipc_feed_subscribers(feed.0, list.as_mut_ptr(), count, SIZE) };
        assert_eq!(total, 3);
        let written = list.iter().filter(|subscriber| is_me(subscriber.pid));
        assert_eq!(written.count(), count.min(3));
        assert!(
            list[count.min(3)..]
                .iter()
                .all(|subscriber| subscriber.pid == -1)
        );
    }
    // NULL is permitted for no element; size does not matter then.
    // SAFETY: an open feed, and an array of no element.
    assert_eq!(
        unsafe { ipc_feed_subscribers(feed.0, ptr::null_mut(), 0, 0) },
        3
    );
    // The elements of a later version.
    const LARGER: usize = SIZE + 24;
    let mut bytes = [0xa5u8; 4 * LARGER];
    // SAFETY: an open feed, and an array of four elements.
    let total = unsafe { ipc_feed_subscribers(feed.0, bytes.as_mut_ptr().cast(), 4, LARGER) };
    assert_eq!(total, 3);
    for element in bytes.chunks(LARGER).take(3) {
        assert!(is_me(i32::from_ne_bytes(element[..4].try_into().unwrap())));
        assert_eq!(element[SIZE..], [0; 24], "unknown members");
    }
    assert_eq!(bytes[3 * LARGER..], [0xa5; LARGER]);
    drop(subs);
}

#[apply(isolated)]
fn facts() {
    let feed = Feed::with(&SMALL);
    let sub = feed.subscribe(&LOSSY);
    for count in [0, 1, 10, 1000] {
        feed.publish_up_to(count, 1000, 0);
        assert_eq!(
            (feed.info().published, sub.info().published),
            (count, count)
        );
        assert_eq!(feed.info().feed_id, sub.info().feed_id);
    }
    let before = sub.info();
    assert_eq!((before.next_seq, before.lost), (0, 0), "not received yet");
    let first = oldest(&feed);
    assert_eq!(sub.recv(0), lost_before(first));
    assert_eq!((sub.info().next_seq, sub.info().lost), (first, first));
    assert!(is_me(sub.info().publisher.pid));
    // The ids of two feeds differ, also after fork.
    let other = Feed::new();
    assert_ne!(feed.info().feed_id, other.info().feed_id);
}
