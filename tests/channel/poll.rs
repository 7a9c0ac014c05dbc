//! When the descriptor of ipc_channel_fd is readable: messages, the first call, and shutdowns.

use crate::support::*;
use libc::{EAGAIN, POLLIN};
use std::thread;

#[apply(isolated)]
fn one_descriptor() {
    let (a, b) = pair();
    let fd = a.fd().unwrap();
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_GETFD) }, libc::FD_CLOEXEC);
    assert_eq!(a.fd(), Ok(fd));
    assert_ne!(b.fd(), Ok(fd));
    let before = open_numbers();
    // Several threads make the first call at the same time.
    for _ in 0..20 {
        let (c, _d) = pair();
        let fds = thread::scope(|scope| {
            let threads = [0; 4].map(|_| scope.spawn(|| c.fd().unwrap()));
            threads.map(|thread| thread.join().unwrap())
        });
        assert!(fds.iter().all(|fd| *fd == fds[0]));
    }
    assert_eq!(open_numbers(), before);
    assert_eq!(a.fd(), Ok(fd));
}

#[apply(isolated)]
fn readable_or_not() {
    for opts in [DEFAULTS, NO_SPIN] {
        let (a, b) = pair_with(&opts);
        assert!(!is_readable(&a) && !is_readable(&b), "nothing was sent");
        for _ in 0..100 {
            assert_eq!(a.send(b"one", 0), DONE);
            assert_eq!(a.send(b"two", 0), DONE);
            assert!(is_readable(&b) && !is_readable(&a));
            // The descriptor is readable until a receive finds nothing.
            assert_eq!(b.recv(0).unwrap(), b"one");
            assert!(is_readable(&b));
            assert_eq!(b.peek(0).unwrap(), b"two");
            assert!(is_readable(&b));
            assert_eq!(b.release(), DONE);
            assert!(is_readable(&b));
            assert_eq!(b.recv(0), Err(EAGAIN));
            assert!(!is_readable(&b));
            assert_eq!(b.recv(0), Err(EAGAIN), "again");
            assert!(!is_readable(&b));
        }
        // A message that is too long for the buffer stays queued, and the descriptor stays
        // readable.
        assert_eq!(a.send(b"long", 0), DONE);
        assert_eq!(b.recv_cap(1, 0), Err(libc::EMSGSIZE));
        assert!(is_readable(&b));
        // After the peer's shutdown the descriptor is readable until a receive has returned 0.
        assert_eq!(a.shutdown(libc::SHUT_WR), DONE);
        assert!(is_readable(&b));
        assert_eq!(b.recv(0).unwrap(), b"long");
        assert!(is_readable(&b));
        for _ in 0..10 {
            assert_eq!(b.recv(0), Ok(vec![]));
            assert!(!is_readable(&b), "the end was received");
        }
        // The end still sends, and the descriptor reports room and the peer's death.
        b.fill(1000);
        assert!(!is_readable(&b));
        a.drain();
        assert!(is_readable(&b), "room");
        assert_eq!(b.send(&[0; 1000], 0), DONE);
        assert!(!is_readable(&b));
        drop(a);
        for _ in 0..10 {
            assert!(is_readable(&b), "the descriptor must stay readable");
            assert_eq!(b.recv(0), Ok(vec![]));
        }
        assert_eq!(b.send(b"x", 0), Err(libc::EPIPE));
        assert!(is_readable(&b), "the descriptor must stay readable");
    }
}

/// ipc_channel_fd is first called after other calls. The descriptor reports messages that were sent
/// before, and messages that are sent later.
#[apply(isolated)]
fn first_call_is_late() {
    type Calls = fn(&End, &End);
    let cases: [(&str, Calls, bool); 7] = [
        ("a message", |a, _| assert_eq!(a.send(b"x", 0), DONE), true),
        (
            "a message after a receive that found nothing",
            |a, b| {
                b.recv(0).unwrap_err();
                a.send(b"x", 0).unwrap();
            },
            true,
        ),
        (
            "a message after a receive that slept",
            |a, b| {
                b.recv(1).unwrap_err();
                a.send(b"x", 0).unwrap();
            },
            true,
        ),
        (
            "many messages, all received, and a receive that found nothing",
            |a, b| {
                for _ in 0..500 {
                    a.send(b"x", 0).unwrap();
                    b.recv(0).unwrap();
                }
                // A receive that finds nothing drains the doorbell.
                b.fd().unwrap();
                b.recv(0).unwrap_err();
            },
            false,
        ),
        (
            "many messages, all but one received",
            |a, b| {
                a.send(b"x", 0).unwrap();
                for _ in 0..500 {
                    a.send(b"x", 0).unwrap();
                    b.recv(0).unwrap();
                }
            },
            true,
        ),
        (
            "a shutdown",
            |a, _| assert_eq!(a.shutdown(libc::SHUT_WR), DONE),
            true,
        ),
        ("nothing", |_, _| (), false),
    ];
    for (what, calls, readable) in cases {
        let _case = Case(what);
        let (a, b) = small();
        calls(&a, &b);
        let fd = b.fd().unwrap();
        assert_eq!(poll(fd, 0), if readable { POLLIN } else { 0 });
        while b.recv(0).is_ok_and(|message| !message.is_empty()) {}
        // The descriptor reports later messages too.
        if what != "a shutdown" {
            assert_eq!(poll(fd, 0), 0);
            assert_eq!(a.send(b"x", 0), DONE);
            assert_eq!(poll(fd, 0), POLLIN);
            b.recv(0).unwrap();
        }
        drop(a);
        assert_eq!(poll(fd, 0), POLLIN);
    }
}

/// Before the first call of ipc_channel_fd, receives that do not wait cause no wake-ups.
#[apply(isolated)]
fn no_wake_ups_before_the_first_call() {
    let (a, b) = small();
    for _ in 0..100 {
        assert_eq!(b.recv(0), Err(EAGAIN));
        assert_eq!(a.send(b"x", 0), DONE);
        assert_eq!(b.recv(0).unwrap(), b"x");
    }
    let wakes = a.stats().wakes;
    assert!(
        wakes <= 1,
        "{wakes} wake-ups, but only the first message may cause one"
    );
    b.fd().unwrap();
    for _ in 0..100 {
        assert_eq!(b.recv(0), Err(EAGAIN));
        assert_eq!(a.send(b"x", 0), DONE);
        assert_eq!(a.send(b"y", 0), DONE);
        b.recv(0).unwrap();
        b.recv(0).unwrap();
    }
    assert_eq!(
        a.stats().wakes - wakes,
        100,
        "one for each time that the ring was empty"
    );
}

/// The descriptor is made while another thread waits in a call, which then times out.
#[apply(isolated)]
fn first_call_beside_a_blocking_call() {
    for sends in [false, true] {
        let (a, b) = small();
        if sends {
            a.fill(1000);
        }
        let fd = thread::scope(|scope| {
            let (waiter, _) = spawn_sleeper(scope, || {
                if sends {
                    a.send(&[0; 1000], 300)
                } else {
                    a.recv(300).map(|message| message.len())
                }
            });
            let fd = a.fd().unwrap();
            assert_eq!(waiter.join().unwrap(), Err(libc::ETIMEDOUT));
            fd
        });
        assert_eq!(poll(fd, 0), 0);
        if sends {
            b.drain();
        } else {
            assert_eq!(b.send(b"x", 0), DONE);
        }
        assert_eq!(poll(fd, 0), POLLIN, "sends: {sends}");
    }
}

/// After a shutdown of this side's receiving, the descriptor is readable until a receive has
/// returned 0, even if it is made after the shutdown. A shutdown of the sending makes it readable
/// after a refused send.
#[apply(isolated)]
fn own_shutdown() {
    for how in [libc::SHUT_RD, libc::SHUT_RDWR] {
        let (a, _b) = small();
        assert_eq!(a.shutdown(how), DONE);
        let fd = a.fd().unwrap();
        assert_eq!(poll(fd, 0), POLLIN);
        for _ in 0..3 {
            assert_eq!(a.recv(0), Ok(vec![]));
            assert_eq!(poll(fd, 0), 0, "the end was received");
        }
    }
    // A receive has returned 0 before the descriptor is made.
    let (a, _b) = small();
    assert_eq!(a.shutdown(libc::SHUT_RD), DONE);
    assert_eq!(a.recv(0), Ok(vec![]));
    assert_eq!(poll(a.fd().unwrap(), 0), 0);
    let (a, _b) = small();
    let fd = a.fd().unwrap();
    a.fill(1000);
    assert_eq!(a.shutdown(libc::SHUT_WR), DONE);
    assert_eq!(a.recv(0), Err(EAGAIN));
    assert_eq!(poll(fd, 0), POLLIN);
    assert_eq!(a.send(b"x", 0), Err(libc::EPIPE));
    assert_eq!(a.recv(0), Err(EAGAIN));
    assert_eq!(poll(fd, 0), 0);
}
