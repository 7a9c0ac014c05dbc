//! Many messages, in both directions, under time-outs and signals; and processes that are
//! killed in the midst of them.

use crate::support::*;
use libc::{EAGAIN, EINTR, EPIPE, ETIMEDOUT, c_int};
use std::{process, thread};
use unixipc::ffi::channel::*;

/// The longest message here.
const LONGEST: usize = 200_000;

/// How long message `number` of a direction is: mostly short.
fn length(random: &mut Random) -> usize {
    let limit = match random.below(4096) {
        0 => LONGEST,
        1..64 => 5000,
        _ => 150,
    };
    1 + random.below(limit as u64) as usize
}

/// The bytes of a message, which follow from a number; a checksum of all of them would say less.
fn fill(bytes: &mut [u8], seed: u64) {
    let mut word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        word = word.wrapping_mul(0xd129_42f0_94b7_1f35).wrapping_add(seed);
    }
}

/// Any time-out: none, short, or for ever.
fn any_time(random: &mut Random) -> c_int {
    match random.below(8) {
        0..3 => 0,
        3 => 1,
        4 => 3,
        5 => INTR,
        _ => -1,
    }
}

/// Repeats a call under another time-out each time, as long as that is what ended it.
#[track_caller]
fn until_done(random: &mut Random, mut call: impl FnMut(c_int) -> Outcome) -> usize {
    loop {
        let timeout_ms = any_time(random);
        match (call(timeout_ms), timeout_ms) {
            (Ok(len), _) => return len,
            (Err(EAGAIN), 0) | (Err(ETIMEDOUT), 1..) | (Err(EINTR), INTR) => {}
            (Err(error), _) => panic!("errno {error} under {timeout_ms}"),
        }
    }
}

fn send_all(end: &End, direction: u64, count: u64) {
    let (mut lengths, mut random) = (Random(direction), Random(direction + 100));
    let mut message = vec![0; LONGEST];
    for number in 0..count {
        let len = length(&mut lengths);
        fill(&mut message[..len], number ^ direction << 60);
        until_done(&mut random, |timeout_ms| {
            if number % 4 > 0 {
                return end.send(&message[..len], timeout_ms);
            }
            end.reserve(len, timeout_ms)?
                .copy_from_slice(&message[..len]);
            end.commit(len)
        });
    }
}

fn recv_all(end: &End, direction: u64, count: u64) {
    let (mut lengths, mut random) = (Random(direction), Random(direction + 200));
    let (mut expected, mut message) = (vec![0; LONGEST], vec![0; LONGEST]);
    for number in 0..count {
        let len = length(&mut lengths);
        fill(&mut expected[..len], number ^ direction << 60);
        let got = until_done(&mut random, |timeout_ms| {
            if number % 4 > 1 {
                return end.recv_raw(message.as_mut_ptr().cast(), LONGEST, timeout_ms);
            }
            let shown = end.peek(timeout_ms)?;
            message[..shown.len()].copy_from_slice(shown);
            let len = shown.len();
            end.release().map(|_| len)
        });
        assert_eq!(got, len, "message {number}");
        assert!(message[..len] == expected[..len], "message {number}");
    }
}

/// Each process has a thread that sends and one that receives; one of the processes under a
/// storm of signals.
#[apply(isolated)]
fn many_messages() {
    let count = scaled(500_000);
    let (a, b) = pair();
    count_signals(0);
    let child = fork(|| {
        // SAFETY: no pointers; it takes the place of a limit that may be too short.
        unsafe { libc::alarm(0) };
        // SAFETY: inherited, and not used here.
        unsafe { ipc_channel_close(a.0) };
        storm(2000);
        both_ways(&b, 2, 1, count);
        storm(0);
        println!("the child: {}", told(&b));
    });
    drop(b);
    both_ways(&a, 1, 2, count);
    println!("{} messages in both directions: {}", 2 * count, told(&a));
    let stats = a.stats();
    assert_eq!(
        (stats.sent_messages, stats.received_messages),
        (count, count)
    );
    child.join();
    assert_eq!(a.recv(0), Ok(vec![]));
}

fn both_ways(end: &End, out: u64, back: u64, count: u64) {
    thread::scope(|scope| {
        scope.spawn(move || send_all(end, out, count));
        recv_all(end, back, count);
    });
}

fn told(end: &End) -> String {
    let stats = end.stats();
    let (sleeps, wakes, full) = (stats.sleeps, stats.wakes, stats.full);
    format!("slept {sleeps} times, woke {wakes}, found it full {full}")
}

/// A sender is killed at any time, and the next one connects: all that it had sent is there,
/// whole and in order, and then comes the end.
#[apply(isolated)]
fn killed_and_reconnected() {
    let name = format!("@unixipc-test-{}", process::id());
    let listener = listen(&name);
    let mut random = Random(5);
    let mut all = 0;
    for round in 0..scaled(60) {
        let shared = Counters::new();
        let child = fork(|| {
            let end = connect(&name, LONG).unwrap();
            shared.set(1, 1);
            let mut message = [0; 1000];
            for number in 0u64.. {
                let message = &mut message[..8 + number as usize % 900];
                fill(message, number);
                if number % 2 == 0 {
                    assert_eq!(end.send(message, -1), DONE);
                } else {
                    end.reserve(message.len(), -1)
                        .unwrap()
                        .copy_from_slice(message);
                    assert_eq!(end.commit(message.len()), DONE);
                }
                shared.set(0, number + 1);
            }
        });
        let server = accept(&listener, LONG).unwrap();
        let kill_at = random.below(2000);
        let mut child = Some(child);
        let mut expected = [0; 1000];
        let mut received = 0;
        loop {
            // It may also be waiting for room when it is killed.
            if round % 3 > 0 && received == kill_at || round % 3 == 0 && shared.get(0) > 300 {
                if let Some(child) = child.take() {
                    kill(child);
                }
            }
            let message = server.recv(LONG).unwrap();
            if message.is_empty() {
                break;
            }
            let expected = &mut expected[..8 + received as usize % 900];
            fill(expected, received);
            assert!(message == *expected, "message {received} of round {round}");
            received += 1;
        }
        assert!(child.is_none(), "the end before it was killed");
        let sent = shared.get(0);
        assert!(
            (sent..=sent + 1).contains(&received),
            "{sent} sent, {received} received"
        );
        assert_eq!(
            server.send(b"x", LONG).and(server.send(b"x", LONG)),
            Err(EPIPE)
        );
        all += received;
    }
    println!("{all} messages");
}

/// A receiver is killed at any time, also while the sender waits for room: the sender learns of
/// it, and goes on with the next one.
#[apply(isolated)]
fn killed_receivers() {
    let name = format!("@unixipc-test-{}", process::id());
    let listener = listen(&name);
    let mut random = Random(6);
    for _ in 0..scaled(60) {
        let last = random.below(3000);
        let child = fork(|| {
            let end = connect(&name, LONG).unwrap();
            for number in 0..last {
                let message = end.recv(LONG).unwrap();
                assert_eq!(message[..8], number.to_le_bytes());
            }
            // SAFETY: no pointers.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        });
        let server = accept(&listener, LONG).unwrap();
        let error = (0u64..)
            .find_map(|number| {
                let mut message = [1; 500];
                message[..8].copy_from_slice(&number.to_le_bytes());
                server.send(&message, LONG).err()
            })
            .unwrap();
        assert_eq!(error, EPIPE);
        assert_eq!(server.recv(LONG), Ok(vec![]));
        assert_eq!(child.reap(), libc::SIGKILL);
    }
}
