//! ipc_channel_from_fd on a socket over which an earlier call has failed.

use crate::peer::exchange;
use crate::support::*;
use libc::{EAGAIN, EPIPE, ETIMEDOUT, c_int};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

/// Checks that the peer's attempt fails, or makes an end that detects at once that its peer is
/// closed.
#[track_caller]
fn assert_unconnected(made: Result<End, c_int>) {
    match made {
        Err(error) => assert_eq!(error, EPIPE),
        Ok(end) => {
            let (received, ms) = timed_ms(|| end.recv(LONG));
            assert_eq!(received, Ok(vec![]));
            assert!(ms < 5000, "{ms} ms");
            assert_eq!(end.send(b"x", 0), Err(EPIPE));
        }
    }
}

/// Checks that neither side of the socket can make a channel.
#[track_caller]
fn assert_shut_down(one: &OwnedFd, two: &OwnedFd) {
    for timeout_ms in [0, 100, LONG] {
        let (again, ms) = timed_ms(|| from_fd(one, timeout_ms));
        assert_eq!(again.unwrap_err(), EPIPE);
        assert!(ms < 5000, "{ms} ms");
    }
    assert_unconnected(from_fd(two, LONG));
    assert_eq!(from_fd(one, 0).unwrap_err(), EPIPE);
}

/// The first attempt timed out before the peer's attempt.
#[apply(isolated)]
fn after_a_time_out() {
    for socket_type in SOCKET_TYPES {
        for (timeout_ms, error) in [(0, EAGAIN), (100, ETIMEDOUT)] {
            let _case = Case(format!("type {socket_type}, {timeout_ms} ms"));
            let (one, two) = sockets(socket_type);
            assert_eq!(from_fd(&one, timeout_ms).unwrap_err(), error);
            assert_shut_down(&one, &two);
        }
    }
}

/// The first attempt was interrupted by a signal.
#[apply(isolated)]
fn after_a_signal() {
    for socket_type in SOCKET_TYPES {
        let _case = Case(format!("type {socket_type}"));
        let (one, two) = sockets(socket_type);
        count_signals(0);
        let child = fork(|| {
            assert_eq!(from_fd(&one, INTR).unwrap_err(), libc::EINTR);
            assert_shut_down(&one, &two);
        });
        child.interrupt(libc::SIGUSR1);
        child.join();
    }
}

/// One side retries while the other side makes its attempt. Either the two ends are connected, or
/// each side detects that they are not.
#[apply(isolated)]
fn beside_an_attempt_of_the_peer() {
    let mut random = Random(3);
    let mut connected = 0;
    for round in 0..scaled(200) {
        let _case = Case(format!("round {round}"));
        let (one, two) = sockets(SOCKET_TYPES[round as usize % 2]);
        let timeout_ms = (round / 2 % 2) as c_int;
        let mut pause = || Duration::from_micros(random.below(1000));
        let (before_one, before_two) = (pause(), pause());
        thread::scope(|scope| {
            let peer = scope.spawn(|| {
                thread::sleep(before_two);
                from_fd(&two, LONG)
            });
            thread::sleep(before_one);
            let made = loop {
                match from_fd(&one, timeout_ms) {
                    Err(EAGAIN | ETIMEDOUT) => {}
                    made => break made,
                }
            };
            let peer = peer.join().unwrap();
            match made {
                Ok(end) => {
                    exchange(&end, &peer.unwrap());
                    connected += 1;
                }
                Err(error) => {
                    assert_eq!(error, EPIPE);
                    assert_unconnected(peer);
                }
            }
        });
    }
    println!("{connected} connected");
}
