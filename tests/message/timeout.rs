//! Time-outs: the errno of each, and that nothing lengthens them.

use crate::support::*;
use libc::c_int;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use unixipc::ffi::pair::IPC_WAIT_INTR;

/// A call that has nothing to do, and so waits until its time-out.
type Waiting = fn(&OwnedFd, c_int) -> Outcome;

fn waits_in_recv(fd: &OwnedFd, timeout_ms: c_int) -> Outcome {
    recv(fd, &mut [0; 8], timeout_ms)
}

fn waits_in_recv_fds(fd: &OwnedFd, timeout_ms: c_int) -> Outcome {
    recv_fds(fd, &mut [0; 8], 2, timeout_ms).map(|got| got.0)
}

fn waits_in_recv_full(fd: &OwnedFd, timeout_ms: c_int) -> Outcome {
    recv_full(fd, &mut [0; 8], None, timeout_ms)
}

fn waits_in_send(fd: &OwnedFd, timeout_ms: c_int) -> Outcome {
    send(fd, b"x", timeout_ms)
}

fn waits_in_send_fds(fd: &OwnedFd, timeout_ms: c_int) -> Outcome {
    send_fds(fd, b"x", &[0], timeout_ms)
}

fn waits_in_send_full(fd: &OwnedFd, timeout_ms: c_int) -> Outcome {
    send_full(fd, b"x", None, timeout_ms)
}

const WAITING: [(&str, Waiting); 6] = [
    ("ipc_msg_recv", waits_in_recv),
    ("ipc_msg_recv with descriptors", waits_in_recv_fds),
    ("ipc_recv_full", waits_in_recv_full),
    ("ipc_msg_send", waits_in_send),
    ("ipc_msg_send with descriptors", waits_in_send_fds),
    ("ipc_send_full", waits_in_send_full),
];

/// Runs a test with each call, on each type, with a blocking and a non-blocking end whose send
/// queue is full and whose receive queue is empty.
fn each(run: impl Fn(Waiting, &OwnedFd, &OwnedFd)) {
    for socket_type in TYPES {
        for nonblock in [0, libc::SOCK_NONBLOCK] {
            for (name, waiting) in WAITING {
                let _case = Case(format!(
                    "{name}, type {socket_type}, O_NONBLOCK {nonblock:#x}"
                ));
                let (a, b) = pair(socket_type | nonblock);
                fill(&a);
                run(waiting, &a, &b);
            }
        }
    }
}

#[apply(isolated)]
fn zero_and_short() {
    each(|waiting, a, _| {
        let start = Instant::now();
        assert_eq!(waiting(a, 0), Err(libc::EAGAIN));
        assert_waited(start, Duration::ZERO);
        for timeout_ms in [1, 20] {
            let start = Instant::now();
            assert_eq!(waiting(a, timeout_ms), Err(libc::ETIMEDOUT));
            assert_waited(start, Duration::from_millis(timeout_ms as u64));
        }
    });
}

/// Takes a message from the queue and sends one, so that either type of waiting call returns.
fn serve(b: &OwnedFd) {
    assert_eq!(send(b, b"12345678", 0), Ok(0));
    while raw_recv(b, &mut [0; 4096]).is_ok() {}
}

/// −1, a long time-out, and IPC_WAIT_INTR wait until the call can proceed.
#[apply(isolated)]
fn until_ready() {
    each(|waiting, a, b| {
        for timeout_ms in [-1, 60_000, i32::MAX, IPC_WAIT_INTR] {
            let child = fork(|| {
                let got = waiting(a, timeout_ms);
                assert!(matches!(got, Ok(0 | 1 | 8)), "{got:?}");
            });
            child.wait_asleep();
            serve(b);
            child.join();
            // The remains of a framed message after a recv_full of eight bytes, and the message of
            // `serve`.
            while raw_recv(a, &mut [0; 64]).is_ok() {}
            fill(a);
        }
    });
}

/// Signal handlers that run all the time neither end a wait early nor lengthen it.
#[apply(isolated)]
fn under_signals() {
    for flags in [0, libc::SA_RESTART] {
        count_signal(libc::SIGALRM, flags);
        each(|waiting, a, _| {
            storm(500);
            let before = handled();
            let start = Instant::now();
            assert_eq!(waiting(a, 30), Err(libc::ETIMEDOUT));
            assert_waited(start, Duration::from_millis(30));
            assert!(handled() > before, "no signal came");
            assert_eq!(waiting(a, 0), Err(libc::EAGAIN));
            storm(0);
        });
    }
}

/// With IPC_WAIT_INTR a handler ends the wait with EINTR, even with SA_RESTART; −1 and a long
/// time-out continue.
#[apply(isolated)]
fn interrupted() {
    for flags in [0, libc::SA_RESTART] {
        count_signal(libc::SIGUSR1, flags);
        each(|waiting, a, b| {
            let child = fork(|| assert_eq!(waiting(a, IPC_WAIT_INTR), Err(libc::EINTR)));
            child.interrupt(libc::SIGUSR1);
            child.join();
            for timeout_ms in [-1, 60_000] {
                let child = fork(|| assert!(waiting(a, timeout_ms).is_ok()));
                for _ in 0..3 {
                    child.wait_asleep();
                    child.signal(libc::SIGUSR1);
                }
                child.wait_asleep();
                serve(b);
                child.join();
                while raw_recv(a, &mut [0; 64]).is_ok() {}
                fill(a);
            }
        });
    }
}

/// Stopping and continuing the process runs no handler, and does not end the wait.
#[apply(isolated)]
fn stopped_and_continued() {
    each(|waiting, a, b| {
        let child = fork(|| assert!(waiting(a, IPC_WAIT_INTR).is_ok()));
        child.wait_asleep();
        child.stop();
        child.signal(libc::SIGCONT);
        serve(b);
        child.join();
    });
}

/// Single bytes that wake the receiver repeatedly do not lengthen its time-out.
#[apply(isolated)]
fn repeated_wake_ups() {
    let (a, b) = pair(libc::SOCK_STREAM);
    let (count, message) = (1 << 20, 1 << 24);
    for framed in [false, true] {
        let child = fork(|| {
            let start = Instant::now();
            let mut buf = vec![0; message];
            let got = if framed {
                recv(&b, &mut buf, 50)
            } else {
                recv_full(&b, &mut buf, None, 50)
            };
            assert_eq!(got, Err(libc::ETIMEDOUT));
            assert_waited(start, Duration::from_millis(50));
        });
        if framed {
            raw_send(&a, &header(message as u32), 0);
        }
        let start = Instant::now();
        let mut sent = 0;
        while sent < count && start.elapsed() < Duration::from_millis(200) {
            // The receiver may have ended the direction already.
            if send_full(&a, b"x", None, 100).is_err() {
                break;
            }
            sent += 1;
        }
        assert!(sent > 1, "{sent}");
        child.join();
        while raw_recv(&b, &mut [0; 4096]).is_ok_and(|len| len > 0) {}
    }
}

/// SO_RCVTIMEO and SO_SNDTIMEO on the caller's socket do not shorten a wait.
#[apply(isolated)]
fn socket_timeouts() {
    let (a, b) = pair(libc::SOCK_SEQPACKET);
    let own = libc::timeval {
        tv_sec: 0,
        tv_usec: 5000,
    };
    let (at, len) = ((&raw const own).cast(), size_of_val(&own) as u32);
    for option in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
        use std::os::fd::AsRawFd;
        // SAFETY: a timeval, with its size.
        let set = unsafe { libc::setsockopt(a.as_raw_fd(), libc::SOL_SOCKET, option, at, len) };
        assert_eq!(set, 0);
    }
    fill(&a);
    for waiting in [waits_in_recv as Waiting, waits_in_send] {
        let start = Instant::now();
        assert_eq!(waiting(&a, 40), Err(libc::ETIMEDOUT));
        assert_waited(start, Duration::from_millis(40));
        let child = fork(|| assert!(waiting(&a, -1).is_ok()));
        wait_until("a longer wait than the socket's own", || {
            start.elapsed() > Duration::from_millis(80)
        });
        serve(&b);
        child.join();
        fill(&a);
    }
}
