//! Readiness of the descriptor of ipc_channel_fd: no wake-up is lost, and none repeats without end.
//! The tests use level-triggered and edge-triggered epoll where both make sense.

use crate::event_loop::{Poller, SOON, StopOnDrop, TRIGGERS, Trigger, pause};
use crate::support::*;
use libc::{EAGAIN, EPIPE, ETIMEDOUT, SHUT_RD, SHUT_WR, c_int};
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

/// The longest random pause, in iterations of a spin loop (about 0.2 ms).
const MAX_SPINS: u64 = 5000;

/// An end that is watched by an event loop, and whose last send was refused. The event loop has
/// received until EAGAIN, and the descriptor is not readable.
fn refused(len: usize, trigger: Trigger) -> (End, End, Poller) {
    let (a, b) = small();
    let poller = Poller::new(&a, trigger);
    a.fill(1000);
    a.fill(1);
    assert_eq!(a.send(&vec![0; len], 0), Err(EAGAIN));
    assert_eq!(a.recv(0), Err(EAGAIN));
    let mut wake_ups = 0;
    while poller.is_ready(0) {
        assert_eq!(a.recv(0), Err(EAGAIN));
        wake_ups += 1;
        assert!(wake_ups <= 5, "{wake_ups} wake-ups");
    }
    (a, b, poller)
}

/// How much the peer receives while the second send waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerReads {
    Nothing,
    /// Enough for the second message, but less than half of the ring.
    Little,
    Everything,
}

/// After a refused send, a second send waits, and succeeds or times out. The descriptor must still
/// report room for the first one.
#[apply(isolated)]
fn second_send_waits() {
    const LENGTHS: [(usize, usize); 5] =
        [(16, 16), (16, 8), (16, 20_000), (1000, 16), (30_000, 1000)];
    for trigger in TRIGGERS {
        for peer_reads in [PeerReads::Nothing, PeerReads::Little, PeerReads::Everything] {
            for two_threads in [false, true] {
                for (first, second) in LENGTHS {
                    let _case = Case(format!(
                        "{trigger}, {first} and {second} bytes, the peer reads {peer_reads:?}, \
                         two threads: {two_threads}"
                    ));
                    second_send(trigger, peer_reads, two_threads, first, second);
                }
            }
        }
    }
}

fn second_send(
    trigger: Trigger,
    peer_reads: PeerReads,
    two_threads: bool,
    first: usize,
    second: usize,
) {
    let (a, b, poller) = refused(first, trigger);
    let tid = Counters::new();
    let timeout_ms = match peer_reads {
        PeerReads::Nothing => 10,
        PeerReads::Little => 100,
        PeerReads::Everything => LONG,
    };
    let send = || {
        tid.set(0, thread_id());
        a.send(&vec![0; second], timeout_ms)
    };
    let sent = thread::scope(|scope| {
        let peer = scope.spawn(|| {
            if peer_reads == PeerReads::Nothing {
                return;
            }
            tid.wait_for(0, 1);
            wait_until("the sleep or end of the sender", || {
                is_asleep_or_ended(tid.get(0) as libc::pid_t)
            });
            match peer_reads {
                PeerReads::Nothing => {}
                PeerReads::Little => {
                    for _ in 0..second / 1000 + 2 {
                        b.recv(0).unwrap();
                    }
                }
                PeerReads::Everything => {
                    b.drain();
                }
            }
        });
        let sent = match two_threads {
            true => scope.spawn(send).join().unwrap(),
            false => send(),
        };
        peer.join().unwrap();
        sent
    });
    match peer_reads {
        PeerReads::Nothing => assert_eq!(sent, Err(ETIMEDOUT)),
        PeerReads::Little => assert!(matches!(sent, DONE | Err(ETIMEDOUT)), "{sent:?}"),
        PeerReads::Everything => assert_eq!(sent, DONE),
    }
    b.drain();
    assert!(poller.is_ready(SOON), "room is not signalled");
    assert_eq!(a.send(&vec![0; first], 0), DONE);
}

/// One thread sends, and polls for room. At the same time another thread receives on the same end,
/// with short time-outs or without waiting. The receiving thread must not take the sender's
/// wake-up.
#[apply(isolated)]
fn sender_polls_beside_receiver() {
    for trigger in TRIGGERS {
        for timeout_ms in [0, 1] {
            let _case = Case(format!("{trigger}, recv({timeout_ms})"));
            sender_beside_receiver(trigger, timeout_ms);
        }
    }
}

fn sender_beside_receiver(trigger: Trigger, timeout_ms: c_int) {
    let (a, b) = small();
    let poller = Poller::new(&a, trigger);
    let (stop, round_begun, round_read) =
        (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        scope.spawn(|| {
            let nothing = if timeout_ms == 0 { EAGAIN } else { ETIMEDOUT };
            while !stop.load(SeqCst) {
                assert_eq!(a.recv(timeout_ms), Err(nothing));
            }
        });
        // The peer receives everything once in each round.
        scope.spawn(|| {
            let mut random = Random(1);
            let mut round = 0;
            while !stop.load(SeqCst) {
                if round_begun.load(SeqCst) == round {
                    thread::yield_now();
                    continue;
                }
                round += 1;
                pause(&mut random, MAX_SPINS);
                b.drain();
                round_read.store(round, SeqCst);
            }
        });
        let mut random = Random(2);
        for round in 1..=scaled(500) {
            a.fill(1000);
            round_begun.store(round, SeqCst);
            pause(&mut random, MAX_SPINS);
            assert!(poller.is_ready(SOON), "round {round}");
            while round_read.load(SeqCst) != round {
                thread::yield_now();
            }
            assert_eq!(a.send(&[0; 1000], 0), DONE, "round {round}");
            receive_rest(&a, &b);
        }
    });
}

/// Empties the ring for the next round. The peer's thread waits for that round.
fn receive_rest(a: &End, b: &End) {
    let sent = a.stats().sent_messages;
    b.drain();
    assert_eq!(b.stats().received_messages, sent);
}

/// The peer ends its receiving at a random moment: before a refused send, between that send and the
/// receive that finds nothing, or later. It may have sent and received messages before. The event
/// loop is always notified.
#[apply(isolated)]
fn peer_ends_receiving() {
    for trigger in TRIGGERS {
        let mut random = Random(3);
        for round in 0..scaled(1000) {
            let _case = Case(format!("{trigger}, round {round}"));
            let (a, b) = small();
            let poller = Poller::new(&a, trigger);
            a.fill(1000);
            let (before, reads, sends) =
                (random.below(MAX_SPINS), random.below(100), random.below(3));
            let begun = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    begun.store(true, SeqCst);
                    (0..before).for_each(|_| spin_loop());
                    for _ in 0..reads * (round % 2) {
                        let _ = b.recv(0);
                    }
                    (0..sends).for_each(|_| b.send(b"x", 0).map(drop).unwrap());
                    assert_eq!(b.shutdown(SHUT_RD), DONE);
                });
                while !begun.load(SeqCst) {
                    spin_loop();
                }
                pause(&mut random, MAX_SPINS);
                let mut wake_ups = 0;
                loop {
                    match a.send(&[0; 1000], 0) {
                        Ok(_) => continue,
                        Err(EPIPE) => break,
                        Err(error) => assert_eq!(error, EAGAIN),
                    }
                    pause(&mut random, 1000);
                    while a.recv(0) != Err(EAGAIN) {}
                    assert!(poller.is_ready(SOON), "the end is not signalled");
                    wake_ups += 1;
                }
                assert!(wake_ups <= 6 + sends, "{wake_ups} wake-ups");
            });
        }
    }
}

/// The peer closes at a random moment. An event loop that receives until EAGAIN is notified, with
/// and without a refused send.
#[apply(isolated)]
fn peer_closes() {
    for trigger in TRIGGERS {
        let mut random = Random(4);
        for round in 0..scaled(1000) {
            let _case = Case(format!("{trigger}, round {round}"));
            let (a, b) = small();
            let poller = Poller::new(&a, trigger);
            let was_refused = round % 2 == 0;
            if was_refused {
                a.fill(1000);
                assert_eq!(a.recv(0), Err(EAGAIN));
            }
            let (messages, before) = (random.below(3), random.below(MAX_SPINS));
            thread::scope(|scope| {
                scope.spawn(move || {
                    for _ in 0..messages {
                        assert_eq!(b.send(b"x", 0), DONE);
                    }
                    (0..before).for_each(|_| spin_loop());
                    drop(b);
                });
                let mut received = 0;
                let mut wake_ups = 0;
                'events: loop {
                    wake_ups += 1;
                    assert!(wake_ups <= 20, "{wake_ups} wake-ups");
                    pause(&mut random, 2 * MAX_SPINS);
                    assert!(poller.is_ready(SOON), "the end is not signalled");
                    loop {
                        match a.recv(0) {
                            Ok(message) if message.is_empty() => break 'events,
                            Ok(_) => received += 1,
                            Err(error) => {
                                assert_eq!(error, EAGAIN);
                                break;
                            }
                        }
                    }
                }
                assert_eq!(received, messages);
            });
            if was_refused {
                assert_eq!(a.send(&[0; 1000], 0), Err(EPIPE));
            }
        }
    }
}

/// An action that ends the receiving of the first end.
type EndReceiving = fn(&End, &End);

/// After receiving has ended and a send was refused, the descriptor becomes readable when there is
/// room or the peer closes, and not before.
#[apply(isolated)]
fn half_closed() {
    let actions: [(&str, EndReceiving); 2] = [
        ("the peer's SHUT_WR", |_, b| {
            b.shutdown(SHUT_WR).unwrap();
        }),
        ("this end's SHUT_RD", |a, _| {
            a.shutdown(SHUT_RD).unwrap();
        }),
    ];
    for trigger in TRIGGERS {
        for (what, end_receiving) in actions {
            for send_first in [true, false] {
                for peer_closes in [false, true] {
                    let _case = Case(format!(
                        "{trigger}, {what}, the loop sends first: {send_first}, \
                         the peer closes: {peer_closes}"
                    ));
                    let (a, b) = small();
                    let poller = Poller::new(&a, trigger);
                    end_receiving(&a, &b);
                    assert!(poller.is_ready(SOON));
                    assert_eq!(a.recv(0), Ok(vec![]));
                    a.fill(1000);
                    let mut spurious = 0;
                    while spurious < 100 && poller.is_ready(20) {
                        spurious += 1;
                        for sends in [send_first, !send_first] {
                            if sends {
                                assert_eq!(a.send(&[0; 1000], 0), Err(EAGAIN));
                            } else {
                                assert_eq!(a.recv(0), Ok(vec![]));
                            }
                        }
                    }
                    assert!(spurious <= 1, "{spurious} spurious wake-ups");
                    if peer_closes {
                        drop(b);
                        assert!(poller.is_ready(SOON), "the end is not signalled");
                        assert_eq!(a.send(&[0; 1000], 0), Err(EPIPE));
                    } else {
                        b.drain();
                        assert!(poller.is_ready(SOON), "room is not signalled");
                        assert_eq!(a.send(&[0; 1000], 0), DONE);
                    }
                }
            }
        }
    }
}

/// An event loop whose send was refused never sends again. The descriptor reports room once or
/// twice. After that it is not readable, even while the peer continues to receive.
#[apply(isolated)]
fn best_effort_sender() {
    for slowly in [false, true] {
        let _case = Case(format!("the peer reads slowly: {slowly}"));
        let (a, b, poller) = refused(1000, Trigger::Level);
        let mut wake_ups = 0;
        let mut serve = || {
            for _ in 0..100 {
                if !poller.is_ready(0) {
                    return;
                }
                wake_ups += 1;
                assert_eq!(a.recv(0), Err(EAGAIN));
            }
            panic!("the event loop spins");
        };
        if slowly {
            while b.recv(0).is_ok() {
                serve();
            }
        } else {
            b.drain();
            assert!(poller.is_ready(SOON), "room is not signalled");
        }
        serve();
        assert!((1..=2).contains(&wake_ups), "{wake_ups} wake-ups");
        assert!(!poller.is_ready(50), "readable without a reason");
        // Messages are signalled as before.
        for _ in 0..10 {
            assert_eq!(b.send(b"x", 0), DONE);
            assert!(poller.is_ready(SOON));
            assert_eq!(a.recv(0).unwrap(), b"x");
            assert_eq!(a.recv(0), Err(EAGAIN));
            assert!(!poller.is_ready(0));
        }
    }
}

/// The first send on an end does not clear the readiness: an earlier message keeps the descriptor
/// readable until a receive finds nothing.
#[apply(isolated)]
fn first_send() {
    let (a, b) = small();
    assert_eq!(a.send(b"one", 0), DONE);
    let fd = b.fd().unwrap();
    assert_eq!(b.recv(0).unwrap(), b"one");
    assert_eq!(b.send(b"answer", 0), DONE);
    assert_eq!(a.send(b"two", 0), DONE);
    assert_eq!(poll(fd, 0), libc::POLLIN);
    assert_eq!(b.recv(0).unwrap(), b"two");
    assert_eq!(b.recv(0), Err(EAGAIN));
    assert_eq!(poll(fd, 0), 0);
}

/// A refused send detects the peer's death even if an unread message keeps the descriptor readable,
/// because an edge-triggered event loop may already have received its event.
#[apply(isolated)]
fn refused_send_notices_death() {
    let (a, b) = small();
    a.fd().unwrap();
    assert_eq!(b.send(b"unread", 0), DONE);
    a.fill(1000);
    assert_eq!(a.send(&[0; 1000], 0), Err(EAGAIN));
    drop(b);
    assert_eq!(a.send(&[0; 1000], 0), Err(EPIPE));
    assert_eq!(a.recv(0).unwrap(), b"unread");
    assert_eq!(a.recv(0), Ok(vec![]));
}
