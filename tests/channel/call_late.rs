//! Late replies, expired requests, and peers that flood a call with them.

use crate::call::{HEADER, raw, raw_request};
use crate::event_loop::StopOnDrop;
use crate::support::*;
use libc::{EAGAIN, EINTR, ETIMEDOUT, c_int};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, Scope};
use std::time::Duration;

/// A call that has timed out, whose request the server has received. Returns the id.
#[track_caller]
fn timed_out_call(a: &End, b: &End) -> u64 {
    thread::scope(|scope| {
        let caller = scope.spawn(|| {
            let (reply, ms) = timed_ms(|| a.call(b"slow", 9, 50));
            assert_eq!(reply, Err(ETIMEDOUT));
            assert!((50..5000).contains(&ms), "{ms} ms");
        });
        // Not with next_call, which would skip the request if this thread runs too late.
        let request = b.recv(LONG).unwrap();
        caller.join().unwrap();
        let (id, payload) = request.split_at(HEADER);
        assert_eq!(payload, b"slow");
        u64::from_le_bytes(id[8..16].try_into().unwrap())
    })
}

/// The reply to a call that has timed out is not taken for the reply to a later call.
#[apply(isolated)]
fn reply_after_the_time_out() {
    let (a, b) = pair();
    for before_the_call in [true, false] {
        let ids = [timed_out_call(&a, &b), timed_out_call(&a, &b)];
        assert!(ids[0] != ids[1]);
        thread::scope(|scope| {
            let reply_late = || {
                for id in ids {
                    assert_eq!(b.reply(id, b"late", LONG), DONE);
                }
            };
            if before_the_call {
                reply_late();
            }
            let caller = scope.spawn(|| a.call(b"fast", 9, LONG));
            let (id, request) = b.next_call(9, LONG).unwrap();
            assert_eq!(request, b"fast");
            if !before_the_call {
                reply_late();
            }
            assert_eq!(b.reply(id, b"now", LONG), DONE);
            assert_eq!(caller.join().unwrap().unwrap(), b"now");
        });
        assert_eq!(a.recv(0), Err(EAGAIN), "a late reply is left");
    }
}

/// A late reply with any length and id is discarded, even without a call.
#[apply(isolated)]
fn foreign_replies() {
    let (a, b) = small();
    for id in [0, 1, 7, u64::MAX] {
        for len in [0, 1, 1000, a.max() - HEADER] {
            assert_eq!(b.send(&raw(b"uicr", 0, id, id, &vec![7; len]), 0), DONE);
            assert_eq!(a.call(b"x", 9, 0), Err(EAGAIN));
            assert_eq!(b.recv(0), Err(EAGAIN), "a request was sent");
            assert_eq!(b.send(&raw(b"uicr", 0, id, id, &vec![7; len]), 0), DONE);
            assert_eq!(a.next_call(9, 0), Err(EAGAIN), "no reply is a request");
            assert_eq!(a.recv(0), Err(EAGAIN), "the reply is left");
        }
    }
}

/// The server skips requests whose call has timed out.
#[apply(isolated)]
fn expired_requests() {
    let (a, b) = pair();
    for _ in 0..3 {
        assert_eq!(a.call(b"expired", 9, 1), Err(ETIMEDOUT));
    }
    assert_eq!(b.next_call(9, 0), Err(EAGAIN));
    for _ in 0..3 {
        assert_eq!(a.call(b"expired", 9, 1), Err(ETIMEDOUT));
    }
    thread::scope(|scope| {
        let caller = scope.spawn(|| a.call(b"x", 9, LONG));
        let (id, request) = b.next_call(9, LONG).unwrap();
        assert_eq!(request, b"x");
        assert_eq!(b.reply(id, b"y", LONG), DONE);
        assert_eq!(caller.join().unwrap().unwrap(), b"y");
    });
    // Too long for the buffer, but expired.
    assert_eq!(a.call(&[0; 100], 9, 1), Err(ETIMEDOUT));
    let (next, ms) = timed_ms(|| b.next_call(9, 30));
    assert_eq!(next, Err(ETIMEDOUT));
    assert!((30..5000).contains(&ms), "{ms} ms");
}

/// An expired request does not extend the time-out of the server.
#[apply(isolated)]
fn expired_request_during_a_wait() {
    for opts in [SMALL, NO_SPIN] {
        let (a, b) = pair_with(&opts);
        thread::scope(|scope| {
            let server = scope.spawn(|| timed_ms(|| b.next_call(9, 600)));
            thread::sleep(Duration::from_millis(400));
            assert_eq!(a.send(&raw_request(1, 1, b"expired"), LONG), DONE);
            let (next, ms) = server.join().unwrap();
            assert_eq!(next, Err(ETIMEDOUT));
            assert!((600..950).contains(&ms), "{ms} ms");
        });
        assert_eq!(b.stats().received_messages, 1);
    }
}

/// The time at which a request expires is that of the monotonic clock. 0 is never.
#[apply(isolated)]
fn time_of_a_request() {
    let expires = |timeout_ms: c_int| {
        let (a, b) = pair();
        let before = now();
        let child = fork(|| {
            let _ = a.call(b"x", 9, timeout_ms);
        });
        let request = b.recv(LONG).unwrap();
        let after = now();
        kill(child);
        let expires = u64::from_le_bytes(request[16..24].try_into().unwrap());
        (before, expires, after)
    };
    for timeout_ms in [-1, INTR] {
        assert_eq!(expires(timeout_ms).1, 0);
    }
    for timeout_ms in [50, LONG, c_int::MAX] {
        let (before, expires, after) = expires(timeout_ms);
        let ns = timeout_ms as u64 * 1_000_000;
        assert!((before + ns..=after + ns).contains(&expires));
    }
    // A request that expires now, and two that do not.
    let (a, b) = pair();
    assert_eq!(a.send(&raw_request(1, now(), b"x"), 0), DONE);
    assert_eq!(a.send(&raw_request(2, u64::MAX, b"x"), 0), DONE);
    assert_eq!(a.send(&raw_request(3, 0, b"x"), 0), DONE);
    assert_eq!(b.next_call(9, 0).unwrap().0, 2);
    assert_eq!(b.next_call(9, 0).unwrap().0, 3);
}

/// A call that a signal handler ended leaves a request, and the reply to it is late.
#[apply(isolated)]
fn interrupted() {
    let (a, b) = pair();
    count_signals(0);
    storm(1000);
    assert_eq!(a.call(b"x", 9, INTR), Err(EINTR));
    storm(0);
    let (id, _) = b.next_call(9, 0).unwrap();
    assert_eq!(b.reply(id, b"late", 0), DONE);
    assert_eq!(a.call(b"x", 9, 1), Err(ETIMEDOUT));
    assert_eq!(a.recv(0), Err(EAGAIN));
    // Other time-outs ignore the signals.
    storm(1000);
    let (reply, ms) = timed_ms(|| a.call(b"x", 9, 60));
    storm(0);
    assert_eq!(reply, Err(ETIMEDOUT));
    assert!((60..5000).contains(&ms), "{ms} ms");
}

/// Sends a message again and again until the flag is set.
fn spawn_flood<'scope>(
    scope: &'scope Scope<'scope, '_>,
    end: &'scope End,
    stop: &'scope AtomicBool,
    message: Vec<u8>,
) {
    scope.spawn(move || {
        while !stop.load(SeqCst) {
            let _ = end.send(&message, 1);
        }
    });
}

/// A flood of late replies does not extend the time-out of a call, nor a flood of expired requests
/// that of the server.
#[apply(isolated)]
fn floods() {
    type Call = fn(&End, c_int) -> Result<(), c_int>;
    let calls: [(Call, Vec<u8>); 3] = [
        (
            |end, ms| end.call(b"x", 9, ms).map(drop),
            raw(b"uicr", 0, u64::MAX, 0, b""),
        ),
        (
            |end, ms| end.next_call(9, ms).map(drop),
            raw(b"uicr", 0, u64::MAX, 0, b""),
        ),
        (
            |end, ms| end.next_call(9, ms).map(drop),
            raw_request(1, 1, b"expired"),
        ),
    ];
    for (call, message) in calls {
        let (a, b) = small();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _stop = StopOnDrop(&stop);
            spawn_flood(scope, &b, &stop, message);
            wait_until("the flood", || b.stats().sent_messages > 100);
            for _ in 0..3 {
                let (result, ms) = timed_ms(|| call(&a, 50));
                assert_eq!(result, Err(ETIMEDOUT));
                assert!((50..5000).contains(&ms), "{ms} ms");
                let (result, ms) = timed_ms(|| call(&a, 0));
                assert_eq!(result, Err(EAGAIN));
                assert!(ms < 5000, "{ms} ms");
            }
            assert!(a.stats().received_messages > 100, "nothing was discarded");
        });
    }
}

/// A caller waits for space, and the server waits for space too, because late replies fill the
/// other ring. The caller discards them, and both continue.
#[apply(isolated)]
fn both_rings_full() {
    let (a, b) = small();
    assert_eq!(b.recv(0), Err(EAGAIN));
    // The server has not yet received these requests.
    let queued = a.fill_with(&raw_request(1, 0, &[0; 100]));
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            for _ in 0..queued {
                let (id, _) = b.next_call(100, LONG).unwrap();
                assert_eq!(b.reply(id, &[0; 1000], LONG), DONE);
            }
            let (id, request) = b.next_call(30_000, LONG).unwrap();
            assert_eq!(request.len(), 30_000);
            assert_eq!(b.reply(id, b"done", LONG), DONE);
        });
        // The server sleeps because its ring is full.
        wait_until("the full ring", || b.stats().full > 0);
        thread::sleep(Duration::from_millis(1));
        let (reply, ms) = timed_ms(|| a.call(&[0; 30_000], 9, LONG));
        assert_eq!(reply.unwrap(), b"done");
        assert!(ms < 20_000, "{ms} ms");
        server.join().unwrap();
    });
}
