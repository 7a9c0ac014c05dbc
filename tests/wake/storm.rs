//! Two processes that sleep and wake each other.

use crate::end::{End, RING, pause};
use common::prelude::*;
use libc::c_int;
use std::thread;
use unixipc::ffi::channel::IPC_CHANNEL_F_NO_SPIN;

/// A random time-out in milliseconds, mostly long. A thread that polls does not wait in the call.
fn random_timeout(random: &mut Random, polls: bool) -> c_int {
    match random.below(8) {
        _ if polls => 0,
        0 => 0,
        1 => 1,
        _ => LONG,
    }
}

/// Receives a message. Returns its length.
fn receive(end: &End, buffer: &mut [u8], random: &mut Random, polls: bool) -> usize {
    loop {
        let timeout_ms = random_timeout(random, polls);
        match end.recv(buffer, timeout_ms) {
            Ok(len) => return len,
            Err(libc::EAGAIN) if polls => end.poll("a message"),
            Err(libc::EAGAIN) if timeout_ms == 0 => {}
            Err(libc::ETIMEDOUT) if timeout_ms == 1 => {}
            Err(error) => panic!("errno {error}: the receiver lost a wake-up"),
        }
    }
}

/// Sends a message. A thread that polls first makes a receive that finds nothing, which clears the
/// readiness of the descriptor.
fn send(end: &End, bytes: &[u8], random: &mut Random, polls: bool) {
    loop {
        let timeout_ms = random_timeout(random, polls);
        match end.send(bytes, timeout_ms) {
            Ok(_) => return,
            Err(libc::EAGAIN) if polls => {
                assert_eq!(end.recv(&mut [0], 0), Err(libc::EAGAIN));
                end.poll("room");
            }
            Err(libc::EAGAIN) if timeout_ms == 0 => {}
            Err(libc::ETIMEDOUT) if timeout_ms == 1 => {}
            Err(error) => panic!("errno {error}: the sender lost a wake-up"),
        }
    }
}

/// A random length of a burst: mostly up to three messages, or near the number after which a side
/// omits its fences.
fn burst_length(random: &mut Random) -> u64 {
    match random.below(8) {
        0..6 => 1 + random.below(3),
        6 => 60 + random.below(16),
        _ => 1 + random.below(200),
    }
}

/// One process sends a burst, and sleeps until the answer arrives. The other process sleeps
/// whenever there is no message. After each round they exchange the roles.
fn exchange_bursts(end: &End, sends_first: bool, rounds: u64, seed: u64, polls: bool) {
    let bursts = &mut Random(seed);
    let random = &mut Random(seed + 1 + u64::from(sends_first));
    let mut buffer = [0; 8];
    for round in 0..rounds {
        let count = burst_length(bursts);
        if (round % 2 == 0) == sends_first {
            for number in 0..count {
                pause(random);
                send(end, &number.to_le_bytes(), random, false);
            }
            assert_eq!(receive(end, &mut buffer, random, polls), 8);
            assert_eq!(u64::from_le_bytes(buffer), round);
        } else {
            for number in 0..count {
                pause(random);
                assert_eq!(receive(end, &mut buffer, random, polls), 8);
                assert_eq!(u64::from_le_bytes(buffer), number);
            }
            send(end, &round.to_le_bytes(), random, false);
        }
    }
}

/// Runs both sides in two processes. The second argument of `run` differs between them.
fn run_both(flags: u32, run: impl Fn(&End, bool)) {
    let [here, there] = End::pair(flags);
    let child = fork(|| {
        // SAFETY: an inherited copy of the parent's end, which this process does not use again.
        drop(unsafe { std::ptr::read(&here) });
        run(&there, true);
    });
    drop(there);
    run(&here, false);
    let wakes = here.wakes();
    child.join();
    assert!(wakes > 100, "only {wakes} wake-ups");
}

fn check_bursts(flags: u32, polls: bool) {
    let rounds = scaled(20_000);
    run_both(flags, |end, sends_first| {
        if polls {
            end.fd();
        }
        exchange_bursts(end, sends_first, rounds, 7, polls);
    });
}

#[apply(isolated)]
fn bursts() {
    check_bursts(IPC_CHANNEL_F_NO_SPIN, false);
}

/// The calls spin before they sleep.
#[apply(isolated)]
fn bursts_with_spinning() {
    check_bursts(0, false);
}

#[apply(isolated)]
fn bursts_polled() {
    check_bursts(IPC_CHANNEL_F_NO_SPIN, true);
}

#[apply(isolated)]
fn bursts_on_one_processor() {
    // SAFETY: takes nothing.
    stay_on(unsafe { libc::sched_getcpu() } as usize);
    check_bursts(0, false);
}

/// Sends or receives messages of which only a few fit into the ring, so that each side waits for
/// the other.
fn stream(end: &End, sends: bool, count: u64, seed: u64, polls: bool) {
    let lens = &mut Random(seed);
    let random = &mut Random(seed + 1 + u64::from(sends));
    let mut buffer = vec![0; RING as usize];
    for number in 0..count {
        let len = 8 + lens.below([64, 8192, RING - 75][number as usize % 3]) as usize;
        pause(random);
        if sends {
            buffer[..8].copy_from_slice(&number.to_le_bytes());
            send(end, &buffer[..len], random, polls);
        } else {
            assert_eq!(receive(end, &mut buffer, random, polls), len);
            assert_eq!(buffer[..8], number.to_le_bytes());
        }
    }
}

#[apply(isolated)]
fn full_ring() {
    let count = scaled(30_000);
    run_both(IPC_CHANNEL_F_NO_SPIN, |end, sends| {
        stream(end, sends, count, 11, false);
    });
}

#[apply(isolated)]
fn full_ring_polled() {
    let count = scaled(30_000);
    run_both(IPC_CHANNEL_F_NO_SPIN, |end, sends| {
        end.fd();
        stream(end, sends, count, 13, true);
    });
}

/// Both directions at the same time, with two threads in each process.
fn check_threads(receiver_polls: bool) {
    let count = scaled(10_000);
    run_both(IPC_CHANNEL_F_NO_SPIN, |end, is_child| {
        if receiver_polls {
            end.fd();
        }
        thread::scope(|scope| {
            scope.spawn(|| stream(end, true, count, 17 + u64::from(is_child), false));
            stream(end, false, count, 17 + u64::from(!is_child), receiver_polls);
        });
    });
}

#[apply(isolated)]
fn two_threads() {
    check_threads(false);
}

#[apply(isolated)]
fn two_threads_polled() {
    check_threads(true);
}

/// A process that polls for messages blocks in a send because the ring is full. A message that
/// arrives during the send makes the descriptor readable nevertheless.
#[apply(isolated)]
fn message_during_a_blocking_send() {
    let [here, there] = End::pair(IPC_CHANNEL_F_NO_SPIN);
    let mut buffer = vec![0; RING as usize];
    let long = vec![1; 8184 - 4]; // eight bytes of the ring stay free
    here.fd();
    assert_eq!(here.recv(&mut buffer, 0), Err(libc::EAGAIN));
    for _ in 0..8 {
        assert_eq!(here.send(&long, 0), Ok(0));
    }
    let parent = std::process::id() as libc::pid_t;
    let child = fork(|| {
        wait_asleep(parent);
        let before = sleeps(parent);
        assert_eq!(there.send(b"a", LONG), Ok(0));
        wait_until("another sleep of the parent", || {
            sleeps(parent) > before && is_asleep(parent)
        });
        let mut buffer = vec![0; RING as usize];
        for _ in 0..9 {
            assert_eq!(there.recv(&mut buffer, LONG), Ok(long.len()));
        }
    });
    assert_eq!(here.send(&long, LONG), Ok(0));
    here.poll("a message during a send");
    assert_eq!(here.recv(&mut buffer, 0), Ok(1));
    child.join();
}

/// The number of times that a process has slept.
fn sleeps(pid: libc::pid_t) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}
