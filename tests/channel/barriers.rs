//! A system that gives barriers when the channel is made, and later gives none.

use crate::support::*;
use common::filter::refuse;
use libc::{EAGAIN, EPERM, ETIMEDOUT, POLLIN, SYS_membarrier};
use std::thread;
use std::time::Duration;

/// Whether the descriptor is readable.
fn is_readable(end: &End) -> bool {
    let mut fd = libc::pollfd {
        fd: end.fd().unwrap(),
        events: POLLIN,
        revents: 0,
    };
    // SAFETY: one descriptor.
    unsafe { libc::poll(&mut fd, 1, 0) == 1 }
}

/// Nothing is lost, and time-outs and signals are what they were.
#[apply(isolated)]
fn no_more() {
    let (a, b) = pair();
    // From some number on, if nobody sleeps, a sender does without fences.
    for _ in 0..300 {
        assert_eq!(a.send(b"x", 0), DONE);
        assert_eq!(b.recv(0).unwrap(), b"x");
    }
    refuse(SYS_membarrier, EPERM);

    assert_eq!(b.recv(0), Err(EAGAIN));
    let (got, ms) = timed_ms(|| b.recv(30));
    assert_eq!(got, Err(ETIMEDOUT));
    assert!((30..5000).contains(&ms), "{ms} ms");
    ends_with_signal(|| b.recv(INTR).map(|got| got.len()));
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
    // Who may not be rung for is told to look again.
    assert_eq!(b.recv(0), Err(EAGAIN));
    assert!(is_readable(&b));
    assert_eq!(a.send(b"x", 0), DONE);
    assert!(is_readable(&b));
    assert_eq!(b.recv(0).unwrap(), b"x");
}
