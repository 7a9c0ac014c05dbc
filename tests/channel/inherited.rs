//! Ends that child processes inherit by fork(2).

use crate::support::*;
use libc::EAGAIN;

/// A process uses one end, and the child of its child the other end. The grandchild detects that
/// the process has closed its end.
#[apply(isolated)]
fn across_fork() {
    let (a, b) = pair();
    let child = fork(|| {
        close_copy(&a);
        fork(|| {
            for number in 0..1000u32 {
                assert_eq!(b.recv(LONG).unwrap(), number.to_le_bytes());
                assert_eq!(b.send(&number.to_le_bytes(), LONG), DONE);
            }
            assert_eq!(b.recv(LONG), Ok(vec![]));
        })
        .join();
    });
    drop(b);
    for number in 0..1000u32 {
        assert_eq!(a.send(&number.to_le_bytes(), LONG), DONE);
        assert_eq!(a.recv(LONG).unwrap(), number.to_le_bytes());
    }
    drop(a);
    child.join();
}

/// A child inherits an end with its queued and peeked messages.
#[apply(isolated)]
fn used_before_fork() {
    let (a, b) = small();
    assert_eq!(a.send(b"one", 0), DONE);
    assert_eq!(a.send(b"two", 0), DONE);
    assert_eq!(b.peek(0).unwrap(), b"one");
    assert_eq!(b.fd(), b.fd());
    let child = fork(|| {
        close_copy(&a);
        assert_eq!(b.peek(0).unwrap(), b"one");
        assert_eq!(b.release(), DONE);
        assert_eq!(b.recv(0).unwrap(), b"two");
        assert_eq!(b.recv(LONG).unwrap(), b"three");
        assert_eq!(b.send(b"four", 0), DONE);
    });
    drop(b);
    assert_eq!(a.send(b"three", 0), DONE);
    assert_eq!(a.recv(LONG).unwrap(), b"four");
    assert_eq!(a.recv(LONG), Ok(vec![]));
    child.join();
}

/// If a child closes its inherited copies of both ends, exits or is killed, the channel stays
/// usable.
#[apply(isolated)]
fn closed_copies() {
    let (a, b) = small();
    for how in 0..3 {
        for _ in 0..50 {
            let child = fork(|| match how {
                0 => {
                    close_copy(&a);
                    close_copy(&b);
                }
                1 => (),
                _ => kill_this_process(),
            });
            assert_eq!(a.send(b"there", 0), DONE);
            assert_eq!(b.recv(LONG).unwrap(), b"there");
            child.reap();
            assert_eq!(b.send(b"and back", 0), DONE);
            assert_eq!(a.recv(LONG).unwrap(), b"and back");
            assert_eq!(a.recv(0), Err(EAGAIN));
        }
    }
}

/// The same while the owner sleeps: it continues to sleep, and a message wakes it.
#[apply(isolated)]
fn closed_copies_of_a_sleeper() {
    let (a, b) = small();
    let receiver = fork(|| {
        close_copy(&b);
        for number in 0..50u32 {
            let copy = fork(|| close_copy(&a));
            assert_eq!(a.recv(LONG).unwrap(), number.to_le_bytes());
            copy.join();
        }
    });
    for number in 0..50u32 {
        if number % 2 == 0 {
            receiver.wait_asleep();
        }
        assert_eq!(b.send(&number.to_le_bytes(), LONG), DONE);
    }
    receiver.join();
}

/// While one of two processes still has an end, the peer does not detect an end. It does when the
/// last process has closed it.
#[apply(isolated)]
fn last_copy_ends() {
    let (a, b) = pair();
    let (wait, go) = pipe();
    let child = fork(|| {
        close_copy(&a);
        std::io::Read::read_exact(&mut &wait, &mut [0]).unwrap();
    });
    drop(b);
    assert_eq!(a.recv(20), Err(libc::ETIMEDOUT));
    std::io::Write::write_all(&mut &go, b".").unwrap();
    assert_eq!(a.recv(LONG), Ok(vec![]));
    child.join();
}
