//! Two processes that send, or receive, on one end after a fork: a mistake that the process whose
//! private cursor is behind notices.

use crate::tool::*;
use libc::{EBUSY, SIGCONT};

/// Runs something in a child until it ends.
#[track_caller]
fn in_a_child(run: impl FnOnce()) {
    fork(run).join();
}

pub fn senders() {
    let (a, b) = pair();
    assert_eq!(a.send(b"one", 0), DONE);
    in_a_child(|| assert_eq!(a.send(b"two", 0), DONE));
    for timeout_ms in [0, 10, -1] {
        assert_eq!(a.send(b"three", timeout_ms), Err(EBUSY));
        assert_eq!(a.send(&[0; 5000], timeout_ms), Err(EBUSY));
        assert_eq!(a.reserve(1, timeout_ms).unwrap_err(), EBUSY);
    }
    assert_eq!(b.recv(0).unwrap(), b"one");
    assert_eq!(b.recv(0).unwrap(), b"two");
    assert_eq!(b.recv(0), Err(libc::EAGAIN));
    assert_eq!(a.send(b"three", 0), Err(EBUSY));
    // The other direction goes on.
    assert_eq!(b.send(b"back", 0), DONE);
    assert_eq!(a.recv(0).unwrap(), b"back");
}

/// The other process sends between reserve and commit.
pub fn sender_with_room() {
    let (a, b) = pair();
    a.reserve(3, 0).unwrap().copy_from_slice(b"own");
    in_a_child(|| {
        assert_eq!(a.send(b"other", 0), Err(EBUSY), "it is reserved here too");
        assert_eq!(a.cancel(), DONE);
        assert_eq!(a.send(b"other", 0), DONE);
    });
    assert_eq!(a.commit(3), Err(EBUSY));
    assert_eq!(a.commit(3), Err(libc::EINVAL), "nothing is reserved");
    assert_eq!(b.recv(0).unwrap(), b"other");
    assert_eq!(b.recv(0), Err(libc::EAGAIN));
}

pub fn receivers() {
    let (a, b) = pair();
    for message in [b"one", b"two"] {
        assert_eq!(a.send(message, 0), DONE);
    }
    in_a_child(|| assert_eq!(b.recv(0).unwrap(), b"one"));
    for timeout_ms in [0, 10, -1] {
        assert_eq!(b.recv(timeout_ms), Err(EBUSY));
        assert_eq!(b.recv_cap(1, timeout_ms), Err(EBUSY));
        assert_eq!(b.peek(timeout_ms).unwrap_err(), EBUSY);
    }
    assert_eq!(a.send(b"three", 0), DONE);
    assert_eq!(b.recv(0), Err(EBUSY));
    // The other direction goes on.
    assert_eq!(b.send(b"back", 0), DONE);
    assert_eq!(a.recv(0).unwrap(), b"back");
}

/// The other process receives between peek and release.
pub fn receiver_with_message() {
    for releases in [true, false] {
        let (a, b) = small();
        a.fill(1000);
        b.peek(0).unwrap();
        in_a_child(|| {
            b.drain();
        });
        // The sender has more in the ring than would fit if the cursor moved back.
        a.fill(1000);
        if releases {
            assert_eq!(b.release(), Err(EBUSY));
        }
        assert_eq!(b.recv(0), Err(EBUSY));
        assert_eq!(a.send(&[0; 1000], 0), Err(libc::EAGAIN));
    }
}

/// The other process sends while this one waits for room.
pub fn waiting_sender() {
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
    assert_eq!(b.recv(0), Err(libc::EAGAIN));
}

/// The other process receives while this one waits for a message.
pub fn waiting_receiver() {
    let (a, b) = small();
    // Before the fork, so that both processes continue a session.
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
