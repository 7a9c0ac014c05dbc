//! Round trips, progress counts, and peers that do not use the library.

use crate::support::*;
use libc::c_int;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use unixipc::ffi::pair::IPC_WAIT_INTR;

const LENGTHS: [usize; 9] = [
    1,
    7,
    8,
    9,
    4096,
    32 << 10,
    (32 << 10) + 1,
    64 << 10,
    1 << 20,
];

/// One message each way, of each length, with each time-out, through blocking and non-blocking
/// ends.
#[apply(isolated)]
fn round_trips() {
    for socket_type in TYPES {
        for nonblock in [0, libc::SOCK_NONBLOCK] {
            let (a, b) = pair(socket_type | nonblock);
            for len in LENGTHS {
                if socket_type != libc::SOCK_STREAM && len > 64 << 10 {
                    continue;
                }
                for timeout_ms in [-1, 20_000, IPC_WAIT_INTR] {
                    let _case = Case(format!(
                        "type {socket_type}, {len} bytes, time-out {timeout_ms}"
                    ));
                    round_trip(&a, &b, len, timeout_ms);
                }
            }
        }
    }
}

fn round_trip(a: &OwnedFd, b: &OwnedFd, len: usize, timeout_ms: c_int) {
    let there = pattern(len, 1);
    let back = pattern(len, 2);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut buf = vec![0; len];
            assert_eq!(recv(b, &mut buf, timeout_ms), Ok(len));
            assert!(buf == there);
            assert_eq!(send(b, &back, timeout_ms), Ok(0));
        });
        assert_eq!(send(a, &there, timeout_ms), Ok(0));
        let mut buf = vec![0xaa; len + 100];
        assert_eq!(recv(a, &mut buf, timeout_ms), Ok(len));
        assert!(buf[..len] == back);
        assert!(buf[len..].iter().all(|byte| *byte == 0xaa));
    });
}

/// Queued messages stay separate and in order.
#[apply(isolated)]
fn message_boundaries() {
    for socket_type in TYPES {
        let (a, b) = pair(socket_type);
        for seed in 0..8 {
            assert_eq!(send(&a, &pattern(seed as usize + 1, seed), 0), Ok(0));
        }
        for seed in 0..8 {
            let len = seed as usize + 1;
            let mut buf = [0; 100];
            assert_eq!(recv(&b, &mut buf, 0), Ok(len));
            assert_eq!(buf[..len], pattern(len, seed));
        }
        assert_eq!(recv(&b, &mut [0; 8], 0), Err(libc::EAGAIN));
    }
}

/// A message longer than the buffer is discarded with its descriptors; the next message is intact.
#[apply(isolated)]
fn longer_than_cap() {
    for socket_type in TYPES {
        let (a, b) = pair(socket_type);
        let held = descriptors(3);
        for len in [9, 100, 20_000, 64 << 10] {
            for cap in [1, 7, 8, len - 1] {
                for max_fds in [None, Some(0), Some(2), Some(5)] {
                    let _case = Case(format!(
                        "type {socket_type}, {len} bytes, cap {cap}, {max_fds:?}"
                    ));
                    let before = open_numbers();
                    assert_eq!(send_fds(&a, &pattern(len, 1), &raw(&held), 0), Ok(0));
                    assert_eq!(send(&a, b"next", 0), Ok(0));
                    let mut buf = vec![0xaa; len];
                    let got = match max_fds {
                        None => recv(&b, &mut buf[..cap], 0),
                        Some(max_fds) => recv_fds(&b, &mut buf[..cap], max_fds, 0).map(|got| got.0),
                    };
                    assert_eq!(got, Err(libc::EMSGSIZE));
                    assert!(buf[cap..].iter().all(|byte| *byte == 0xaa));
                    assert_eq!(open_numbers(), before);
                    assert_eq!(recv(&b, &mut buf, 0), Ok(4));
                    assert_eq!(&buf[..4], b"next");
                }
            }
        }
    }
}

/// A transfer that timed out continues where it stopped, in both directions.
#[apply(isolated)]
fn progress() {
    let whole = pattern(3 << 20, 5);
    for nonblock in [0, libc::SOCK_NONBLOCK] {
        let (a, b) = pair(libc::SOCK_STREAM | nonblock);
        let (mut sent, mut received) = (0, 0);
        let mut buf = vec![0; whole.len()];
        let mut turns = 0;
        while received < whole.len() {
            let timeout_ms = turns % 2;
            let errno = [libc::EAGAIN, libc::ETIMEDOUT][turns as usize % 2];
            let before = sent;
            match send_full(&a, &whole, Some(&mut sent), timeout_ms) {
                Ok(len) => assert_eq!((len, sent), (whole.len(), whole.len())),
                Err(error) => {
                    assert_eq!(error, errno);
                    assert!(sent > before && sent < whole.len(), "{before} {sent}");
                }
            }
            match recv_full(&b, &mut buf, Some(&mut received), timeout_ms) {
                Ok(len) => assert_eq!((len, received), (whole.len(), whole.len())),
                Err(error) => {
                    assert_eq!(error, errno);
                    assert_eq!(received, sent, "all queued data");
                }
            }
            turns += 1;
        }
        assert!(turns > 5 && buf == whole);
        // A transfer starts at the given count, and leaves the bytes before it unchanged.
        let mut done = 6;
        assert_eq!(send_full(&a, b"012345678", Some(&mut done), 0), Ok(9));
        assert_eq!(done, 9);
        let mut buf = *b"abcdef";
        let mut done = 3;
        assert_eq!(recv_full(&b, &mut buf, Some(&mut done), 0), Ok(6));
        assert_eq!((&buf, done), (b"abc678", 6));
        // Without a count.
        assert_eq!(send_full(&a, b"xyz", None, -1), Ok(3));
        assert_eq!(recv_full(&b, &mut buf[..3], None, -1), Ok(3));
        assert_eq!(&buf, b"xyz678");
        // End of file: the data before it, then nothing.
        send_full(&a, b"yz", None, 0).unwrap();
        drop(a);
        let mut done = 0;
        assert_eq!(recv_full(&b, &mut buf, Some(&mut done), -1), Ok(2));
        assert_eq!(done, 2);
        assert_eq!(recv_full(&b, &mut buf, Some(&mut done), -1), Ok(2));
        assert_eq!(recv_full(&b, &mut buf, None, 0), Ok(0));
        // Other failures keep the count too.
        let mut done = 1;
        assert_eq!(send_full(&b, b"abc", Some(&mut done), 0), Err(libc::EPIPE));
        assert_eq!(done, 1);
    }
}

/// The library exchanges messages with the kernel's own send(2) and recv(2).
#[apply(isolated)]
fn with_raw_calls() {
    for socket_type in [libc::SOCK_SEQPACKET, libc::SOCK_DGRAM] {
        let (a, b) = pair(socket_type);
        let mut buf = [0; 100];
        assert_eq!(send(&a, b"exactly", 0), Ok(0));
        assert_eq!(raw_recv(&b, &mut buf), Ok(7));
        assert_eq!(&buf[..7], b"exactly");
        assert_eq!(raw_send(&a, b"these", 0), 5);
        assert_eq!(recv(&b, &mut buf, 0), Ok(5));
        assert_eq!(&buf[..5], b"these");
    }
    let (a, b) = pair(libc::SOCK_STREAM);
    let mut buf = [0; 100];
    for len in [1, 5, 80] {
        assert_eq!(send(&a, &pattern(len, 3), 0), Ok(0));
        assert_eq!(raw_recv(&b, &mut buf), Ok(8 + len));
        assert_eq!(buf[..8], header(len as u32));
        assert_eq!(buf[8..8 + len], pattern(len, 3));
    }
    // Sent by send(2), in one piece and byte by byte.
    let message = [&header(5)[..], b"hello"].concat();
    raw_send(&a, &message, 0);
    assert_eq!(recv(&b, &mut buf, 0), Ok(5));
    assert_eq!(&buf[..5], b"hello");
    let receiver = fork(|| {
        let mut buf = [0; 100];
        assert_eq!(recv(&b, &mut buf, 20_000), Ok(5));
        assert_eq!(&buf[..5], b"hello");
    });
    for byte in message {
        receiver.wait_asleep();
        raw_send(&a, &[byte], 0);
    }
    receiver.join();
    // Two messages in one send.
    raw_send(
        &a,
        &[&header(1)[..], b"1", &header(2)[..], b"22"].concat(),
        0,
    );
    assert_eq!(recv(&b, &mut buf, 0), Ok(1));
    assert_eq!(recv(&b, &mut buf, 0), Ok(2));
}

/// Two connected sockets of UDP.
pub fn udp(host: &str) -> Pair {
    let [a, b] = [(); 2].map(|()| UdpSocket::bind((host, 0)).unwrap());
    a.connect(b.local_addr().unwrap()).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    (a.into(), b.into())
}

#[apply(isolated)]
fn over_udp() {
    for host in ["127.0.0.1", "::1"] {
        if UdpSocket::bind((host, 0)).is_err() {
            continue; // this machine has no IPv6
        }
        let _case = Case(host);
        let (a, b) = udp(host);
        let mut buf = [0; 100];
        for timeout_ms in [-1, 20_000, IPC_WAIT_INTR] {
            for len in [1, 8, 4096, 32 << 10] {
                round_trip(&a, &b, len, timeout_ms);
            }
        }
        assert_eq!(recv(&b, &mut buf, 0), Err(libc::EAGAIN));
        assert_eq!(send(&a, &[1; 50], 0), Ok(0));
        assert_eq!(send(&a, b"next", 0), Ok(0));
        assert_eq!(recv(&b, &mut buf[..5], 5000), Err(libc::EMSGSIZE));
        assert_eq!(recv_fds(&b, &mut buf, 3, 5000).unwrap().0, 4);
        // An empty datagram is skipped.
        assert_eq!(raw_send(&a, b"", 0), 0);
        assert_eq!(recv(&b, &mut buf, 50), Err(libc::ETIMEDOUT));
        assert_eq!(send(&a, &[1; 70_000], 0), Err(libc::EMSGSIZE));
        assert_eq!(send_fds(&a, b"x", &[0], 0), Err(libc::EOPNOTSUPP));
        assert_eq!(
            recv(&b, &mut buf, 0),
            Err(libc::EAGAIN),
            "nothing arrives without the descriptor"
        );
        // After the first datagram, the host reports that the port is closed.
        drop(b);
        assert_eq!(send(&a, b"x", 0), Ok(0));
        wait_until("the report", || poll(a.as_raw_fd(), 0) & libc::POLLERR != 0);
        assert_eq!(send(&a, b"x", 0), Err(libc::EPIPE));
        assert_eq!(send(&a, b"x", 0), Ok(0));
        assert_eq!(recv(&a, &mut buf, 5000), Err(libc::ECONNREFUSED));
        assert_eq!(recv(&a, &mut buf, 0), Err(libc::EAGAIN));
        let alone = OwnedFd::from(UdpSocket::bind((host, 0)).unwrap());
        assert_eq!(send(&alone, b"x", 0), Err(libc::ENOTCONN));
    }
}

pub fn tcp() -> Pair {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (there.into(), listener.accept().unwrap().0.into())
}

#[apply(isolated)]
fn over_tcp() {
    let (a, b) = tcp();
    for len in LENGTHS {
        for timeout_ms in [-1, 20_000, IPC_WAIT_INTR] {
            round_trip(&a, &b, len, timeout_ms);
        }
    }
    let mut buf = [0; 100];
    assert_eq!(recv(&b, &mut buf, 0), Err(libc::EAGAIN));
    assert_eq!(recv_fds(&b, &mut buf, 2, 1).unwrap_err(), libc::ETIMEDOUT);
    assert_eq!(send(&a, &[1; 50], 1000), Ok(0));
    assert_eq!(send(&a, b"next", 1000), Ok(0));
    assert_eq!(recv(&b, &mut buf[..5], 5000), Err(libc::EMSGSIZE));
    assert_eq!(recv_fds(&b, &mut buf, 3, 5000).unwrap().0, 4);
    drop(a);
    assert_eq!(recv(&b, &mut buf, 5000), Ok(0));
}

/// Sending descriptors over TCP fails with an error.
#[apply(isolated)]
fn descriptors_over_tcp() {
    let (a, b) = tcp();
    assert_eq!(send_fds(&a, b"x", &[0], 1000), Err(libc::EOPNOTSUPP));
    assert_eq!(recv(&b, &mut [0; 8], 0), Err(libc::EAGAIN));
}

/// A receive that stops inside a message ends its direction on TCP too: later bytes are never taken
/// for a message. The other direction has ended too.
#[apply(isolated)]
fn time_out_inside_over_tcp() {
    let (a, b) = tcp();
    let mut buf = [0; 100];
    raw_send(&a, &header(50), 0);
    assert_eq!(recv(&b, &mut buf, 50), Err(libc::ETIMEDOUT));
    // The connection may or may not be closed by now.
    let _ = send_full(&a, &[&header(4)[..], b"fake"].concat(), None, 0);
    let got = recv(&b, &mut buf, 100);
    assert!(
        !matches!(got, Ok(1..)),
        "a message that was not sent: {got:?}"
    );
    assert!(
        matches!(got, Ok(0) | Err(libc::ENOTCONN | libc::ETIMEDOUT)),
        "{got:?}"
    );
    assert_eq!(send(&b, b"x", 100), Err(libc::EPIPE));
}

/// Each process uses its end after fork; the session ends when the child exits.
#[apply(isolated)]
fn across_fork() {
    for socket_type in TYPES {
        let (a, b) = pair(socket_type);
        let parents = a.as_raw_fd();
        let child = fork(move || {
            drop(own(parents));
            let mut buf = [0; 16];
            assert_eq!(recv(&b, &mut buf, 20_000), Ok(4));
            assert_eq!(send(&b, &buf[..4], 20_000), Ok(0));
            assert_eq!(send_fds(&b, b"fd", &[b.as_raw_fd()], 20_000), Ok(0));
        });
        // The closure has closed the child's end in this process.
        let mut buf = [0; 16];
        assert_eq!(send(&a, b"ping", 20_000), Ok(0));
        assert_eq!(recv(&a, &mut buf, 20_000), Ok(4));
        assert_eq!(&buf[..4], b"ping");
        // The end arrived over its own pair: it is usable, and after closing it the peer is gone.
        let (len, fds) = recv_fds(&a, &mut buf, 1, 20_000).unwrap();
        assert_eq!((len, fds.len()), (2, 1));
        child.join();
        assert_eq!(send(&fds[0], b"own", 0), Ok(0));
        assert_eq!(recv(&a, &mut buf, 0), Ok(3));
        assert_eq!(recv(&a, &mut buf, 0), Err(libc::EAGAIN));
        drop(fds);
        assert_eq!(send(&a, b"x", 0), Err(libc::EPIPE));
        if socket_type != libc::SOCK_DGRAM {
            assert_eq!(recv(&a, &mut buf, -1), Ok(0));
        }
    }
}
