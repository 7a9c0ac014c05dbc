//! Two threads at one end, and a third one that ends their waiting.

use crate::support::*;
use libc::{EPIPE, SHUT_RD, SHUT_RDWR, SHUT_WR};
use std::thread;
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

/// Two threads that wait at one end: one for a message, one for room.
fn two_waiting<'a>(
    scope: &'a thread::Scope<'a, '_>,
    end: &'a End,
    timeout_ms: i32,
) -> [thread::ScopedJoinHandle<'a, Outcome>; 2] {
    two_with_ids(scope, end, timeout_ms).map(|(thread, _)| thread)
}

/// The same with their ids.
fn two_with_ids<'a>(
    scope: &'a thread::Scope<'a, '_>,
    end: &'a End,
    timeout_ms: i32,
) -> [(thread::ScopedJoinHandle<'a, Outcome>, u64); 2] {
    let tids: &Counters = Box::leak(Box::new(Counters::new()));
    let receiver = scope.spawn(move || {
        tids.set(0, thread_id());
        end.recv(timeout_ms).map(|got| got.len())
    });
    let sender = scope.spawn(move || {
        tids.set(1, thread_id());
        end.send(&[1; 1000], timeout_ms)
    });
    for at in [0, 1] {
        tids.wait_for(at, 1);
        wait_thread_asleep(tids.get(at));
    }
    [(receiver, tids.get(0)), (sender, tids.get(1))]
}

/// Each is woken by what it waits for, in either order, whichever of them sleeps first.
#[apply(isolated)]
fn both_wait() {
    for polled in [false, true] {
        for round in 0..100 {
            let (a, b) = small();
            if polled {
                a.fd().unwrap();
            }
            a.fill(1000);
            thread::scope(|scope| {
                let [receiver, sender] = two_waiting(scope, &a, LONG);
                if round % 2 == 0 {
                    assert_eq!(b.send(b"message", 0), DONE);
                    assert_eq!(receiver.join().unwrap(), Ok(7));
                    assert!(!sender.is_finished());
                    b.drain();
                    assert_eq!(sender.join().unwrap(), DONE);
                } else {
                    b.drain();
                    assert_eq!(sender.join().unwrap(), DONE);
                    assert!(!receiver.is_finished());
                    assert_eq!(b.send(b"message", 0), DONE);
                    assert_eq!(receiver.join().unwrap(), Ok(7));
                }
            });
        }
    }
}

/// A time-out of one of two that wait leaves the other one waiting, and able to be woken.
#[apply(isolated)]
fn one_times_out() {
    for first_receives in [false, true] {
        let (a, b) = small();
        a.fill(1000);
        let (receive, send) = if first_receives {
            (50, LONG)
        } else {
            (LONG, 50)
        };
        thread::scope(|scope| {
            let receiver = scope.spawn(|| a.recv(receive).map(|got| got.len()));
            let sender = scope.spawn(|| a.send(&[1; 1000], send));
            if first_receives {
                assert_eq!(receiver.join().unwrap(), Err(libc::ETIMEDOUT));
                b.drain();
                assert_eq!(sender.join().unwrap(), DONE);
            } else {
                assert_eq!(sender.join().unwrap(), Err(libc::ETIMEDOUT));
                assert_eq!(b.send(b"message", 0), DONE);
                assert_eq!(receiver.join().unwrap(), Ok(7));
            }
        });
    }
}

/// Both learn of the other side's end.
#[apply(isolated)]
fn end_while_both_wait() {
    for polled in [false, true] {
        let (a, b) = small();
        if polled {
            a.fd().unwrap();
        }
        a.fill(1000);
        thread::scope(|scope| {
            let [receiver, sender] = two_waiting(scope, &a, -1);
            drop(b);
            assert_eq!(receiver.join().unwrap(), Ok(0));
            assert_eq!(sender.join().unwrap(), Err(EPIPE));
        });
    }
}

/// A shutdown in a third thread ends the waiting that it is about.
#[apply(isolated)]
fn shutdown_ends_waiting() {
    for polled in [false, true] {
        for how in [SHUT_RD, SHUT_WR, SHUT_RDWR] {
            let _case = Case(format!("{how}, polled: {polled}"));
            let (a, b) = small();
            if polled {
                a.fd().unwrap();
            }
            a.fill(1000);
            thread::scope(|scope| {
                let [receiver, sender] = two_waiting(scope, &a, LONG);
                assert_eq!(a.shutdown(how), DONE);
                if how == SHUT_WR {
                    assert_eq!(sender.join().unwrap(), Err(EPIPE));
                    assert!(!receiver.is_finished());
                    assert_eq!(b.send(b"message", 0), DONE);
                    assert_eq!(receiver.join().unwrap(), Ok(7));
                } else if how == SHUT_RD {
                    assert_eq!(receiver.join().unwrap(), Ok(0));
                    assert!(!sender.is_finished());
                    b.drain();
                    assert_eq!(sender.join().unwrap(), DONE);
                } else {
                    assert_eq!(receiver.join().unwrap(), Ok(0));
                    assert_eq!(sender.join().unwrap(), Err(EPIPE));
                }
            });
        }
    }
}

/// A shutdown of the other side ends what waits for it here.
#[apply(isolated)]
fn shutdown_of_the_other_side() {
    for how in [SHUT_RD, SHUT_WR, SHUT_RDWR] {
        let (a, b) = small();
        a.fill(1000);
        thread::scope(|scope| {
            let [receiver, sender] = two_waiting(scope, &a, LONG);
            assert_eq!(b.shutdown(how), DONE);
            if how != SHUT_RD {
                assert_eq!(receiver.join().unwrap(), Ok(0));
            } else {
                assert_eq!(sender.join().unwrap(), Err(EPIPE));
            }
            // And the rest.
            assert_eq!(b.shutdown(SHUT_RDWR), DONE);
        });
    }
}

/// A shutdown while messages are under way: whenever it comes, nobody waits for ever, and
/// nothing is received out of order.
#[apply(isolated)]
fn shutdown_at_any_time() {
    for round in 0..300u64 {
        let (a, b) = small();
        let sent = thread::scope(|scope| {
            let sender = scope.spawn(|| {
                (0u64..)
                    .take_while(|number| a.send(&number.to_le_bytes(), LONG) == DONE)
                    .count() as u64
            });
            let receiver = scope.spawn(|| {
                for number in 0u64.. {
                    match b.recv(LONG).unwrap() {
                        got if got.is_empty() => return number,
                        got => assert_eq!(got, number.to_le_bytes()),
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
            let (sent, received) = (sender.join().unwrap(), receiver.join().unwrap());
            (sent, received)
        });
        if round % 2 == 0 {
            // One that came into the ring while the shutdown did may be received or not.
            assert!(sent.1 <= sent.0 + 1, "{sent:?}");
        }
    }
}

/// A signal handler ends the wait of the thread that it ran in, whichever of both that is, and
/// of no other.
#[apply(isolated)]
fn interrupted() {
    for flags in [0, libc::SA_RESTART] {
        count_signals(flags);
        for which in [0, 1] {
            let (a, b) = small();
            a.fill(1000);
            thread::scope(|scope| {
                let mut both = Vec::from(two_with_ids(scope, &a, INTR));
                let (waiter, tid) = both.remove(which);
                let (other, _) = both.remove(0);
                wait_until("the end of a thread", || {
                    // SAFETY: no pointers; a thread of this process, or none any more.
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

/// What was sent just before the end is received before it, however close they are.
#[apply(isolated)]
fn message_before_the_end() {
    let mut random = Random(3);
    for round in 0..scaled(1000) {
        let (a, b) = small();
        thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                loop {
                    let message = b.recv(LONG).unwrap();
                    assert!(!message.is_empty(), "the end came first, round {round}");
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
