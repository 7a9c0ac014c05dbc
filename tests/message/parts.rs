//! ipc_msg_sendv: messages that consist of several buffers.

use crate::support::*;
use crate::transfer::{tcp, udp};
use libc::{EAGAIN, EINVAL, EMSGSIZE, EOPNOTSUPP, EPIPE, ETIMEDOUT, c_int, iovec};
use std::os::fd::{AsRawFd, OwnedFd};
use std::{ptr, thread};
use unixipc::ffi::message::*;
use unixipc::ffi::pair::IPC_WAIT_INTR;

/// The largest number of buffers.
const PARTS_MAX: usize = 1024;

const EMPTY: iovec = iovec {
    iov_base: ptr::null_mut(),
    iov_len: 0,
};

/// Receives one message, which must have this content.
#[track_caller]
fn expect(fd: &OwnedFd, content: &[u8]) {
    let mut buf = vec![0xaa; content.len() + 1];
    assert_eq!(recv(fd, &mut buf, 10_000), Ok(content.len()));
    assert!(buf[..content.len()] == *content);
}

/// A message in parts arrives like one from a single buffer, on each type of socket.
#[apply(isolated)]
fn as_one_message() {
    let mut pairs: Vec<Pair> = TYPES.into_iter().map(pair).collect();
    pairs.extend([udp("127.0.0.1"), tcp()]);
    for (a, b) in &pairs {
        for timeout_ms in [-1, 20_000, IPC_WAIT_INTR] {
            for len in [1, 2, 15, 16, 5000, 30_000] {
                let message = pattern(len, 3);
                for count in [1, 2, 14, 15, 16, 17, 100, PARTS_MAX - 1, PARTS_MAX] {
                    let _case = Case(format!("{len} bytes in {count} parts"));
                    let parts = split(&message, count);
                    assert_eq!(send_parts(a, &parts, timeout_ms), Ok(len));
                    assert_eq!(send(a, b"next", timeout_ms), Ok(0));
                    expect(b, &message);
                    expect(b, b"next");
                }
            }
        }
        assert_eq!(recv(b, &mut [0; 8], 0), Err(EAGAIN));
    }
}

/// Empty buffers add nothing, wherever they are.
#[apply(isolated)]
fn empty_parts() {
    for socket_type in TYPES {
        let (a, b) = pair(socket_type);
        let (one, two, none) = (part(b"one"), part(b"two"), part(b""));
        for parts in [
            &[EMPTY, one, two][..],
            &[one, EMPTY, none, two],
            &[one, two, EMPTY],
            &[EMPTY, none, one, EMPTY, two, none, EMPTY],
        ] {
            assert_eq!(send_parts(&a, parts, 0), Ok(6));
            expect(&b, b"onetwo");
        }
        let mut parts = vec![EMPTY; PARTS_MAX];
        assert_eq!(send_parts(&a, &parts, 0), Err(EINVAL));
        assert_eq!(send_parts(&a, &[none; 3], 0), Err(EINVAL));
        parts[PARTS_MAX - 1] = one;
        assert_eq!(send_parts(&a, &parts, 0), Ok(3));
        expect(&b, b"one");
        assert_eq!(raw_recv(&b, &mut [0; 8]), Err(EAGAIN));
    }
}

#[apply(isolated)]
fn invalid_arrays() {
    for socket_type in TYPES {
        let (a, b) = pair(socket_type);
        let parts = vec![part(b"x"); PARTS_MAX + 1];
        let sendv = |iov: *const iovec, count: c_int| {
            // SAFETY: NULL, or an array that is longer than the longest that is read.
            outcome(|| unsafe { ipc_msg_sendv(a.as_raw_fd(), iov, count, ptr::null(), 0, 0) })
        };
        for count in [0, -1, c_int::MIN, PARTS_MAX as c_int + 1, c_int::MAX] {
            assert_eq!(sendv(parts.as_ptr(), count), Err(EINVAL), "{count}");
            assert_eq!(sendv(ptr::null(), count), Err(EINVAL), "NULL, {count}");
        }
        assert_eq!(sendv(ptr::null(), 1), Err(EINVAL));
        let of_len = |iov_len| iovec {
            iov_len,
            ..part(b"x")
        };
        let null = iovec {
            iov_len: 1,
            ..EMPTY
        };
        assert_eq!(send_parts(&a, &[part(b"x"), null], 0), Err(EINVAL));
        let half = isize::MAX as usize / 2 + 1;
        for lens in [
            [usize::MAX, 1],
            [1, usize::MAX],
            [isize::MAX as usize, isize::MAX as usize],
            [isize::MAX as usize + 1, 1],
            [half, half],
            [IPC_MSG_MAX, 1],
        ] {
            let _case = Case(format!("{lens:?}"));
            assert_eq!(send_parts(&a, &lens.map(of_len), 0), Err(EMSGSIZE));
        }
        assert_eq!(raw_recv(&b, &mut [0; 8]), Err(EAGAIN), "nothing was sent");
    }
}

#[apply(isolated)]
fn with_descriptors() {
    for socket_type in TYPES {
        let (a, b) = pair(socket_type);
        let passed = descriptors(IPC_MSG_FDS_MAX);
        for (count, nfds) in [(2, 1), (3, 5), (PARTS_MAX, IPC_MSG_FDS_MAX)] {
            let message = pattern(2000, 4);
            let fds = raw(&passed[..nfds]);
            let sent = send_parts_fds(&a, &split(&message, count), &fds, 0);
            assert_eq!(sent, Ok(2000));
            let mut buf = [0; 2000];
            let (len, received) = recv_fds(&b, &mut buf, 253, 1000).unwrap();
            assert_eq!((len, received.len()), (2000, nfds));
            assert_eq!(buf, message[..]);
        }
    }
    let (a, b) = tcp();
    let parts = split(b"12", 2);
    assert_eq!(send_parts_fds(&a, &parts, &[0], 1000), Err(EOPNOTSUPP));
    assert_eq!(recv(&b, &mut [0; 8], 0), Err(EAGAIN));
}

/// A message of 32 KiB on a stream that is nearly full is sent at once or not at all.
#[apply(isolated)]
fn at_once_or_not_at_all() {
    let (a, b) = pair(libc::SOCK_STREAM);
    let message = pattern(32 << 10, 5);
    let parts = split(&message, PARTS_MAX - 1);
    let mut queued = 0;
    while send_parts(&a, &parts, 0) == Ok(message.len()) {
        queued += 1;
    }
    assert!(queued > 2);
    for round in 0..50 {
        let _case = Case(format!("round {round}"));
        // A short message takes some of the space.
        let short = send(&a, &[7; 100], 0).is_ok();
        assert_eq!(send_parts(&a, &parts, 0), Err(EAGAIN));
        assert_eq!(send_parts(&a, &parts, 1), Err(ETIMEDOUT));
        for _ in 0..queued {
            expect(&b, &message);
        }
        if short {
            expect(&b, &[7; 100]);
        }
        queued = 0;
        while send_parts(&a, &parts, 0) == Ok(message.len()) {
            queued += 1;
        }
    }
}

/// A long message goes in pieces that end inside of parts.
#[apply(isolated)]
fn in_pieces() {
    let mut random = Random(6);
    for (a, b) in [pair(libc::SOCK_STREAM), tcp()] {
        for timeout_ms in [-1, 20_000, IPC_WAIT_INTR] {
            for count in [2, 15, 300, PARTS_MAX] {
                let message = pattern((3 << 20) + random.index(1000), 7);
                // Parts of random lengths.
                let mut ends: Vec<usize> =
                    (1..count).map(|_| random.index(message.len())).collect();
                ends.extend([0, message.len()]);
                ends.sort_unstable();
                thread::scope(|scope| {
                    scope.spawn(|| expect(&b, &message));
                    let parts: Vec<iovec> = ends
                        .windows(2)
                        .map(|ends| part(&message[ends[0]..ends[1]]))
                        .collect();
                    assert_eq!(send_parts(&a, &parts, timeout_ms), Ok(message.len()));
                });
            }
        }
    }
}

/// A time-out inside a message ends the sending direction.
#[apply(isolated)]
fn time_out_inside() {
    for timeout_ms in [0, 20] {
        let (a, b) = pair(libc::SOCK_STREAM);
        let message = vec![1; 1 << 20];
        let parts = split(&message, 100);
        assert_eq!(send_parts(&a, &parts, timeout_ms), Err(ETIMEDOUT));
        assert_eq!(send_parts(&a, &parts, 1000), Err(EPIPE));
        assert_eq!(recv(&b, &mut vec![0; 1 << 20], 1000), Err(libc::EPROTO));
    }
}

/// Signals interrupt the call, which sends each message whole.
#[apply(isolated)]
fn under_signals() {
    count_signals(0);
    let (a, b) = pair(libc::SOCK_STREAM);
    let message = pattern(300_000, 8);
    let rounds = scaled(200);
    let receiver = fork(|| (0..rounds).for_each(|_| expect(&b, &message)));
    storm(300);
    for _ in 0..rounds {
        let parts = split(&message, 50);
        while send_parts(&a, &parts, IPC_WAIT_INTR) == Err(libc::EINTR) {}
    }
    storm(0);
    assert!(handled() > 0);
    receiver.join();
}
