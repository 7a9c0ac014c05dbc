//! Messages with descriptors.

use crate::fd_support::*;
use crate::peer::abstract_name;
use crate::support::*;
use libc::{EAGAIN, EBADF, EBUSY, EINVAL, EMFILE, EMSGSIZE, EOPNOTSUPP, EPIPE, ETIMEDOUT, c_int};
use std::os::fd::{AsRawFd, OwnedFd};
use std::{ptr, thread};
use unixipc::ffi::channel::*;
use unixipc::ffi::message::IPC_MSG_FDS_MAX;

/// Any number of descriptors arrives in the order in which they were sent, over each kind of
/// channel, in both directions.
#[apply(isolated)]
fn contents() {
    for_each_pair(|a, b| {
        for (from, to) in [(a, b), (b, a)] {
            for count in [1, 2, 100, IPC_MSG_FDS_MAX] {
                let ids: Vec<u64> = (0..count as u64).collect();
                let files: Vec<OwnedFd> = ids.iter().map(|id| file(*id)).collect();
                assert_eq!(from.send_fds(b"files", &files, 0), DONE);
                let (message, fds) = to.recv_fds(count, 0).unwrap();
                assert_eq!(message, b"files");
                assert_eq!(identities(&fds), ids);
            }
        }
    });
}

/// Messages with and without descriptors arrive in order, whatever their lengths.
#[apply(isolated)]
fn order() {
    for_each_pair(|a, b| {
        let mut random = Random(7);
        let longest = a.max() - 16;
        let mut in_ring = std::collections::VecDeque::new();
        for number in 0..scaled(2000) {
            let limit = (longest as u64).min(1 << random.below(17));
            let len = 1 + random.below(limit) as usize;
            let message = pattern(len, number);
            let files: Vec<OwnedFd> = (0..random.below(4)).map(|i| file(number * 4 + i)).collect();
            match a.send_fds(&message, &files, 0) {
                Ok(_) => in_ring.push_back((message, identities(&files))),
                Err(error) => assert_eq!(error, EAGAIN),
            }
            for _ in 0..random.below(3) {
                let received = b.recv_fds_cap(longest, 4, 0);
                let received = received.map(|(message, fds)| (message, identities(&fds)));
                assert!(received == in_ring.pop_front().ok_or(EAGAIN), "{number}");
            }
        }
    });
}

/// With nfds 0 the call is ipc_channel_send.
#[apply(isolated)]
fn no_descriptors() {
    for opts in [SMALL, WITH_FDS] {
        let (a, b) = pair_with(&opts);
        assert_eq!(a.send_fds(&[7; 100], NONE, 0), DONE);
        let longest = vec![1; a.max()];
        assert_eq!(a.send_fds(&longest, NONE, 0), Err(EAGAIN));
        assert_eq!(b.recv_fds(3, 0).unwrap().0, [7; 100]);
        assert_eq!(a.send_fds(&longest, NONE, 0), DONE);
        assert_eq!(b.recv_cap(longest.len(), 0).unwrap(), longest);
        // SAFETY: an open end; without descriptors the pointer is ignored.
        let sent = outcome(|| unsafe {
            ipc_channel_send_fds(a.0, b"x".as_ptr().cast(), 1, ptr::null(), 0, 0)
        } as isize);
        assert_eq!(sent, DONE);
        assert_eq!(b.recv(0).unwrap(), b"x");
    }
}

/// The longest message with descriptors fits, at each position in the ring.
#[apply(isolated)]
fn longest() {
    let (a, b) = pair_with(&WITH_FDS);
    let longest = a.max() - 16;
    let message = pattern(longest, 3);
    for round in 0..60 {
        for len in [longest, 1 + round] {
            assert_eq!(a.send_fds(&message[..len], &[file(round as u64)], 0), DONE);
            let (received, fds) = b.recv_fds_cap(len, 1, 0).unwrap();
            assert!(received == message[..len]);
            assert_eq!(identities(&fds), [round as u64]);
        }
    }
    let too_long = vec![0; longest + 1];
    assert_eq!(a.send_fds(&too_long, &[file(0)], -1), Err(EMSGSIZE));
    assert_eq!(b.recv(0), Err(EAGAIN));
    // message_max counts the descriptors in.
    for (message_max, ring) in [(65452, 65536), (65453, 131072)] {
        let opts = ipc_channel_opts {
            message_max,
            ..WITH_FDS
        };
        let (a, b) = pair_with(&opts);
        assert_eq!(a.max() + 68, ring);
        let message = vec![1; message_max as usize];
        assert_eq!(a.send_fds(&message, &[file(1)], 0), DONE);
        assert_eq!(b.recv_cap(message.len(), 0).unwrap(), message);
    }
}

#[apply(isolated)]
fn bad_arguments() {
    let (a, b) = pair_with(&WITH_FDS);
    let fd = file(1);
    let (fds, ch) = ([fd.as_raw_fd()], a.0);
    let send = |ch, buf: &[u8], len, fds: *const c_int, nfds, timeout_ms| {
        let buf = if buf.is_empty() {
            ptr::null()
        } else {
            buf.as_ptr().cast()
        };
        // SAFETY: NULL or an open end; the call refuses the other arguments.
        outcome(|| unsafe { ipc_channel_send_fds(ch, buf, len, fds, nfds, timeout_ms) } as isize)
    };
    let at = fds.as_ptr();
    let many = vec![fds[0]; IPC_MSG_FDS_MAX + 1];
    for (result, expected) in [
        (send(ptr::null_mut(), b"x", 1, at, 1, 0), EINVAL),
        (send(ch, b"", 1, at, 1, 0), EINVAL),
        (send(ch, b"x", 0, at, 1, 0), EINVAL),
        (send(ch, b"x", 1, ptr::null(), 1, 0), EINVAL),
        (send(ch, b"x", 1, at, usize::MAX, 0), EINVAL),
        (send(ch, b"x", 1, many.as_ptr(), many.len(), 0), EINVAL),
        (send(ch, b"x", 1, at, 1, -3), EINVAL),
        (send(ch, b"x", usize::MAX, at, 1, 0), EMSGSIZE),
        (send(ch, b"x", 1, [-1].as_ptr(), 1, 0), EBADF),
        (send(ch, b"x", 1, [fds[0], 9999].as_ptr(), 2, -1), EBADF),
    ] {
        assert_eq!(result, Err(expected));
    }
    a.reserve(8, 0).unwrap();
    assert_eq!(a.send_fds(b"x", &[&fd], 0), Err(EBUSY));
    a.cancel().unwrap();
    assert_eq!(b.recv(0), Err(EAGAIN), "nothing was sent");

    assert_eq!(a.send_fds(b"x", &[&fd], 0), DONE);
    let before = open_numbers();
    let recv = |ch, buf: *mut u8, cap, fds: *mut c_int, nfds: *mut usize, timeout_ms| {
        let buf = buf.cast();
        // SAFETY: NULL or an open end; the call refuses the other arguments.
        outcome(|| unsafe { ipc_channel_recv_fds(ch, buf, cap, fds, nfds, timeout_ms) })
    };
    let (mut byte, mut fd, mut nfds) = ([0u8; 8], [-7], 1);
    let (buf, at, count) = (byte.as_mut_ptr(), fd.as_mut_ptr(), &raw mut nfds);
    let (null, mut too_many) = (ptr::null_mut(), usize::MAX);
    for result in [
        recv(ptr::null_mut(), buf, 8, at, count, 0),
        recv(b.0, null, 8, at, count, 0),
        recv(b.0, buf, 0, at, count, 0),
        recv(b.0, buf, 8, ptr::null_mut(), count, 0),
        recv(b.0, buf, 8, at, &mut too_many, 0),
        recv(b.0, buf, 8, at, count, -3),
    ] {
        assert_eq!(result, Err(EINVAL));
    }
    assert_eq!((fd, nfds), ([-7], 1));
    assert_eq!(open_numbers(), before);
    // SAFETY: an open end, a buffer, and no place for descriptors.
    let closed = recv(b.0, buf, 8, null.cast(), ptr::null_mut(), 0);
    assert_eq!(closed, Ok(1));
    assert_eq!(open_numbers(), before);
}

/// Unless both sides have asked for descriptors, send_fds fails, and the ends keep no socket.
#[apply(isolated)]
fn one_side_only() {
    for socket_type in SOCKET_TYPES {
        for (own, peers) in [(SMALL, WITH_FDS), (WITH_FDS, SMALL), (SMALL, SMALL)] {
            let (a, b) = pair_over(sockets(socket_type), &own, &peers);
            assert_eq!(open_sockets(), 0);
            let fd = file(1);
            for end in [&a, &b] {
                for timeout_ms in [-1, 0, 10] {
                    assert_eq!(end.send_fds(b"x", &[&fd], timeout_ms), Err(EOPNOTSUPP));
                }
            }
            a.fill(1000);
            assert_eq!(a.send_fds(b"x", &[&fd], -1), Err(EOPNOTSUPP), "no wait");
            assert_eq!(b.recv_fds(1, 0).unwrap().0.len(), 1000);
        }
        let ends = pair_over(sockets(socket_type), &WITH_FDS, &WITH_FDS);
        assert_eq!(open_sockets(), 2);
        drop(ends);
        assert_eq!(open_sockets(), 0);
    }
    let before = open_numbers().len();
    let (a, b) = pair_with(&WITH_FDS);
    assert_eq!(open_numbers().len(), before + 6);
    a.fd().unwrap();
    assert_eq!(open_numbers().len(), before + 8, "two more when polled");
    drop((a, b));
    assert_eq!(open_numbers().len(), before);
}

/// An accepted channel whose handshake a send completes.
#[apply(isolated)]
fn accepted() {
    let name = abstract_name();
    let listener = listen(&name);
    let child = fork(|| {
        let end = connect_with(&name, &WITH_FDS, LONG).unwrap();
        let (message, fds) = end.recv_fds(2, LONG).unwrap();
        assert_eq!((message, identities(&fds)), (b"two".to_vec(), vec![4, 5]));
        assert_eq!(end.send_fds(b"back", &fds, LONG), DONE);
        assert_eq!(end.recv(LONG).unwrap(), b"", "the end");
    });
    let end = accept_with(&listener, &WITH_FDS, LONG).unwrap();
    assert_eq!(end.send_fds(b"two", &[file(4), file(5)], LONG), DONE);
    let (message, fds) = end.recv_fds(9, LONG).unwrap();
    assert_eq!((message, identities(&fds)), (b"back".to_vec(), vec![4, 5]));
    drop(end);
    child.join();
}

/// Descriptors for which there is no place are closed.
#[apply(isolated)]
fn fewer_places() {
    for_each_pair(|a, b| {
        for count in [1, 3, IPC_MSG_FDS_MAX] {
            for places in [0, 1, 2, 3, 252, 253, 300] {
                let (read, write) = pipe();
                let fds = vec![&write; count];
                assert_eq!(a.send_fds(b"x", &fds, 0), DONE);
                drop(write);
                let (message, fds) = b.recv_fds(places, 0).unwrap();
                assert_eq!((message, fds.len()), (b"x".to_vec(), count.min(places)));
                assert_eq!(is_closed(&read), fds.is_empty());
                drop(fds);
                assert!(is_closed(&read));
            }
        }
    });
}

/// Calls without a place for descriptors close them: recv, release, and recv after peek.
#[apply(isolated)]
fn closed_by_receiver() {
    let closers: [fn(&End); 4] = [
        |end| assert_eq!(end.recv(0).unwrap(), b"message"),
        |end| {
            assert_eq!(end.peek(0).unwrap(), b"message");
            assert_eq!(end.peek(0).unwrap(), b"message", "again");
            assert_eq!(end.release(), DONE);
            assert_eq!(end.release(), Err(EINVAL));
        },
        |end| {
            assert_eq!(end.peek(0).unwrap(), b"message");
            assert_eq!(end.recv(0).unwrap(), b"message");
            assert_eq!(end.release(), Err(EINVAL));
        },
        |end| assert_eq!(end.recv_fds(0, 0).unwrap().0, b"message"),
    ];
    for_each_pair(|a, b| {
        for close in closers {
            let (read, write) = pipe();
            assert_eq!(a.send_fds(b"message", &[write], 0), DONE);
            assert_eq!(a.send_fds(b"next", &[file(1)], 0), DONE);
            assert!(!is_closed(&read));
            // Even without any descriptor left.
            with_room_for(0, || close(b));
            assert!(is_closed(&read));
            let (next, fds) = b.recv_fds(1, 0).unwrap();
            assert_eq!((next, identities(&fds)), (b"next".to_vec(), vec![1]));
        }
    });
}

/// A message that was peeked can still be received with its descriptors.
#[apply(isolated)]
fn peeked() {
    for_each_pair(|a, b| {
        for len in [1, 8, 9, 4000] {
            let message = pattern(len, 1);
            assert_eq!(a.send_fds(&message, &[file(3)], 0), DONE);
            assert_eq!(b.peek(-1).unwrap(), message);
            let (received, fds) = b.recv_fds(1, -1).unwrap();
            assert_eq!((received, identities(&fds)), (message, vec![3]));
            assert_eq!(b.release(), Err(EINVAL));
        }
    });
}

/// A call that fails leaves the message and its descriptors.
#[apply(isolated)]
fn failures_lose_nothing() {
    for_each_pair(|a, b| {
        let (read, write) = pipe();
        assert_eq!(a.send_fds(b"message", &[&write, &write], 0), DONE);
        assert_eq!(a.send_fds(b"next", &[file(2)], 0), DONE);
        drop(write);
        for places in [0, 1, 2] {
            assert_eq!(b.recv_fds_cap(6, places, -1).unwrap_err(), EMSGSIZE);
        }
        assert_eq!(b.recv_cap(6, -1), Err(EMSGSIZE));
        for available in [0, 1] {
            let before = open_numbers();
            with_room_for(available, || {
                for places in [1, 2, 3] {
                    assert_eq!(b.recv_fds(places, -1).unwrap_err(), EMFILE);
                }
            });
            assert_eq!(open_numbers(), before);
        }
        assert!(!is_closed(&read));
        let (message, fds) = with_room_for(2, || b.recv_fds(2, -1)).unwrap();
        assert_eq!((message, fds.len()), (b"message".to_vec(), 2));
        drop(fds);
        assert!(is_closed(&read));
        let (message, fds) = b.recv_fds(2, -1).unwrap();
        assert_eq!((message, identities(&fds)), (b"next".to_vec(), vec![2]));
    });
}

/// The kernel closes the descriptors that were not received when the receiver's end closes, and
/// delivers those that were sent before the sender's end closed.
#[apply(isolated)]
fn closing() {
    for_each_pair_once(|a, b| {
        let (read, write) = pipe();
        assert_eq!(a.send_fds(b"x", &[&write], 0), DONE);
        assert_eq!(b.send_fds(b"y", &[write], 0), DONE);
        drop(a);
        assert!(!is_closed(&read), "one is left");
        let (message, fds) = b.recv_fds(1, 0).unwrap();
        assert_eq!((message, fds.len()), (b"x".to_vec(), 1));
        let (message, none) = b.recv_fds(1, 0).unwrap();
        assert_eq!((message, none.len()), (vec![], 0), "the end");
        assert_eq!(b.send_fds(b"x", &fds, 0), Err(EPIPE));
        drop(fds);
        assert!(is_closed(&read));
    });
    for_each_pair_once(|a, b| {
        let (read, write) = pipe();
        for _ in 0..10 {
            assert_eq!(a.send_fds(b"x", &[&write], 0), DONE);
        }
        assert_eq!(b.peek(0).unwrap(), b"x");
        assert_eq!(b.shutdown(libc::SHUT_RD), DONE);
        assert_eq!(a.send_fds(b"x", &[write], 0), Err(EPIPE));
        assert!(!is_closed(&read));
        drop(b);
        assert!(is_closed(&read));
    });
}

/// The sender dies after it has sent: its descriptors arrive.
#[apply(isolated)]
fn dead_sender() {
    let (a, b) = pair_with(&WITH_FDS);
    let (read, write) = pipe();
    let child = fork(|| {
        close_copy(&b);
        for number in 0..3 {
            assert_eq!(a.send_fds(&[number], &[&write], 0), DONE);
        }
        kill_this_process();
    });
    drop((a, write));
    assert_eq!(child.end(), common::child::End::Signal(libc::SIGKILL));
    for number in 0..3 {
        let (message, fds) = b.recv_fds(1, -1).unwrap();
        assert_eq!((message, fds.len()), (vec![number], 1));
        assert!(!is_closed(&read));
    }
    assert!(is_closed(&read));
    assert_eq!(b.recv_fds(1, -1).unwrap().0, b"");
}

/// A socket has space for fewer descriptors than the ring has for messages: the sender waits, and
/// continues when the receiver has received one.
#[apply(isolated)]
fn full_socket() {
    for polled in [false, true] {
        for_each_pair_once(|a, b| {
            if polled {
                a.fd().unwrap();
            }
            let fd = file(1);
            let sent = fill_socket(&a, &fd);
            assert!((100..2000).contains(&sent), "{sent}");
            assert_eq!(a.send_fds(b"x", &[&fd], 10), Err(ETIMEDOUT));
            assert_eq!(a.send(b"without", 0), DONE, "the ring has space");
            if polled {
                assert!(!is_readable(&a));
            }
            for _ in 0..3 {
                assert_eq!(identities(&b.recv_fds(1, 0).unwrap().1), [1]);
                assert!(!polled || is_readable(&a));
                assert_eq!(a.send_fds(b"x", &[&fd], 0), DONE);
                assert_eq!(a.send_fds(b"x", &[&fd], 0), Err(EAGAIN));
            }
            thread::scope(|scope| {
                let (thread, _) = spawn_sleeper(scope, || a.send_fds(b"x", &[&fd], LONG));
                b.recv_fds(1, 0).unwrap();
                assert_eq!(thread.join().unwrap(), DONE);
            });
            assert_eq!(b.drain(), sent + 4 - 3 - 1 + 1);
        });
    }
}

/// A sender that waits for space in the socket notices each end.
#[apply(isolated)]
fn full_socket_ends() {
    let ends: [fn(&mut Option<End>, &End); 3] = [
        |peer, _| *peer = None,
        |peer, _| assert_eq!(peer.as_ref().unwrap().shutdown(libc::SHUT_RD), DONE),
        |_, own| assert_eq!(own.shutdown(libc::SHUT_WR), DONE),
    ];
    for end in ends {
        let (a, b) = pair_with(&WITH_FDS);
        let (fd, mut b) = (file(1), Some(b));
        fill_socket(&a, &fd);
        thread::scope(|scope| {
            let (thread, _) = spawn_sleeper(scope, || a.send_fds(b"x", &[&fd], LONG));
            end(&mut b, &a);
            assert_eq!(thread.join().unwrap(), Err(EPIPE));
        });
    }
}

/// Two threads of each side send and receive at the same time, faster than the socket has space.
#[apply(isolated)]
fn both_directions() {
    let messages = scaled(5000);
    for spin in [0, IPC_CHANNEL_F_NO_SPIN] {
        for_each_pair_of(spin, |a, b| {
            thread::scope(|scope| {
                for (from, to) in [(&a, &b), (&b, &a)] {
                    scope.spawn(move || {
                        let fd = file(1);
                        for number in 0..messages {
                            let fds: &[&OwnedFd] = if number % 5 == 0 { &[] } else { &[&fd] };
                            assert_eq!(from.send_fds(&number.to_le_bytes(), fds, LONG), DONE);
                        }
                    });
                    scope.spawn(move || {
                        for number in 0..messages {
                            let (message, fds) = to.recv_fds(1, LONG).unwrap();
                            assert_eq!(message, number.to_le_bytes());
                            assert_eq!(fds.len(), usize::from(number % 5 != 0));
                        }
                    });
                }
            });
        });
    }
}

/// The end of a channel can be sent itself, over another channel.
#[apply(isolated)]
fn socket_of_a_channel() {
    let (a, b) = pair_with(&WITH_FDS);
    let (x, y) = sockets(libc::SOCK_SEQPACKET);
    assert_eq!(a.send_fds(b"a channel", &[y], 0), DONE);
    let child = fork(|| {
        close_copy(&a);
        let (_, fds) = b.recv_fds(1, LONG).unwrap();
        let end = from_fd_with(fds[0].as_raw_fd(), &WITH_FDS, LONG).unwrap();
        assert_eq!(end.send_fds(b"hello", &[file(9)], LONG), DONE);
    });
    let end = from_fd_with(x.as_raw_fd(), &WITH_FDS, LONG).unwrap();
    let (message, fds) = end.recv_fds(1, LONG).unwrap();
    assert_eq!((message, identities(&fds)), (b"hello".to_vec(), vec![9]));
    child.join();
}

/// The kernel limits the descriptors in flight of an unprivileged user.
#[apply(isolated)]
#[needs(needs::root)]
fn too_many_in_flight() {
    fork(|| {
        let (a, b) = pair_with(&WITH_FDS);
        let held: Vec<OwnedFd> = (0..100).map(file).collect();
        common::user::become_nobody().unwrap();
        // SAFETY: no pointers; it keeps /proc/self readable after the change of user.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
        set_soft_limit(libc::RLIMIT_NOFILE, 250);
        let mut sent = 0;
        let error = loop {
            match a.send_fds(b"x", &held, LONG) {
                Ok(_) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error, libc::ETOOMANYREFS);
        assert!((2..=4).contains(&sent), "{sent}");
        assert_eq!(b.drain(), sent);
        assert_eq!(a.send_fds(b"x", &held, 0), DONE);
        assert_eq!(b.recv_fds(1, 0).unwrap().1.len(), 1);
    })
    .join();
}

/// A receiver that accepts no descriptors any longer.
#[apply(isolated)]
fn refused_by_socket_option() {
    const SO_PASSRIGHTS: c_int = 83;
    let (x, y) = sockets(libc::SOCK_SEQPACKET);
    let keep = y.try_clone().unwrap();
    let (a, b) = pair_over((x, y), &WITH_FDS, &WITH_FDS);
    let no = 0;
    // SAFETY: an int.
    let done = unsafe {
        let (fd, at) = (keep.as_raw_fd(), (&raw const no).cast());
        libc::setsockopt(fd, libc::SOL_SOCKET, SO_PASSRIGHTS, at, 4)
    };
    if done == 0 {
        assert_eq!(a.send_fds(b"x", &[file(1)], LONG), Err(EPIPE));
        assert_eq!(a.send(b"x", 0), DONE, "without descriptors");
        assert_eq!(b.recv(0).unwrap(), b"x");
    }
}

/// A batch ends before and after a message with descriptors, which it closes.
#[apply(isolated)]
fn batches() {
    for_each_pair(|a, b| {
        let (read, write) = pipe();
        assert_eq!(a.send_many(&["one", "two"], 0), Ok(2));
        assert_eq!(a.send_fds(b"three", &[write], 0), DONE);
        assert_eq!(a.send_many(&["four", "five"], 0), Ok(2));
        assert_eq!(b.recv_many(&[9; 9], 0).unwrap(), [b"one", b"two"]);
        assert_eq!(b.recv_many(&[4, 9], 0), Err(EMSGSIZE));
        assert!(!is_closed(&read));
        assert_eq!(b.peek(0).unwrap(), b"three");
        assert_eq!(b.recv_many(&[5, 9], 0).unwrap(), [b"three"]);
        assert!(is_closed(&read));
        assert_eq!(b.release(), Err(EINVAL));
        assert_eq!(b.recv_many(&[9; 9], 0).unwrap(), [&b"four"[..], b"five"]);
    });
}

/// Messages with descriptors are aligned like all others.
#[apply(isolated)]
fn aligned() {
    for message_align in [8, 16, 32, 64] {
        let (a, b) = pair_with(&ipc_channel_opts {
            message_align,
            ..WITH_FDS
        });
        for len in (1..300).chain([a.max() - 17, a.max() - 16]) {
            let message = pattern(len, 1);
            assert_eq!(a.send_fds(&message, &[file(3)], 0), DONE);
            let peeked = b.peek(0).unwrap();
            assert_eq!(peeked.as_ptr().addr() % message_align as usize, 0);
            assert!(peeked == message);
            let (received, fds) = b.recv_fds_cap(len, 1, 0).unwrap();
            assert!(received == message);
            assert_eq!(identities(&fds), [3]);
            assert_eq!(a.send(&message, 0), DONE);
            assert!(b.recv_cap(len, 0).unwrap() == message);
        }
    }
}

/// The statistics count the bytes of the messages, without the addition.
#[apply(isolated)]
fn statistics() {
    let (a, b) = pair_with(&WITH_FDS);
    assert_eq!(a.send_fds(b"12345", &[file(1)], 0), DONE);
    b.recv_fds(1, 0).unwrap();
    let (sent, received) = (a.stats(), b.stats());
    assert_eq!((sent.sent_messages, sent.sent_bytes), (1, 5));
    assert_eq!(
        (received.received_messages, received.received_bytes),
        (1, 5)
    );
    fill_socket(&a, &file(1));
    assert_eq!(a.stats().full, 1);
}
