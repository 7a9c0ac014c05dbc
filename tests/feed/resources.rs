//! The descriptors and the memory of a feed, the limits of a process, and many subscribers.

use crate::support::*;
use libc::{EFBIG, EMFILE, ENOMEM, SOCK_SEQPACKET, c_int};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

/// The number of descriptors that have been opened since `before`. Checks that they are
/// close-on-exec.
#[track_caller]
fn opened(before: &[c_int]) -> usize {
    let mut now = open_numbers();
    now.retain(|fd| !before.contains(fd));
    for fd in &now {
        // SAFETY: no pointers.
        let flags = unsafe { libc::fcntl(*fd, libc::F_GETFD) };
        assert_eq!(flags, libc::FD_CLOEXEC, "{fd}");
    }
    now.len()
}

/// Two for a feed, one for its event loop, one for its listener, and two for each subscriber. A subscriber has two, and two
/// more for event loops. An executed program inherits none.
#[apply(isolated)]
fn descriptors() {
    let _directory = WorkingDirectory::new();
    for path in ["s", &abstract_name()] {
        let before = open_numbers();
        let feed = Feed::with(&SMALL);
        assert_eq!(opened(&before), 2);
        for _ in 0..2 {
            feed.fd().unwrap();
            assert_eq!(opened(&before), 3);
        }
        feed.listen(path);
        assert_eq!(opened(&before), 4);
        let (mut told, tell) = pipe();
        let with_pipe = open_numbers();
        let children: Vec<Child> = (1..=4)
            .map(|count| {
                let child = fork(|| {
                    let before = open_numbers();
                    let sub = connect(path, &RELIABLE, LONG).unwrap();
                    assert_eq!(opened(&before), 2);
                    assert_eq!(sub.recv(1), Err(libc::ETIMEDOUT));
                    assert_eq!(opened(&before), 2);
                    sub.fd().unwrap();
                    assert_eq!(opened(&before), 4);
                    assert_eq!(told.read(&mut [0]).unwrap(), 1);
                    drop(sub);
                    assert_eq!(open_numbers(), before);
                });
                feed.service_until_count(count);
                assert_eq!(opened(&with_pipe), 2 * count);
                child
            })
            .collect();
        (&tell).write_all(b"....").unwrap();
        children.into_iter().for_each(Child::join);
        feed.service_until_count(0);
        assert_eq!(open_numbers(), with_pipe);
        drop((told, tell, feed));
        assert_eq!(open_numbers(), before);
    }
}

/// Calls `make` while the process can open no descriptor, then one, and so on until it succeeds.
/// Returns the number that it needs. `prepare` runs without a limit. A failure leaks nothing.
#[track_caller]
fn needed_descriptors<T>(
    what: &str,
    prepare: impl Fn() -> T,
    make: impl Fn(&T) -> Result<(), i32>,
) -> u64 {
    for available in 0..20 {
        let before = open_numbers();
        let prepared = prepare();
        let between = (open_numbers(), mappings());
        let made = with_room_for(available, || make(&prepared));
        if made.is_err() {
            let now = (open_numbers(), mappings());
            assert_eq!(now, between, "{what}, {available} available");
        }
        drop(prepared);
        assert_eq!(open_numbers(), before, "{what}, {available} available");
        match made {
            Ok(()) => {
                println!("{what} needs {available} descriptors");
                return available;
            }
            Err(error) => assert_eq!(error, EMFILE, "{what}, {available} available"),
        }
    }
    panic!("{what} fails with 20 descriptors too")
}

#[apply(isolated)]
fn few_descriptors() {
    let name = abstract_name();
    drop(Feed::with(&SMALL)); // the allocator has mapped its memory now
    let path = std::env::temp_dir().join("s").to_str().unwrap().to_owned();
    let new = || Feed::with(&SMALL);
    let make = || Feed::try_with(&SMALL, size_of_val(&SMALL)).map(drop);
    let listen = |feed: &Feed, path: &str| feed.listen_with(path, 0o600, 0).map(drop);
    let needs = [
        needed_descriptors("create", || (), |()| make()),
        needed_descriptors("listen", new, |feed| listen(feed, &name)),
        needed_descriptors("fd", new, |feed| feed.fd().map(drop)),
        needed_descriptors(
            "add",
            || (new(), sockets(SOCK_SEQPACKET)),
            |(feed, (one, _))| feed.add(one).map(drop),
        ),
        needed_descriptors(
            "sub_fd",
            || {
                let feed = new();
                (feed.subscribe(&RELIABLE), feed)
            },
            |(sub, _)| sub.fd().map(drop),
        ),
    ];
    assert_eq!(needs, [2, 1, 1, 1, 2]);
    let needs = needed_descriptors("listen, at a path", new, |feed| listen(feed, &path));
    // The socket, the directory and the lock file. A C library that does not use fchmodat2(2) opens
    // the path to set its mode.
    assert!((3..=4).contains(&needs), "{needs}");
}

/// A subscriber that connects while it has few descriptors. The publisher forgets it after a
/// failure.
#[apply(isolated)]
fn few_descriptors_to_subscribe() {
    let (feed, name) = (Feed::with(&SMALL), abstract_name());
    feed.listen(&name);
    let before = open_numbers();
    for available in 0..10 {
        let child = fork_reporter(|| {
            close_copy(&feed);
            let before = (open_numbers(), mappings());
            let connected = with_room_for(available, || connect(&name, &RELIABLE, LONG));
            if connected.is_err() {
                assert_eq!((open_numbers(), mappings()), before);
            }
            connected.map(|_| 0u8)
        });
        feed.service_until("the end of the child", || child.has_ended());
        let outcome = child.outcome();
        feed.service_until_count(0);
        assert_eq!(open_numbers(), before);
        match outcome {
            Ok(_) => return println!("connect needs {available} descriptors"),
            Err(error) => assert_eq!(error, EMFILE, "{available} available"),
        }
    }
    panic!("connect fails with 10 descriptors too");
}

fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("/memfd:")).count()
}

/// Closing frees the mappings of both sides, in any order.
#[apply(isolated)]
fn memory() {
    for feed_first in [false, true] {
        for flags in [0, IPC_FEED_F_PREFAULT] {
            let feed = Feed::with(&ipc_feed_opts { flags, ..SMALL });
            let subs = [0; 3].map(|_| feed.subscribe(&RELIABLE));
            assert!(mappings() > 0);
            feed.publish_up_to(10, 100, 0);
            if feed_first {
                drop(feed);
                subs.iter().for_each(|sub| sub.expect_up_to(10, 0));
                drop(subs);
            } else {
                drop(subs);
                drop(feed);
            }
            assert_eq!(mappings(), 0);
        }
    }
}

/// The limits of the address space and of the file size cause an error, but no signal and no leak.
#[apply(isolated)]
fn limits() {
    drop(Feed::new()); // the allocator has mapped its memory now
    const LARGE: u64 = 64 << 20;
    for (limit, value, error) in [
        (libc::RLIMIT_FSIZE, 4096, EFBIG),
        (libc::RLIMIT_AS, LARGE, ENOMEM),
    ] {
        let before = (open_numbers(), mappings());
        let old = set_soft_limit(limit, value);
        let opts = ipc_feed_opts {
            size: LARGE,
            ..FEED
        };
        let made = Feed::try_with(&opts, size_of_val(&opts)).map(drop);
        set_soft_limit(limit, old);
        assert_eq!(made, Err(error));
        assert_eq!((open_numbers(), mappings()), before);
    }
}

/// Locked memory, and the errors of a process whose limit of locked memory is too low.
#[apply(isolated)]
#[needs(needs::root)]
fn locked_memory() {
    let opts = ipc_feed_opts {
        flags: IPC_FEED_F_LOCK,
        ..SMALL
    };
    let make = || Feed::try_with(&opts, size_of_val(&opts));
    drop(make().unwrap());
    as_nobody(|| {
        for (limit, error) in [(4096, ENOMEM), (0, libc::EPERM)] {
            let old = set_soft_limit(libc::RLIMIT_MEMLOCK, limit);
            let before = (open_numbers(), mappings());
            assert_eq!(make().map(drop), Err(error), "limit {limit}");
            assert_eq!((open_numbers(), mappings()), before);
            set_soft_limit(libc::RLIMIT_MEMLOCK, old);
        }
    });
}

/// A process that limits its address space cannot map the ring.
#[apply(isolated)]
fn no_memory_to_subscribe() {
    const LARGE: u64 = 16 << 20;
    let (feed, name) = (
        Feed::with(&ipc_feed_opts {
            size: LARGE,
            ..FEED
        }),
        abstract_name(),
    );
    feed.listen(&name);
    let child = fork_reporter(|| {
        close_copy(&feed);
        set_soft_limit(libc::RLIMIT_AS, LARGE);
        let before = open_numbers();
        let connected = connect(&name, &RELIABLE, LONG);
        set_soft_limit(libc::RLIMIT_AS, libc::RLIM_INFINITY);
        assert_eq!((open_numbers(), mappings()), (before, 0));
        connected.map(|_| 0u8)
    });
    feed.service_until("the end of the child", || child.has_ended());
    assert_eq!(child.outcome(), Err(ENOMEM));
    feed.service_until_count(0);
}

/// 1,000 subscribers in one feed, in one process and in its child.
#[apply(isolated)]
#[needs(needs::root)]
fn many_subscribers() {
    const MANY: usize = 1000;
    raise_descriptor_limit(8 * MANY as u64);
    let feed = Feed::with(&ipc_feed_opts {
        subscribers_max: MANY as u32,
        ..SMALL
    });
    let pairs: Vec<(OwnedFd, OwnedFd)> = (0..MANY).map(|_| sockets(SOCK_SEQPACKET)).collect();
    let child = fork(|| {
        close_copy(&feed);
        let subs: Vec<Sub> = pairs
            .iter()
            .enumerate()
            .map(|(at, (one, _))| {
                let lossy = if at % 2 == 0 { IPC_SUB_F_LOSSY } else { 0 };
                from_fd(
                    one,
                    &ipc_sub_opts {
                        flags: lossy,
                        ..RELIABLE
                    },
                    LONG,
                )
                .unwrap()
            })
            .collect();
        for count in [1, 40] {
            for sub in &subs {
                sub.expect_up_to(count, LONG);
            }
        }
        for sub in &subs {
            assert_eq!((sub.recv(LONG), sub.info().lost), (END, 0));
        }
    });
    for (at, (_, other)) in pairs.iter().enumerate() {
        assert_ne!(poll(other.as_raw_fd(), 10_000), 0);
        assert_eq!(feed.add(other), DONE);
        assert_eq!(feed.count(), at + 1);
    }
    let another = feed.try_subscribe(&RELIABLE);
    assert_eq!(another.map(drop), Err(libc::EUSERS));
    let (_, took) = timed(|| feed.publish_up_to(40, 100, 0));
    println!("40 messages to {MANY} subscribers: {took:?}");
    drop((feed, pairs));
    child.join();
}

/// Raises both limits of descriptors.
fn raise_descriptor_limit(count: u64) {
    let limit = libc::rlimit {
        rlim_cur: count,
        rlim_max: count,
    };
    // SAFETY: the struct is ours.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}
