//! The costs of a channel: system calls, descriptors, memory.

use crate::handshake::{overheard, overheard_with, say};
use crate::support::*;
use common::strace::{MARKER, marker, name, trace};
use libc::{EAGAIN, EFBIG, EMFILE, ETIMEDOUT, SOCK_SEQPACKET};
use std::os::fd::AsRawFd;
use std::{fs, process, ptr, thread};
use unixipc::ffi::channel::*;

/// Fewer messages than a sender sends before it checks that its peer is alive.
const BURST: usize = 60;

/// How often a call that finds nothing checks that, in nanoseconds.
const LIVENESS_INTERVAL: u64 = 20_000;

/// A message of which a ring holds a few.
static LONG_MESSAGE: [u8; 60_000] = [7; 60_000];

/// Calls at two ends.
type Between = fn(&End, &End);

/// Calls that need no system call while the peer is awake.
const WITHOUT: [(&str, Between); 5] = [
    ("send and recv, one by one", |a, b| {
        for timeout_ms in [-1, 0, 10, INTR] {
            for len in [1, 64, 5000] {
                a.send(&[7; 5000][..len], timeout_ms).unwrap();
                let mut room = [0u8; 5000];
                let at = room.as_mut_ptr().cast();
                assert_eq!(b.recv_raw(at, 5000, timeout_ms), Ok(len));
            }
        }
    }),
    ("send and recv, a burst", |a, b| {
        (0..BURST).for_each(|_| assert_eq!(a.send(&[7; 64], -1), DONE));
        let mut room = [0u8; 64];
        for _ in 0..BURST {
            assert_eq!(b.recv_raw(room.as_mut_ptr().cast(), 64, -1), Ok(64));
        }
    }),
    ("reserve, commit, peek and release", |a, b| {
        for _ in 0..BURST {
            a.reserve(2000, -1).unwrap()[0] = 1;
            a.commit(1000).unwrap();
        }
        for _ in 0..BURST {
            assert_eq!(b.peek(-1).unwrap().len(), 1000);
            b.release().unwrap();
        }
    }),
    ("cancel, max and stats", |a, b| {
        a.reserve(100, 0).unwrap();
        a.cancel().unwrap();
        assert_eq!(a.max(), b.max());
        a.stats();
        a.cred();
    }),
    (FINDS_NOTHING, |a, b| {
        let receive = || {
            let mut room = [0u8; LONG_MESSAGE.len()];
            b.recv_raw(room.as_mut_ptr().cast(), room.len(), 0)
        };
        for _ in 0..40 {
            assert_eq!(receive(), Err(EAGAIN));
        }
        while a.send(&LONG_MESSAGE, 0) == DONE {}
        for _ in 0..40 {
            assert_eq!(a.send(&LONG_MESSAGE, 0), Err(EAGAIN));
        }
        while receive() == Ok(LONG_MESSAGE.len()) {}
    }),
];

/// The calls that ask the kernel, now and then, whether the peer is alive.
const FINDS_NOTHING: &str = "recv and send that find nothing";

#[apply(isolated)]
#[needs(needs::strace)]
fn no_system_calls() {
    let (a, b) = pair();
    let awake = || {
        // The receiver of the first message counts as asleep.
        a.send(b"x", 0).unwrap();
        b.recv(0).unwrap();
        assert_eq!(b.recv(0), Err(EAGAIN));
    };
    let took = Counters::new();
    let trace = trace(|| {
        awake();
        for (at, (_, run)) in WITHOUT.iter().enumerate() {
            marker();
            let start = now();
            (0..20).for_each(|_| run(&a, &b));
            took.set(at, now() - start);
        }
        marker();
    });
    let phases: Vec<Vec<&str>> = trace
        .split(MARKER)
        .map(|phase| phase.lines().filter_map(name).collect())
        .collect();
    assert_eq!(phases.len(), WITHOUT.len() + 2, "{trace}");
    for (at, (what, _)) in WITHOUT.iter().enumerate() {
        // Each phase ends with the call of its marker, which the split has cut off.
        let phase = &phases[at + 1];
        println!("{what}: {} system calls", phase.len());
        // One for each direction, whose intervals are independent.
        let most = match *what {
            FINDS_NOTHING => 2 * (took.get(at) / LIVENESS_INTERVAL + 1),
            _ => 0,
        };
        assert!(phase.len() as u64 <= most, "{what}: {phase:?}");
        assert!(phase.iter().all(|call| *call == "poll"), "{phase:?}");
    }
}

/// Two busy processes: one sends as fast as it can, the other works a little for each message.
#[apply(isolated)]
#[needs(needs::strace)]
fn streaming() {
    let messages = 200_000u64;
    let (a, b) = pair();
    let shared = Counters::new();
    let trace = trace(|| {
        let receiver = fork(|| {
            // SAFETY: inherited, and not used here.
            unsafe { ipc_channel_close(a.0) };
            shared.set(0, 1);
            for number in 0..messages {
                let mut room = [0u64; 8];
                assert_eq!(b.recv_raw(room.as_mut_ptr().cast(), 64, -1), Ok(64));
                assert_eq!(room[0], number);
                (0..100).for_each(|_| std::hint::spin_loop());
            }
            marker();
        });
        shared.wait_for(0, 1);
        marker();
        for number in 0..messages {
            let message = [number; 8];
            assert_eq!(a.send_raw(message.as_ptr().cast(), 64, -1), DONE);
        }
        let stats = a.stats();
        marker();
        shared.set(1, stats.sleeps);
        shared.set(2, stats.wakes);
        receiver.join();
    });
    // From the sender's first marker to the last marker of both.
    let calls: Vec<&str> = trace.lines().filter_map(name).collect();
    let markers: Vec<usize> = (0..calls.len())
        .filter(|at| calls[*at] == "getppid")
        .collect();
    assert_eq!(markers.len(), 3, "{trace}");
    let calls = &calls[markers[0]..markers[2]];
    let count = calls.len() as u64 - 2;
    let mut kinds = std::collections::BTreeMap::new();
    for call in calls {
        *kinds.entry(*call).or_insert(0u64) += 1;
    }
    println!("{kinds:?}");
    let [sleeps, wakes] = [1, 2].map(|at| shared.get(at));
    println!(
        "{messages} messages: {count} system calls; the sender slept {sleeps} times, woke {wakes}"
    );
    // The sender checks a receiver that has read nothing of 64 messages.
    let asked = *kinds.get("poll").unwrap_or(&0);
    assert!(asked <= messages / 64, "{asked} times asked");
    // The number depends on the load of the machine, but is far below that of the messages.
    assert!((count - asked) * 10 < messages, "{count} system calls");
}

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

/// The number of descriptors; an executed program inherits none.
#[apply(isolated)]
fn descriptors() {
    let before = open_numbers();
    let (a, b) = pair();
    assert_eq!(new_numbers(&before).len(), 4, "two for each end");
    a.fd().unwrap();
    assert_eq!(new_numbers(&before).len(), 6, "two more");
    // The only thread of a process sleeps without another one.
    assert_eq!(a.recv(1), Err(ETIMEDOUT));
    assert_eq!(new_numbers(&before).len(), 6);
    drop((a, b));
    assert_eq!(open_numbers(), before);
    let name = format!("@unixipc-test-{}", process::id());
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
        "{accepted}: the socket, or what replaces it"
    );
    assert_eq!(end.send(b"x", LONG), DONE);
    assert_eq!(new_numbers(&before).len(), 1 + 2);
    child.join();
    drop((end, listener));
    assert_eq!(open_numbers(), before);
    // In a process with several threads each direction that has slept needs one more.
    let (a, b) = small();
    a.fill(1000);
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

/// Calls `make` with room for no descriptor, then for one, and so on until it succeeds. Returns the
/// number that it needs. `prepare` runs without a limit.
#[track_caller]
fn with_few<T>(what: &str, prepare: impl Fn() -> T, make: impl Fn(&T) -> Result<(), i32>) -> u64 {
    for room in 0..20 {
        let before = open_numbers();
        let prepared = prepare();
        let between = open_numbers();
        let made = with_room_for(room, || make(&prepared));
        if made.is_err() {
            assert_eq!(open_numbers(), between, "{what}, room for {room}");
        }
        drop(prepared);
        assert_eq!(open_numbers(), before, "{what}, room for {room}");
        match made {
            Ok(()) => {
                println!("{what} needs room for {room} descriptors");
                return room;
            }
            Err(error) => assert_eq!(error, EMFILE, "{what}, room for {room}"),
        }
    }
    panic!("{what}: not with 20 either")
}

#[apply(isolated)]
fn few_descriptors() {
    let name = format!("@unixipc-test-{}", process::id());
    let hello = overheard();
    let fds = hello.raw_fds();
    let needs = [
        with_few("pair", || (), |()| try_pair(ptr::null(), 0).map(drop)),
        with_few("fd", pair, |(a, _)| a.fd().map(drop)),
        with_few("listen", || (), |()| listen_with(&name, 0, 0).map(drop)),
        with_few(
            "from_fd",
            || {
                let (one, two) = sockets(SOCK_SEQPACKET);
                say(&two, &hello.bytes, &fds);
                (one, two)
            },
            |(one, _)| from_fd(one, 0).map(drop),
        ),
    ];
    // A pair makes each side's memory and pipe, and keeps no descriptor of the memory. `from_fd`
    // has its copy of the socket, its own memory and pipe, and the two of the hello.
    assert_eq!(needs, [5, 2, 1, 6]);
    // A failed accept takes no connection, but each attempt has a client of its own.
    let path = std::env::temp_dir().join("s").to_str().unwrap().to_owned();
    let needs = with_few(
        "listen, at a path",
        || (),
        |()| listen_with(&path, 0o600, 0).map(drop),
    );
    assert_eq!(
        needs, 4,
        "the directory, the lock file, and the attempt to connect"
    );
    fs::remove_file(&path).unwrap();
    let connected = |speaks: bool| {
        let listener = listen(&name);
        let client = local_socket(SOCK_SEQPACKET);
        let address = nix::sys::socket::UnixAddr::new_abstract(&name.as_bytes()[1..]).unwrap();
        nix::sys::socket::connect(client.as_raw_fd(), &address).unwrap();
        if speaks {
            say(&client, &hello.bytes, &fds);
        }
        (listener, client)
    };
    // It does not take a client whose handshake it may be unable to end.
    for speaks in [true, false] {
        let needs = with_few(
            "accept",
            || connected(speaks),
            |(listener, _)| accept(listener, 0).map(drop),
        );
        assert_eq!(needs, 5, "speaks: {speaks}");
    }
    // The first call ends the handshake if accept has not: it needs the peer's two, and then its
    // own memory and pipe beside the peer's pipe.
    for (speaks, expected) in [(true, 0), (false, 4)] {
        let accepted = || {
            let (listener, client) = connected(speaks);
            let end = accept(&listener, 0).unwrap();
            if !speaks {
                say(&client, &hello.bytes, &fds);
            }
            (end, client)
        };
        let needs = with_few("the first call", accepted, |(end, _)| match end.recv(0) {
            Err(EAGAIN) => Ok(()),
            other => other.map(drop),
        });
        assert_eq!(needs, expected, "speaks: {speaks}");
    }
    // Connecting to a server that accepts every client.
    let (listener, client) = (listen(&name), Counters::new());
    let server = fork(|| {
        while client.get(0) == 0 {
            if let Ok(end) = accept(&listener, 50) {
                let _ = end.recv(LONG);
            }
        }
    });
    with_few("connect", || (), |()| connect(&name, LONG).map(drop));
    client.set(0, 1);
    server.join();
}

/// The sum of a field of /proc/self/smaps over this process's mappings of channels, in bytes.
fn resident(what: &str) -> usize {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut of_channel = false;
    let mut sum = 0;
    for line in smaps.lines() {
        let first = line.split_whitespace().next().unwrap();
        if !first.ends_with(':') {
            of_channel = line.contains("/memfd:");
        } else if of_channel && first == what {
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

/// An idle channel takes little memory, and a used one its rings. Closing frees all of it.
#[apply(isolated)]
fn memory() {
    let (a, b) = pair();
    let idle = resident("Rss:");
    println!(
        "an idle pair: {idle} bytes resident in {} mappings",
        mappings()
    );
    assert!(idle <= 2 * 3 * 4096, "{idle}");
    assert_eq!(a.send(b"x", 0), DONE);
    assert_eq!(b.recv(0).unwrap(), b"x");
    let used = resident("Rss:");
    println!("after a message: {used}");
    assert!(used <= 2 * 6 * 4096, "{used}");
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
    assert_eq!((mappings(), resident("Rss:")), (before, 0));
    // With the flag, all of each own ring at once.
    let rings = 2 * SMALL_RING;
    let flags = IPC_CHANNEL_F_PREFAULT;
    let (_a, _b) = pair_with(&ipc_channel_opts { flags, ..SMALL });
    assert!(resident("Rss:") >= rings + 2 * 4096, "{}", resident("Rss:"));
}

/// Locked memory, and the errors of a process that may not lock enough.
#[apply(isolated)]
#[needs(needs::root)]
fn locked_memory() {
    let opts = ipc_channel_opts {
        flags: IPC_CHANNEL_F_LOCK,
        ..SMALL
    };
    let (a, b) = pair_with(&opts);
    let locked = resident("Locked:");
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

/// After mlockall each mapping counts, and the limit is too low for the own ring or for the peer's.
/// The error is not EAGAIN, which an event loop would take for a reason to try again.
#[apply(isolated)]
#[needs(needs::root)]
fn all_memory_locked() {
    let large = ipc_channel_opts {
        send_size: 4 << 20,
        ..DEFAULTS
    };
    let (one, two) = sockets(SOCK_SEQPACKET);
    let hello = overheard_with(&large);
    say(&one, &hello.bytes, &hello.raw_fds());
    fork(|| {
        common::user::become_nobody().unwrap();
        set_soft_limit(libc::RLIMIT_MEMLOCK, 2 << 20);
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::mlockall(libc::MCL_FUTURE) }, 0);
        let own = try_pair(&large, size_of::<ipc_channel_opts>()).map(drop);
        let the_others = from_fd_with(two.as_raw_fd(), &SMALL, 0).map(drop);
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::munlockall() }, 0);
        assert_eq!(own, Err(libc::ENOMEM));
        assert_eq!(the_others, Err(libc::ENOMEM));
    })
    .join();
}

/// The limits of the address space and of the file size: an error, no signal, and no leak.
#[apply(isolated)]
fn limits() {
    drop(pair()); // the process itself has its memory now
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
