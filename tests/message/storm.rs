//! Many messages: under signals, with time-outs, from several threads, and with processes that are
//! killed during a call.

use crate::support::*;
use libc::c_int;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use unixipc::ffi::pair::IPC_WAIT_INTR;

/// Messages that sender and receiver can both compute: each has its number and pseudorandom bytes.
struct Messages {
    noise: Vec<u8>,
    longest: u64,
}

impl Messages {
    fn new(longest: u64) -> Self {
        Self {
            noise: pattern(longest as usize * 2, 77),
            longest,
        }
    }

    /// Builds message `number` in `buf`. Most are short.
    fn get<'a>(&self, number: u64, buf: &'a mut Vec<u8>) -> &'a [u8] {
        let mut random = Random(number);
        let short = [16, 300, 300, 3000, 3000, self.longest, 1, 1];
        let end = short[random.below(8) as usize].min(self.longest);
        let len = random.below(end) as usize + 1;
        let at = random.below(self.longest) as usize;
        buf.clear();
        buf.extend(number.to_le_bytes());
        buf.extend(&self.noise[at..at + len]);
        buf.truncate(len);
        buf
    }
}

/// A random time-out, sometimes −1.
fn random_timeout(random: &mut Random) -> c_int {
    [-1, 0, 0, 1, 1, 2, 1000, IPC_WAIT_INTR][random.below(8) as usize]
}

/// Whether to repeat a call: it failed without an effect.
#[track_caller]
fn again(outcome: Outcome, timeout_ms: c_int) -> bool {
    let errno = match outcome {
        Ok(_) => return false,
        Err(errno) => errno,
    };
    let expected = match timeout_ms {
        0 => libc::EAGAIN,
        IPC_WAIT_INTR => libc::EINTR,
        1.. => libc::ETIMEDOUT,
        _ => panic!("errno {errno} without a time-out"),
    };
    assert_eq!(errno, expected, "time-out {timeout_ms}");
    true
}

type Timeouts = fn(&mut Random) -> c_int;

fn send_all(fd: &OwnedFd, messages: &Messages, count: u64, timeout: Timeouts) {
    let mut random = Random(count ^ 1);
    let mut made = Vec::new();
    for number in 0..count {
        let message = messages.get(number, &mut made);
        let fds: &[c_int] = if number % 97 == 5 { &[0, 0, 0] } else { &[] };
        loop {
            let timeout_ms = timeout(&mut random);
            let sent = send_fds(fd, message, fds, timeout_ms);
            if !again(sent, timeout_ms) {
                break;
            }
        }
    }
}

fn recv_all(fd: &OwnedFd, messages: &Messages, count: u64, timeout: Timeouts) {
    let mut random = Random(count ^ 2);
    let mut made = Vec::new();
    let mut buf = vec![0; messages.longest as usize];
    for number in 0..count {
        let message = messages.get(number, &mut made);
        let expected = if number % 97 == 5 { 3 } else { 0 };
        loop {
            let timeout_ms = timeout(&mut random);
            let got = if expected > 0 || number % 3 == 0 {
                recv_fds(fd, &mut buf, 3, timeout_ms).map(|(len, fds)| {
                    assert_eq!(fds.len(), expected, "message {number}");
                    len
                })
            } else {
                recv(fd, &mut buf, timeout_ms)
            };
            if again(got, timeout_ms) {
                continue;
            }
            assert_eq!(got, Ok(message.len()), "message {number}");
            assert!(buf[..message.len()] == *message, "message {number}");
            break;
        }
    }
}

/// 10^4 messages each way at once, while signals interrupt the calls of both processes every 100
/// µs.
#[apply(isolated)]
fn interrupted_messages() {
    let count = scaled(10_000);
    for socket_type in TYPES {
        for flags in [0, libc::SA_RESTART] {
            for nonblock in [0, libc::SOCK_NONBLOCK] {
                count_signal(libc::SIGALRM, flags);
                let messages = Messages::new(32 << 10);
                let (a, b) = pair(socket_type | nonblock);
                // The signals arrive in the main thread, which sends in one process and receives in
                // the other.
                let child = fork(|| {
                    storm(100);
                    thread::scope(|scope| {
                        scope.spawn(|| send_all(&b, &messages, count, random_timeout));
                        recv_all(&b, &messages, count, random_timeout);
                    });
                    storm(0);
                });
                let before = handled();
                storm(100);
                thread::scope(|scope| {
                    scope.spawn(|| recv_all(&a, &messages, count, random_timeout));
                    send_all(&a, &messages, count, random_timeout);
                });
                storm(0);
                child.join();
                assert!(handled() > before + 10, "{}", handled() - before);
            }
        }
    }
}

/// The same for the bytes of a stream.
#[apply(isolated)]
fn interrupted_stream() {
    let whole = pattern(8 << 20, 6);
    for flags in [0, libc::SA_RESTART] {
        count_signal(libc::SIGALRM, flags);
        for pick in [random_timeout as Timeouts, |_| -1] {
            let (a, b) = pair(libc::SOCK_STREAM);
            let child = fork(|| {
                storm(100);
                let mut random = Random(8);
                let mut done = 0;
                loop {
                    let timeout_ms = pick(&mut random);
                    let sent = send_full(&a, &whole, Some(&mut done), timeout_ms);
                    if !again(sent, timeout_ms) {
                        break;
                    }
                }
                storm(0);
            });
            storm(100);
            let mut random = Random(9);
            let mut buf = vec![0; whole.len()];
            let mut done = 0;
            loop {
                let timeout_ms = pick(&mut random);
                let got = recv_full(&b, &mut buf, Some(&mut done), timeout_ms);
                if !again(got, timeout_ms) {
                    break;
                }
            }
            storm(0);
            child.join();
            assert!(buf == whole);
            drop(a);
            assert_eq!(recv_full(&b, &mut buf[..1], None, -1), Ok(0));
        }
    }
}

/// 10^6 messages (with UNIXIPC_TEST_SCALE=10) over each type, with random time-outs.
#[apply(isolated)]
fn many_messages() {
    let count = scaled(100_000);
    for socket_type in TYPES {
        // On a stream, at most the length that no time-out can cut.
        let messages = Messages::new(32 << 10);
        let (a, b) = pair(socket_type);
        // EINTR is impossible: no handler is installed.
        let child = fork(|| send_all(&a, &messages, count, random_timeout));
        recv_all(&b, &messages, count, random_timeout);
        child.join();
        assert_eq!(recv(&b, &mut [0; 8], 0), Err(libc::EAGAIN));
    }
}

/// Longer messages, which a time-out could cut, so without one.
#[apply(isolated)]
fn long_messages() {
    let messages = Messages::new(1 << 20);
    let count = scaled(1000);
    let (a, b) = pair(libc::SOCK_STREAM);
    let child = fork(|| send_all(&a, &messages, count, |_| -1));
    recv_all(&b, &messages, count, |random| {
        [-1, 60_000][random.below(2) as usize]
    });
    child.join();
    assert_eq!(recv(&b, &mut [0; 8], 0), Err(libc::EAGAIN));
}

/// Spins for a time: a sleep would be too coarse.
fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {}
}

/// A sender is killed at a random moment: the receiver gets whole messages in order, then the end
/// or EPROTO.
#[apply(isolated)]
fn sender_killed() {
    let mut random = Random(3);
    let mut made = Vec::new();
    let mut totals = [0; 3];
    let mut cut = 0;
    for (socket_type, total) in TYPES.into_iter().zip(&mut totals) {
        let longest = if socket_type == libc::SOCK_STREAM {
            200_000
        } else {
            60_000
        };
        let messages = Messages::new(longest);
        let mut buf = vec![0; longest as usize];
        for _ in 0..scaled(50) {
            let (a, b) = pair(socket_type);
            let others = b.as_raw_fd();
            let messages = &messages;
            let child = fork(move || {
                drop(own(others));
                send_all(&a, messages, u64::MAX, |_| -1);
            });
            let enough = random.below(1000);
            let mut number = 0;
            let mut child = Some(child);
            loop {
                if number == enough && child.is_some() {
                    spin(Duration::from_micros(random.below(200)));
                    drop(child.take()); // kills it
                }
                let timeout_ms = if child.is_some() { 20_000 } else { 0 };
                match recv(&b, &mut buf, timeout_ms) {
                    Ok(0) => break,
                    Ok(len) => {
                        let message = messages.get(number, &mut made);
                        assert!(
                            buf[..len] == *message,
                            "type {socket_type}, message {number}"
                        );
                        number += 1;
                    }
                    Err(libc::EPROTO) if socket_type == libc::SOCK_STREAM => {
                        assert_eq!(recv(&b, &mut buf, -1), Ok(0));
                        cut += 1;
                        break;
                    }
                    Err(libc::EAGAIN) if socket_type == libc::SOCK_DGRAM => break,
                    Err(error) => panic!("type {socket_type}, errno {error}"),
                }
            }
            assert!(child.is_none() && number >= enough);
            *total += number;
        }
    }
    println!("messages {totals:?}, sessions cut inside a message: {cut}");
}

/// A receiver is killed at a random moment: the sender gets EPIPE, and no signal.
#[apply(isolated)]
fn receiver_killed() {
    let mut random = Random(4);
    for socket_type in TYPES {
        let longest = if socket_type == libc::SOCK_STREAM {
            200_000
        } else {
            60_000
        };
        let messages = Messages::new(longest);
        for round in 0..scaled(50) {
            let (a, b) = pair(socket_type);
            let others = a.as_raw_fd();
            let receiver = &messages;
            let child = fork(move || {
                drop(own(others));
                recv_all(&b, receiver, u64::MAX, |_| -1);
            });
            let enough = random.below(1000);
            let mut number = 0;
            let mut made = Vec::new();
            let mut killed = None;
            let sent = loop {
                if number == enough {
                    // From another process, so that the signal can arrive during a send.
                    let pid = child.0;
                    let wait = Duration::from_micros(random.below(500));
                    killed = Some(fork(move || {
                        spin(wait);
                        // SAFETY: no pointers; the child is reaped after this one.
                        unsafe { libc::kill(pid, libc::SIGKILL) };
                    }));
                }
                let message = messages.get(number, &mut made);
                let fds: &[c_int] = if number % 97 == 5 { &[0, 0, 0] } else { &[] };
                match send_fds(&a, message, fds, [-1, 20_000][round as usize % 2]) {
                    Ok(_) => number += 1,
                    Err(error) => break error,
                }
            };
            assert_eq!(sent, libc::EPIPE, "type {socket_type}");
            let later = send(&a, b"x", -1).unwrap_err();
            let is_disconnected = later == libc::ENOTCONN && may_disconnect(socket_type);
            assert!(is_disconnected || later == errno_after_close(socket_type));
            killed.expect("an end before the kill").join();
            assert!(child.reap() == libc::SIGKILL, "the child found an error");
            if socket_type != libc::SOCK_DGRAM && !is_disconnected {
                assert_eq!(recv(&a, &mut [0; 8], -1), Ok(0));
            }
        }
    }
}

/// Whether the end of the receiver during a send can disconnect the sender's socket.
fn may_disconnect(socket_type: c_int) -> bool {
    socket_type == libc::SOCK_SEQPACKET && kernel_version() < (6, 2)
}

/// Both processes send; one is killed. All its messages arrive, although it left many unread.
#[apply(isolated)]
fn killed_while_both_talk() {
    let mut random = Random(5);
    for socket_type in [libc::SOCK_STREAM, libc::SOCK_SEQPACKET] {
        let messages = Messages::new(4000);
        for _ in 0..scaled(50) {
            let (a, b) = pair(socket_type);
            let others = a.as_raw_fd();
            let theirs = &messages;
            let (mut wait_ready, ready) = pipe();
            let child = fork(move || {
                drop(own(others));
                use std::io::Write;
                let mut ready = ready;
                let mut made = Vec::new();
                for number in 0.. {
                    send(&b, theirs.get(number, &mut made), -1).unwrap();
                    ready.write_all(b".").unwrap();
                }
            });
            // The child never reads.
            send(&a, b"unread", 0).unwrap();
            let enough = random.below(30);
            let mut buf = vec![0; 4000];
            let mut made = Vec::new();
            for number in 0..enough {
                let message = messages.get(number, &mut made);
                assert_eq!(recv(&a, &mut buf, 20_000), Ok(message.len()));
            }
            spin(Duration::from_micros(random.below(300)));
            drop(child);
            let mut dots = Vec::new();
            std::io::Read::read_to_end(&mut wait_ready, &mut dots).unwrap();
            let mut number = enough;
            loop {
                match recv(&a, &mut buf, 1000) {
                    Ok(0) | Err(libc::EPROTO) => break,
                    got => {
                        let message = messages.get(number, &mut made);
                        assert_eq!(got, Ok(message.len()));
                        assert!(buf[..message.len()] == *message);
                        number += 1;
                    }
                }
            }
            let sent = dots.len() as u64;
            assert!(
                number >= sent,
                "type {socket_type}: {number} of {sent} messages"
            );
        }
    }
}

/// Several threads send and receive on one SEQPACKET or DGRAM pair: each message arrives once and
/// whole, and each receiver gets a sender's messages in order.
#[apply(isolated)]
fn several_threads() {
    const SENDERS: u64 = 4;
    let each = scaled(5000);
    for socket_type in [libc::SOCK_SEQPACKET, libc::SOCK_DGRAM] {
        for receivers in [1, 3] {
            let messages = Messages::new(2000);
            let (a, b) = pair(socket_type);
            let left = AtomicUsize::new((SENDERS * each) as usize);
            let seen = thread::scope(|scope| {
                for sender in 0..SENDERS {
                    let (a, messages) = (&a, &messages);
                    scope.spawn(move || {
                        let mut made = Vec::new();
                        for i in 0..each {
                            let mut message = (i * SENDERS + sender).to_le_bytes().to_vec();
                            message.extend(messages.get(i * SENDERS + sender, &mut made));
                            assert_eq!(send(a, &message, 20_000), Ok(0));
                        }
                    });
                }
                let receiving: Vec<_> = (0..receivers)
                    .map(|_| scope.spawn(|| receive_some(&b, &messages, &left)))
                    .collect();
                let mut seen: Vec<u64> = Vec::new();
                for receiver in receiving {
                    let mine = receiver.join().unwrap();
                    for sender in 0..SENDERS {
                        let theirs = mine.iter().filter(|number| **number % SENDERS == sender);
                        assert!(theirs.is_sorted());
                    }
                    seen.extend(mine);
                }
                seen
            });
            let mut seen = seen;
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..SENDERS * each), "each once");
        }
    }
}

/// Receives until the receivers together have all messages. The numbers of this one's messages.
fn receive_some(fd: &OwnedFd, messages: &Messages, left: &AtomicUsize) -> Vec<u64> {
    let mut mine = Vec::new();
    let mut buf = vec![0; 2100];
    let mut made = Vec::new();
    while left.load(Relaxed) > 0 {
        let got = recv(fd, &mut buf, 10);
        if again(got, 10) {
            continue;
        }
        left.fetch_sub(1, Relaxed);
        let number = u64::from_le_bytes(buf[..8].try_into().unwrap());
        assert!(buf[8..got.unwrap()] == *messages.get(number, &mut made));
        mine.push(number);
    }
    mine
}
