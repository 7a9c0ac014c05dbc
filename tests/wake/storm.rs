//! Two processes that let each other sleep.

use crate::end::{End, RING, pause};
use common::prelude::*;
use std::thread;
use unixipc::ffi::channel::IPC_CHANNEL_F_NO_SPIN;

/// Receives a message, in one of several ways.
fn receive(end: &End, room: &mut [u8], random: &mut Random, polls: bool) -> usize {
    loop {
        let timeout = match random.below(8) {
            _ if polls => 0,
            0 => 0,
            1 => 1,
            _ => LONG,
        };
        match end.recv(room, timeout) {
            Ok(len) => return len,
            Err(libc::EAGAIN) if polls => end.poll("a message"),
            Err(libc::EAGAIN) if timeout == 0 => {}
            Err(libc::ETIMEDOUT) if timeout == 1 => {}
            Err(error) => panic!("errno {error}: a lost wake-up of the receiver"),
        }
    }
}

/// Sends a message, in one of several ways. A poller must find that there is nothing to receive, or
/// the descriptor stays readable.
fn send(end: &End, bytes: &[u8], random: &mut Random, polls: bool) {
    loop {
        let timeout = match random.below(8) {
            _ if polls => 0,
            0 => 0,
            1 => 1,
            _ => LONG,
        };
        match end.send(bytes, timeout) {
            Ok(_) => return,
            Err(libc::EAGAIN) if polls => {
                assert_eq!(end.recv(&mut [0], 0), Err(libc::EAGAIN));
                end.poll("room");
            }
            Err(libc::EAGAIN) if timeout == 0 => {}
            Err(libc::ETIMEDOUT) if timeout == 1 => {}
            Err(error) => panic!("errno {error}: a lost wake-up of the sender"),
        }
    }
}

/// The number of messages without an answer: mostly one, or about as many as make a side switch to
/// unfenced.
fn burst(random: &mut Random) -> u64 {
    match random.below(8) {
        0..6 => 1 + random.below(3),
        6 => 60 + random.below(16),
        _ => 1 + random.below(200),
    }
}

/// One process sends a burst and sleeps until it is answered. The other does not know the length of
/// the burst, so it sleeps whenever there is no message. Then they change roles.
fn answer(end: &End, mine: bool, rounds: u64, seed: u64, polls: bool) {
    let bursts = &mut Random(seed);
    let random = &mut Random(seed + 1 + u64::from(mine));
    let mut room = [0; 8];
    for round in 0..rounds {
        let count = burst(bursts);
        if (round % 2 == 0) == mine {
            for number in 0..count {
                pause(random);
                send(end, &number.to_le_bytes(), random, false);
            }
            assert_eq!(receive(end, &mut room, random, polls), 8);
            assert_eq!(u64::from_le_bytes(room), round);
        } else {
            for number in 0..count {
                pause(random);
                assert_eq!(receive(end, &mut room, random, polls), 8);
                assert_eq!(u64::from_le_bytes(room), number);
            }
            send(end, &round.to_le_bytes(), random, false);
        }
    }
}

/// Runs the two sides in two processes.
fn both(flags: u32, run: impl Fn(&End, bool)) {
    let [here, there] = End::pair(flags);
    let child = fork(|| {
        // SAFETY: the copy of the parent's end, which this process does not use otherwise.
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
    both(flags, |end, mine| {
        if polls {
            end.fd();
        }
        answer(end, mine, rounds, 7, polls);
    });
}

#[apply(isolated)]
fn bursts() {
    check_bursts(IPC_CHANNEL_F_NO_SPIN, false);
}

/// With spinning before each sleep.
#[apply(isolated)]
fn bursts_with_spinning() {
    check_bursts(0, false);
}

#[apply(isolated)]
fn polled() {
    check_bursts(IPC_CHANNEL_F_NO_SPIN, true);
}

#[apply(isolated)]
fn bursts_on_one_processor() {
    // SAFETY: takes nothing.
    let here = unsafe { libc::sched_getcpu() } as usize;
    // SAFETY: all zero bytes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: changes a set of ours.
    unsafe { libc::CPU_SET(here, &mut set) };
    // SAFETY: the set is ours.
    assert_eq!(
        unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) },
        0
    );
    check_bursts(0, false);
}

/// Messages in one direction, of which only a few fit into the ring. Each side sleeps for the other.
fn stream(end: &End, sends: bool, count: u64, seed: u64, polls: bool) {
    let lens = &mut Random(seed);
    let random = &mut Random(seed + 1 + u64::from(sends));
    let mut room = vec![0; RING as usize];
    for number in 0..count {
        let len = 8 + lens.below([64, 8192, RING - 19][number as usize % 3]) as usize;
        pause(random);
        if sends {
            room[..8].copy_from_slice(&number.to_le_bytes());
            send(end, &room[..len], random, polls);
        } else {
            assert_eq!(receive(end, &mut room, random, polls), len);
            assert_eq!(room[..8], number.to_le_bytes());
        }
    }
}

#[apply(isolated)]
fn full_ring() {
    let count = scaled(30_000);
    both(IPC_CHANNEL_F_NO_SPIN, |end, mine| {
        stream(end, mine, count, 11, false);
    });
}

#[apply(isolated)]
fn polled_and_full() {
    let count = scaled(30_000);
    both(IPC_CHANNEL_F_NO_SPIN, |end, mine| {
        end.fd();
        stream(end, mine, count, 13, true);
    });
}

/// Both directions at once, with two threads on each side.
fn check_threads(receiver_polls: bool) {
    let count = scaled(10_000);
    both(IPC_CHANNEL_F_NO_SPIN, |end, mine| {
        if receiver_polls {
            end.fd();
        }
        thread::scope(|scope| {
            scope.spawn(|| stream(end, true, count, 17 + u64::from(mine), false));
            stream(end, false, count, 17 + u64::from(!mine), receiver_polls);
        });
    });
}

#[apply(isolated)]
fn two_threads() {
    check_threads(false);
}

#[apply(isolated)]
fn two_threads_and_polled() {
    check_threads(true);
}

/// A process that polls for messages blocks in a send because the ring is full. A message that comes
/// during that time makes the descriptor readable nevertheless.
#[apply(isolated)]
fn a_send_that_waits_hides_no_message() {
    let [here, there] = End::pair(IPC_CHANNEL_F_NO_SPIN);
    let mut room = vec![0; RING as usize];
    let long = vec![1; 8184 - 4]; // eight bytes of the ring stay free
    here.fd();
    assert_eq!(here.recv(&mut room, 0), Err(libc::EAGAIN));
    for _ in 0..8 {
        assert_eq!(here.send(&long, 0), Ok(0));
    }
    let parent = std::process::id() as libc::pid_t;
    let child = fork(|| {
        let asleep = || is_asleep(parent);
        wait_until("the parent's sleep", asleep);
        let before = switches(parent);
        assert_eq!(there.send(b"a", LONG), Ok(0));
        wait_until("another sleep, without room", || {
            switches(parent) > before && asleep()
        });
        let mut room = vec![0; RING as usize];
        for _ in 0..9 {
            assert_eq!(there.recv(&mut room, LONG), Ok(long.len()));
        }
    });
    assert_eq!(here.send(&long, LONG), Ok(0));
    here.poll("a message that came while a send waited");
    assert_eq!(here.recv(&mut room, 0), Ok(1));
    child.join();
}

/// The number of times that a process has gone to sleep.
fn switches(pid: libc::pid_t) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}
