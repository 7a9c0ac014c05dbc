//! The descriptors and the memory of a channel, and the limits of a process.

use crate::handshake::{captured_hello, captured_hello_with, send_with_fds};
use crate::peer::{abstract_name, silent_client};
use crate::support::*;
use common::filter::refuse;
use libc::{EAGAIN, EFBIG, EMFILE, ETIMEDOUT, SOCK_SEQPACKET};
use std::os::fd::AsRawFd;
use std::{fs, ptr, thread};
use unixipc::ffi::channel::*;

/// The descriptors that have been opened since `before`. Checks that they are close-on-exec.
fn new_numbers(before: &[i32]) -> Vec<i32> {
    let mut now = open_numbers();
    now.retain(|fd| !before.contains(fd));
    for fd in &now {
        // SAFETY: no pointers.
        assert_eq!(
            unsafe { libc::fcntl(*fd, libc::F_GETFD) },
            libc::FD_CLOEXEC,
            "{fd}"
        );
    }
    now
}

/// The number of descriptors of a channel. An executed program inherits none of them.
#[apply(isolated)]
fn descriptors() {
    let before = open_numbers();
    let (a, b) = pair();
    assert_eq!(new_numbers(&before).len(), 4, "two for each end");
    a.fd().unwrap();
    assert_eq!(new_numbers(&before).len(), 6, "two more");
    // In a process with one thread, sleeping needs no further descriptor.
    assert_eq!(a.recv(1), Err(ETIMEDOUT));
    assert_eq!(new_numbers(&before).len(), 6);
    drop((a, b));
    assert_eq!(open_numbers(), before);
    let name = abstract_name();
    let listener = listen(&name);
    assert_eq!(new_numbers(&before).len(), 1);
    let child = fork(|| {
        let before = open_numbers();
        let end = connect(&name, LONG).unwrap();
        assert_eq!(new_numbers(&before).len(), 2);
        assert_eq!(end.recv(LONG).unwrap(), b"x");
    });
    let end = accept(&listener, LONG).unwrap();
    let accepted = new_numbers(&before).len();
    assert!(
        (1 + 1..=1 + 2).contains(&accepted),
        "{accepted}: the socket, or the two that replace it"
    );
    assert_eq!(end.send(b"x", LONG), DONE);
    assert_eq!(new_numbers(&before).len(), 1 + 2);
    child.join();
    drop((end, listener));
    assert_eq!(open_numbers(), before);
    // In a process with several threads, each direction that has slept needs one more.
    let (a, b) = full_pair(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2 {
                assert_eq!(a.recv(1), Err(ETIMEDOUT));
                assert_eq!(new_numbers(&before).len(), 4 + 1);
            }
            for _ in 0..2 {
                assert_eq!(a.send(&[0; 1000], 1), Err(ETIMEDOUT));
                assert_eq!(new_numbers(&before).len(), 4 + 2);
            }
        });
    });
    drop((a, b));
    assert_eq!(open_numbers(), before);
}

/// Calls `make` while the process can open no descriptor, then one, and so on until it succeeds.
/// Returns the number that it needs. `prepare` runs without a limit.
#[track_caller]
fn needed_descriptors<T>(
    what: &str,
    prepare: impl Fn() -> T,
    make: impl Fn(&T) -> Result<(), i32>,
) -> u64 {
    for available in 0..20 {
        let before = open_numbers();
        let prepared = prepare();
        let between = open_numbers();
        let made = with_room_for(available, || make(&prepared));
        if made.is_err() {
            assert_eq!(open_numbers(), between, "{what}, {available} available");
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
    let hello = captured_hello();
    let fds = hello.raw_fds();
    let needs = [
        needed_descriptors("pair", || (), |()| try_pair(ptr::null(), 0).map(drop)),
        needed_descriptors("fd", pair, |(a, _)| a.fd().map(drop)),
        needed_descriptors("listen", || (), |()| listen_with(&name, 0, 0).map(drop)),
        needed_descriptors(
            "from_fd",
            || {
                let (one, two) = sockets(SOCK_SEQPACKET);
                send_with_fds(&two, &hello.bytes, &fds);
                (one, two)
            },
            |(one, _)| from_fd(one, 0).map(drop),
        ),
    ];
    // A pair makes the memory of both sides, keeps no descriptor of it, and then makes two pipes.
    // `from_fd` has its copy of the socket, its own memory and pipe. It closes what it has sent before
    // it receives the two descriptors of the hello.
    assert_eq!(needs, [4, 2, 1, 4]);
    let path = std::env::temp_dir().join("s").to_str().unwrap().to_owned();
    let needs = needed_descriptors(
        "listen, at a path",
        || (),
        |()| listen_with(&path, 0o600, 0).map(drop),
    );
    // The socket, the directory and the lock file. A C library that does not use fchmodat2(2) opens
    // the path to set its mode.
    assert!((3..=4).contains(&needs), "{needs}");
    fs::remove_file(&path).unwrap();
    // A failed accept leaves the client in the queue, but each attempt gets its own client.
    let connected = |hello_sent: bool| {
        let listener = listen(&name);
        let client = silent_client(&name);
        if hello_sent {
            send_with_fds(&client, &hello.bytes, &fds);
        }
        (listener, client)
    };
    // The call does not accept a client unless it could complete the handshake.
    for hello_sent in [true, false] {
        let needs = needed_descriptors(
            "accept",
            || connected(hello_sent),
            |(listener, _)| accept(listener, 0).map(drop),
        );
        assert_eq!(needs, 5, "hello_sent: {hello_sent}");
    }
    // The first call completes the handshake if accept has not. It needs the peer's two
    // descriptors, and then its own memory and pipe beside the peer's pipe.
    for (hello_sent, expected) in [(true, 0), (false, 4)] {
        let accepted = || {
            let (listener, client) = connected(hello_sent);
            let end = accept(&listener, 0).unwrap();
            if !hello_sent {
                send_with_fds(&client, &hello.bytes, &fds);
            }
            (end, client)
        };
        let needs = needed_descriptors("the first call", accepted, |(end, _)| match end.recv(0) {
            Err(EAGAIN) => Ok(()),
            other => other.map(drop),
        });
        assert_eq!(needs, expected, "hello_sent: {hello_sent}");
    }
    // Connecting to a server that accepts every client.
    let (listener, done) = (listen(&name), Counters::new());
    let server = fork(|| {
        while done.get(0) == 0 {
            if let Ok(end) = accept(&listener, 50) {
                let _ = end.recv(LONG);
            }
        }
    });
    needed_descriptors("connect", || (), |()| connect(&name, LONG).map(drop));
    done.set(0, 1);
    server.join();
}

/// The sum of a field of /proc/self/smaps over the mappings of channels, in bytes.
fn sum_of_field(field: &str) -> usize {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut is_channel = false;
    let mut sum = 0;
    for line in smaps.lines() {
        let first = line.split_whitespace().next().unwrap();
        if !first.ends_with(':') {
            is_channel = line.contains("/memfd:");
        } else if is_channel && first == field {
            sum += line
                .split_whitespace()
                .nth(1)
                .unwrap()
                .parse::<usize>()
                .unwrap()
                * 1024;
        }
    }
    sum
}

fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .count()
}

/// An idle channel uses few pages, and the pages of the rings are allocated when they are used.
/// Closing the channel frees all of them.
#[apply(isolated)]
fn memory() {
    let (a, b) = pair();
    let idle = sum_of_field("Rss:");
    println!(
        "an idle pair: {idle} bytes resident in {} mappings",
        mappings()
    );
    assert!(idle <= 2 * 3 * page_size(), "{idle}");
    assert_eq!(a.send(b"x", 0), DONE);
    assert_eq!(b.recv(0).unwrap(), b"x");
    let used = sum_of_field("Rss:");
    println!("after a message: {used}");
    assert!(used <= 2 * 6 * page_size(), "{used}");
    drop((a, b));
    let before = mappings();
    for flags in [0, IPC_CHANNEL_F_PREFAULT] {
        for _ in 0..50 {
            let (a, b) = pair_with(&ipc_channel_opts { flags, ..SMALL });
            assert!(mappings() > before);
            assert_eq!(a.send(b"x", 0), DONE);
            a.fd().unwrap();
            drop((b, a));
        }
    }
    assert_eq!((mappings(), sum_of_field("Rss:")), (before, 0));
    assert_prefaulted();
    // A kernel without MADV_POPULATE_WRITE.
    fork(|| {
        refuse(libc::SYS_madvise, libc::EINVAL);
        assert_prefaulted();
    })
    .join();
}

/// IPC_CHANNEL_F_PREFAULT allocates and maps all pages of each end's own ring.
fn assert_prefaulted() {
    let rings = 2 * SMALL_RING;
    let flags = IPC_CHANNEL_F_PREFAULT;
    let (_a, _b) = pair_with(&ipc_channel_opts { flags, ..SMALL });
    let mapped = sum_of_field("Rss:");
    assert!(mapped >= rings + 2 * page_size(), "{mapped}");
}

/// Locked memory, and the errors of a process whose limit of locked memory is too low.
#[apply(isolated)]
#[needs(needs::root)]
fn locked_memory() {
    let opts = ipc_channel_opts {
        flags: IPC_CHANNEL_F_LOCK,
        ..SMALL
    };
    let (a, b) = pair_with(&opts);
    let locked = sum_of_field("Locked:");
    assert!(locked >= 2 * SMALL_RING, "{locked}");
    assert_eq!(a.send(b"x", 0), DONE);
    assert_eq!(b.recv(0).unwrap(), b"x");
    fork(|| {
        common::user::become_nobody().unwrap();
        for (limit, error) in [(4096, libc::ENOMEM), (0, libc::EPERM)] {
            let old = set_soft_limit(libc::RLIMIT_MEMLOCK, limit);
            let before = (open_numbers(), mappings());
            let made = try_pair(&opts, size_of::<ipc_channel_opts>());
            assert_eq!(made.unwrap_err(), error, "limit {limit}");
            assert_eq!((open_numbers(), mappings()), before);
            set_soft_limit(libc::RLIMIT_MEMLOCK, old);
        }
    })
    .join();
}

/// After mlockall(2) the kernel locks each new mapping, and the limit is too low for this side's
/// ring or for the peer's. The error is not EAGAIN, after which an event loop would try again.
#[apply(isolated)]
#[needs(needs::root)]
fn all_memory_locked() {
    let large = ipc_channel_opts {
        send_size: 4 << 20,
        ..DEFAULTS
    };
    let (one, two) = sockets(SOCK_SEQPACKET);
    let hello = captured_hello_with(&large);
    send_with_fds(&one, &hello.bytes, &hello.raw_fds());
    fork(|| {
        common::user::become_nobody().unwrap();
        set_soft_limit(libc::RLIMIT_MEMLOCK, 2 << 20);
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::mlockall(libc::MCL_FUTURE) }, 0);
        let own_ring = try_pair(&large, size_of::<ipc_channel_opts>()).map(drop);
        let peers_ring = from_fd_with(two.as_raw_fd(), &SMALL, 0).map(drop);
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::munlockall() }, 0);
        assert_eq!(own_ring, Err(libc::ENOMEM));
        assert_eq!(peers_ring, Err(libc::ENOMEM));
    })
    .join();
}

/// The limits of the address space and of the file size cause an error, but no signal and no leak.
#[apply(isolated)]
fn limits() {
    drop(pair()); // the allocator has mapped its memory now
    for (limit, value, error) in [
        (libc::RLIMIT_FSIZE, 4096, EFBIG),
        (libc::RLIMIT_AS, 0, libc::ENOMEM),
    ] {
        let opts = ipc_channel_opts {
            send_size: 64 << 20,
            ..DEFAULTS
        };
        let before = (open_numbers(), mappings());
        let old = set_soft_limit(
            limit,
            value + u64::from(limit == libc::RLIMIT_AS) * (64 << 20),
        );
        let made = try_pair(&opts, size_of::<ipc_channel_opts>());
        set_soft_limit(limit, old);
        assert_eq!(made.map(drop).unwrap_err(), error);
        assert_eq!((open_numbers(), mappings()), before);
    }
}
