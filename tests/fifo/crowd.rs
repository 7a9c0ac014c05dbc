//! Many processes use one FIFO, and some of them are killed.

use crate::support::*;
use crate::support::{open, pipe, recv, send}; // libc has these names too
use libc::*;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// Extends the time limit of a child: these tests take longer.
fn extend_time_limit() {
    set_alarm((test_limit() - Duration::from_secs(20)).as_secs() as u32);
}

/// Waits until a shared counter has reached a value.
fn wait_for(counter: &AtomicU32, number: u32) {
    let deadline = Instant::now() + test_limit() - Duration::from_secs(50);
    while counter.load(SeqCst) < number {
        assert!(Instant::now() < deadline, "{counter:?} of {number}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Receives until the end and counts each record; the records of each writer arrive in order.
fn collect(reader: &OwnedFd, records: usize, seen: &[AtomicU32]) -> usize {
    let mut next = vec![0; seen.len() / records];
    let mut all = 0;
    loop {
        let got = recv(reader, 60_000).unwrap();
        if got.is_empty() {
            return all;
        }
        let (writer, number) = check_record(&got);
        assert!(
            number >= next[writer],
            "record {number} of {writer} after {}",
            next[writer]
        );
        next[writer] = number + 1;
        assert_eq!(
            seen[writer * records + number].fetch_add(1, SeqCst),
            0,
            "twice"
        );
        all += 1;
    }
}

fn crowd(readers: usize) {
    let _folder = WorkingDirectory::new();
    make();
    let (writers, records) = (200, scaled(1000) as usize);
    let seen = shared::<AtomicU32>(writers * records);
    let ready = &shared::<AtomicU32>(1)[0];
    let keeper = open("f", PERSIST, 0).unwrap();
    // Each writer begins when it has received a byte.
    let (gate, mut start) = pipe();
    let writers: Vec<_> = (0..writers)
        .map(|writer| {
            fork_reporter::<usize>(|| {
                extend_time_limit();
                let fd = open("f", WRITE, LONG)?;
                ready.fetch_add(1, SeqCst);
                // All writers have opened the FIFO before the first one closes it: one session.
                (&gate).read_exact(&mut [0]).unwrap();
                for number in 0..records {
                    send(&fd, &record(writer, number), -1)?;
                }
                Ok(0)
            })
        })
        .collect();
    wait_for(ready, 200);
    let others: Vec<_> = (1..readers)
        .map(|_| {
            let child = fork_reporter::<usize>(|| {
                extend_time_limit();
                let fd = open("f", READ, LONG)?;
                // SAFETY: the child's copy, which makes it a writer.
                unsafe { close(std::os::fd::AsRawFd::as_raw_fd(&keeper)) };
                ready.fetch_add(1, SeqCst);
                Ok(collect(&fd, records, seen))
            });
            wait_for(ready, 201);
            child
        })
        .collect();
    let reader = open("f", READ, LONG).unwrap();
    drop(keeper);
    start.write_all(&[0; 200]).unwrap();
    let mut all = collect(&reader, records, seen);
    for other in others {
        let part = other.outcome().unwrap();
        assert!(part > 0, "a reader that got nothing");
        all += part;
    }
    for writer in writers {
        assert_eq!(writer.outcome(), Ok(0));
    }
    assert_eq!(all as usize, 200 * records);
    assert!(seen.iter().all(|count| count.load(SeqCst) == 1));
}

#[apply(isolated)]
fn one_reader() {
    crowd(1);
}

#[apply(isolated)]
fn two_readers() {
    crowd(2);
}

/// Each killed writer has sent the first part of its records, all of them whole.
#[apply(isolated)]
fn writers_killed() {
    let _folder = WorkingDirectory::new();
    make();
    let mut random = Random(7);
    for round in 0..scaled(30) as usize {
        let keeper = open("f", PERSIST, 0).unwrap();
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                fork_reporter::<usize>(|| {
                    // SAFETY: the child's copy, which makes it a reader.
                    unsafe { close(std::os::fd::AsRawFd::as_raw_fd(&keeper)) };
                    let fd = open("f", WRITE, LONG)?;
                    for number in 0.. {
                        send(&fd, &record(writer, number), -1)?;
                    }
                    Ok(0)
                })
            })
            .collect();
        let reader = open("f", READ, LONG).unwrap();
        let mut next = [0; 4];
        let mut receive = |end_too: bool| {
            let timeout = if end_too { LONG } else { -1 };
            let got = recv(&reader, timeout).unwrap();
            if got.is_empty() {
                return false;
            }
            let (writer, number) = check_record(&got);
            assert_eq!(number, next[writer], "writer {writer}, round {round}");
            next[writer] += 1;
            true
        };
        for writer in &writers {
            for _ in 0..random.index(400) {
                receive(false);
            }
            writer.signal(SIGKILL);
        }
        drop(keeper);
        while receive(true) {}
        for writer in writers {
            assert_eq!(writer.end(), End::Signal(SIGKILL));
        }
    }
}

/// Readers are killed while others continue: the others receive whole records, and at most one
/// record is missing for each killed reader. After the last reader has gone, a writer gets EPIPE.
#[apply(isolated)]
fn readers_killed() {
    let _folder = WorkingDirectory::new();
    make();
    let mut random = Random(9);
    let records = 1_000_000;
    for round in 0..scaled(20) as usize {
        // A sum over the received records; a killed reader may have received one more.
        let taken = shared::<AtomicU64>(1);
        let count = shared::<AtomicU32>(4);
        let keeper = open("f", PERSIST, 0).unwrap();
        let readers: Vec<_> = (0..3)
            .map(|i: usize| {
                fork_reporter::<usize>(|| {
                    let fd = open("f", READ, LONG)?;
                    // SAFETY: the child's copy, which makes it a writer.
                    unsafe { close(std::os::fd::AsRawFd::as_raw_fd(&keeper)) };
                    count[3].fetch_add(1, SeqCst);
                    let mut next = 0;
                    loop {
                        let got = recv(&fd, -1)?;
                        if got.is_empty() {
                            return Ok(0);
                        }
                        let (_, number) = check_record(&got);
                        assert!(number >= next);
                        next = number + 1;
                        taken[0].fetch_add(1, SeqCst);
                        count[i].fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        wait_for(&count[3], 3);
        let writer = fork_reporter::<usize>(|| {
            let fd = open("f", WRITE, LONG)?;
            // SAFETY: the child's copy, which makes it a reader.
            unsafe { close(std::os::fd::AsRawFd::as_raw_fd(&keeper)) };
            set_action(SIGPIPE, SIG_DFL, 0);
            for number in 0..records {
                match send(&fd, &record(0, number), -1) {
                    Ok(_) => {}
                    error => {
                        assert_eq!(error, Err(EPIPE));
                        return Ok(number);
                    }
                }
            }
            Err(0)
        });
        drop(keeper);
        for (i, reader) in readers.iter().enumerate() {
            wait_for(&count[i], count[i].load(SeqCst) + random.index(300) as u32);
            reader.signal(SIGKILL);
        }
        for reader in readers {
            assert_eq!(reader.end(), End::Signal(SIGKILL));
        }
        let sent = writer.outcome().unwrap() as u64;
        let taken = taken[0].load(SeqCst);
        // The last reader's end discards the content of the pipe, and each killed reader may take
        // one record with it.
        assert!(
            taken <= sent && sent <= taken + 16 + 3,
            "round {round}: {taken} of {sent}"
        );
    }
}

/// With a timer signal every 100 µs no record is lost, duplicated or torn.
#[apply(isolated)]
fn storm_over_records() {
    let _folder = WorkingDirectory::new();
    make();
    let records = scaled(20_000) as usize;
    let writer = fork_reporter::<usize>(|| {
        extend_time_limit();
        count_signal(libc::SIGALRM, 0);
        storm(100);
        let fd = open("f", WRITE, LONG)?;
        for number in 0..records {
            let timeout = if number % 2 == 0 { -1 } else { LONG };
            send(&fd, &record(0, number), timeout)?;
        }
        storm(0);
        Ok(handled() as usize)
    });
    count_signal(libc::SIGALRM, 0);
    storm(100);
    let reader = open("f", READ, LONG).unwrap();
    for number in 0..records {
        let timeout = if number % 2 == 0 { -1 } else { LONG };
        assert_eq!(check_record(&recv(&reader, timeout).unwrap()), (0, number));
    }
    assert_eq!(recv(&reader, -1), END);
    storm(0);
    assert!(handled() > 10, "{} signals", handled());
    assert!(writer.outcome().unwrap() > 10);
}

/// The same for opens: one session for each record, with the acknowledgement in a second FIFO.
#[apply(isolated)]
fn storm_over_opens() {
    let _folder = WorkingDirectory::new();
    make();
    assert_eq!(create("back", 0o600, 0), Ok(0));
    let sessions = scaled(300) as usize;
    let writer = fork_reporter::<usize>(|| {
        extend_time_limit();
        count_signal(libc::SIGALRM, 0);
        storm(100);
        for number in 0..sessions {
            send(&open("f", WRITE, LONG).unwrap(), &record(0, number), -1).unwrap();
            let back = open("back", READ, -1).unwrap();
            assert_eq!(recv(&back, -1), Ok(b"got it".to_vec()));
            assert_eq!(recv(&back, -1), END);
        }
        storm(0);
        Ok(handled() as usize)
    });
    count_signal(libc::SIGALRM, 0);
    storm(100);
    for number in 0..sessions {
        let reader = open("f", READ, LONG).unwrap();
        assert_eq!(check_record(&recv(&reader, -1).unwrap()), (0, number));
        assert_eq!(recv(&reader, LONG), END);
        drop(reader);
        let back = open("back", WRITE, LONG).unwrap();
        assert_eq!(send(&back, b"got it", -1), Ok(0));
    }
    storm(0);
    assert!(writer.outcome().unwrap() > 10);
}
