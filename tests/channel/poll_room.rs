//! The descriptor of ipc_channel_fd reports room after a refused send.

use crate::support::*;
use common::epoll::{add, new_epoll, ready};
use libc::{EAGAIN, POLLIN};
use nix::sys::epoll::EpollFlags;
use std::thread;
use std::time::Duration;

/// The descriptor reports room after a refused send (EAGAIN), and not before.
#[apply(isolated)]
fn room() {
    let (a, b) = small();
    let fd = a.fd().unwrap();
    a.fill(1000); // the last send is refused
    assert_eq!(poll(fd, 0), 0);
    assert_eq!(a.send(b"x", 0), DONE, "a short message fits");
    a.fill(1);
    assert_eq!(poll(fd, 0), 0);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| poll(fd, LONG));
        b.drain();
        assert_eq!(waiter.join().unwrap(), POLLIN);
    });
    assert_eq!(a.send(&[0; 1000], 0), DONE, "the refused message");
    assert_eq!(a.recv(0), Err(EAGAIN));
    assert_eq!(
        poll(fd, 0),
        0,
        "a receive that finds nothing clears the readiness"
    );
    // Without a refused send the descriptor does not report room.
    for _ in 0..100 {
        assert_eq!(a.send(b"x", 0), DONE);
        b.recv(0).unwrap();
        assert_eq!(poll(fd, 0), 0);
    }
    // After a refused send it reports the peer's death too.
    a.fill(1000);
    drop(b);
    assert_eq!(poll(fd, 0), POLLIN);
    assert_eq!(a.send(b"x", 0), Err(libc::EPIPE));
}

/// The descriptor is made after a refused send.
#[apply(isolated)]
fn refused_before_the_first_call() {
    type RefusedCall = fn(&End);
    let calls: [(&str, RefusedCall); 3] = [
        ("send", |a| assert_eq!(a.send(&[0; 1000], 0), Err(EAGAIN))),
        ("a send with a time-out", |a| {
            assert_eq!(a.send(&[0; 1000], 1), Err(libc::ETIMEDOUT));
        }),
        ("reserve", |a| {
            assert_eq!(a.reserve(1000, 0).unwrap_err(), EAGAIN);
        }),
    ];
    for (what, refused_call) in calls {
        for is_free in [false, true] {
            let _case = Case(format!("{what}, room before the first call: {is_free}"));
            let (a, b) = small();
            a.fill(1000);
            a.fill(1);
            refused_call(&a);
            if is_free {
                b.drain();
            }
            let fd = a.fd().unwrap();
            if !is_free {
                assert_eq!(poll(fd, 0), 0);
                b.drain();
            }
            assert_eq!(poll(fd, 0), POLLIN);
            assert_eq!(a.send(&[0; 1000], 0), DONE);
            assert_eq!(a.recv(0), Err(EAGAIN));
            assert_eq!(poll(fd, 0), 0);
        }
    }
    // The refused send is repeated and succeeds before the first call.
    let (a, b) = small();
    a.fill(1000);
    b.drain();
    assert_eq!(a.send(&[0; 1000], 0), DONE);
    assert_eq!(poll(a.fd().unwrap(), 0), 0);
}

/// A long message is refused although half of the ring is free.
#[apply(isolated)]
fn room_for_a_long_message() {
    let (a, b) = small();
    let fd = a.fd().unwrap();
    let long = [0; SMALL_RING * 3 / 4];
    for _ in 0..10 {
        for _ in 0..3 {
            assert_eq!(a.send(&[0; SMALL_RING / 8], 0), DONE);
        }
        assert_eq!(a.send(&long, 0), Err(EAGAIN));
        for _ in 0..10 {
            assert_eq!(a.recv(0), Err(EAGAIN));
            assert_eq!(poll(fd, 0), 0, "spuriously readable");
        }
        // There is enough room after two of three messages. The descriptor reports both times.
        for enough in [false, true] {
            b.recv_cap(SMALL_RING, 0).unwrap();
            assert_eq!(poll(fd, 0), POLLIN);
            assert_eq!(a.send(&long, 0).is_ok(), enough);
            assert_eq!(a.recv(0), Err(EAGAIN));
            assert_eq!(poll(fd, 0), 0, "spuriously readable");
        }
        b.drain();
        assert_eq!(poll(fd, 0), 0, "no send was refused");
    }
}

/// A wake-up for room wakes a thread that waits for a message. The descriptor is readable
/// nevertheless for another thread, whose send was refused.
#[apply(isolated)]
fn room_beside_a_blocking_receive() {
    let (a, b) = small();
    let fd = a.fd().unwrap();
    thread::scope(|scope| {
        let (receiver, tid) = spawn_sleeper(scope, || a.recv(LONG).unwrap());
        for round in 0..20 {
            a.fill(1000);
            assert_eq!(poll(fd, 0), 0, "round {round}: spuriously readable");
            b.drain();
            // The receiver has taken the wake-up, and sleeps again.
            let slept = round + 2;
            wait_until("another sleep", || a.stats().sleeps >= slept);
            wait_thread_asleep(tid);
            assert_eq!(poll(fd, 0), POLLIN, "round {round}");
            assert_eq!(a.send(&[0; 1000], 0), DONE);
        }
        assert_eq!(b.send(b"x", 0), DONE);
        assert_eq!(receiver.join().unwrap(), b"x");
    });
}

/// After a refused send, the descriptor reports that the peer has ended its receiving.
#[apply(isolated)]
fn peer_ends_receiving() {
    for receives_first in [false, true] {
        let (a, b) = small();
        let fd = a.fd().unwrap();
        a.fill(1000);
        assert_eq!(b.shutdown(libc::SHUT_RD), DONE);
        if receives_first {
            assert_eq!(a.recv(0), Err(EAGAIN));
        }
        assert_eq!(poll(fd, 0), POLLIN, "{receives_first}");
        assert_eq!(a.send(&[0; 1000], 0), Err(libc::EPIPE));
        assert_eq!(a.recv(0), Err(EAGAIN));
        assert_eq!(poll(fd, 0), 0, "the send has reported the end");
    }
}

/// After a refused send, a shorter send succeeds. The descriptor still reports room for the longer
/// message.
#[apply(isolated)]
fn room_for_a_long_message_after_a_short_one() {
    let (a, b) = small();
    let fd = a.fd().unwrap();
    let filled = a.fill(1000);
    a.fill(1);
    assert_eq!(a.send(&[0; 20_000], 0), Err(EAGAIN));
    b.recv(0).unwrap();
    assert_eq!(a.send(&[0; 500], 0), DONE);
    for _ in 1..filled {
        b.recv(0).unwrap();
    }
    assert_eq!(poll(fd, 0), POLLIN);
    assert_eq!(a.recv(0), Err(EAGAIN));
    assert_eq!(poll(fd, 0), POLLIN);
    assert_eq!(a.send(&[0; 20_000], 0), DONE);
}

/// A receive with a time-out does not clear the readiness for room.
#[apply(isolated)]
fn room_beside_a_receive_with_time_out() {
    let (a, b) = small();
    let fd = a.fd().unwrap();
    a.fill(1000);
    b.drain();
    for _ in 0..3 {
        assert_eq!(a.recv(1), Err(libc::ETIMEDOUT));
        assert_eq!(poll(fd, 0), POLLIN);
    }
    assert_eq!(a.send(&[0; 1000], 0), DONE);
}

/// A refused send causes no edge even if there is a message to receive, or the peer has ended its
/// sending.
#[apply(isolated)]
fn no_edge_from_a_refused_send() {
    for ended in [false, true] {
        let (a, b) = small();
        let epoll = new_epoll();
        add(
            &epoll,
            a.fd().unwrap(),
            EpollFlags::EPOLLIN | EpollFlags::EPOLLET,
            1,
        );
        if ended {
            assert_eq!(b.shutdown(libc::SHUT_WR), DONE);
            assert_eq!(a.recv(0), Ok(vec![]));
        } else {
            assert_eq!(b.send(b"unread", 0), DONE);
        }
        a.fill(1000);
        while !ready(&epoll, 0).is_empty() {
            assert_eq!(a.send(&[0; 1000], 0), Err(EAGAIN));
            assert_eq!(ready(&epoll, 0), [0; 0], "ended: {ended}");
        }
    }
}

/// A slow receiver does not wake the sender's event loop while the ring is not full.
#[apply(isolated)]
fn no_busy_loop() {
    let (a, b) = small();
    let (fd, count) = (a.fd().unwrap(), 100);
    for _ in 0..300 {
        assert_eq!(a.send(&[0; 100], 0), DONE);
    }
    assert_eq!(a.recv(0), Err(EAGAIN));
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..count {
                b.recv(0).unwrap();
                thread::sleep(Duration::from_millis(2));
            }
        });
        assert_eq!(poll(fd, 150), 0, "spuriously readable");
    });
    assert_eq!(b.stats().wakes, 0);
    // The ring is full: the sender is woken once for each free half of the ring.
    let filled = a.fill(100);
    let wake_ups = thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            for _ in 0..200 + filled + 400 {
                b.recv(LONG).unwrap();
            }
        });
        let (mut wake_ups, mut sent) = (0, 0);
        while sent < 400 {
            assert_eq!(poll(fd, LONG), POLLIN);
            wake_ups += 1;
            while sent < 400 && a.send(&[0; 100], 0) == DONE {
                sent += 1;
            }
            assert_eq!(a.recv(0), Err(EAGAIN));
        }
        receiver.join().unwrap();
        wake_ups
    });
    println!("{wake_ups} wake-ups of the sender for 400 messages after a full ring");
    assert!(wake_ups <= 8, "{wake_ups}");
}
