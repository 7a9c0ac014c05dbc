//! One side closes, exits, dies or shuts down, and the other side detects it.

use crate::support::*;
use libc::{EAGAIN, EPIPE, c_int};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;
use std::{process, thread};

/// An action of the peer that ends its side.
type Ending = fn(&End);

/// The ways in which a peer can end its side.
const WAYS: [(&str, Ending); 5] = [
    ("close", |end| {
        close_copy(end);
        sleep_forever()
    }),
    ("exit", |_| process::exit(0)),
    ("SIGKILL", |_| kill_this_process()),
    ("exec", |_| {
        let error = Command::new("sleep").arg("20").exec();
        panic!("{error}");
    }),
    ("shutdown", |end| {
        assert_eq!(end.shutdown(libc::SHUT_RDWR), DONE);
        sleep_forever()
    }),
];

/// The time within which a blocked call must detect the peer's end. The library promises 10 ms;
/// this limit allows for a busy machine.
const LIMIT_MS: u64 = 1000;

/// One side is blocked in a call while the other side ends. If the peer exits, it is not reaped
/// before the call returns.
fn check_blocked_call(what: &str, prepare: fn(&End), call: fn(&End) -> Outcome, expected: Outcome) {
    let me = process::id() as libc::pid_t;
    for polled in [false, true] {
        for (way, end) in WAYS {
            let _case = Case(format!("{what}, {way}, polled: {polled}"));
            let shared = Counters::new();
            let (a, child) = spawn_peer(&SMALL, |b| {
                shared.wait_for(0, 1);
                // The parent's next sleep is that in the call.
                thread::sleep(Duration::from_millis(20));
                wait_until("a blocked parent", || is_asleep(me));
                shared.set(1, now());
                end(b);
            });
            if polled {
                a.fd().unwrap();
            }
            prepare(&a);
            shared.set(0, 1);
            let result = call(&a);
            let took = (now() - shared.get(1)) / 1000;
            assert_ne!(shared.get(1), 0, "the call returned before the peer ended");
            assert_eq!(result, expected);
            println!("{what}, {way}, polled: {polled}: detected after {took} us");
            assert!(took < LIMIT_MS * 1000, "{took} us");
            assert_eq!(call(&a), expected, "a second call");
            drop(child); // kills and reaps it
            assert_eq!(call(&a), expected, "a call after the peer was reaped");
        }
    }
}

#[apply(isolated)]
fn detected_in_recv() {
    check_blocked_call(
        "recv",
        |_| (),
        |a| a.recv(-1).map(|message| message.len()),
        Ok(0),
    );
}

#[apply(isolated)]
fn detected_in_peek_with_time_out() {
    check_blocked_call("peek", |_| (), |a| a.peek(LONG).map(<[u8]>::len), Ok(0));
}

#[apply(isolated)]
fn detected_in_send() {
    let fill = |a: &End| assert!(a.fill(1000) > 0);
    check_blocked_call("send", fill, |a| a.send(&[0; 1000], -1), Err(EPIPE));
}

#[apply(isolated)]
fn detected_in_reserve_with_time_out() {
    let fill = |a: &End| assert!(a.fill(1000) > 0);
    let reserve = |a: &End| a.reserve(1000, LONG).map(|message| message.len());
    check_blocked_call("reserve", fill, reserve, Err(EPIPE));
}

/// Calls that do not wait detect the end too: a receive at once, a send after at most 64 messages.
#[apply(isolated)]
fn detected_without_waiting() {
    for (way, end) in WAYS {
        let _case = Case(way);
        let shared = Counters::new();
        let (a, child) = spawn_peer(&SMALL, |b| {
            assert_eq!(b.recv(LONG).unwrap(), b"go"); // this side counts as awake
            shared.set(0, 1);
            end(b);
        });
        assert_eq!(a.send(b"go", 0), DONE);
        shared.wait_for(0, 1);
        match way {
            "exit" | "SIGKILL" => wait_dead(&child),
            _ => wait_until("the end", || a.recv(0) == Ok(vec![])),
        }
        assert_eq!(a.recv(0), Ok(vec![]));
        assert_eq!(a.peek(0), Ok(&[][..]));
        let sent = (0..1000)
            .find_map(|count| match a.send(b"x", 0) {
                Ok(_) => None,
                Err(error) => Some((count, error)),
            })
            .expect("none of 1000 messages failed");
        println!("{way}: EPIPE after {} messages", sent.0);
        assert!(sent.0 <= 64 && sent.1 == EPIPE, "{sent:?}");
        for timeout_ms in [-1, 0, 10] {
            assert_eq!(a.send(b"x", timeout_ms), Err(EPIPE));
            assert_eq!(reserve_and_commit(&a, timeout_ms), Err(EPIPE));
            assert_eq!(a.recv(timeout_ms), Ok(vec![]));
        }
        drop(child);
    }
}

/// Sends in two steps. Either can report the peer's end.
pub fn reserve_and_commit(end: &End, timeout_ms: c_int) -> Outcome {
    end.reserve(1, timeout_ms)?;
    end.commit(1)
}

/// Waits until all threads of a child have ended, without reaping it.
fn wait_dead(child: &Child) {
    wait_until("the end of the child", || child.has_ended());
}

/// A sender detects the end although this side receives nothing.
#[apply(isolated)]
fn sender_alone() {
    // The peer has never received, so it counts as asleep, and the first send detects its end.
    for way in [
        &WAYS[0], // close
        &WAYS[2], // SIGKILL
    ] {
        let (a, child) = spawn_peer(&SMALL, way.1);
        if way.0 == "SIGKILL" {
            wait_dead(&child);
            assert_eq!(a.send(b"x", 0), Err(EPIPE), "{}", way.0);
        } else {
            child.wait_asleep();
            assert_eq!(a.send(b"x", 0), Err(EPIPE), "{}", way.0);
        }
        assert_eq!(a.send(b"x", 0), Err(EPIPE), "{}", way.0);
        drop(child);
    }
    // The peer was awake when it was killed. The sender checks after 64 messages without a receive.
    let shared = Counters::new();
    let (a, child) = spawn_peer(&DEFAULTS, |b| {
        assert_eq!(b.recv(LONG).unwrap(), b"go");
        shared.set(0, 1);
        loop {
            std::hint::spin_loop();
        }
    });
    assert_eq!(a.send(b"go", 0), DONE);
    shared.wait_for(0, 1);
    child.signal(libc::SIGKILL);
    wait_dead(&child);
    let sent = (0..1000).take_while(|_| a.send(b"x", 0).is_ok()).count();
    println!("killed while awake: EPIPE after {sent} messages");
    assert!(sent < 128, "{sent}");
    drop(child);
}

/// With a full ring a send that does not wait detects the end too, and causes no SIGPIPE.
#[apply(isolated)]
fn full_ring() {
    for polled in [false, true] {
        let (a, child) = spawn_peer(&SMALL, |b| {
            b.recv(0).unwrap_err();
            sleep_forever()
        });
        child.wait_asleep();
        if polled {
            a.fd().unwrap();
        }
        a.fill(1000);
        a.fill(1);
        for _ in 0..500 {
            assert_eq!(a.send(b"x", 0), Err(EAGAIN));
        }
        child.signal(libc::SIGKILL);
        wait_dead(&child);
        let tries = (0..1000).take_while(|_| a.send(b"x", 0) == Err(EAGAIN));
        let tries = tries.count();
        println!("polled: {polled}: EPIPE after {tries} tries");
        assert!(tries <= 64, "{tries}");
        assert_eq!(a.send(b"x", 0), Err(EPIPE));
        drop(child);
    }
}

/// Messages that were sent before the end are received before it.
#[apply(isolated)]
fn drained_first() {
    for (way, end) in WAYS {
        for count in [1, 63, 64, 65, 500] {
            let _case = Case(format!("{way}, {count} messages"));
            let (a, child) = spawn_peer(&SMALL, |b| {
                for number in 0..count {
                    assert_eq!(b.send(&pattern(100, number), 0), DONE);
                }
                end(b);
            });
            if count == 63 {
                // Receive when the peer has ended.
                match way {
                    "exit" | "SIGKILL" => wait_dead(&child),
                    _ => child.wait_asleep(),
                }
            }
            for number in 0..count {
                assert_eq!(a.recv(LONG).unwrap(), pattern(100, number));
            }
            for timeout_ms in [-1, 0, 10, -1] {
                assert_eq!(a.recv(timeout_ms), Ok(vec![]));
                assert_eq!(a.peek(timeout_ms), Ok(&[][..]));
            }
            drop(child);
        }
    }
}

/// The peer is killed while it has a reserved message and a peeked one. The reserved message is not
/// sent, and the messages that were sent are received.
#[apply(isolated)]
fn killed_between_calls() {
    let (a, child) = spawn_peer(&SMALL, |b| {
        assert_eq!(b.send(b"whole", 0), DONE);
        b.reserve(1000, 0).unwrap().fill(1);
        b.peek(LONG).unwrap();
        WAYS[2].1(b);
    });
    assert_eq!(a.send(b"peeked", 0), DONE);
    assert_eq!(a.recv(LONG).unwrap(), b"whole");
    assert_eq!(a.recv(LONG), Ok(vec![]));
    assert_eq!(a.send(b"x", LONG).and(a.send(b"x", LONG)), Err(EPIPE));
    drop(child);
}
