//! ipc_feed_listen: paths, abstract names, stale sockets, and what ipc_feed_close removes.

use crate::support::*;
use common::filter;
use libc::{EADDRINUSE, EBUSY, ECONNREFUSED, EINVAL, ENAMETOOLONG, ENOENT, ENOTDIR, ETIMEDOUT};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

#[apply(isolated)]
fn arguments() {
    let directory = WorkingDirectory::new();
    let feed = Feed::with(&SMALL);
    let before = open_numbers();
    let listen = |path: &str| feed.listen_with(path, 0o600, 0).unwrap_err();
    assert_eq!(
        (listen(""), listen("@"), listen("none/s")),
        (ENOENT, EINVAL, ENOENT)
    );
    fs::write("file", "").unwrap();
    assert_eq!(listen("file/s"), ENOTDIR);
    symlink("loop", "loop").unwrap();
    assert_eq!(listen("loop/s"), libc::ELOOP);
    for flags in [1, 2, 1 << 31] {
        assert_eq!(feed.listen_with("s", 0o600, flags), Err(EINVAL));
    }
    for mode in [0o1000, 0o4600, libc::S_IFSOCK | 0o600, u32::MAX] {
        assert_eq!(feed.listen_with("s", mode, 0), Err(EINVAL));
    }
    for too_long in [
        format!("s{}", "x".repeat(107)),
        format!("@{}", "x".repeat(108)),
    ] {
        assert_eq!(listen(&too_long), ENAMETOOLONG);
        assert_eq!(connect(&too_long, &RELIABLE, 0).unwrap_err(), ENAMETOOLONG);
    }
    let refused = |path: &str| connect(path, &RELIABLE, 0).unwrap_err();
    assert_eq!(
        (refused(""), refused("@"), refused("none")),
        (ENOENT, EINVAL, ENOENT)
    );
    assert_eq!(
        (refused("file/s"), refused("loop/s")),
        (ENOTDIR, libc::ELOOP)
    );
    assert_eq!(
        (refused("file"), refused(&abstract_name())),
        (ECONNREFUSED, ECONNREFUSED)
    );
    assert_eq!((open_numbers(), directory.list().len()), (before, 2));
}

/// The longest path, which has 107 bytes, and the longest abstract name.
#[apply(isolated)]
fn longest_names() {
    let directory = WorkingDirectory::new();
    for longest in [
        format!("s{}", "x".repeat(106)),
        format!("@{}", "x".repeat(107)),
    ] {
        let feed = Feed::with(&SMALL);
        feed.listen(&longest);
        thread::scope(|scope| {
            let thread = scope.spawn(|| connect(&longest, &RELIABLE, LONG).unwrap());
            drop(feed.serve(thread));
        });
        drop(feed);
        assert_eq!(directory.list().len(), 0, "the path is removed");
    }
}

/// A feed listens at one path; a path has one listener.
#[apply(isolated)]
fn busy() {
    let directory = WorkingDirectory::new();
    for path in ["s", &abstract_name()] {
        let (feed, other) = (Feed::with(&SMALL), Feed::with(&SMALL));
        feed.listen(path);
        let before = (open_numbers(), directory.list());
        assert_eq!(feed.listen_with("t", 0o600, 0), Err(EBUSY));
        assert_eq!(feed.listen_with(path, 0o600, 0), Err(EBUSY));
        assert_eq!(other.listen_with(path, 0o600, 0), Err(EADDRINUSE));
        assert_eq!((open_numbers(), directory.list()), before);
        // The refused feed may listen elsewhere, and at the same path later.
        drop(feed);
        other.listen(path);
    }
}

/// The socket file has the mode, whatever the umask.
#[apply(isolated)]
fn modes() {
    let _directory = WorkingDirectory::new();
    set_umask(0o077);
    for mode in [0o600, 0o660, 0o666, 0] {
        let feed = Feed::with(&SMALL);
        assert_eq!(feed.listen_with("s", mode, 0), DONE);
        assert_eq!(fs::metadata("s").unwrap().mode() & 0o7777, mode);
    }
}

/// A user without the right to write the path.
#[apply(isolated)]
#[needs(needs::root)]
fn no_permission() {
    let _directory = WorkingDirectory::new();
    open_to_all();
    let feed = Feed::with(&SMALL);
    feed.listen("s");
    as_nobody(|| {
        assert_eq!(connect("s", &RELIABLE, 0).unwrap_err(), libc::EACCES);
        let own = Feed::with(&SMALL);
        assert_eq!(own.listen_with("t", 0o600, 0), Err(libc::EACCES));
    });
    assert_eq!((feed.service(), feed.count()), (DONE, 0));
}

/// ipc_feed_close removes the path that the feed has created, and no other file.
#[apply(isolated)]
fn close_removes_the_path() {
    let _directory = WorkingDirectory::new();
    let closed_after = |change: &dyn Fn()| {
        let feed = Feed::with(&SMALL);
        feed.listen("s");
        change();
        drop(feed);
        Path::new("s").exists()
    };
    assert!(!closed_after(&|| ()));
    assert!(
        !closed_after(&|| fs::remove_file("s").unwrap()),
        "removed already"
    );
    let replace = || {
        fs::write("t", "another file").unwrap();
        fs::rename("t", "s").unwrap();
    };
    assert!(closed_after(&replace));
    fs::remove_file("s").unwrap();
    // Another feed listens at the path meanwhile.
    let feed = Feed::with(&SMALL);
    feed.listen("s");
    fs::remove_file("s").unwrap();
    let other = Feed::with(&SMALL);
    other.listen("s");
    drop(feed);
    assert!(Path::new("s").exists());
    thread::scope(|scope| {
        let thread = scope.spawn(|| connect("s", &RELIABLE, LONG).unwrap());
        drop(other.serve(thread));
    });
    drop(other);
    assert!(!Path::new("s").exists());
    // The feed never listened.
    fs::write("s", "").unwrap();
    drop(Feed::with(&SMALL));
    assert!(Path::new("s").exists());
}

/// If the call fails after it has created the path, it removes it.
#[apply(isolated)]
fn failure_removes_the_path() {
    let directory = WorkingDirectory::new();
    fork(|| {
        let feed = Feed::with(&SMALL);
        let before = open_numbers();
        filter::refuse(libc::SYS_epoll_ctl, libc::ENOSPC);
        for path in ["s", &abstract_name()] {
            for _ in 0..2 {
                assert_eq!(feed.listen_with(path, 0o600, 0), Err(libc::ENOSPC));
                assert_eq!(directory.list().len(), 0);
                assert_eq!(open_numbers(), before);
            }
        }
    })
    .join();
}

/// The socket of a publisher that was killed is replaced; the socket of a live listener that is not
/// a feed, and a file, are not.
#[apply(isolated)]
fn dead_listener() {
    let _directory = WorkingDirectory::new();
    let shared = Counters::new();
    let child = fork(|| {
        let feed = Feed::with(&SMALL);
        feed.listen("s");
        shared.set(0, 1);
        sleep_forever();
    });
    shared.wait_for(0, 1);
    kill(child);
    assert_eq!(connect("s", &RELIABLE, LONG).unwrap_err(), ECONNREFUSED);
    let feed = Feed::with(&SMALL);
    feed.listen("s");
    thread::scope(|scope| {
        let thread = scope.spawn(|| connect("s", &RELIABLE, LONG).unwrap());
        drop(feed.serve(thread));
    });
    fs::write("file", "content").unwrap();
    let _live = UnixListener::bind("live").unwrap();
    let other = Feed::with(&SMALL);
    for path in ["file", "live"] {
        assert_eq!(other.listen_with(path, 0o600, 0), Err(EADDRINUSE), "{path}");
    }
    assert_eq!(fs::read("file").unwrap(), b"content");
    // A stream socket listens, which is not a feed's.
    assert_eq!(connect("live", &RELIABLE, 0).unwrap_err(), ECONNREFUSED);
}

/// IPC_SUB_F_WAIT: the subscriber comes before the publisher.
#[apply(isolated)]
fn wait_for_a_listener() {
    let _directory = WorkingDirectory::new();
    let opts = ipc_sub_opts {
        flags: IPC_SUB_F_WAIT,
        ..RELIABLE
    };
    for path in ["s", &abstract_name()] {
        let error = if path == "s" { ENOENT } else { ECONNREFUSED };
        assert_eq!(connect(path, &opts, 0).unwrap_err(), error);
        let (connected, ms) = timed_ms(|| connect(path, &opts, 50));
        assert_eq!(connected.unwrap_err(), ETIMEDOUT);
        assert!((50..5000).contains(&ms), "{ms} ms");
        ends_with_signal(|| connect(path, &opts, INTR).map(|_| 0));
        for timeout_ms in [-1, LONG, INTR] {
            let child = fork(|| {
                let sub = connect(path, &opts, timeout_ms).unwrap();
                sub.expect_up_to(1, LONG);
                assert_eq!(sub.recv(LONG), END);
            });
            child.wait_asleep();
            let feed = Feed::with(&SMALL);
            feed.listen(path);
            feed.service_until_count(1);
            feed.publish_up_to(1, 8, 0);
            drop(feed);
            child.join();
        }
    }
    // Waiting does not help here.
    assert_eq!(connect("@", &opts, -1).unwrap_err(), EINVAL);
}
