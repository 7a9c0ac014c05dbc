//! The end of a session, between messages and inside a message, and peers that violate the framing.

use crate::descriptors::send_raw_fds;
use crate::support::*;
use common::filter::refuse_without;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::time::{Duration, Instant};
use unixipc::ffi::message::IPC_MSG_MAX;
use unixipc::ffi::pair::IPC_WAIT_INTR;

const STREAM: i32 = libc::SOCK_STREAM;
const CONNECTION_TYPES: [i32; 2] = [libc::SOCK_STREAM, libc::SOCK_SEQPACKET];

/// Messages that were sent before the end still arrive; after them every receive returns 0.
#[apply(isolated)]
fn between_messages() {
    for socket_type in CONNECTION_TYPES {
        for closed in [true, false] {
            for timeout_ms in [-1, 0, 1000, IPC_WAIT_INTR] {
                let (a, b) = pair(socket_type);
                let held = descriptors(2);
                send(&a, b"one", 0).unwrap();
                send_fds(&a, b"two", &raw(&held), 0).unwrap();
                let a = if closed {
                    drop(a);
                    None
                } else {
                    shut(&a, libc::SHUT_WR);
                    Some(a)
                };
                let mut buf = [0; 8];
                assert_eq!(recv(&b, &mut buf, timeout_ms), Ok(3));
                let (len, fds) = recv_fds(&b, &mut buf, 2, timeout_ms).unwrap();
                assert_eq!((len, fds.len()), (3, 2));
                for _ in 0..3 {
                    assert_eq!(recv(&b, &mut buf, timeout_ms), Ok(0));
                    let (len, fds) = recv_fds(&b, &mut buf, 2, timeout_ms).unwrap();
                    assert_eq!((len, fds.len()), (0, 0));
                    assert_eq!(recv_full(&b, &mut buf, None, timeout_ms), Ok(0));
                }
                // After one direction is shut down, the other still works.
                if let Some(a) = a {
                    assert_eq!(send(&b, b"back", 0), Ok(0));
                    assert_eq!(recv(&a, &mut buf, 0), Ok(4));
                }
            }
        }
    }
}

/// The kernel finds the queue empty, the peer sends and closes, and the kernel finds it closed: its
/// receive returns 0 although the message is queued. The library returns the message first.
#[apply(isolated)]
fn sent_between_kernel_checks() {
    let (a, b) = pair(libc::SOCK_SEQPACKET);
    send(&a, b"last", 0).unwrap();
    drop(a);
    fork(|| {
        // A call that may wait checks again after the wait.
        refuse_without(libc::SYS_recvfrom, 3, libc::MSG_DONTWAIT as u32, 0);
        let mut buf = [0; 8];
        for len in [4, 0, 0] {
            assert_eq!(recv(&b, &mut buf, -1), Ok(len));
        }
        assert_eq!(&buf[..4], b"last");
    })
    .join();
}

/// Empty packets, which the library does not send, are skipped; descriptors that arrive with them
/// are closed.
#[apply(isolated)]
fn empty_packets() {
    for socket_type in [libc::SOCK_SEQPACKET, libc::SOCK_DGRAM] {
        for max_fds in [None, Some(2)] {
            for timeout_ms in [-1, 0, 1000, IPC_WAIT_INTR] {
                let _case = Case(format!(
                    "type {socket_type}, max_fds {max_fds:?}, {timeout_ms} ms"
                ));
                let (a, b) = pair(socket_type);
                let before = open_numbers();
                let get = |buf: &mut [u8], timeout_ms| match max_fds {
                    None => recv(&b, buf, timeout_ms),
                    Some(max_fds) => recv_fds(&b, buf, max_fds, timeout_ms).map(|got| got.0),
                };
                let mut buf = [0; 8];
                for _ in 0..2 {
                    send_raw_fds(&a, &[], &[0]);
                    assert_eq!(get(&mut buf, 0), Err(libc::EAGAIN));
                    send_raw_fds(&a, &[], &[0]);
                    assert_eq!(get(&mut buf, 20), Err(libc::ETIMEDOUT));
                }
                for empty in [1, 5] {
                    for _ in 0..empty {
                        send_raw_fds(&a, &[], &[0]);
                    }
                    send(&a, b"behind", 0).unwrap();
                    assert_eq!(get(&mut buf, timeout_ms), Ok(6));
                }
                assert_eq!(open_numbers(), before);
                if socket_type == libc::SOCK_SEQPACKET {
                    send(&a, b"last", 0).unwrap();
                    drop(a);
                    assert_eq!(get(&mut buf, timeout_ms), Ok(4));
                    assert_eq!(get(&mut buf, timeout_ms), Ok(0), "the end");
                }
            }
        }
    }
    // A socket that this process has shut down reports the end, also where the kernel reports none.
    let (_a, b) = pair(libc::SOCK_DGRAM);
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::shutdown(b.as_raw_fd(), libc::SHUT_RD) }, 0);
    assert_eq!(recv(&b, &mut [0; 8], -1), Ok(0));
}

/// A peer that sends only empty packets cannot delay a receiver beyond its time-out.
#[apply(isolated)]
fn only_empty_packets() {
    for socket_type in [libc::SOCK_SEQPACKET, libc::SOCK_DGRAM] {
        let (a, b) = pair(socket_type);
        let flood = fork(|| {
            loop {
                // SAFETY: no bytes.
                unsafe { libc::send(a.as_raw_fd(), ptr::null(), 0, libc::MSG_NOSIGNAL) };
            }
        });
        for timeout_ms in [0, 1, 50] {
            let start = Instant::now();
            let got = recv(&b, &mut [0; 8], timeout_ms);
            let expected = if timeout_ms == 0 {
                libc::EAGAIN
            } else {
                libc::ETIMEDOUT
            };
            assert_eq!(got, Err(expected), "type {socket_type}");
            assert!(start.elapsed() < Duration::from_secs(5));
        }
        drop(flood);
    }
}

/// A peer closes with unread data: all messages that it sent still arrive.
#[apply(isolated)]
fn peer_closed_with_unread_data() {
    for socket_type in CONNECTION_TYPES {
        for max_fds in [None, Some(2)] {
            let _case = Case(format!("type {socket_type}, max_fds {max_fds:?}"));
            let (a, b) = pair(socket_type);
            send(&b, b"never read", 0).unwrap();
            for text in [b"one", b"two"] {
                send(&a, text, 0).unwrap();
            }
            drop(a);
            let mut buf = [0; 8];
            for text in [b"one", b"two"] {
                let got = match max_fds {
                    None => recv(&b, &mut buf, 1000),
                    Some(max_fds) => recv_fds(&b, &mut buf, max_fds, 1000).map(|got| got.0),
                };
                assert_eq!(got, Ok(3));
                assert_eq!(&buf[..3], text);
            }
            assert_eq!(recv(&b, &mut buf, 1000), Ok(0));
            assert_eq!(send(&b, b"x", 1000), Err(libc::EPIPE));
        }
    }
    let (a, b) = pair(STREAM);
    send_full(&b, b"never read", None, 0).unwrap();
    send_full(&a, b"three", None, 0).unwrap();
    drop(a);
    let mut buf = [0; 8];
    assert_eq!(recv_full(&b, &mut buf, None, 1000), Ok(5));
    assert_eq!(recv_full(&b, &mut buf, None, 1000), Ok(0));
}

/// The same for a waiting receiver: the kernel reports the reset before the peer's messages.
#[apply(isolated)]
fn peer_closed_during_wait() {
    for socket_type in CONNECTION_TYPES {
        for timeout_ms in [-1, 60_000, IPC_WAIT_INTR] {
            for max_fds in [None, Some(2)] {
                let _case = Case(format!(
                    "type {socket_type}, time-out {timeout_ms}, max_fds {max_fds:?}"
                ));
                let (a, b) = pair(socket_type);
                send(&b, b"never read", 0).unwrap();
                let child = fork_receiver(&a, b, move |b| {
                    let mut buf = [0; 8];
                    for len in [3, 5, 0] {
                        let got = match max_fds {
                            None => recv(b, &mut buf, timeout_ms),
                            Some(max_fds) => {
                                recv_fds(b, &mut buf, max_fds, timeout_ms).map(|got| got.0)
                            }
                        };
                        assert_eq!(got, Ok(len));
                    }
                });
                child.wait_asleep();
                child.stop();
                send(&a, b"one", 0).unwrap();
                send(&a, b"three", 0).unwrap();
                drop(a);
                child.signal(libc::SIGCONT);
                child.join();
            }
        }
    }
}

/// The end of the session wakes a waiting caller.
#[apply(isolated)]
fn while_waiting() {
    for socket_type in CONNECTION_TYPES {
        for timeout_ms in [-1, 60_000, IPC_WAIT_INTR] {
            let (a, b) = pair(socket_type);
            let child = fork_receiver(&a, b, move |b| {
                assert_eq!(recv(b, &mut [0; 8], timeout_ms), Ok(0));
            });
            child.wait_asleep();
            drop(a);
            child.join();

            let (a, b) = pair(socket_type);
            fill(&b);
            let child = fork_receiver(&a, b, move |b| {
                assert_eq!(send(b, b"x", timeout_ms), Err(libc::EPIPE));
            });
            child.wait_asleep();
            drop(a);
            child.join();
        }
    }
}

/// A child that has only `mine`; the parent keeps only `theirs`.
fn fork_receiver(theirs: &OwnedFd, mine: OwnedFd, run: impl FnOnce(&OwnedFd)) -> Child {
    use std::os::fd::AsRawFd;
    let number = theirs.as_raw_fd();
    fork(move || {
        drop(own(number));
        run(&mine);
    })
}

/// A message cut at any byte gives EPROTO, and no part of it is returned as a message.
#[apply(isolated)]
fn inside_a_message() {
    let whole = [&header(20)[..], &[b'm'; 20]].concat();
    for cut in 1..whole.len() {
        for closed in [true, false] {
            for cap in [1, 20, 100] {
                let (a, b) = pair(STREAM);
                raw_send(&a, &whole, 0);
                raw_send(&a, &whole[..cut], 0);
                let _a = if closed {
                    drop(a);
                    None
                } else {
                    shut(&a, libc::SHUT_WR);
                    Some(a)
                };
                let mut buf = [0; 100];
                let first = if cap < 20 {
                    Err(libc::EMSGSIZE)
                } else {
                    Ok(20)
                };
                assert_eq!(recv(&b, &mut buf[..cap], -1), first);
                assert_eq!(recv(&b, &mut buf[..cap], -1), Err(libc::EPROTO), "{cut}");
                for _ in 0..2 {
                    assert_eq!(recv(&b, &mut buf[..cap], -1), Ok(0), "{cut}");
                }
            }
        }
    }
}

/// An invalid header gives EPROTO and ends the direction: the peer's next send fails with EPIPE.
#[apply(isolated)]
fn invalid_headers() {
    let mut lies: Vec<[u8; 8]> = (0..4)
        .flat_map(|at| {
            [0x01, 0x20, 0x80].map(|bits| {
                let mut invalid = header(4);
                invalid[at] ^= bits;
                invalid
            })
        })
        .collect();
    lies.extend([0, IPC_MSG_MAX as u32 + 1, 1 << 31, u32::MAX].map(header));
    lies.push([0; 8]);
    lies.push([0xff; 8]);
    lies.push(*b"cpiu\x04\0\0\0");
    lies.push(*b"uipc\0\0\0\x80");
    let mut buf = [0; 64];
    for invalid in lies {
        for timeout_ms in [-1, 0, 1000, IPC_WAIT_INTR] {
            for max_fds in [None, Some(2)] {
                let _case = Case(format!("{invalid:x?}, {timeout_ms}, {max_fds:?}"));
                let (a, b) = pair(STREAM);
                raw_send(&a, &invalid, 0);
                send(&a, b"good", 0).unwrap();
                send(&a, &[1; 40_000], 0).unwrap();
                let got = match max_fds {
                    None => recv(&b, &mut buf, timeout_ms),
                    Some(max_fds) => recv_fds(&b, &mut buf, max_fds, timeout_ms).map(|got| got.0),
                };
                assert_eq!(got, Err(libc::EPROTO));
                for _ in 0..2 {
                    assert_eq!(recv(&b, &mut buf, timeout_ms), Ok(0));
                }
                assert_eq!(send(&a, b"more", 0), Err(libc::EPIPE));
                // The other direction still works.
                assert_eq!(send(&b, b"back", 0), Ok(0));
                assert_eq!(recv(&a, &mut buf, 0), Ok(4));
            }
        }
    }
    // The longest permitted length is valid, even if the content never arrives; no memory is
    // allocated for it.
    let (a, b) = pair(STREAM);
    let before = resident();
    raw_send(&a, &header(IPC_MSG_MAX as u32), 0);
    assert_eq!(recv(&b, &mut buf, 20), Err(libc::ETIMEDOUT));
    assert!(resident() < before + (4 << 20));
}

/// A time-out interrupts a send inside a message.
#[apply(isolated)]
fn half_sent() {
    let bytes = pattern(4 << 20, 9);
    for (timeout_ms, nonblock) in [
        (0, 0),
        (20, 0),
        (0, libc::SOCK_NONBLOCK),
        (20, libc::SOCK_NONBLOCK),
    ] {
        let (a, b) = pair(STREAM | nonblock);
        assert_eq!(send(&a, b"whole", 0), Ok(0));
        assert_eq!(send(&a, &bytes, timeout_ms), Err(libc::ETIMEDOUT));
        for _ in 0..2 {
            assert_eq!(send(&a, b"x", timeout_ms), Err(libc::EPIPE));
            assert_eq!(send(&a, b"x", -1), Err(libc::EPIPE));
        }
        let mut buf = vec![0; 5 << 20];
        assert_eq!(recv(&b, &mut buf, -1), Ok(5));
        assert_eq!(recv(&b, &mut buf, -1), Err(libc::EPROTO));
        assert_eq!(recv(&b, &mut buf, -1), Ok(0));
        // The other direction still works.
        assert_eq!(send(&b, b"back", -1), Ok(0));
        assert_eq!(recv(&a, &mut buf, -1), Ok(4));
    }
    // Up to 32 KiB a send is all or nothing, wherever the socket becomes full.
    for first in (0..64).map(|step| 1 + step * 997) {
        let (a, b) = pair(STREAM);
        let mut sent = u64::from(send(&a, &vec![0; first], 0).is_ok());
        let part = pattern(32 << 10, 3);
        let error = loop {
            match send(&a, &part, (first % 2) as i32) {
                Ok(_) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error, [libc::EAGAIN, libc::ETIMEDOUT][first % 2]);
        let mut buf = vec![0; 64 << 10];
        for i in 0..sent {
            let len = if i == 0 { first } else { part.len() };
            assert_eq!(recv(&b, &mut buf, 0), Ok(len));
        }
        assert_eq!(recv(&b, &mut buf, 0), Err(libc::EAGAIN));
        assert_eq!(send(&a, &part, 0), Ok(0), "the direction is alive");
    }
}

/// A time-out interrupts a receive inside a message.
#[apply(isolated)]
fn half_received() {
    let whole = [&header(100)[..], &pattern(100, 1)].concat();
    for cut in [1, 4, 7, 8, 9, 50, 107] {
        for cap in [1, 100] {
            for timeout_ms in [0, 20] {
                let (a, b) = pair(STREAM);
                let mut buf = [0; 100];
                raw_send(&a, &whole, 0);
                raw_send(&a, &whole[..cut], 0);
                let first = recv(&b, &mut buf[..cap], timeout_ms);
                assert_eq!(
                    first,
                    if cap < 100 {
                        Err(libc::EMSGSIZE)
                    } else {
                        Ok(100)
                    }
                );
                assert_eq!(recv(&b, &mut buf[..cap], timeout_ms), Err(libc::ETIMEDOUT));
                for _ in 0..2 {
                    assert_eq!(recv(&b, &mut buf, -1), Ok(0));
                }
                for _ in 0..2 {
                    assert_eq!(send(&a, b"x", -1), Err(libc::EPIPE));
                }
                assert_eq!(send(&b, b"back", -1), Ok(0));
                assert_eq!(recv(&a, &mut buf, -1), Ok(4));
            }
        }
    }
}

/// A signal handler inside a message does not end the call, even with IPC_WAIT_INTR.
#[apply(isolated)]
fn signal_inside_a_message() {
    for flags in [0, libc::SA_RESTART] {
        count_signal(libc::SIGUSR1, flags);
        let bytes = pattern(1 << 20, 2);
        let (a, b) = pair(STREAM);
        let sender = fork(|| assert_eq!(send(&a, &bytes, IPC_WAIT_INTR), Ok(0)));
        sender.wait_asleep();
        sender.signal(libc::SIGUSR1);
        sender.wait_asleep();
        let mut buf = vec![0; 1 << 20];
        assert_eq!(recv(&b, &mut buf, -1), Ok(1 << 20));
        assert!(buf == bytes);
        sender.join();
        let receiver = fork(|| assert_eq!(recv(&b, &mut [0; 8], IPC_WAIT_INTR), Ok(4)));
        raw_send(&a, &header(4), 0);
        receiver.wait_asleep();
        wait_until("the header to be taken", || unread(&b) == 0);
        receiver.wait_asleep();
        receiver.signal(libc::SIGUSR1);
        receiver.wait_asleep();
        raw_send(&a, b"body", 0);
        receiver.join();
    }
}

/// The number of unread bytes of a stream.
fn unread(fd: &OwnedFd) -> libc::c_int {
    use std::os::fd::AsRawFd;
    let mut bytes = -1;
    // SAFETY: FIONREAD writes an int.
    assert_eq!(
        unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut bytes) },
        0
    );
    bytes
}

/// Every send to a closed receiver fails with EPIPE and raises no signal; this process has
/// SIGPIPE's default action.
#[apply(isolated)]
fn no_signal() {
    // SAFETY: a query; the structure is ours.
    let action = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut action);
        action.sa_sigaction
    };
    assert_eq!(action, libc::SIG_DFL, "the test itself");
    for socket_type in TYPES {
        for timeout_ms in [-1, 0, 1000, IPC_WAIT_INTR] {
            for nonblock in [0, libc::SOCK_NONBLOCK] {
                type Send<'a> = &'a dyn Fn(&OwnedFd) -> Outcome;
                let sends: [Send; 3] = [
                    &|fd| send(fd, b"x", timeout_ms),
                    &|fd| send_fds(fd, b"x", &[0], timeout_ms),
                    &|fd| send_full(fd, b"x", None, timeout_ms),
                ];
                for first in sends {
                    let fd = pair_with_closed_peer(socket_type | nonblock);
                    assert_eq!(first(&fd), Err(libc::EPIPE));
                    for later in sends {
                        assert_eq!(later(&fd), Err(errno_after_close(socket_type)));
                    }
                }
                // With unread data, which the kernel reports as a reset.
                let (a, b) = pair(socket_type | nonblock);
                send(&a, b"unread", 0).unwrap();
                drop(b);
                assert_eq!(send(&a, b"x", timeout_ms), Err(libc::EPIPE));
                let (a, b) = pair(socket_type | nonblock);
                send(&a, b"unread", 0).unwrap();
                drop(b);
                assert_eq!(send_full(&a, b"x", None, timeout_ms), Err(libc::EPIPE));
                // After a shutdown.
                let (a, _b) = pair(socket_type | nonblock);
                shut(&a, libc::SHUT_WR);
                assert_eq!(send(&a, b"x", timeout_ms), Err(libc::EPIPE));
                assert_eq!(send_full(&a, b"x", None, timeout_ms), Err(libc::EPIPE));
            }
        }
        // A receive queries the socket type; this raises no signal either.
        let fd = pair_with_closed_peer(socket_type);
        let got = recv(&fd, &mut [0; 8], 0);
        let end = if socket_type == libc::SOCK_DGRAM {
            Err(libc::EAGAIN)
        } else {
            Ok(0)
        };
        assert_eq!(got, end);
    }
    // The receiver closes when a part of a message has been sent.
    let (a, b) = pair(STREAM);
    let child = fork_receiver(&b, a, |a| {
        assert_eq!(send(a, &vec![1; 8 << 20], -1), Err(libc::EPIPE));
        assert_eq!(send(a, b"x", -1), Err(libc::EPIPE));
    });
    child.wait_asleep();
    drop(b);
    child.join();
}

/// The resident memory of this process, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        * 1024
}

/// A peer that sends arbitrary bytes causes only errors, in bounded memory.
#[apply(isolated)]
fn random_bytes() {
    let mut random = Random(42);
    let mut buf = vec![0xaa; 256];
    let before = resident();
    let mut seen = [0u64; 4]; // messages, too long, EPROTO, time-outs
    for round in 0..scaled(100_000) {
        let (a, b) = pair(STREAM);
        let mut bytes = pattern(random.below(200) as usize + 1, round);
        // Some inputs begin with a valid header or with several messages.
        for at in [0, 8 + bytes.len() / 3] {
            if random.below(2) == 0 && bytes.len() >= at + 8 {
                let len = [random.below(40), random.next_u64() >> 32][random.below(2) as usize];
                bytes[at..at + 8].copy_from_slice(&header(len as u32));
            }
        }
        raw_send(&a, &bytes, 0);
        let a = (random.below(2) == 0).then_some(a); // or the peer closes
        let mut taken = 0;
        loop {
            let cap = random.below(64) as usize + 1;
            match recv(&b, &mut buf[..cap], 0) {
                Ok(0) => break,
                Ok(len) => {
                    assert!(len <= cap);
                    assert_eq!(bytes[taken..taken + 8], header(len as u32));
                    assert_eq!(bytes[taken + 8..taken + 8 + len], buf[..len]);
                    taken += 8 + len;
                    seen[0] += 1;
                }
                Err(libc::EMSGSIZE) => {
                    let len: [u8; 4] = bytes[taken + 4..taken + 8].try_into().unwrap();
                    taken += 8 + u32::from_le_bytes(len) as usize;
                    seen[1] += 1;
                }
                Err(libc::EPROTO) => seen[2] += 1,
                Err(libc::ETIMEDOUT) => seen[3] += 1,
                Err(libc::EAGAIN) => {
                    assert!(a.is_some() && taken == bytes.len());
                    break;
                }
                Err(error) => panic!("errno {error}"),
            }
            assert!(taken <= bytes.len());
        }
        assert!(buf[64..].iter().all(|byte| *byte == 0xaa));
    }
    assert!(seen.iter().all(|seen| *seen > 0), "{seen:?}");
    assert!(resident() < before + (8 << 20), "{} {}", before, resident());
}
