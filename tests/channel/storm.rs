//! Many messages in both directions, with random time-outs and frequent signals; and processes that
//! are killed at random moments.

use crate::peer::abstract_name;
use crate::support::*;
use libc::{EAGAIN, EINTR, EPIPE, ETIMEDOUT, c_int};
use std::thread;

/// The length of the longest message.
const LONGEST: usize = 200_000;

/// A random length, mostly short.
fn random_length(random: &mut Random) -> usize {
    let limit = match random.below(4096) {
        0 => LONGEST,
        1..64 => 5000,
        _ => 150,
    };
    1 + random.below(limit as u64) as usize
}

/// Fills a message with bytes that depend on a seed.
fn fill(bytes: &mut [u8], seed: u64) {
    let mut word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        word = word.wrapping_mul(0xd129_42f0_94b7_1f35).wrapping_add(seed);
    }
}

/// A random time-out: 0, short, or without a limit.
fn random_timeout(random: &mut Random) -> c_int {
    match random.below(8) {
        0..3 => 0,
        3 => 1,
        4 => 3,
        5 => INTR,
        _ => -1,
    }
}

/// Repeats a call with random time-outs until it succeeds. It may only fail because of its
/// time-out.
#[track_caller]
fn until_done(random: &mut Random, mut call: impl FnMut(c_int) -> Outcome) -> usize {
    loop {
        let timeout_ms = random_timeout(random);
        match (call(timeout_ms), timeout_ms) {
            (Ok(len), _) => return len,
            (Err(EAGAIN), 0) | (Err(ETIMEDOUT), 1..) | (Err(EINTR), INTR) => {}
            (Err(error), _) => panic!("errno {error}, time-out {timeout_ms}"),
        }
    }
}

fn send_all(end: &End, direction: u64, count: u64) {
    let (mut lengths, mut random) = (Random(direction), Random(direction + 100));
    let mut message = vec![0; LONGEST];
    for number in 0..count {
        let len = random_length(&mut lengths);
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
        let len = random_length(&mut lengths);
        fill(&mut expected[..len], number ^ direction << 60);
        let received = until_done(&mut random, |timeout_ms| {
            if number % 4 > 1 {
                return end.recv_raw(message.as_mut_ptr().cast(), LONGEST, timeout_ms);
            }
            let peeked = end.peek(timeout_ms)?;
            message[..peeked.len()].copy_from_slice(peeked);
            let len = peeked.len();
            end.release().map(|_| len)
        });
        assert_eq!(received, len, "message {number}");
        assert!(message[..len] == expected[..len], "message {number}");
    }
}

/// Each of two processes has a thread that sends and a thread that receives. One process receives
/// frequent signals.
#[apply(isolated)]
fn many_messages() {
    let count = scaled(500_000);
    let (a, b) = pair();
    count_signals(0);
    let child = fork(|| {
        set_alarm(0); // the time limit of `fork` may be too short
        close_copy(&a);
        storm(2000);
        both_ways(&b, 2, 1, count);
        storm(0);
        println!("the child: {}", statistics(&b));
    });
    drop(b);
    both_ways(&a, 1, 2, count);
    println!(
        "{} messages in both directions: {}",
        2 * count,
        statistics(&a)
    );
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

fn statistics(end: &End) -> String {
    let stats = end.stats();
    let (sleeps, wakes, full) = (stats.sleeps, stats.wakes, stats.full);
    format!("{sleeps} sleeps, {wakes} wake-ups, {full} times full")
}

/// A sender is killed at a random moment, and then another sender connects. The receiver receives
/// all messages of the killed sender, whole and in order, and then the end.
#[apply(isolated)]
fn killed_and_reconnected() {
    let name = abstract_name();
    let listener = listen(&name);
    let mut random = Random(5);
    let mut total = 0;
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
            // In every third round the sender may be waiting for room when it is killed.
            if round % 3 > 0 && received == kill_at || round % 3 == 0 && shared.get(0) > 300 {
                child.take().into_iter().for_each(kill);
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
        assert!(
            child.is_none(),
            "the end arrived before the sender was killed"
        );
        let sent = shared.get(0);
        assert!(
            (sent..=sent + 1).contains(&received),
            "{sent} sent, {received} received"
        );
        assert_eq!(
            server.send(b"x", LONG).and(server.send(b"x", LONG)),
            Err(EPIPE)
        );
        total += received;
    }
    println!("{total} messages");
}

/// A receiver is killed at a random moment, also while the sender waits for room. The sender
/// detects it, and the next receiver connects.
#[apply(isolated)]
fn killed_receivers() {
    let name = abstract_name();
    let listener = listen(&name);
    let mut random = Random(6);
    for _ in 0..scaled(60) {
        let count = random.below(3000);
        let child = fork(|| {
            let end = connect(&name, LONG).unwrap();
            for number in 0..count {
                let message = end.recv(LONG).unwrap();
                assert_eq!(message[..8], number.to_le_bytes());
            }
            kill_this_process();
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
