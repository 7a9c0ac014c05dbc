//! Two processes use the same end after fork(2), which is a mistake. Calls of the second process
//! fail with EBUSY, and no message is lost.

use crate::event_loop::pause;
use crate::support::*;
use libc::{EAGAIN, EBUSY, SIGCONT};
use std::collections::BTreeMap;

/// If another process has sent on this end since the fork, each sending call fails at once, and no
/// message is lost.
#[apply(isolated)]
fn two_senders_in_turn() {
    let (a, b) = small();
    let shared = Counters::new();
    assert_eq!(a.send(b"before the fork", 0), DONE);
    let child = fork(|| {
        for (at, message) in [b"first", b"again"].iter().enumerate() {
            shared.wait_for(0, at as u64 + 1);
            assert_eq!(a.send(*message, 0), DONE);
            shared.set(1, at as u64 + 1);
        }
        shared.wait_for(0, 3);
        a.fill(1000);
    });
    let assert_refused = || {
        for timeout_ms in [0, 20, LONG] {
            assert_eq!(a.send(b"from the parent", timeout_ms), Err(EBUSY));
            assert_eq!(a.send(&[0; 1000], timeout_ms), Err(EBUSY));
            assert_eq!(a.reserve(8, timeout_ms).unwrap_err(), EBUSY);
        }
    };
    for round in 1..=2 {
        shared.set(0, round);
        shared.wait_for(1, round);
        assert_refused();
    }
    for message in [&b"before the fork"[..], b"first", b"again"] {
        assert_eq!(b.recv(0).unwrap(), message);
    }
    assert_eq!(b.recv(0), Err(EAGAIN));
    // The ring is full.
    shared.set(0, 3);
    child.join();
    assert_refused();
    assert!(b.drain() > 0);
    assert_refused();
    assert_eq!(b.recv(0), Err(EAGAIN));
    // The other direction still works.
    assert_eq!(b.send(b"back", 0), DONE);
    assert_eq!(a.recv(0).unwrap(), b"back");
}

/// Another process has sent on this end after this process has reserved a message.
#[apply(isolated)]
fn sent_since_reserved() {
    let (a, b) = small();
    a.reserve(8, 0).unwrap().fill(1);
    fork(|| {
        assert_eq!(a.cancel(), DONE);
        assert_eq!(a.send(b"from the child", 0), DONE);
    })
    .join();
    assert_eq!(a.commit(8), Err(EBUSY));
    assert_eq!(b.recv(0).unwrap(), b"from the child");
    assert_eq!(b.recv(0), Err(EAGAIN));
}

/// The number of messages in each round.
const COUNT: u64 = 50;

/// The bytes of a message, which contain its sender and its number.
fn message(sender: u64, number: u64) -> Vec<u8> {
    let mut bytes = pattern(16 + (number as usize * 31) % 200, sender << 32 | number);
    bytes[..8].copy_from_slice(&sender.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// The sender and the number of a message. Checks all its bytes.
fn parse(bytes: &[u8]) -> (u64, u64) {
    let word = |at| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let (sender, number) = (word(0), word(8));
    assert!(bytes == message(sender, number), "a torn message");
    (sender, number)
}

/// Counts this process in slot 0 of `shared`, and spins until both processes are ready.
fn start_together(shared: &Counters) {
    shared.add(0);
    while shared.get(0) < 2 {
        std::hint::spin_loop();
    }
}

/// Two processes send on the same end at the same time. Each message that was sent arrives once,
/// whole and in the order of its sender.
#[apply(isolated)]
fn two_senders_at_once() {
    let mut refused = 0;
    for round in 0..scaled(300) {
        let _case = Case(format!("round {round}"));
        let (a, b) = small();
        let shared = Counters::new();
        let senders = [0, 1].map(|sender| {
            fork(|| {
                let mut random = Random(round * 2 + sender);
                start_together(&shared);
                for number in 0..COUNT {
                    match a.send(&message(sender, number), 0) {
                        Ok(_) => shared.set(10 + sender as usize, number + 1),
                        Err(error) => {
                            assert_eq!(error, EBUSY);
                            shared.add(1);
                        }
                    }
                    pause(&mut random, 20);
                }
            })
        });
        senders.into_iter().for_each(Child::join);
        refused += shared.get(1);
        let mut received = [const { Vec::new() }; 2];
        loop {
            match b.recv(0) {
                Ok(bytes) => {
                    let (sender, number) = parse(&bytes);
                    received[sender as usize].push(number);
                }
                Err(error) => {
                    assert_eq!(error, EAGAIN);
                    break;
                }
            }
        }
        for (sender, received) in received.iter().enumerate() {
            // After its first refused send, each later send of that process is refused too.
            let sent = shared.get(10 + sender);
            assert_eq!(
                *received,
                (0..sent).collect::<Vec<_>>(),
                "of sender {sender}"
            );
        }
    }
    println!("{refused} sends refused");
    assert!(refused > 0);
}

/// If another process has received on this end since the fork, each receiving call fails at once.
#[apply(isolated)]
fn two_receivers_in_turn() {
    let (a, b) = small();
    for number in 0..10 {
        assert_eq!(a.send(&message(0, number), 0), DONE);
    }
    assert_eq!(parse(&b.recv(0).unwrap()), (0, 0));
    assert_eq!(parse(b.peek(0).unwrap()), (0, 1));
    let shared = Counters::new();
    let child = fork(|| {
        for (at, numbers) in [1..4, 4..10].into_iter().enumerate() {
            shared.wait_for(0, at as u64 + 1);
            for number in numbers {
                assert_eq!(parse(&b.recv(0).unwrap()), (0, number));
            }
            shared.set(1, at as u64 + 1);
        }
        assert_eq!(b.recv(LONG).unwrap(), b"the last one");
    });
    for round in 1..=2 {
        shared.set(0, round);
        shared.wait_for(1, round);
        for timeout_ms in [0, 20, LONG] {
            assert_eq!(b.recv(timeout_ms), Err(EBUSY));
            assert_eq!(b.peek(timeout_ms), Err(EBUSY));
        }
        // A release that succeeded would let the child receive a message twice.
        let released = b.release();
        assert!(
            matches!(released, Err(EBUSY | libc::EINVAL)),
            "{released:?}"
        );
    }
    assert_eq!(a.send(b"the last one", 0), DONE);
    child.join();
    // The other direction still works.
    assert_eq!(b.send(b"back", 0), DONE);
    assert_eq!(a.recv(0).unwrap(), b"back");
}

/// Two processes receive on the same end at the same time. No message is lost, and no process
/// receives a message that the other process had received before.
#[apply(isolated)]
fn two_receivers_at_once() {
    let mut refused = 0;
    for round in 0..scaled(300) {
        let _case = Case(format!("round {round}"));
        let (a, b) = small();
        for number in 0..COUNT {
            assert_eq!(a.send(&message(0, number), 0), DONE);
        }
        let shared = Counters::new();
        // Two slots for each message: the times before and after it was received.
        let slots = |receiver: u64, number: u64| 10 + (receiver * COUNT + number) as usize * 2;
        let receivers = [0, 1].map(|receiver| {
            fork(|| {
                let mut random = Random(round * 2 + receiver);
                start_together(&shared);
                loop {
                    let before = now();
                    match b.recv(0) {
                        Ok(bytes) => {
                            let after = now();
                            let slots = slots(receiver, parse(&bytes).1);
                            assert_eq!(shared.get(slots), 0, "received twice in one process");
                            shared.set(slots, before);
                            shared.set(slots + 1, after);
                        }
                        Err(EBUSY) => {
                            shared.add(1);
                            break;
                        }
                        Err(error) => {
                            assert_eq!(error, EAGAIN);
                            break;
                        }
                    }
                    pause(&mut random, 20);
                }
            })
        });
        receivers.into_iter().for_each(Child::join);
        refused += shared.get(1);
        let mut received_twice = BTreeMap::new();
        for number in 0..COUNT {
            let [one, two] = [0, 1].map(|receiver| {
                let at = slots(receiver, number);
                (shared.get(at), shared.get(at + 1))
            });
            assert!(one.0 != 0 || two.0 != 0, "message {number} is lost");
            if one.0 != 0 && two.0 != 0 {
                let overlap = one.0 <= two.1 && two.0 <= one.1;
                assert!(overlap, "message {number} was received twice");
                received_twice.insert(number, (one, two));
            }
        }
        if !received_twice.is_empty() {
            println!("received by both at the same time: {received_twice:?}");
        }
    }
    println!("{refused} receivers refused");
    assert!(refused > 0);
}

/// The other process receives between peek and release of this process.
#[apply(isolated)]
fn receive_after_peek() {
    for releases in [true, false] {
        let (a, b) = small();
        a.fill(1000);
        b.peek(0).unwrap();
        fork(|| assert!(b.drain() > 0)).join();
        // The ring now holds more than would fit if the cursor moved back.
        a.fill(1000);
        if releases {
            assert_eq!(b.release(), Err(EBUSY));
        }
        assert_eq!(b.recv(0), Err(EBUSY));
        assert_eq!(a.send(&[0; 1000], 0), Err(EAGAIN));
    }
}

/// The other process sends while this process waits for room.
#[apply(isolated)]
fn waiting_sender() {
    let (a, b) = small();
    a.fill(1000);
    let waiter = fork(|| assert_eq!(a.send(&[0; 1000], LONG), Err(EBUSY)));
    waiter.wait_asleep();
    waiter.stop();
    b.drain();
    assert_eq!(a.send(b"first", 0), DONE);
    waiter.signal(SIGCONT);
    waiter.join();
    assert_eq!(b.recv(0).unwrap(), b"first");
    assert_eq!(b.recv(0), Err(EAGAIN));
}

/// The other process receives while this process waits for a message.
#[apply(isolated)]
fn waiting_receiver() {
    let (a, b) = small();
    // A message before the fork, so that both processes continue a session.
    assert_eq!(a.send(b"before", 0), DONE);
    assert_eq!(b.recv(0).unwrap(), b"before");
    let waiter = fork(|| assert_eq!(b.recv(LONG), Err(EBUSY)));
    waiter.wait_asleep();
    waiter.stop();
    assert_eq!(a.send(b"first", 0), DONE);
    assert_eq!(b.recv(0).unwrap(), b"first");
    waiter.signal(SIGCONT);
    waiter.join();
}
