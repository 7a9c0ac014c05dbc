//! membarrier(2) works when the channel is made, and is refused later.

use crate::support::*;
use common::filter::refuse;
use libc::{EAGAIN, EPERM, ETIMEDOUT, SYS_membarrier};
use std::thread;
use std::time::Duration;

/// No message is lost, and time-outs and signals work as before.
#[apply(isolated)]
fn refused_later() {
    let (a, b) = pair();
    // After some messages without a sleep, the sender omits the fences.
    for _ in 0..300 {
        assert_eq!(a.send(b"x", 0), DONE);
        assert_eq!(b.recv(0).unwrap(), b"x");
    }
    refuse(SYS_membarrier, EPERM);

    assert_eq!(b.recv(0), Err(EAGAIN));
    let (received, ms) = timed_ms(|| b.recv(30));
    assert_eq!(received, Err(ETIMEDOUT));
    assert!((30..5000).contains(&ms), "{ms} ms");
    ends_with_signal(|| b.recv(INTR).map(|message| message.len()));
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20 {
                thread::sleep(Duration::from_millis(2));
                assert_eq!(a.send(b"later", 0), DONE);
            }
        });
        for _ in 0..20 {
            assert_eq!(b.recv(LONG).unwrap(), b"later");
        }
    });

    b.fd().unwrap();
    for _ in 0..300 {
        assert_eq!(a.send(b"x", 0), DONE);
        assert_eq!(b.recv(0).unwrap(), b"x");
    }
    // The sender may omit the wake-up, so the descriptor stays readable and the receiver tries
    // again.
    assert_eq!(b.recv(0), Err(EAGAIN));
    assert!(is_readable(&b));
    assert_eq!(a.send(b"x", 0), DONE);
    assert!(is_readable(&b));
    assert_eq!(b.recv(0).unwrap(), b"x");
}
