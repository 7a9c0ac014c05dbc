//! Time-outs of calls, and the end of the session during a call.

use crate::call::raw_request;
use crate::support::*;
use libc::{EAGAIN, EBUSY, EPIPE, ETIMEDOUT, SHUT_RD, SHUT_RDWR, SHUT_WR};
use std::time::Duration;
use std::{mem, thread};

/// A call without time to wait sends nothing.
#[apply(isolated)]
fn no_wait() {
    for polled in [false, true] {
        let (a, b) = pair();
        if polled {
            a.fd().unwrap();
        }
        assert_eq!(a.call(b"x", 9, 0), Err(EAGAIN));
        assert_eq!(b.next_call(9, 0), Err(EAGAIN));
        assert_eq!(b.recv(0), Err(EAGAIN), "a request was sent");
        drop(b);
        thread::sleep(Duration::from_micros(50)); // the interval of the checks
        assert_eq!(a.call(b"x", 9, 0), Err(EPIPE));
        assert_eq!(a.next_call(9, 0), Ok((0, vec![])));
    }
}

/// The time-out covers sending and receiving together.
#[apply(isolated)]
fn one_time_out() {
    for opts in [SMALL, NO_SPIN] {
        let (a, b) = pair_with(&opts);
        let (reply, ms) = timed_ms(|| a.call(b"x", 9, 30));
        assert_eq!(reply, Err(ETIMEDOUT));
        assert!((30..5000).contains(&ms), "{ms} ms");
        // Waits for space for most of the time-out.
        a.fill(30_000);
        thread::scope(|scope| {
            let caller = scope.spawn(|| timed_ms(|| a.call(&[0; 30_000], 9, 2000)));
            thread::sleep(Duration::from_millis(1500));
            b.drain();
            let (reply, ms) = caller.join().unwrap();
            assert_eq!(reply, Err(ETIMEDOUT));
            // A second time-out after the wait for space would end at 3500 ms.
            assert!((2000..3400).contains(&ms), "{ms} ms");
        });
        // Waits for space all the time: nothing is sent.
        b.drain();
        let filled = a.fill(30_000);
        let (reply, ms) = timed_ms(|| a.call(&[0; 30_000], 9, 250));
        assert_eq!(reply, Err(ETIMEDOUT));
        assert!((250..5000).contains(&ms), "{ms} ms");
        assert_eq!(b.drain(), filled);
    }
}

/// A call waits for space without a time limit, or until a signal.
#[apply(isolated)]
fn long_wait_for_space() {
    let (a, b) = small();
    let mut queued = a.fill(30_000);
    ends_with_signal(|| a.call(&[0; 30_000], 9, INTR).map(|reply| reply.len()));
    for timeout_ms in [-1, INTR] {
        queued += a.fill(30_000);
        thread::scope(|scope| {
            let caller = scope.spawn(|| a.call(&[0; 30_000], 9, timeout_ms));
            // Longer than the interval at which the caller discards late replies.
            thread::sleep(Duration::from_millis(250));
            assert!(!caller.is_finished());
            // No more than these: the request follows as soon as it fits.
            for _ in 0..mem::take(&mut queued) {
                b.recv_cap(30_000, 0).unwrap();
            }
            let (id, _) = b.next_call(30_000, LONG).unwrap();
            assert_eq!(b.reply(id, b"y", LONG), DONE);
            assert_eq!(caller.join().unwrap().unwrap(), b"y");
        });
    }
}

/// The server ends while the caller waits. The caller detects it at once.
#[apply(isolated)]
fn server_ends() {
    type End_ = fn(&End);
    let ends: [(&str, End_); 3] = [
        ("dies", |_| kill_this_process()),
        ("shuts down sending", |b| {
            assert_eq!(b.shutdown(SHUT_WR), DONE);
            sleep_forever()
        }),
        ("shuts down both", |b| {
            assert_eq!(b.shutdown(SHUT_RDWR), DONE);
            sleep_forever()
        }),
    ];
    for opts in [SMALL, NO_SPIN] {
        for (what, end) in ends {
            let _case = Case(what);
            let (a, b) = pair_with(&opts);
            let child = fork(|| {
                close_copy(&a);
                b.next_call(9, LONG).unwrap();
                end(&b)
            });
            drop(b);
            let (reply, ms) = timed_ms(|| a.call(b"x", 9, LONG));
            assert_eq!(reply, Err(EPIPE));
            assert!(ms < 5000, "{ms} ms");
            assert_eq!(a.call(b"x", 9, LONG), Err(EPIPE));
            assert_eq!(a.call(b"x", 9, 0), Err(EPIPE));
            kill(child);
        }
    }
}

/// The caller receives a reply that the server sent before it died.
#[apply(isolated)]
fn reply_before_death() {
    for opts in [SMALL, NO_SPIN] {
        let (a, b) = pair_with(&opts);
        let child = fork(|| {
            close_copy(&a);
            let (id, _) = b.next_call(9, LONG).unwrap();
            assert_eq!(b.reply(id, b"y", 0), DONE);
            kill_this_process();
        });
        drop(b);
        assert_eq!(a.call(b"x", 9, LONG).unwrap(), b"y");
        kill(child);
        assert_eq!(a.call(b"x", 9, LONG), Err(EPIPE));
    }
}

/// Directions that were shut down before the call: the call sends nothing.
#[apply(isolated)]
fn ended_before_the_call() {
    for (by_caller, how) in [
        (true, SHUT_RD),
        (true, SHUT_WR),
        (false, SHUT_RD),
        (false, SHUT_WR),
    ] {
        let (a, b) = pair();
        assert_eq!(a.next_call(9, 0), Err(EAGAIN));
        assert_eq!(if by_caller { &a } else { &b }.shutdown(how), DONE);
        for timeout_ms in [LONG, -1] {
            assert_eq!(a.call(b"x", 9, timeout_ms), Err(EPIPE));
        }
        if by_caller || how == SHUT_WR {
            assert_eq!(a.stats().sent_messages, 0, "a request was sent");
        }
    }
}

/// The server receives all requests of a caller that has gone, and then the end.
#[apply(isolated)]
fn caller_ends() {
    let (a, b) = pair();
    assert_eq!(a.send(&raw_request(1, 0, b"one"), 0), DONE);
    assert_eq!(a.send(&raw_request(2, 1, b"expired"), 0), DONE);
    assert_eq!(a.send(&raw_request(3, 0, b"two"), 0), DONE);
    drop(a);
    assert_eq!(b.next_call(9, LONG).unwrap().0, 1);
    assert_eq!(b.next_call(9, LONG).unwrap().0, 3);
    for timeout_ms in [0, 1, -1] {
        assert_eq!(b.next_call(9, timeout_ms), Ok((0, vec![])));
    }
    assert_eq!(b.reply(1, b"x", LONG), Err(EPIPE));
}

/// A process and its child by fork call in turn: no id is used twice. A process that does not know
/// of the calls of the other one fails, and sends nothing.
#[apply(isolated)]
fn callers_by_fork() {
    let (a, b) = pair();
    assert_eq!(a.call(b"parent", 9, 1), Err(ETIMEDOUT));
    fork(|| assert_eq!(a.call(b"child", 9, 1), Err(ETIMEDOUT))).join();
    assert_eq!(a.call(b"parent", 9, LONG), Err(EBUSY));
    assert_eq!(a.reply(1, b"parent", LONG), Err(EBUSY));
    let [one, two] = [(); 2].map(|()| b.recv(0).unwrap());
    assert!(one[8..16] != two[8..16], "the ids are the same");
    assert_eq!(b.recv(0), Err(EAGAIN));
}
