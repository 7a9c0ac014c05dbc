//! Two threads use one end, and another thread ends their waits.

use crate::support::*;
use libc::{EPIPE, SHUT_RD, SHUT_RDWR, SHUT_WR};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

/// Each end has a thread that sends and one that receives.
#[apply(isolated)]
fn both_directions() {
    let (a, b) = small();
    let count = scaled(30_000);
    thread::scope(|scope| {
        for (end, seed) in [(&a, 1u64), (&b, 2)] {
            scope.spawn(move || {
                let mut random = Random(seed);
                for number in 0..count {
                    let len = 8 + random.below(400) as usize;
                    let mut message = vec![number as u8; len];
                    message[..8].copy_from_slice(&number.to_le_bytes());
                    assert_eq!(end.send(&message, LONG), DONE);
                }
            });
            scope.spawn(move || {
                for number in 0..count {
                    let message = end.recv(LONG).unwrap();
                    assert_eq!(message[..8], number.to_le_bytes());
                    assert!(message[8..].iter().all(|byte| *byte == number as u8));
                }
            });
        }
    });
}

/// Starts two threads that wait on one end: one for a message, one for room.
fn spawn_two<'a>(
    scope: &'a Scope<'a, '_>,
    end: &'a End,
    timeout_ms: i32,
) -> [ScopedJoinHandle<'a, Outcome>; 2] {
    spawn_two_with_ids(scope, end, timeout_ms).map(|(thread, _)| thread)
}

/// The same with the ids of the threads.
fn spawn_two_with_ids<'a>(
    scope: &'a Scope<'a, '_>,
    end: &'a End,
    timeout_ms: i32,
) -> [(ScopedJoinHandle<'a, Outcome>, u64); 2] {
    let threads = [
        spawn_call(scope, move || {
            end.recv(timeout_ms).map(|message| message.len())
        }),
        spawn_call(scope, move || end.send(&[1; 1000], timeout_ms)),
    ];
    for (_, tid) in &threads {
        wait_thread_asleep(*tid);
    }
    threads
}

/// Sends a message, which ends the wait of the receiver.
#[track_caller]
fn wake_receiver(peer: &End, receiver: ScopedJoinHandle<Outcome>) {
    assert_eq!(peer.send(b"message", 0), DONE);
    assert_eq!(receiver.join().unwrap(), Ok(7));
}

/// Empties the ring, which ends the wait of the sender.
#[track_caller]
fn wake_sender(peer: &End, sender: ScopedJoinHandle<Outcome>) {
    peer.drain();
    assert_eq!(sender.join().unwrap(), DONE);
}

/// Each of two waiting threads is woken by the event for which it waits, in either order.
#[apply(isolated)]
fn both_wait() {
    for polled in [false, true] {
        for round in 0..100 {
            let (a, b) = full_pair(polled);
            thread::scope(|scope| {
                let [receiver, sender] = spawn_two(scope, &a, LONG);
                if round % 2 == 0 {
                    wake_receiver(&b, receiver);
                    assert!(!sender.is_finished());
                    wake_sender(&b, sender);
                } else {
                    wake_sender(&b, sender);
                    assert!(!receiver.is_finished());
                    wake_receiver(&b, receiver);
                }
            });
        }
    }
}

/// If one of two waiting threads times out, the other thread continues to wait and can be woken.
#[apply(isolated)]
fn one_times_out() {
    for first_receives in [false, true] {
        let (a, b) = full_pair(false);
        let (receive, send) = if first_receives {
            (50, LONG)
        } else {
            (LONG, 50)
        };
        thread::scope(|scope| {
            let receiver = scope.spawn(|| a.recv(receive).map(|message| message.len()));
            let sender = scope.spawn(|| a.send(&[1; 1000], send));
            if first_receives {
                assert_eq!(receiver.join().unwrap(), Err(libc::ETIMEDOUT));
                wake_sender(&b, sender);
            } else {
                assert_eq!(sender.join().unwrap(), Err(libc::ETIMEDOUT));
                wake_receiver(&b, receiver);
            }
        });
    }
}

/// Both waits end when the peer closes.
#[apply(isolated)]
fn peer_closes_while_both_wait() {
    for polled in [false, true] {
        let (a, b) = full_pair(polled);
        thread::scope(|scope| {
            let [receiver, sender] = spawn_two(scope, &a, -1);
            drop(b);
            assert_eq!(receiver.join().unwrap(), Ok(0));
            assert_eq!(sender.join().unwrap(), Err(EPIPE));
        });
    }
}

/// A shutdown in a third thread ends the waits in the directions that it shuts down.
#[apply(isolated)]
fn shutdown_ends_waits() {
    for polled in [false, true] {
        for how in [SHUT_RD, SHUT_WR, SHUT_RDWR] {
            let _case = Case(format!("{how}, polled: {polled}"));
            let (a, b) = full_pair(polled);
            thread::scope(|scope| {
                let [receiver, sender] = spawn_two(scope, &a, LONG);
                assert_eq!(a.shutdown(how), DONE);
                if how == SHUT_WR {
                    assert_eq!(sender.join().unwrap(), Err(EPIPE));
                    assert!(!receiver.is_finished());
                    wake_receiver(&b, receiver);
                } else if how == SHUT_RD {
                    assert_eq!(receiver.join().unwrap(), Ok(0));
                    assert!(!sender.is_finished());
                    wake_sender(&b, sender);
                } else {
                    assert_eq!(receiver.join().unwrap(), Ok(0));
                    assert_eq!(sender.join().unwrap(), Err(EPIPE));
                }
            });
        }
    }
}

/// A shutdown by the peer ends the waits that depend on the peer.
#[apply(isolated)]
fn shutdown_by_the_peer() {
    for how in [SHUT_RD, SHUT_WR, SHUT_RDWR] {
        let (a, b) = full_pair(false);
        thread::scope(|scope| {
            let [receiver, sender] = spawn_two(scope, &a, LONG);
            assert_eq!(b.shutdown(how), DONE);
            if how != SHUT_RD {
                assert_eq!(receiver.join().unwrap(), Ok(0));
            } else {
                assert_eq!(sender.join().unwrap(), Err(EPIPE));
            }
            // Ends the other wait.
            assert_eq!(b.shutdown(SHUT_RDWR), DONE);
        });
    }
}

/// A shutdown at a random moment while messages are sent: no thread waits forever, and the messages
/// arrive in order.
#[apply(isolated)]
fn shutdown_at_random_moments() {
    for round in 0..300u64 {
        let (a, b) = small();
        let (sent, received) = thread::scope(|scope| {
            let sender = scope.spawn(|| {
                (0u64..)
                    .take_while(|number| a.send(&number.to_le_bytes(), LONG) == DONE)
                    .count() as u64
            });
            let receiver = scope.spawn(|| {
                for number in 0u64.. {
                    match b.recv(LONG).unwrap() {
                        message if message.is_empty() => return number,
                        message => assert_eq!(message, number.to_le_bytes()),
                    }
                }
                0
            });
            let mut random = Random(round);
            for _ in 0..random.below(3000) {
                std::hint::spin_loop();
            }
            if round % 2 == 0 {
                assert_eq!(a.shutdown(SHUT_WR), DONE);
            } else {
                assert_eq!(b.shutdown(SHUT_RD), DONE);
            }
            (sender.join().unwrap(), receiver.join().unwrap())
        });
        if round % 2 == 0 {
            // A message that was sent during the shutdown may be received although its send failed.
            assert!(received <= sent + 1, "{sent} sent, {received} received");
        }
    }
}

/// A signal handler ends the wait of the thread in which it ran, and not that of the other thread.
#[apply(isolated)]
fn interrupted() {
    for flags in [0, libc::SA_RESTART] {
        count_signals(flags);
        for which in [0, 1] {
            let (a, b) = full_pair(false);
            thread::scope(|scope| {
                let mut both = Vec::from(spawn_two_with_ids(scope, &a, INTR));
                let (waiter, tid) = both.remove(which);
                let (other, _) = both.remove(0);
                wait_until("the end of a thread", || {
                    // SAFETY: no pointers. If the thread has ended, the call fails.
                    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGUSR1) };
                    thread::sleep(Duration::from_millis(2));
                    waiter.is_finished()
                });
                assert_eq!(waiter.join().unwrap(), Err(libc::EINTR));
                assert!(!other.is_finished());
                assert_eq!(b.send(b"message", 0), DONE);
                b.drain();
                assert!(other.join().unwrap().is_ok());
            });
        }
    }
}

/// A message that was sent just before a shutdown is received before the end.
#[apply(isolated)]
fn message_before_the_end() {
    let mut random = Random(3);
    for round in 0..scaled(1000) {
        let (a, b) = small();
        thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                loop {
                    let message = b.recv(LONG).unwrap();
                    assert!(!message.is_empty(), "the end arrived first, round {round}");
                    if message == b"last" {
                        break;
                    }
                }
                assert_eq!(b.recv(LONG), Ok(vec![]), "round {round}");
            });
            for _ in 0..random.below(20) {
                assert_eq!(a.send(b"first", LONG), DONE);
                (0..random.below(300)).for_each(|_| std::hint::spin_loop());
            }
            assert_eq!(a.send(b"last", LONG), DONE);
            assert_eq!(a.shutdown(SHUT_WR), DONE);
            receiver.join().unwrap();
        });
    }
}
