//! Time-outs, signals, and waiting for room.

use crate::end::close_copy;
use crate::support::*;
use libc::{EAGAIN, EPIPE, ETIMEDOUT, c_int};
use std::time::Duration;
use std::{fs, thread};
use unixipc::ffi::channel::*;

/// A call that has to wait: for a message, or for room.
type Waiting<'a> = (&'static str, Box<dyn Fn(c_int) -> Outcome + 'a>);

/// An end of which nothing comes, and which has no room.
fn stuck(opts: &ipc_channel_opts) -> (End, End) {
    let (a, b) = pair_with(opts);
    a.fill(1000);
    a.fill(1);
    (a, b)
}

fn waits(a: &End) -> [Waiting<'_>; 4] {
    [
        ("recv", Box::new(|t| a.recv(t).map(|got| got.len()))),
        ("peek", Box::new(|t| a.peek(t).map(<[u8]>::len))),
        ("send", Box::new(|t| a.send(b"one more", t))),
        (
            "reserve",
            Box::new(|t| a.reserve(8, t).map(|got| got.len())),
        ),
    ]
}

/// Ends of each kind that waits in another way, all of them stuck.
fn kinds_of_ends() -> [(&'static str, End, End); 4] {
    let spinning = ipc_channel_opts {
        spin_us: 2000,
        ..SMALL
    };
    let no_spin = ipc_channel_opts {
        flags: IPC_CHANNEL_F_NO_SPIN,
        ..SMALL
    };
    let kinds = [
        ("by default", SMALL, false),
        ("spinning", spinning, false),
        ("not spinning", no_spin, false),
        ("polled", no_spin, true),
    ];
    kinds.map(|(name, opts, polled)| {
        let (a, b) = stuck(&opts);
        if polled {
            a.fd().unwrap();
        }
        (name, a, b)
    })
}

#[apply(isolated)]
fn not_at_all() {
    for (kind, a, _b) in kinds_of_ends() {
        for (what, call) in waits(&a) {
            let _case = Case(format!("{what}, {kind}"));
            for _ in 0..200 {
                let (got, ms) = timed_ms(|| call(0));
                assert_eq!(got, Err(EAGAIN));
                assert!(ms < 1000);
            }
        }
    }
}

#[apply(isolated)]
fn for_a_while() {
    for (kind, a, _b) in kinds_of_ends() {
        for (what, call) in waits(&a) {
            let _case = Case(format!("{what}, {kind}"));
            for timeout_ms in [1, 30] {
                let (got, ms) = timed_ms(|| call(timeout_ms));
                assert_eq!(got, Err(ETIMEDOUT));
                assert!((timeout_ms as u128..5000).contains(&ms), "{ms} ms");
            }
        }
    }
}

/// One that waits takes part in nothing: no core is burnt, and nothing wakes it now and then.
#[apply(isolated)]
fn no_periodic_wake_ups() {
    let (a, _b) = stuck(&SMALL);
    for (what, call) in waits(&a) {
        let switches = || {
            // SAFETY: all zero bytes are an rusage.
            let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
            // SAFETY: the struct is ours.
            unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
            usage.ru_nvcsw
        };
        let (before, sleeps) = (switches(), a.stats().sleeps);
        assert_eq!(call(300), Err(ETIMEDOUT));
        let slept = switches() - before;
        assert!(slept <= 2, "{what}: it slept {slept} times in 300 ms");
        assert_eq!(a.stats().sleeps - sleeps, 1, "{what}");
    }
}

#[apply(isolated)]
fn interrupted() {
    for (kind, a, _b) in kinds_of_ends() {
        for (what, call) in waits(&a) {
            let _case = Case(format!("{what}, {kind}"));
            ends_with_signal(|| call(INTR));
        }
    }
}

/// Neither shorter nor longer for signals, and no EINTR.
#[apply(isolated)]
fn under_a_storm() {
    count_signals(0);
    for (kind, a, _b) in kinds_of_ends() {
        for (what, call) in waits(&a) {
            let _case = Case(format!("{what}, {kind}"));
            let before = handled();
            storm(500);
            let (got, ms) = timed_ms(|| call(60));
            storm(0);
            assert_eq!(got, Err(ETIMEDOUT));
            assert!((60..5000).contains(&ms), "{ms} ms");
            assert!(handled() > before, "no signals");
        }
    }
}

/// Sends a child that sleeps one signal after the other, each when it has handled the last.
fn interrupt(child: &Child) {
    for _ in 0..20 {
        child.wait_asleep();
        child.signal(libc::SIGUSR1);
        wait_until("the handler", || {
            let status = fs::read_to_string(format!("/proc/{}/status", child.0)).unwrap();
            status.contains("ShdPnd:\t0000000000000000\n")
        });
    }
    child.wait_asleep();
}

/// For ever, whatever signals come, with and without SA_RESTART.
#[apply(isolated)]
fn for_ever_under_a_storm() {
    for flags in [0, libc::SA_RESTART] {
        count_signals(flags);
        for (kind, a, b) in kinds_of_ends() {
            let _case = Case(format!("{kind}, {flags:#x}"));
            let shared = Counters::new();
            let child = fork(|| {
                assert_eq!(a.recv(-1).unwrap(), b"late");
                shared.set(0, 1 + handled());
                assert_eq!(a.send(b"also late", -1), DONE);
                shared.set(1, 1 + handled());
            });
            let before = handled();
            interrupt(&child);
            assert_eq!(b.send(b"late", 0), DONE);
            shared.wait_for(0, 1);
            interrupt(&child);
            b.drain();
            child.join();
            assert_eq!(shared.get(0), before + 21);
            assert_eq!(shared.get(1), before + 41);
        }
    }
}

#[apply(isolated)]
fn until_there_is_something() {
    for opts in [SMALL, NO_SPIN] {
        let (a, b) = stuck(&opts);
        let shared = Counters::new();
        let child = fork(|| {
            assert_eq!(a.recv(LONG).unwrap(), b"first");
            shared.set(0, 1);
            assert_eq!(a.peek(LONG).unwrap(), b"second");
            shared.set(0, 2);
            assert_eq!(a.send(b"room", LONG), DONE);
            shared.wait_for(1, 1); // all is received
            a.fill(1000);
            shared.set(0, 3);
            a.reserve(2000, LONG).unwrap();
            shared.set(0, 4);
        });
        child.wait_asleep();
        assert_eq!(b.send(b"first", 0), DONE);
        shared.wait_for(0, 1);
        child.wait_asleep();
        assert_eq!(b.send(b"second", 0), DONE);
        shared.wait_for(0, 2);
        child.wait_asleep();
        while b.peek(LONG).unwrap() != b"room" {
            assert_eq!(b.release(), DONE);
        }
        assert_eq!(b.release(), DONE);
        shared.set(1, 1);
        shared.wait_for(0, 3);
        child.wait_asleep();
        b.drain();
        child.join();
        assert_eq!(shared.get(0), 4);
    }
}

#[apply(isolated)]
fn stopped_and_continued() {
    let (a, b) = stuck(&NO_SPIN);
    let child = fork(|| assert_eq!(a.recv(INTR).unwrap(), b"x"));
    child.wait_asleep();
    child.stop();
    child.signal(libc::SIGCONT);
    child.wait_asleep();
    child.stop();
    assert_eq!(b.send(b"x", 0), DONE);
    child.signal(libc::SIGCONT);
    child.join();
}

/// A sender that is faster than its receiver waits; nothing is dropped, nothing comes twice.
#[apply(isolated)]
fn back_pressure() {
    let (a, b) = small();
    const COUNT: u64 = 2000;
    let child = fork(|| {
        for number in 0..COUNT {
            let message = pattern(1 + (number as usize * 37) % 3000, number);
            match number % 3 {
                0 => assert_eq!(a.send(&message, -1), DONE),
                1 => while a.send(&message, 0) == Err(EAGAIN) {},
                _ => while a.send(&message, 1) == Err(ETIMEDOUT) {},
            }
        }
        assert!(a.stats().full >= 10, "{} times full", a.stats().full);
        assert!(a.stats().sleeps >= 1);
    });
    // It has filled the ring, and waits.
    child.wait_asleep();
    for number in 0..COUNT {
        let message = pattern(1 + (number as usize * 37) % 3000, number);
        assert!(b.recv(LONG).unwrap() == message, "message {number}");
        if number % 100 == 0 {
            thread::sleep(Duration::from_millis(1)); // a slow reader
        }
    }
    child.join();
    assert_eq!(b.recv(0), Err(EAGAIN));
}

/// A sender is woken when half of the ring is free; before it gives up it looks whether that what
/// is free is enough.
#[apply(isolated)]
fn room_at_last() {
    for polled in [false, true] {
        let (a, b) = small();
        if polled {
            a.fd().unwrap();
        }
        a.fill(8000);
        let receiver = thread::scope(|scope| {
            let sender = scope.spawn(|| a.send(&[0; 8000], 300));
            wait_until("a sender that sleeps", || a.stats().sleeps > 0);
            b.recv_cap(8000, 0).unwrap();
            sender.join().unwrap()
        });
        assert_eq!(receiver, DONE);
        assert_eq!(b.stats().wakes, 0, "it was not woken");
    }
}

/// Who looks for a second before it sleeps heeds its time and the end of the other side too.
#[apply(isolated)]
fn looking_for_long() {
    let opts = ipc_channel_opts {
        spin_us: 1_000_000,
        ..SMALL
    };
    type Call = fn(&End, c_int) -> Outcome;
    let calls: [(Call, Outcome); 2] = [
        (|end, ms| end.recv(ms).map(|got| got.len()), Ok(0)),
        (|end, ms| end.send(&[0; 1000], ms), Err(EPIPE)),
    ];
    for (call, at_end) in calls {
        let (a, b) = pair_with(&opts);
        a.fill(1000);
        let (got, ms) = timed_ms(|| call(&a, 10));
        assert_eq!(got, Err(ETIMEDOUT));
        assert!((10..900).contains(&ms), "{ms} ms");
        let shared = Counters::new();
        let child = fork(|| {
            close_copy(&a);
            shared.set(0, 1);
            loop {
                // SAFETY: takes nothing.
                unsafe { libc::pause() };
            }
        });
        drop(b);
        shared.wait_for(0, 1);
        thread::scope(|scope| {
            let caller = scope.spawn(|| timed_ms(|| call(&a, LONG)));
            thread::sleep(Duration::from_millis(20));
            child.signal(libc::SIGKILL);
            let (got, ms) = caller.join().unwrap();
            assert_eq!(got, at_end);
            assert!(ms < 900, "{ms} ms");
        });
    }
}

/// A message as long as can be waits until the ring is empty, however it becomes empty.
#[apply(isolated)]
fn room_for_the_longest() {
    for len in [1, 100, 3000, 40_000] {
        let (a, b) = small();
        let longest = pattern(a.max(), 9);
        let filled = a.fill(len);
        let child = fork(|| assert_eq!(a.send(&longest, LONG), DONE));
        child.wait_asleep();
        for _ in 0..filled {
            assert_eq!(b.recv_cap(len, 0).unwrap().len(), len);
        }
        assert!(b.recv_cap(longest.len(), LONG).unwrap() == longest);
        child.join();
    }
}

/// The time-out is of the whole call, also where the call is woken often, and each time too
/// early.
#[apply(isolated)]
fn woken_too_early() {
    let (a, b) = small();
    let filled = a.fill(100);
    let everything = vec![0; a.max()];
    for _ in 0..filled / 2 {
        b.recv(0).unwrap();
    }
    let woken = thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let (got, ms) = timed_ms(|| a.send(&everything, 200));
            assert_eq!(got, Err(ETIMEDOUT));
            assert!((200..5000).contains(&ms), "{ms} ms");
        });
        for _ in 1..filled / 2 {
            assert!(b.recv(0).is_ok());
            thread::sleep(Duration::from_millis(1));
            if waiter.is_finished() {
                break;
            }
        }
        waiter.join().unwrap();
        b.stats().wakes
    });
    assert!(woken >= 10, "woken {woken} times");
}
