//! How soon a wait ends, and records that arrive when it ends without a peer.

use crate::support::*;
use crate::support::{open, recv, send}; // libc has these names too
use libc::*;
use std::fs;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// An open returns soon after the peer has opened the FIFO with open(2), even if the peer does
/// nothing else. One of many rounds is enough, since the machine may be busy.
#[apply(isolated)]
fn peer_is_found_soon() {
    let _folder = WorkingDirectory::new();
    make();
    for (flags, access) in [(READ, O_WRONLY), (WRITE, O_RDONLY)] {
        let soon = Duration::from_millis(2) + 4 * cost_of_open(flags);
        for timeout in [-1, LONG, INTR] {
            let _case = Case(format!("flags {flags}, time-out {timeout}"));
            let times = &shared::<AtomicU64>(1)[0];
            let round = || {
                let other = fork_reporter::<usize>(|| {
                    thread::sleep(Duration::from_millis(20));
                    times.store(now(), SeqCst);
                    let _other = plain_open("f", access)?;
                    thread::sleep(Duration::from_millis(30));
                    Ok(0)
                });
                let fd = open("f", flags, timeout).unwrap();
                let took = Duration::from_nanos(now() - times.load(SeqCst));
                assert_eq!(other.outcome(), Ok(0));
                drop(fd);
                took
            };
            let mut found = Vec::new();
            let is_soon = (0..100).any(|_| {
                found.push(round());
                found.last() < Some(&soon)
            });
            assert!(is_soon, "not before {soon:?}: {found:?}");
        }
    }
}

/// The cost of a call on this machine.
fn cost_of_open(flags: c_uint) -> Duration {
    let costs = (0..30).map(|_| timed(|| open("f", flags, 0).err()).1);
    costs.min().unwrap()
}

#[apply(isolated)]
fn short_time_outs_are_short() {
    let _folder = WorkingDirectory::new();
    make();
    for flags in [READ, WRITE] {
        let cost = cost_of_open(flags);
        for timeout in [1, 5, 20] {
            let wanted = Duration::from_millis(timeout as u64);
            let (mut best, mut best_sleep) = (Duration::MAX, Duration::MAX);
            for _ in 0..30 {
                let (got, took) = timed(|| open("f", flags, timeout).err());
                assert_eq!(got, Some(ETIMEDOUT));
                assert!(took >= wanted, "{took:?} of {wanted:?}");
                best = best.min(took);
                // The sleep of a busy machine is late too.
                best_sleep = best_sleep.min(timed(|| thread::sleep(wanted)).1);
            }
            assert!(
                best < best_sleep + Duration::from_millis(1) + 4 * cost,
                "{best:?} of {wanted:?}, a sleep takes {best_sleep:?}, {cost:?}"
            );
        }
    }
}

/// A writer opens the FIFO at about the time when the reader's time-out expires: this open or the
/// next one receives its record.
#[apply(isolated)]
fn record_after_the_time_out() {
    let _folder = WorkingDirectory::new();
    make();
    let timeout = 10;
    for round in 0..scaled(300) as usize {
        let sent = &shared::<AtomicU32>(1)[0];
        let start = Instant::now();
        let late = Duration::from_micros(7_000 + 50 * (round as u64 % 160));
        let writer = fork_reporter::<usize>(|| {
            while start.elapsed() < late {
                std::hint::spin_loop();
            }
            let writer = open("f", WRITE, 0)?;
            send(&writer, &record(0, round), 0)?;
            sent.store(1, SeqCst);
            Ok(0)
        });
        let mut reader = open("f", READ, timeout);
        let first = reader.is_ok();
        if !first {
            reader = open("f", READ, 50);
        }
        let done = writer.outcome();
        assert!(matches!(done, Ok(_) | Err(EAGAIN | EPIPE)), "{done:?}");
        if sent.load(SeqCst) == 1 {
            let reader = reader.unwrap_or_else(|_| panic!("round {round}: the record is lost"));
            let got = recv(&reader, LONG).unwrap();
            assert_eq!(got, record(0, round), "round {round}, first open: {first}");
        }
    }
}

/// A reader that polls, with a writer that opens the FIFO for each record at full speed.
#[apply(isolated)]
fn polling_reader() {
    for timeout in [0, 1] {
        let _case = Case(format!("time-out {timeout}"));
        let _folder = WorkingDirectory::new();
        make();
        let records = scaled(10_000) as usize;
        let received = &shared::<AtomicU32>(1)[0];
        let writer = fork_reporter::<usize>(|| {
            // SAFETY: no pointers.
            unsafe { alarm(250) };
            for number in 0..records {
                loop {
                    match open("f", WRITE, 0).and_then(|fd| send(&fd, &record(0, number), 0)) {
                        Ok(_) => break,
                        Err(error) => assert!(matches!(error, EAGAIN | EPIPE), "{error}"),
                    }
                }
                // The reader closes its descriptor before the next record arrives.
                let sent = Instant::now();
                while received.load(SeqCst) <= number as u32 {
                    assert!(sent.elapsed() < Duration::from_secs(10), "{number} is lost");
                    thread::yield_now();
                }
            }
            Ok(0)
        });
        let deadline = Instant::now() + Duration::from_secs(250);
        while received.load(SeqCst) < records as u32 {
            match open("f", READ, timeout) {
                Err(error) => {
                    assert!(matches!(error, EAGAIN | ETIMEDOUT), "{error}");
                    assert!(Instant::now() < deadline);
                }
                Ok(reader) => {
                    // A writer that had opened the FIFO for this reader's last attempt was too late
                    // to send, and tries again.
                    let got = loop {
                        match recv(&reader, LONG) {
                            Ok(got) if got.is_empty() => thread::yield_now(),
                            got => break got.unwrap(),
                        }
                    };
                    let (_, number) = check_record(&got);
                    assert_eq!(number as u32, received.load(SeqCst));
                    assert_eq!(recv(&reader, LONG), END);
                    drop(reader);
                    received.fetch_add(1, SeqCst);
                }
            }
        }
        assert_eq!(writer.outcome(), Ok(0));
    }
}

/// A reader that opens the next session before it closes the last one loses no record, whenever the
/// writers open the FIFO.
#[apply(isolated)]
fn next_session_before_the_last_is_closed() {
    let _folder = WorkingDirectory::new();
    make();
    let records = scaled(10_000) as usize;
    let writer = fork_reporter::<usize>(|| {
        // SAFETY: no pointers.
        unsafe { alarm(250) };
        for number in 0..records {
            let fd = open("f", WRITE, LONG)?;
            send(&fd, &record(0, number), LONG)?;
        }
        Ok(0)
    });
    let mut reader = open("f", READ, LONG).unwrap();
    let mut next = 0;
    while next < records {
        let got = recv(&reader, LONG).unwrap();
        if got.is_empty() {
            reader = open("f", READ, LONG).unwrap();
        } else {
            assert_eq!(check_record(&got), (0, next));
            next += 1;
        }
    }
    assert_eq!(writer.outcome(), Ok(0));
}

/// A waiting reader does not take readers that open and close the FIFO for writers.
#[apply(isolated)]
fn readers_that_leave_are_no_writers() {
    let _folder = WorkingDirectory::new();
    make();
    let waiting = fork_reporter::<usize>(|| open("f", READ, 1000).map(|_| 0));
    // Visible to a writer, so it waits; this test's query does not affect it.
    wait_asleep(waiting.0);
    for round in 0..scaled(500) as usize {
        let timeout = (round % 50 == 0).into();
        let left = open("f", READ, timeout).err();
        assert!(matches!(left, Some(EAGAIN | ETIMEDOUT)), "{left:?}");
    }
    assert_eq!(waiting.outcome(), Err(ETIMEDOUT));
}

/// The number of voluntary context switches of a process.
fn switches(pid: pid_t) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |line: &str| {
        line.strip_prefix("voluntary_ctxt_switches:")?
            .trim()
            .parse()
            .ok()
    };
    status.lines().find_map(field).unwrap()
}

/// With many senders waiting on a full FIFO, taking one record wakes one sender.
#[apply(isolated)]
fn one_sender_is_woken() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    while send(&writer, b"full", 0) == Ok(0) {}
    let count = 50;
    let senders: Vec<_> = (0..count)
        .map(|number| {
            let writer = &writer;
            fork_reporter::<usize>(move || send(writer, &record(number, 0), -1))
        })
        .collect();
    for sender in &senders {
        wait_asleep(sender.0);
    }
    let all = || senders.iter().map(|sender| switches(sender.0)).sum::<u64>();
    thread::sleep(Duration::from_millis(50));
    let before = all();
    assert_eq!(recv(&reader, 0).unwrap(), b"full");
    // The FIFO is full again.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut pipe = pollfd {
            fd: std::os::fd::AsRawFd::as_raw_fd(&writer),
            events: POLLOUT,
            revents: 0,
        };
        // SAFETY: one pollfd, ours.
        if unsafe { libc::poll(&mut pipe, 1, 0) } == 0 {
            break;
        }
        assert!(Instant::now() < deadline, "no sender was woken");
        thread::yield_now();
    }
    thread::sleep(Duration::from_millis(50));
    let woken = all() - before;
    assert!(woken <= 5, "{woken} wake-ups for one record");
    drop(writer);
    let mut received = 0;
    while received < count {
        if recv(&reader, LONG).unwrap() != b"full" {
            received += 1;
        }
    }
    assert_eq!(recv(&reader, LONG), END);
    for sender in senders {
        assert_eq!(sender.outcome(), Ok(0));
    }
}
