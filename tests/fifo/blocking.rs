//! Time-outs on blocking descriptors.

use crate::support::*;
use crate::support::{recv, send}; // libc has these names too
use libc::*;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;
use unixipc::ffi::fifo::IPC_FIFO_RECORD_MAX as MAX;

/// The seconds after which SIGALRM ends a child that hangs.
const HANGING: c_uint = 10;

/// Both ends in blocking mode: reader and writer.
fn blocking_ends() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = ends();
    set_nonblocking(&reader, false);
    set_nonblocking(&writer, false);
    (reader, writer)
}

/// Runs a call that must fail after its time-out, in a child: without the time-out it would block
/// forever.
#[track_caller]
fn fails_after_time_out(timeout: c_int, call: impl FnOnce() -> Outcome) {
    let child = fork_reporter::<usize>(|| {
        // SAFETY: no pointers.
        unsafe { alarm(HANGING) };
        let (got, took) = timed(call);
        let expected = if timeout == 0 { EAGAIN } else { ETIMEDOUT };
        assert_eq!(got, Err(expected), "time-out {timeout}");
        assert!(took >= Duration::from_millis(timeout as u64), "{took:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
        Ok(0)
    });
    assert_eq!(child.outcome(), Ok(0));
}

#[apply(isolated)]
fn empty() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = blocking_ends();
    for timeout in [0, 1, 100] {
        fails_after_time_out(timeout, || recv(&reader, timeout).map(|_| 0));
    }
    for timeout in [-1, LONG, INTR] {
        let receiver = fork_reporter::<usize>(|| recv(&reader, timeout).map(|got| got.len()));
        wait_asleep(receiver.0);
        assert_eq!(send(&writer, b"woken", 0), Ok(0));
        assert_eq!(receiver.outcome(), Ok(5), "time-out {timeout}");
    }
}

/// A send that fails has sent nothing.
#[apply(isolated)]
fn full() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = blocking_ends();
    let mut sent = 0;
    while send(&writer, &record(0, sent), 0) == Ok(0) {
        sent += 1;
    }
    for timeout in [0, 1, 100] {
        fails_after_time_out(timeout, || send(&writer, b"more", timeout));
    }
    for timeout in [-1, LONG, INTR] {
        let sender = fork_reporter::<usize>(|| send(&writer, &record(0, sent), timeout));
        wait_asleep(sender.0);
        let got = recv(&reader, 0).unwrap();
        check_record(&got);
        assert_eq!(sender.outcome(), Ok(0), "time-out {timeout}");
        sent += 1;
    }
    for number in 3..sent {
        assert_eq!(check_record(&recv(&reader, 0).unwrap()), (0, number));
    }
    assert_eq!(recv(&reader, 0), Err(EAGAIN));
}

/// Records stay whole in every mode.
#[apply(isolated)]
fn records() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    let before = descriptors();
    let mut all = vec![0; 2 * MAX];
    Random(1).fill(&mut all);
    for (read, write) in [(false, false), (false, true), (true, false)] {
        let _case = Case(format!("non-blocking: {read}, {write}"));
        set_nonblocking(&reader, read);
        set_nonblocking(&writer, write);
        for len in (1..=MAX).step_by(61).chain([MAX - 1, MAX]) {
            let records = [&all[len..2 * len], &all[..len], &all[..1]];
            for (record, timeout) in records.iter().zip([0, LONG, INTR]) {
                assert_eq!(send(&writer, record, timeout), Ok(0));
            }
            for (record, timeout) in records.iter().zip([0, LONG, INTR]) {
                assert_eq!(recv(&reader, timeout).unwrap(), *record);
            }
        }
        assert_eq!(send(&writer, &all[..10], 0), Ok(0));
        assert_eq!(send(&writer, &all[..9], 0), Ok(0));
        assert_eq!(recv_cap(&reader, 9, 0), Err(EMSGSIZE));
        assert_eq!(recv_cap(&reader, 9, 0).unwrap(), all[..9]);
    }
    assert_eq!(descriptors(), before);
}

/// Two readers share one open file description: the slower one finds the FIFO empty after poll(2).
#[apply(isolated)]
fn two_readers() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = blocking_ends();
    let records = scaled(2000) as usize;
    let seen = shared::<AtomicU32>(records);
    let received = &shared::<AtomicU32>(1)[0];
    let readers: Vec<Reporter<usize>> = (0..2)
        .map(|_| {
            fork_reporter::<usize>(|| {
                // SAFETY: no pointers.
                unsafe { alarm(HANGING * 6) };
                while received.load(SeqCst) < records as u32 {
                    let (got, took) = timed(|| recv(&reader, 100));
                    assert!(took < Duration::from_secs(5), "{took:?}");
                    match got {
                        Ok(got) => {
                            let (_, number) = check_record(&got);
                            assert_eq!(seen[number].fetch_add(1, SeqCst), 0);
                            received.fetch_add(1, SeqCst);
                        }
                        error => assert_eq!(error, Err(ETIMEDOUT)),
                    }
                }
                Ok(0)
            })
        })
        .collect();
    for number in 0..records {
        assert_eq!(send(&writer, &record(0, number), LONG), Ok(0));
    }
    for reader in readers {
        assert_eq!(reader.outcome(), Ok(0));
    }
}

/// Two writers share one open file description, and the reader is slow.
#[apply(isolated)]
fn two_writers() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = blocking_ends();
    let records = scaled(2000) as usize;
    let writers: Vec<Reporter<usize>> = (0..2)
        .map(|number| {
            let (reader, writer) = (&reader, &writer);
            fork_reporter::<usize>(move || {
                // SAFETY: no pointers.
                unsafe { alarm(HANGING * 6) };
                // SAFETY: the child's copy, which it does not use.
                unsafe { close(reader.as_raw_fd()) };
                let mut sent = 0;
                while sent < records {
                    match send(writer, &record(number, sent), 1) {
                        Ok(_) => sent += 1,
                        error => assert_eq!(error, Err(ETIMEDOUT)),
                    }
                }
                Ok(0)
            })
        })
        .collect();
    let mut next = [0, 0];
    while next != [records; 2] {
        let (writer, number) = check_record(&recv(&reader, LONG).unwrap());
        assert_eq!(number, next[writer]);
        next[writer] += 1;
    }
    for writer in writers {
        assert_eq!(writer.outcome(), Ok(0));
    }
    assert_eq!(recv(&reader, 0), Err(EAGAIN));
}

/// A handler ends a wait with IPC_WAIT_INTR, even if it was installed with SA_RESTART.
#[apply(isolated)]
fn interrupted() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = blocking_ends();
    while send(&writer, b"full", 0) == Ok(0) {}
    for sends in [true, false] {
        for restart in [0, SA_RESTART] {
            let _case = Case(format!("send: {sends}"));
            let child = fork_reporter::<usize>(|| {
                // SAFETY: no pointers.
                unsafe { alarm(HANGING) };
                count_signal(SIGUSR1, restart);
                if sends {
                    send(&writer, b"more", INTR)
                } else {
                    recv(&reader, INTR).map(|_| 0)
                }
            });
            child.interrupt(SIGUSR1);
            assert_eq!(child.outcome(), Err(EINTR));
        }
        while recv(&reader, 0).is_ok() {}
    }
}

/// The end of the session, and a closed reader; no signal.
#[apply(isolated)]
fn session_ends() {
    let _folder = WorkingDirectory::new();
    set_action(SIGPIPE, SIG_DFL, 0);
    for timeout in [0, 100, INTR] {
        let (reader, writer) = blocking_ends();
        assert_eq!(send(&writer, b"last", timeout), Ok(0));
        drop(writer);
        assert_eq!(recv(&reader, timeout).unwrap(), b"last");
        assert_eq!(recv(&reader, timeout), END);
        drop(reader);
        let (reader, writer) = blocking_ends();
        drop(reader);
        assert_eq!(send(&writer, b"lost", timeout), Err(EPIPE));
    }
}

/// At the descriptor limit the call fails, and loses nothing.
#[apply(isolated)]
fn no_descriptors() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = blocking_ends();
    assert_eq!(send(&writer, b"record", 0), Ok(0));
    for left in [0, 1] {
        let limit = leave_descriptors(left);
        assert_eq!(recv(&reader, 0), Err(EMFILE));
        assert_eq!(send(&writer, b"not sent", 0), Err(EMFILE));
        drop(limit);
    }
    assert_eq!(recv(&reader, 0).unwrap(), b"record");
    assert_eq!(recv(&reader, 0), Err(EAGAIN));
}

/// A filter refuses splice(2): the descriptor's blocking mode applies, as it does to read(2).
#[apply(isolated)]
fn refused_splice() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = blocking_ends();
    for error in [ENOSYS, EPERM] {
        let child = fork_reporter::<usize>(|| {
            refuse(SYS_splice, error);
            assert_eq!(send(&writer, b"record", 0), Ok(0));
            recv(&reader, LONG).map(|got| got.len())
        });
        assert_eq!(child.outcome(), Ok(6));
    }
}
