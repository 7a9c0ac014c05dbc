//! One thread waits in a call, and another thread uses the descriptor of ipc_channel_fd.

use crate::support::*;
use libc::{EAGAIN, POLLIN};
use std::thread;
use std::time::Duration;

/// A call that waits receives each message although the end has a descriptor.
#[apply(isolated)]
fn beside_a_blocking_call() {
    let (a, b) = small();
    let fd = a.fd().unwrap();
    for _ in 0..200 {
        thread::scope(|scope| {
            let receiver = scope.spawn(|| a.recv(LONG).unwrap());
            if b.stats().sent_messages % 2 == 0 {
                thread::sleep(Duration::from_micros(100));
            }
            assert_eq!(b.send(b"x", 0), DONE);
            assert_eq!(receiver.join().unwrap(), b"x");
        });
        while a.recv(0).is_ok() {}
        assert_eq!(poll(fd, 0), 0);
    }
}

/// A send that waits does not clear the readiness for a message, neither for its own thread after
/// the call, nor for another thread that polls during the call.
#[apply(isolated)]
fn beside_a_blocking_send() {
    for message_first in [true, false] {
        for polls_during_send in [true, false] {
            let (a, b) = small();
            let fd = a.fd().unwrap();
            a.fill(1000);
            assert_eq!(a.recv(0), Err(EAGAIN));
            thread::scope(|scope| {
                let (sender, tid) = spawn_sleeper(scope, || a.send(&[0; 1000], LONG));
                if message_first {
                    assert_eq!(b.send(b"message", 0), DONE);
                    // The sender wakes, finds no room, and sleeps again.
                    thread::sleep(Duration::from_millis(5));
                    wait_thread_asleep(tid);
                }
                if polls_during_send && message_first {
                    assert_eq!(poll(fd, LONG), POLLIN);
                    assert_eq!(a.recv(0).unwrap(), b"message");
                    assert_eq!(a.recv(0), Err(EAGAIN));
                    assert_eq!(b.send(b"message", 0), DONE);
                }
                b.drain();
                if !message_first {
                    assert_eq!(b.send(b"message", 0), DONE);
                }
                assert_eq!(sender.join().unwrap(), DONE);
            });
            assert_eq!(poll(fd, LONG), POLLIN);
            assert_eq!(a.recv(0).unwrap(), b"message");
            assert_eq!(a.recv(0), Err(EAGAIN));
            // The last send of `fill` was refused: the descriptor reports room for it once or
            // twice.
            let wake_ups = (0..3).take_while(|_| {
                let is_readable = poll(fd, 0) == POLLIN;
                assert_eq!(a.recv(0), Err(EAGAIN));
                is_readable
            });
            assert!(wake_ups.count() <= 2);
            assert_eq!(poll(fd, 0), 0);
        }
    }
}

/// One thread sends, and waits for room. Another thread receives without waiting. If it finds
/// nothing, it polls, or tries again at once, so that it can find a wake-up before the sender does.
#[apply(isolated)]
fn one_thread_polls_one_blocks() {
    for polls in [true, false] {
        let (a, b) = small();
        let count = scaled(20_000);
        thread::scope(|scope| {
            for end in [&a, &b] {
                scope.spawn(move || {
                    for number in 0..count {
                        let mut message = [number as u8; 700];
                        message[..8].copy_from_slice(&number.to_le_bytes());
                        assert_eq!(end.send(&message, LONG), DONE, "message {number}");
                    }
                });
                scope.spawn(move || {
                    let fd = end.fd().unwrap();
                    let mut number = 0;
                    while number < count {
                        match end.recv(0) {
                            Ok(message) => {
                                assert_eq!(message[..8], number.to_le_bytes());
                                number += 1;
                            }
                            Err(error) => {
                                assert_eq!(error, EAGAIN);
                                if polls {
                                    assert_eq!(poll(fd, LONG), POLLIN, "message {number}");
                                }
                            }
                        }
                    }
                });
            }
        });
    }
}

/// One thread receives without waiting, and finds nothing. All wake-ups are for the sending thread.
#[apply(isolated)]
fn one_thread_receives_one_blocks() {
    let (a, b) = small();
    a.fd().unwrap();
    let count = scaled(20_000);
    let done = Counters::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            while done.get(0) == 0 {
                assert_eq!(a.recv(0), Err(EAGAIN));
            }
        });
        scope.spawn(|| {
            for number in 0..count {
                assert_eq!(a.send(&[1; 3000], 5000), DONE, "message {number}");
            }
            done.set(0, 1);
        });
        for _ in 0..count {
            assert_eq!(b.recv(LONG).unwrap().len(), 3000);
        }
    });
}
