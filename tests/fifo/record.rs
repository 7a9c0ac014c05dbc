//! ipc_fifo_send and ipc_fifo_recv.

use crate::support::*;
use crate::support::{recv, send}; // libc has these names too
use libc::*;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::thread;
use std::time::Duration;
use unixipc::ffi::fifo::IPC_FIFO_RECORD_MAX as MAX;

#[apply(isolated)]
fn arguments() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    let (r, w) = (reader.as_raw_fd(), writer.as_raw_fd());
    let mut buffer = [0u8; 8];
    let at = buffer.as_mut_ptr().cast::<c_void>();
    assert_eq!(send_raw(w, ptr::null(), 0, 0), Err(EINVAL));
    assert_eq!(send_raw(w, ptr::null(), 5, 0), Err(EINVAL));
    assert_eq!(send_raw(w, at, 0, 0), Err(EINVAL));
    assert_eq!(recv_raw(r, ptr::null_mut(), 5, 0), Err(EINVAL));
    assert_eq!(recv_raw(r, at, 0, 0), Err(EINVAL));
    for timeout in [-3, c_int::MIN] {
        assert_eq!(send_raw(w, at, 8, timeout), Err(EINVAL));
        assert_eq!(recv_raw(r, at, 8, timeout), Err(EINVAL));
    }
    for timeout in [0, 10, -1, INTR] {
        for fd in [-1, c_int::MIN, 1_000_000, r] {
            assert_eq!(send_raw(fd, at, 8, timeout), Err(EBADF), "{fd}");
        }
        for fd in [-1, c_int::MIN, 1_000_000, w] {
            assert_eq!(recv_raw(fd, at, 8, timeout), Err(EBADF), "{fd}");
        }
    }
    assert_eq!(recv(&reader, 0), Err(EAGAIN), "nothing was sent");
}

#[apply(isolated)]
fn lengths() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    let mut all = vec![0; 1 << 17];
    Random(1).fill(&mut all);
    for len in 1..=MAX {
        assert_eq!(send(&writer, &all[len..2 * len], 0), Ok(0), "{len}");
        assert_eq!(recv(&reader, 0), Ok(all[len..2 * len].to_vec()), "{len}");
    }
    for len in [MAX + 1, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 17] {
        assert_eq!(send(&writer, &all[..len], 0), Err(EMSGSIZE), "{len}");
    }
    assert_eq!(recv(&reader, 0), Err(EAGAIN), "nothing was sent");
}

/// A length that results from a mistake is too long like any other.
#[apply(isolated)]
fn huge_lengths() {
    let _folder = WorkingDirectory::new();
    let (_reader, writer) = ends();
    let byte = 0u8;
    for len in [isize::MAX as usize + 1, usize::MAX] {
        let sent = send_raw(writer.as_raw_fd(), ptr::from_ref(&byte).cast(), len, 0);
        assert_eq!(sent, Err(EMSGSIZE), "{len:#x}");
    }
}

/// A record that is longer than the buffer is discarded, and the next one is whole.
#[apply(isolated)]
fn small_buffers() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    for (cap, len) in [(1, 2), (1, MAX), (9, 10), (10, 4000), (MAX - 1, MAX)] {
        assert_eq!(send(&writer, &vec![1; len], 0), Ok(0));
        assert_eq!(send(&writer, &vec![2; cap], 0), Ok(0));
        assert_eq!(recv_cap(&reader, cap, 0), Err(EMSGSIZE), "{len} into {cap}");
        assert_eq!(recv_cap(&reader, cap, 0), Ok(vec![2; cap]), "{cap} exactly");
        assert_eq!(recv(&reader, 0), Err(EAGAIN));
    }
    assert_eq!(send(&writer, b"x", 0), Ok(0));
    assert_eq!(recv_cap(&reader, 1 << 20, 0), Ok(b"x".to_vec()));
}

fn fill(writer: &OwnedFd) -> usize {
    let mut sent = 0;
    loop {
        match send(writer, &record(0, sent), 0) {
            Ok(_) => sent += 1,
            error => {
                assert_eq!(error, Err(EAGAIN));
                assert!(sent > 0);
                return sent;
            }
        }
    }
}

#[apply(isolated)]
fn full() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    let mut sent = fill(&writer);
    let before = cpu_time();
    for timeout in [1, 60, 500] {
        let (got, took) = timed(|| send(&writer, b"more", timeout));
        assert_eq!(got, Err(ETIMEDOUT));
        assert!(took >= Duration::from_millis(timeout as u64) && took < Duration::from_secs(5));
    }
    let used = cpu_time() - before;
    assert!(used < Duration::from_millis(56), "{used:?} of 561 ms");
    for timeout in [-1, LONG, INTR] {
        let sender = fork_reporter::<usize>(|| send(&writer, &record(0, sent), timeout));
        wait_asleep(sender.0);
        assert_eq!(
            check_record(&recv(&reader, 0).unwrap()),
            (0, sent - fill_of(sent, &reader))
        );
        assert_eq!(sender.outcome(), Ok(0), "time-out {timeout}");
        sent += 1;
    }
    drop(writer);
    let mut next = 3;
    loop {
        let got = recv(&reader, 0).unwrap();
        if got.is_empty() {
            break;
        }
        assert_eq!(check_record(&got), (0, next));
        next += 1;
    }
    assert_eq!(next, sent);
}

/// The number of records that the full pipe holds.
fn fill_of(_: usize, reader: &OwnedFd) -> usize {
    // SAFETY: no pointers.
    let bytes = unsafe { fcntl(reader.as_raw_fd(), F_GETPIPE_SZ) };
    bytes as usize / page_size()
}

#[apply(isolated)]
fn empty() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    assert_eq!(recv(&reader, 0), Err(EAGAIN));
    let before = cpu_time();
    for timeout in [1, 60, 500] {
        let (got, took) = timed(|| recv(&reader, timeout));
        assert_eq!(got, Err(ETIMEDOUT));
        assert!(took >= Duration::from_millis(timeout as u64) && took < Duration::from_secs(5));
    }
    let used = cpu_time() - before;
    assert!(used < Duration::from_millis(56), "{used:?} of 561 ms");
    for timeout in [-1, LONG, INTR] {
        let receiver = fork_reporter::<usize>(|| recv(&reader, timeout).map(|got| got.len()));
        wait_asleep(receiver.0);
        assert_eq!(send(&writer, b"woken", 0), Ok(0));
        assert_eq!(receiver.outcome(), Ok(5), "time-out {timeout}");
    }
}

/// A read of 0 bytes is not the end while more data follows: older kernels let a writer send
/// packets without content.
#[apply(isolated)]
fn packets_without_content() {
    let _folder = WorkingDirectory::new();
    for sent in [0, 1, 3] {
        for closed in [false, true] {
            let (reader, writer) = ends();
            for number in 0..sent {
                assert_eq!(send(&writer, &record(0, number), 0), Ok(0));
            }
            let writer = (!closed).then_some(writer);
            let child = fork_reporter::<usize>(|| {
                // The FIFO behaves as if it had one packet after another, without an end.
                refuse(SYS_read, 0);
                if sent > 0 {
                    assert_eq!(recv(&reader, -1), Err(EPROTO), "{sent}, {closed}");
                } else if closed {
                    assert_eq!(recv(&reader, -1), END);
                }
                Ok(0)
            });
            assert_eq!(child.outcome(), Ok(0));
            for number in 0..sent {
                assert_eq!(recv(&reader, 0), Ok(record(0, number)));
            }
            let after = if closed { END } else { Err(EAGAIN) };
            assert_eq!(recv(&reader, 0), after);
            drop(writer);
        }
    }
    // Before the first writer a reader reads end of file, but does not wait.
    let reader = plain_open("f", O_RDONLY | O_NONBLOCK).unwrap();
    assert_eq!(recv(&reader, -1), END);
}

/// The end wakes a waiting reader.
#[apply(isolated)]
fn end_while_waiting() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    let pipes = (reader, writer);
    let receiver = fork_reporter::<usize>(|| {
        // SAFETY: the child's copy; nothing in this process uses it.
        unsafe { close(pipes.1.as_raw_fd()) };
        recv(&pipes.0, -1).map(|got| got.len())
    });
    wait_asleep(receiver.0);
    drop(pipes.1);
    assert_eq!(receiver.outcome(), Ok(0));
}

#[apply(isolated)]
fn interrupted() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    let sent = fill(&writer);
    for restart in [0, SA_RESTART] {
        let sender = fork_reporter::<usize>(|| {
            count_signal(SIGUSR1, restart);
            send(&writer, b"more", INTR)
        });
        sender.interrupt(SIGUSR1);
        assert_eq!(sender.outcome(), Err(EINTR));
    }
    for number in 0..sent {
        assert_eq!(check_record(&recv(&reader, 0).unwrap()), (0, number));
    }
    for restart in [0, SA_RESTART] {
        let receiver = fork_reporter::<usize>(|| {
            count_signal(SIGUSR1, restart);
            recv(&reader, INTR).map(|_| 0)
        });
        receiver.interrupt(SIGUSR1);
        assert_eq!(receiver.outcome(), Err(EINTR));
        for timeout in [-1, LONG] {
            let goes_on = fork_reporter::<usize>(|| {
                count_signal(SIGUSR1, restart);
                let got = recv(&reader, timeout);
                assert!(handled() > 0);
                got.map(|got| got.len())
            });
            for _ in 0..5 {
                wait_asleep(goes_on.0);
                goes_on.signal(SIGUSR1);
            }
            wait_asleep(goes_on.0);
            assert_eq!(send(&writer, b"at last", 0), Ok(0));
            assert_eq!(goes_on.outcome(), Ok(7));
        }
    }
}

/// Data that ipc_fifo_send did not write.
#[apply(isolated)]
fn foreign() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    let plain = plain_open("f", O_WRONLY).unwrap();
    for bytes in [
        &b"\0"[..],
        b"\0\xf5",
        b"\0\xf5\x01",
        b"\0\xf5\0\0",
        b"\0\xf5\x01\0",
        b"x\0\xf5\x02\0",
        b"xy\0\xf5\x01\0",
        b"x\0\xf5\0\x01",
        b"x\0\xf4\x01\0",
        b"x\x01\xf5\x01\0",
        b"x\xf5\0\x01\0",
        b"x\0\xf5\xff\xff",
        b"\0\xf5\x01\0x",
        b"a line of text\n",
        &[0; 4096],
    ] {
        assert_eq!(plain_write(&plain, bytes), Ok(bytes.len()));
        assert_eq!(recv(&reader, 0), Err(EPROTO), "{bytes:?}");
        assert_eq!(recv(&reader, 0), Err(EAGAIN), "{bytes:?}");
        assert_eq!(send(&writer, b"ours", 0), Ok(0));
        assert_eq!(recv(&reader, 0), Ok(b"ours".to_vec()));
    }
    // A write longer than a packet is read in pieces.
    assert_eq!(plain_write(&plain, &[b'x'; 10_000]), Ok(10_000));
    drop((plain, writer));
    let mut errors = 0;
    while recv(&reader, 0) == Err(EPROTO) {
        errors += 1;
    }
    assert_eq!(errors, 3);
    assert_eq!(recv(&reader, 0), END);
}

/// Random bytes give errors until they are read, and then the end follows.
#[apply(isolated)]
fn random_bytes() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    let writes = scaled(100_000) as usize;
    let foreigner = fork_reporter::<usize>(|| {
        let plain = plain_open("f", O_WRONLY).unwrap();
        // SAFETY: the child's copy.
        unsafe { close(writer.as_raw_fd()) };
        let mut random = Random(42);
        let mut bytes = vec![0; 6000];
        for _ in 0..writes {
            let limit = [5, 40, 300, 6000][random.index(4)];
            let len = 1 + random.index(limit);
            random.fill(&mut bytes[..len]);
            // Some inputs end as a record does.
            let like = random.index(4).min(len);
            bytes[len - like..len].copy_from_slice(&b"\xf5\x07\0"[3 - like..]);
            plain_write(&plain, &bytes[..len])?;
        }
        Ok(0)
    });
    drop(writer);
    let (mut errors, mut records) = (0, 0);
    loop {
        match recv(&reader, LONG) {
            Ok(record) if record.is_empty() => break,
            Ok(_) => records += 1,
            Err(error) => {
                assert_eq!(error, EPROTO);
                errors += 1;
            }
        }
    }
    assert_eq!(foreigner.outcome(), Ok(0));
    // By chance a length can match the data, but rarely.
    assert!(errors > 100 * records, "{errors} errors, {records} records");
}

/// One descriptor and many threads on each side.
#[apply(isolated)]
fn threads() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    let (threads, records) = (4, 2000);
    let seen = shared::<std::sync::atomic::AtomicU32>(threads * records);
    let left = std::sync::atomic::AtomicUsize::new(threads * records);
    thread::scope(|scope| {
        for thread in 0..threads {
            let (reader, writer, left) = (&reader, &writer, &left);
            scope.spawn(move || {
                for number in 0..records {
                    assert_eq!(send(writer, &record(thread, number), LONG), Ok(0));
                }
            });
            scope.spawn(move || {
                use std::sync::atomic::Ordering::SeqCst;
                while left.load(SeqCst) > 0 {
                    match recv(reader, 20) {
                        Ok(got) => {
                            let (writer, number) = check_record(&got);
                            assert_eq!(seen[writer * records + number].fetch_add(1, SeqCst), 0);
                            left.fetch_sub(1, SeqCst);
                        }
                        error => assert_eq!(error, Err(ETIMEDOUT)),
                    }
                }
            });
        }
    });
}
