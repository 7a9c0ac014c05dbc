//! Time-outs, signals, and waiting for room.

use crate::support::*;
use libc::{EAGAIN, EPIPE, ETIMEDOUT, c_int};
use std::time::Duration;
use std::{fs, thread};
use unixipc::ffi::channel::*;

/// A call that waits for a message or for room, with its name.
type BlockingCall<'a> = (&'static str, Box<dyn Fn(c_int) -> Outcome + 'a>);

/// A pair whose first end has no message to receive and no room to send.
fn blocked_pair(opts: &ipc_channel_opts) -> (End, End) {
    let (a, b) = pair_with(opts);
    a.fill(1000);
    a.fill(1);
    (a, b)
}

fn blocking_calls(a: &End) -> [BlockingCall<'_>; 4] {
    [
        (
            "recv",
            Box::new(|ms| a.recv(ms).map(|message| message.len())),
        ),
        ("peek", Box::new(|ms| a.peek(ms).map(<[u8]>::len))),
        ("send", Box::new(|ms| a.send(b"one more", ms))),
        (
            "reserve",
            Box::new(|ms| a.reserve(8, ms).map(|buffer| buffer.len())),
        ),
    ]
}

/// A blocked pair for each way in which a call can wait.
fn blocked_pairs() -> [(&'static str, End, End); 4] {
    let spinning = ipc_channel_opts {
        spin_us: 2000,
        ..SMALL
    };
    let no_spin = ipc_channel_opts {
        flags: IPC_CHANNEL_F_NO_SPIN,
        ..SMALL
    };
    let variants = [
        ("by default", SMALL, false),
        ("spinning", spinning, false),
        ("not spinning", no_spin, false),
        ("polled", no_spin, true),
    ];
    variants.map(|(name, opts, polled)| {
        let (a, b) = blocked_pair(&opts);
        if polled {
            a.fd().unwrap();
        }
        (name, a, b)
    })
}

#[apply(isolated)]
fn no_wait() {
    for (variant, a, _b) in blocked_pairs() {
        for (what, call) in blocking_calls(&a) {
            let _case = Case(format!("{what}, {variant}"));
            for _ in 0..200 {
                let (result, ms) = timed_ms(|| call(0));
                assert_eq!(result, Err(EAGAIN));
                assert!(ms < 1000);
            }
        }
    }
}

#[apply(isolated)]
fn expired() {
    for (variant, a, _b) in blocked_pairs() {
        for (what, call) in blocking_calls(&a) {
            let _case = Case(format!("{what}, {variant}"));
            for timeout_ms in [1, 30] {
                let (result, ms) = timed_ms(|| call(timeout_ms));
                assert_eq!(result, Err(ETIMEDOUT));
                assert!((timeout_ms as u128..5000).contains(&ms), "{ms} ms");
            }
        }
    }
}

/// A waiting call uses no processor time, and does not wake periodically.
#[apply(isolated)]
fn no_periodic_wake_ups() {
    let (a, _b) = blocked_pair(&SMALL);
    for (what, call) in blocking_calls(&a) {
        let (before, sleeps) = (voluntary_switches(), a.stats().sleeps);
        assert_eq!(call(300), Err(ETIMEDOUT));
        let slept = voluntary_switches() - before;
        assert!(slept <= 2, "{what}: {slept} sleeps in 300 ms");
        assert_eq!(a.stats().sleeps - sleeps, 1, "{what}");
    }
}

#[apply(isolated)]
fn interrupted() {
    for (variant, a, _b) in blocked_pairs() {
        for (what, call) in blocking_calls(&a) {
            let _case = Case(format!("{what}, {variant}"));
            ends_with_signal(|| call(INTR));
        }
    }
}

/// Frequent signals neither shorten nor lengthen a time-out, and cause no EINTR.
#[apply(isolated)]
fn expired_under_signals() {
    count_signals(0);
    for (variant, a, _b) in blocked_pairs() {
        for (what, call) in blocking_calls(&a) {
            let _case = Case(format!("{what}, {variant}"));
            let before = handled();
            storm(500);
            let (result, ms) = timed_ms(|| call(60));
            storm(0);
            assert_eq!(result, Err(ETIMEDOUT));
            assert!((60..5000).contains(&ms), "{ms} ms");
            assert!(handled() > before, "no signals");
        }
    }
}

/// Sends signals to a sleeping child. Sends each one after the child has handled the one before.
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

/// Signals do not end a wait without a time limit, with and without SA_RESTART.
#[apply(isolated)]
fn forever_under_signals() {
    for flags in [0, libc::SA_RESTART] {
        count_signals(flags);
        for (variant, a, b) in blocked_pairs() {
            let _case = Case(format!("{variant}, {flags:#x}"));
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
fn woken() {
    for opts in [SMALL, NO_SPIN] {
        let (a, b) = blocked_pair(&opts);
        let shared = Counters::new();
        let child = fork(|| {
            assert_eq!(a.recv(LONG).unwrap(), b"first");
            shared.set(0, 1);
            assert_eq!(a.peek(LONG).unwrap(), b"second");
            shared.set(0, 2);
            assert_eq!(a.send(b"room", LONG), DONE);
            shared.wait_for(1, 1); // the parent has received everything
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
    let (a, b) = blocked_pair(&NO_SPIN);
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

/// A sender that is faster than its receiver waits. Each message is received once.
#[apply(isolated)]
fn back_pressure() {
    let (a, b) = small();
    const COUNT: u64 = 2000;
    // [the last message for which there was no room at first]
    let shared = Counters::new();
    let child = fork(|| {
        for number in 0..COUNT {
            let message = pattern(1 + (number as usize * 37) % 3000, number);
            match a.send(&message, 0) {
                Err(EAGAIN) => shared.set(0, number),
                sent => {
                    assert_eq!(sent, DONE);
                    continue;
                }
            }
            match number % 3 {
                0 => assert_eq!(a.send(&message, -1), DONE),
                1 => while a.send(&message, 0) == Err(EAGAIN) {},
                _ => while a.send(&message, 1) == Err(ETIMEDOUT) {},
            }
        }
        assert!(a.stats().full >= 10, "{} times full", a.stats().full);
        assert!(a.stats().sleeps >= 1);
    });
    // The child has filled the ring, and waits.
    child.wait_asleep();
    for number in 0..COUNT {
        let message = pattern(1 + (number as usize * 37) % 3000, number);
        assert!(b.recv(LONG).unwrap() == message, "message {number}");
        if number % 100 == 0 {
            shared.wait_for(0, number + 1); // a slow receiver
        }
    }
    child.join();
    assert_eq!(b.recv(0), Err(EAGAIN));
}

/// A waiting sender is woken when half of the ring is free. When its time-out expires, it first
/// checks whether the free room suffices.
#[apply(isolated)]
fn room_when_the_time_out_expires() {
    for polled in [false, true] {
        let (a, b) = small();
        if polled {
            a.fd().unwrap();
        }
        a.fill(8000);
        let sent = thread::scope(|scope| {
            let sender = scope.spawn(|| a.send(&[0; 8000], 1500));
            wait_until("a sender that sleeps", || a.stats().sleeps > 0);
            b.recv_cap(8000, 0).unwrap();
            sender.join().unwrap()
        });
        assert_eq!(sent, DONE);
        assert_eq!(b.stats().wakes, 0, "the sender was woken");
    }
}

/// A call that may spin for a second obeys its time-out, and detects the peer's death while it
/// spins.
#[apply(isolated)]
fn long_spin() {
    let opts = ipc_channel_opts {
        spin_us: 1_000_000,
        ..SMALL
    };
    type Call = fn(&End, c_int) -> Outcome;
    let calls: [(Call, Outcome); 2] = [
        (|end, ms| end.recv(ms).map(|message| message.len()), Ok(0)),
        (|end, ms| end.send(&[0; 1000], ms), Err(EPIPE)),
    ];
    for (call, at_end) in calls {
        let (a, b) = pair_with(&opts);
        a.fill(1000);
        let (result, ms) = timed_ms(|| call(&a, 10));
        assert_eq!(result, Err(ETIMEDOUT));
        assert!((10..900).contains(&ms), "{ms} ms");
        let shared = Counters::new();
        let child = fork(|| {
            close_copy(&a);
            shared.set(0, 1);
            sleep_forever()
        });
        drop(b);
        shared.wait_for(0, 1);
        thread::scope(|scope| {
            let caller = scope.spawn(|| timed_ms(|| call(&a, LONG)));
            thread::sleep(Duration::from_millis(20));
            child.signal(libc::SIGKILL);
            let (result, ms) = caller.join().unwrap();
            assert_eq!(result, at_end);
            assert!(ms < 900, "{ms} ms");
        });
    }
}

/// The longest message waits until the ring is empty, whatever the lengths of the messages in it.
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

/// The time-out applies to the whole call, even if the call is woken often before there is enough
/// room.
#[apply(isolated)]
fn woken_too_early() {
    let (a, b) = small();
    let filled = a.fill(100);
    let longest = vec![0; a.max()];
    for _ in 0..filled / 2 {
        b.recv(0).unwrap();
    }
    let wakes = thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let (sent, ms) = timed_ms(|| a.send(&longest, 1000));
            assert_eq!(sent, Err(ETIMEDOUT));
            assert!((1000..5000).contains(&ms), "{ms} ms");
        });
        for _ in 1..filled / 2 {
            assert!(b.recv(0).is_ok());
            // Time for the sender to sleep again, also on a slow machine.
            thread::sleep(Duration::from_millis(20));
            if waiter.is_finished() {
                break;
            }
        }
        waiter.join().unwrap();
        b.stats().wakes
    });
    assert!(wakes >= 10, "{wakes} wake-ups of {filled}");
}
