//! The system calls that a channel makes.

use crate::fd_support::{WITH_FDS, file};
use crate::support::*;
use common::strace::{MARKER, marker, name, trace};
use libc::{EAGAIN, c_void};
use std::os::fd::OwnedFd;
use std::ptr::null_mut;
use unixipc::ffi::channel::ipc_channel_recv_fds;

/// The number of messages of a burst, after which the sender does not yet check that its peer is
/// alive.
const BURST: usize = 60;

/// The interval at which calls that find nothing check that the peer is alive, in nanoseconds.
const LIVENESS_INTERVAL: u64 = 20_000;

/// A message of such a length that a ring holds only a few.
static LONG_MESSAGE: [u8; 60_000] = [7; 60_000];

/// Calls on two ends.
type Calls = fn(&End, &End);

/// Calls that make no system call while the peer is awake, except [`FINDS_NOTHING`].
const WITHOUT_SYSTEM_CALL: [(&str, Calls); 5] = [
    ("send and recv, one by one", |a, b| {
        for timeout_ms in [-1, 0, 10, INTR] {
            for len in [1, 64, 5000] {
                a.send(&[7; 5000][..len], timeout_ms).unwrap();
                let mut buffer = [0u8; 5000];
                let at = buffer.as_mut_ptr().cast();
                assert_eq!(b.recv_raw(at, 5000, timeout_ms), Ok(len));
            }
        }
    }),
    ("send and recv, a burst", |a, b| {
        (0..BURST).for_each(|_| assert_eq!(a.send(&[7; 64], -1), DONE));
        let mut buffer = [0u8; 64];
        for _ in 0..BURST {
            assert_eq!(b.recv_raw(buffer.as_mut_ptr().cast(), 64, -1), Ok(64));
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
            let mut buffer = [0u8; LONG_MESSAGE.len()];
            b.recv_raw(buffer.as_mut_ptr().cast(), buffer.len(), 0)
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

/// The calls that check from time to time that the peer is alive, by poll(2).
const FINDS_NOTHING: &str = "recv and send that find nothing";

#[apply(isolated)]
#[needs(needs::strace)]
fn no_system_calls() {
    let (a, b) = pair();
    let wake_both = || {
        // Before its first receive the receiver counts as asleep.
        a.send(b"x", 0).unwrap();
        b.recv(0).unwrap();
        assert_eq!(b.recv(0), Err(EAGAIN));
    };
    let took = Counters::new();
    let trace = trace(|| {
        wake_both();
        for (at, (_, run)) in WITHOUT_SYSTEM_CALL.iter().enumerate() {
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
    assert_eq!(phases.len(), WITHOUT_SYSTEM_CALL.len() + 2, "{trace}");
    for (at, (what, _)) in WITHOUT_SYSTEM_CALL.iter().enumerate() {
        // The split has removed the marker call, which ends each phase.
        let phase = &phases[at + 1];
        println!("{what}: {} system calls", phase.len());
        // Each direction has its own interval.
        let most = match *what {
            FINDS_NOTHING => 2 * (took.get(at) / LIVENESS_INTERVAL + 1),
            _ => 0,
        };
        assert!(phase.len() as u64 <= most, "{what}: {phase:?}");
        assert!(phase.iter().all(|call| *call == "poll"), "{phase:?}");
    }
}

/// A message with descriptors costs one system call to send and two to receive; the other messages
/// of such a channel cost none.
#[apply(isolated)]
#[needs(needs::strace)]
fn descriptors() {
    let (a, b) = pair_with(&WITH_FDS);
    let fd = file(1);
    let exchange = |fds: &[&OwnedFd]| {
        for _ in 0..30 {
            assert_eq!(a.send_fds(b"message", fds, -1), DONE);
        }
        for _ in 0..30 {
            let mut buffer = [0; 8];
            let at = buffer.as_mut_ptr();
            // SAFETY: an open end, and a buffer of eight bytes.
            let received = unsafe {
                ipc_channel_recv_fds(b.0, at.cast::<c_void>(), 8, null_mut(), null_mut(), -1)
            };
            assert_eq!(received, 7);
        }
    };
    exchange(&[]);
    let trace = trace(|| {
        marker();
        exchange(&[]);
        marker();
        exchange(&[&fd]);
        marker();
        exchange(&[]);
        marker();
    });
    let phases = trace
        .split(MARKER)
        .map(|phase| phase.lines().filter_map(name).collect());
    let [_, before, with, after, _]: [Vec<&str>; 5] =
        phases.collect::<Vec<_>>().try_into().unwrap();
    // A sender checks from time to time that the peer receives.
    let is_check = |call: &&&str| **call != "poll";
    assert_eq!(before.iter().filter(is_check).count(), 0, "{before:?}");
    assert_eq!(after.iter().filter(is_check).count(), 0, "{after:?}");
    let of = |wanted: &str| with.iter().filter(|call| **call == wanted).count();
    let counts = [
        of("sendmsg"),
        of("recvfrom"),
        with.iter().filter(is_check).count(),
    ];
    assert_eq!(counts, [30, 60, 90], "{with:?}");
}

/// Two busy processes: one sends as fast as possible, the other does some work for each message.
#[apply(isolated)]
#[needs(needs::strace)]
fn streaming() {
    let messages = 200_000u64;
    let (a, b) = pair();
    let shared = Counters::new();
    let trace = trace(|| {
        let receiver = fork(|| {
            close_copy(&a);
            shared.set(0, 1);
            for number in 0..messages {
                let mut buffer = [0u64; 8];
                assert_eq!(b.recv_raw(buffer.as_mut_ptr().cast(), 64, -1), Ok(64));
                assert_eq!(buffer[0], number);
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
    // The calls from the sender's first marker to the last marker of either process.
    let calls: Vec<&str> = trace.lines().filter_map(name).collect();
    let markers: Vec<usize> = (0..calls.len())
        .filter(|at| calls[*at] == "getppid")
        .collect();
    assert_eq!(markers.len(), 3, "{trace}");
    let calls = &calls[markers[0]..markers[2]];
    let count = calls.len() as u64 - 2;
    let mut by_name = std::collections::BTreeMap::new();
    for call in calls {
        *by_name.entry(*call).or_insert(0u64) += 1;
    }
    println!("{by_name:?}");
    let [sleeps, wakes] = [1, 2].map(|at| shared.get(at));
    println!(
        "{messages} messages: {count} system calls; the sender: {sleeps} sleeps, {wakes} wake-ups"
    );
    // The sender checks that the receiver is alive if it has received nothing of 64 messages.
    let checks = *by_name.get("poll").unwrap_or(&0);
    assert!(checks <= messages / 64, "{checks} checks");
    // The number depends on the load of the machine, but is much smaller than that of the messages.
    assert!((count - checks) * 10 < messages, "{count} system calls");
}

/// A receive of an event loop that finds nothing makes at most two system calls: it clears the
/// descriptor, and has the kernel execute a barrier if the sender uses the asymmetric fence. The
/// event loop seldom reads the bytes that woke it.
#[apply(isolated)]
#[needs(needs::strace)]
fn event_loop() {
    const ROUNDS: usize = 600;
    let (a, b) = pair();
    b.fd().unwrap();
    let trace = trace(|| {
        for round in 0..ROUNDS {
            // After many messages without a sleep, the sender omits the fences.
            let count = if round % 100 == 0 { 100 } else { 1 };
            (0..count).for_each(|_| assert_eq!(a.send(b"x", 0), DONE));
            assert!(is_readable(&b));
            (0..count).for_each(|_| assert_eq!(b.recv(0).unwrap(), b"x"));
            marker();
            assert_eq!(b.recv(0), Err(EAGAIN));
            marker();
            assert!(!is_readable(&b));
        }
    });
    let phases: Vec<Vec<&str>> = trace
        .split(MARKER)
        .map(|phase| phase.lines().filter_map(name).collect())
        .collect();
    assert_eq!(phases.len(), 2 * ROUNDS + 1, "{trace}");
    let receives = phases.iter().skip(1).step_by(2);
    let (few, more): (Vec<_>, Vec<_>) = receives.partition(|calls| calls.len() <= 2);
    assert!(few.len() >= ROUNDS - ROUNDS / 200, "{more:?}");
    assert!(
        few.iter().any(|calls| calls.contains(&"membarrier")),
        "{few:?}"
    );
}
