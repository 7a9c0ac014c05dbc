//! The end of the other side, however it comes; and what fork does.

use crate::support::*;
use libc::{EAGAIN, EPIPE, c_int};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;
use std::{process, thread};
use unixipc::ffi::channel::*;

/// An end, and a child that has the other one alone.
fn partner(opts: &ipc_channel_opts, run: impl FnOnce(&End)) -> (End, Child) {
    let (a, b) = pair_with(opts);
    let child = fork(|| {
        close_copy(&a);
        run(&b);
    });
    (a, child)
}

/// Closes what a child has inherited; its copy is not dropped.
pub fn close_copy(end: &End) {
    // SAFETY: an end of this process's, which is not used any more.
    unsafe { ipc_channel_close(end.0) };
}

/// What ends an end.
type Ending = fn(&End);

/// The ways to go; each notes the time first.
const WAYS: [(&str, Ending); 5] = [
    ("close", |end| {
        close_copy(end);
        thread::sleep(Duration::from_secs(20)); // or until it is killed
    }),
    ("exit", |_| process::exit(0)),
    ("SIGKILL", |_| {
        // SAFETY: no pointers.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }),
    ("exec", |_| {
        let error = Command::new("sleep").arg("20").exec();
        panic!("{error}");
    }),
    ("shutdown", |end| {
        assert_eq!(end.shutdown(libc::SHUT_RDWR), DONE);
        thread::sleep(Duration::from_secs(20));
    }),
];

/// What a blocked side may take to know of the end. The promise is 10 ms; a machine that is
/// busy with other things gets more.
const KNOWN_WITHIN_MS: u64 = 1000;

/// One side is blocked in a call, the other one goes; nobody reaps it.
fn known_while_blocked(what: &str, prepare: fn(&End), call: fn(&End) -> Outcome, end: Outcome) {
    let me = process::id() as libc::pid_t;
    for polled in [false, true] {
        for (way, go) in WAYS {
            let _case = Case(format!("{what}, {way}, polled: {polled}"));
            let shared = Counters::new();
            let (a, child) = partner(&SMALL, |b| {
                shared.wait_for(0, 1);
                // The parent's next sleep is that in the call.
                thread::sleep(Duration::from_millis(20));
                wait_until("a blocked parent", || is_asleep(me));
                shared.set(1, now());
                go(b);
            });
            if polled {
                a.fd().unwrap();
            }
            prepare(&a);
            shared.set(0, 1);
            let got = call(&a);
            let took = (now() - shared.get(1)) / 1000;
            assert_ne!(shared.get(1), 0, "it came back before the end");
            assert_eq!(got, end);
            println!("{what}, {way}, polled: {polled}: known after {took} us");
            assert!(took < KNOWN_WITHIN_MS * 1000, "{took} us");
            assert_eq!(call(&a), end, "and it stays so");
            drop(child); // kills and reaps it
            assert_eq!(call(&a), end, "and after that");
        }
    }
}

#[apply(isolated)]
fn known_in_recv() {
    known_while_blocked("recv", |_| (), |a| a.recv(-1).map(|got| got.len()), Ok(0));
}

#[apply(isolated)]
fn known_in_peek_with_time_out() {
    known_while_blocked("peek", |_| (), |a| a.peek(LONG).map(<[u8]>::len), Ok(0));
}

#[apply(isolated)]
fn known_in_send() {
    let fill = |a: &End| assert!(a.fill(1000) > 0);
    known_while_blocked("send", fill, |a| a.send(&[0; 1000], -1), Err(EPIPE));
}

#[apply(isolated)]
fn known_in_reserve_with_time_out() {
    let fill = |a: &End| assert!(a.fill(1000) > 0);
    let reserve = |a: &End| a.reserve(1000, LONG).map(|got| got.len());
    known_while_blocked("reserve", fill, reserve, Err(EPIPE));
}

/// Without waiting it is known too: at once by a receive, after at most 64 messages by a send.
#[apply(isolated)]
fn known_without_waiting() {
    for (way, go) in WAYS {
        let _case = Case(way);
        let shared = Counters::new();
        let (a, child) = partner(&SMALL, |b| {
            assert_eq!(b.recv(LONG).unwrap(), b"go"); // it has been awake
            shared.set(0, 1);
            go(b);
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
            .expect("an error of 1000 messages");
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

/// Sends in two steps, of which either may tell of the end.
fn reserve_and_commit(end: &End, timeout_ms: c_int) -> Outcome {
    end.reserve(1, timeout_ms)?;
    end.commit(1)
}

/// Waits until a child has ended, without reaping it.
fn wait_dead(child: &Child) {
    wait_until("a zombie", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.0)).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('Z')
    });
}

/// The sender finds it out by itself, if nothing else does: nothing is received meanwhile.
#[apply(isolated)]
fn sender_alone() {
    // Never looked at: the first message tells.
    for way in [
        &WAYS[0], // close
        &WAYS[2], // SIGKILL
    ] {
        let (a, child) = partner(&SMALL, way.1);
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
    // Awake until it was killed: 64 messages of which nothing is received tell.
    let shared = Counters::new();
    let (a, child) = partner(&DEFAULTS, |b| {
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

/// With a full ring a send without time says so too, and no SIGPIPE comes.
#[apply(isolated)]
fn full_ring() {
    for polled in [false, true] {
        let (a, child) = partner(&SMALL, |b| {
            b.recv(0).unwrap_err();
            loop {
                // SAFETY: takes nothing.
                unsafe { libc::pause() };
            }
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

/// What was sent before the end is received, and then the end.
#[apply(isolated)]
fn drained_first() {
    for (way, go) in WAYS {
        for count in [1, 63, 64, 65, 500] {
            let _case = Case(format!("{way}, {count} messages"));
            let (a, child) = partner(&SMALL, |b| {
                for number in 0..count {
                    assert_eq!(b.send(&pattern(100, number), 0), DONE);
                }
                go(b);
            });
            if count == 63 {
                // Long after the end.
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

/// Killed with something reserved, or something shown: neither is sent, nor lost.
#[apply(isolated)]
fn killed_half_way() {
    let (a, child) = partner(&SMALL, |b| {
        assert_eq!(b.send(b"whole", 0), DONE);
        b.reserve(1000, 0).unwrap().fill(1);
        b.peek(LONG).unwrap();
        WAYS[2].1(b);
    });
    assert_eq!(a.send(b"shown", 0), DONE);
    assert_eq!(a.recv(LONG).unwrap(), b"whole");
    assert_eq!(a.recv(LONG), Ok(vec![]));
    assert_eq!(a.send(b"x", LONG).and(a.send(b"x", LONG)), Err(EPIPE));
    drop(child);
}

/// Each of both processes uses one end, the child's child too; and each learns of the end.
#[apply(isolated)]
fn across_fork() {
    let (a, b) = pair();
    let child = fork(|| {
        close_copy(&a);
        fork(|| {
            for number in 0..1000u32 {
                assert_eq!(b.recv(LONG).unwrap(), number.to_le_bytes());
                assert_eq!(b.send(&number.to_le_bytes(), LONG), DONE);
            }
            assert_eq!(b.recv(LONG), Ok(vec![]));
        })
        .join();
    });
    drop(b);
    for number in 0..1000u32 {
        assert_eq!(a.send(&number.to_le_bytes(), LONG), DONE);
        assert_eq!(a.recv(LONG).unwrap(), number.to_le_bytes());
    }
    drop(a);
    child.join();
}

/// Both ends and their messages, made before a fork, are the child's as they were.
#[apply(isolated)]
fn half_used_before_fork() {
    let (a, b) = small();
    assert_eq!(a.send(b"one", 0), DONE);
    assert_eq!(a.send(b"two", 0), DONE);
    assert_eq!(b.peek(0).unwrap(), b"one");
    assert_eq!(b.fd(), b.fd());
    let child = fork(|| {
        close_copy(&a);
        assert_eq!(b.peek(0).unwrap(), b"one");
        assert_eq!(b.release(), DONE);
        assert_eq!(b.recv(0).unwrap(), b"two");
        assert_eq!(b.recv(LONG).unwrap(), b"three");
        assert_eq!(b.send(b"four", 0), DONE);
    });
    drop(b);
    assert_eq!(a.send(b"three", 0), DONE);
    assert_eq!(a.recv(LONG).unwrap(), b"four");
    assert_eq!(a.recv(LONG), Ok(vec![]));
    child.join();
}

/// Closing a copy that a child has inherited, or its death, ends nothing.
#[apply(isolated)]
fn copies_that_are_closed() {
    let (a, b) = small();
    for how in 0..3 {
        for _ in 0..50 {
            let child = fork(|| match how {
                0 => {
                    close_copy(&a);
                    close_copy(&b);
                }
                1 => (),
                _ => WAYS[2].1(&a),
            });
            assert_eq!(a.send(b"there", 0), DONE);
            assert_eq!(b.recv(LONG).unwrap(), b"there");
            child.reap();
            assert_eq!(b.send(b"and back", 0), DONE);
            assert_eq!(a.recv(LONG).unwrap(), b"and back");
            assert_eq!(a.recv(0), Err(EAGAIN));
        }
    }
}

/// The same while the owner sleeps: it goes on sleeping, and is woken by a message.
#[apply(isolated)]
fn copies_that_are_closed_meanwhile() {
    let (a, b) = small();
    let receiver = fork(|| {
        close_copy(&b);
        for number in 0..50u32 {
            let copy = fork(|| close_copy(&a));
            assert_eq!(a.recv(LONG).unwrap(), number.to_le_bytes());
            copy.join();
        }
    });
    for number in 0..50u32 {
        if number % 2 == 0 {
            receiver.wait_asleep();
        }
        assert_eq!(b.send(&number.to_le_bytes(), LONG), DONE);
    }
    receiver.join();
}

/// While somebody has the end the other side is not told of its end, and then it is.
#[apply(isolated)]
fn last_one_ends() {
    let (a, b) = pair();
    let (wait, go) = pipe();
    let child = fork(|| {
        close_copy(&a);
        std::io::Read::read_exact(&mut &wait, &mut [0]).unwrap();
    });
    drop(b);
    assert_eq!(a.recv(20), Err(libc::ETIMEDOUT));
    std::io::Write::write_all(&mut &go, b".").unwrap();
    assert_eq!(a.recv(LONG), Ok(vec![]));
    child.join();
}

/// What each kind of shutdown ends: how; whether this side's sending, its receiving, the
/// other's sending, the other's receiving.
const HOWS: [(c_int, [bool; 4]); 3] = [
    (libc::SHUT_RD, [false, true, true, false]),
    (libc::SHUT_WR, [true, false, false, true]),
    (libc::SHUT_RDWR, [true, true, true, true]),
];

#[apply(isolated)]
fn shutdown() {
    for (how, over) in HOWS {
        for polled in [false, true] {
            for asleep in [false, true] {
                let _case = Case(format!("{how}, polled: {polled}, asleep: {asleep}"));
                let (a, b) = pair();
                if polled {
                    a.fd().unwrap();
                    b.fd().unwrap();
                }
                if asleep {
                    // Each has looked for something in vain.
                    assert_eq!(a.recv(1), Err(libc::ETIMEDOUT));
                    assert_eq!(b.recv(1), Err(libc::ETIMEDOUT));
                }
                for number in 0..200u32 {
                    assert_eq!(a.send(&number.to_le_bytes(), 0), DONE);
                    assert_eq!(b.send(&number.to_le_bytes(), 0), DONE);
                }
                assert_eq!(a.shutdown(how), DONE);
                let sends = [&a, &b].map(|end| {
                    let first = end.send(b"after", 0);
                    assert_eq!(end.send(b"after", 0), first);
                    assert_eq!(reserve_and_commit(end, 0), first);
                    first
                });
                let expected = |over| if over { Err(EPIPE) } else { DONE };
                assert_eq!(sends, [expected(over[0]), expected(over[2])]);
                for (end, over, other_over) in [(&a, over[1], over[2]), (&b, over[3], over[0])] {
                    for number in 0..200u32 {
                        assert_eq!(end.recv(0).unwrap(), number.to_le_bytes(), "what is there");
                    }
                    if !other_over {
                        for _ in 0..2 {
                            assert_eq!(end.recv(0).unwrap(), b"after");
                        }
                        assert_eq!(end.recv(0).unwrap().len(), 1);
                    } else if over && end.recv(0) != Ok(vec![]) {
                        // What was sent before the end was noticed: no more than that.
                        assert_eq!(end.recv(0), Ok(vec![]));
                    }
                    let nothing = if over { Ok(vec![]) } else { Err(EAGAIN) };
                    assert_eq!(end.recv(0), nothing);
                    assert_eq!(end.recv(0), nothing);
                }
            }
        }
    }
}

/// For all processes that have the end, and known by a child that is asleep.
#[apply(isolated)]
fn shutdown_in_a_child() {
    let (a, b) = small();
    let sleeper = fork(|| assert_eq!(b.recv(LONG), Ok(vec![])));
    sleeper.wait_asleep();
    fork(|| assert_eq!(a.shutdown(libc::SHUT_WR), DONE)).join();
    sleeper.join();
    assert_eq!(b.recv(0), Ok(vec![]));
    assert_eq!(a.send(b"x", 0), Err(EPIPE));
    assert_eq!(b.send(b"back", 0), DONE, "the other direction goes on");
    assert_eq!(a.recv(0).unwrap(), b"back");
}

/// What was reserved before is not sent any more.
#[apply(isolated)]
fn shutdown_before_commit() {
    for how in [libc::SHUT_WR, libc::SHUT_RDWR] {
        let (a, b) = small();
        assert_eq!(a.send(b"before", 0), DONE);
        a.reserve(100, 0).unwrap();
        assert_eq!(a.shutdown(how), DONE);
        assert_eq!(a.commit(100), Err(EPIPE));
        assert_eq!(a.commit(100), Err(libc::EINVAL), "nothing is reserved");
        assert_eq!(b.recv(0).unwrap(), b"before");
        assert_eq!(b.recv(0), Ok(vec![]));
        assert_eq!(a.stats().sent_messages, 1);
    }
}
