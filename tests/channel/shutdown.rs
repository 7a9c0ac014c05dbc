//! ipc_channel_shutdown.

use crate::end::reserve_and_commit;
use crate::support::*;
use libc::{EAGAIN, EPIPE, c_int};

/// The effect of each shutdown: whether it ends this side's sending, its receiving, the peer's
/// sending, and the peer's receiving.
const SHUTDOWNS: [(c_int, [bool; 4]); 3] = [
    (libc::SHUT_RD, [false, true, true, false]),
    (libc::SHUT_WR, [true, false, false, true]),
    (libc::SHUT_RDWR, [true, true, true, true]),
];

#[apply(isolated)]
fn shutdown() {
    for (how, ended) in SHUTDOWNS {
        for polled in [false, true] {
            for asleep in [false, true] {
                let _case = Case(format!("{how}, polled: {polled}, asleep: {asleep}"));
                let (a, b) = pair();
                if polled {
                    a.fd().unwrap();
                    b.fd().unwrap();
                }
                if asleep {
                    // Each has waited for a message.
                    assert_eq!(a.recv(1), Err(libc::ETIMEDOUT));
                    assert_eq!(b.recv(1), Err(libc::ETIMEDOUT));
                }
                for number in 0..200u32 {
                    assert_eq!(a.send(&number.to_le_bytes(), 0), DONE);
                    assert_eq!(b.send(&number.to_le_bytes(), 0), DONE);
                }
                assert_eq!(a.shutdown(how), DONE);
                let sends = [&a, &b].map(|end| {
                    let first = end.send(b"after", 0);
                    assert_eq!(end.send(b"after", 0), first);
                    assert_eq!(reserve_and_commit(end, 0), first);
                    first
                });
                let expected = |ended| if ended { Err(EPIPE) } else { DONE };
                assert_eq!(sends, [expected(ended[0]), expected(ended[2])]);
                for (end, receiving_ended, peer_sending_ended) in
                    [(&a, ended[1], ended[2]), (&b, ended[3], ended[0])]
                {
                    for number in 0..200u32 {
                        assert_eq!(end.recv(0).unwrap(), number.to_le_bytes());
                    }
                    if !peer_sending_ended {
                        for _ in 0..2 {
                            assert_eq!(end.recv(0).unwrap(), b"after");
                        }
                        assert_eq!(end.recv(0).unwrap().len(), 1);
                    } else if receiving_ended && end.recv(0) != Ok(vec![]) {
                        // At most one message that the peer sent before it detected the end.
                        assert_eq!(end.recv(0), Ok(vec![]));
                    }
                    let nothing = if receiving_ended {
                        Ok(vec![])
                    } else {
                        Err(EAGAIN)
                    };
                    assert_eq!(end.recv(0), nothing);
                    assert_eq!(end.recv(0), nothing);
                }
            }
        }
    }
}

/// A shutdown in a child applies to all processes that have the end, and wakes a sleeping receiver.
#[apply(isolated)]
fn shutdown_in_a_child() {
    let (a, b) = small();
    let sleeper = fork(|| assert_eq!(b.recv(LONG), Ok(vec![])));
    sleeper.wait_asleep();
    fork(|| assert_eq!(a.shutdown(libc::SHUT_WR), DONE)).join();
    sleeper.join();
    assert_eq!(b.recv(0), Ok(vec![]));
    assert_eq!(a.send(b"x", 0), Err(EPIPE));
    assert_eq!(b.send(b"back", 0), DONE, "the other direction stays open");
    assert_eq!(a.recv(0).unwrap(), b"back");
}

/// A message that was reserved before the shutdown is no longer sent.
#[apply(isolated)]
fn shutdown_before_commit() {
    for how in [libc::SHUT_WR, libc::SHUT_RDWR] {
        let (a, b) = small();
        assert_eq!(a.send(b"before", 0), DONE);
        a.reserve(100, 0).unwrap();
        assert_eq!(a.shutdown(how), DONE);
        assert_eq!(a.commit(100), Err(EPIPE));
        assert_eq!(a.commit(100), Err(libc::EINVAL), "nothing is reserved");
        assert_eq!(b.recv(0).unwrap(), b"before");
        assert_eq!(b.recv(0), Ok(vec![]));
        assert_eq!(a.stats().sent_messages, 1);
    }
}
