//! ipc_fifo_recv_any.

use crate::support::*;
use crate::support::{open, send}; // libc has these names too
use libc::*;
use std::iter;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use unixipc::ffi::fifo::IPC_FIFO_RECORD_MAX as MAX;
use unixipc::ffi::fifo::ipc_fifo_recv_any;

const ENDED: Result<(Vec<u8>, bool), c_int> = Ok((Vec::new(), false));

fn text(bytes: &[u8]) -> Result<(Vec<u8>, bool), c_int> {
    Ok((bytes.to_vec(), true))
}

fn item(bytes: &[u8]) -> Result<(Vec<u8>, bool), c_int> {
    Ok((bytes.to_vec(), false))
}

/// Both ends, and a writing end opened as a shell opens it.
fn three_ends() -> (OwnedFd, OwnedFd, OwnedFd) {
    let (reader, writer) = ends();
    let plain = plain_open("f", O_WRONLY).unwrap();
    (reader, writer, plain)
}

#[apply(isolated)]
fn arguments() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    let (r, w) = (reader.as_raw_fd(), writer.as_raw_fd());
    let mut buffer = [0u8; 8];
    let mut call = |fd, null: bool, cap, timeout| {
        let at = if null {
            ptr::null_mut()
        } else {
            buffer.as_mut_ptr().cast::<c_void>()
        };
        // SAFETY: the buffer has eight bytes; NULL is refused.
        let got = unsafe { ipc_fifo_recv_any(fd, at, cap, ptr::null_mut(), timeout) };
        if got == -1 { Err(errno()) } else { Ok(got) }
    };
    assert_eq!(call(r, true, 8, 0), Err(EINVAL));
    assert_eq!(call(r, false, 0, 0), Err(EINVAL));
    for timeout in [-3, c_int::MIN] {
        assert_eq!(call(r, false, 8, timeout), Err(EINVAL));
    }
    for timeout in [0, 10, -1, INTR] {
        for fd in [-1, c_int::MIN, 1_000_000, w] {
            assert_eq!(call(fd, false, 8, timeout), Err(EBADF), "{fd}");
        }
    }
    let file = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(call(file.as_raw_fd(), false, 8, -1), Err(EINVAL));
    assert_eq!(call(r, false, 8, 0), Err(EAGAIN));
    assert_eq!(call(r, false, 8, 20), Err(ETIMEDOUT));
    // Without ret_text.
    assert_eq!(send(&writer, b"ab", 0), Ok(0));
    assert_eq!(call(r, false, 8, 0), Ok(2));
    assert_eq!(buffer[..2], *b"ab");
}

#[apply(isolated)]
fn records() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    let before = descriptors();
    let mut all = vec![0; 2 * MAX];
    Random(3).fill(&mut all);
    for len in (1..=MAX).step_by(13).chain([MAX]) {
        assert_eq!(send(&writer, &all[len..2 * len], 0), Ok(0), "{len}");
        assert_eq!(send(&writer, &all[..len], 0), Ok(0), "{len}");
        assert_eq!(recv_any(&reader, 0), item(&all[len..2 * len]), "{len}");
        assert_eq!(recv_any(&reader, 0), item(&all[..len]), "{len}");
    }
    // A line that does not fit is discarded, and the next one is whole.
    assert_eq!(send(&writer, &all[..10], 0), Ok(0));
    assert_eq!(send(&writer, &all[..9], 0), Ok(0));
    assert_eq!(recv_any_cap(&reader, 9, 0), Err(EMSGSIZE));
    assert_eq!(recv_any_cap(&reader, 9, 0), item(&all[..9]));
    assert_eq!(descriptors(), before);
}

/// Text does not damage records, in any order.
#[apply(isolated)]
fn mixed() {
    let _folder = WorkingDirectory::new();
    let mut random = Random(5);
    for round in 0..scaled(300) as usize {
        let (reader, writer, plain) = three_ends();
        let mut expected = Vec::new();
        for number in 0..1 + random.index(14) {
            if random.index(2) == 0 {
                // The content of some lines contains bytes that resemble a record.
                let mut bytes = record(round, number);
                let like: &[u8] = b"ab\0\xf5\x02\0";
                let at = random.index(bytes.len());
                if bytes.len() + like.len() <= MAX && random.index(2) == 0 {
                    bytes.splice(at..at, like.iter().copied());
                }
                assert_eq!(send(&writer, &bytes, 0), Ok(0));
                expected.push(item(&bytes));
            } else {
                let len = [5, 100, 1000, 4000][random.index(4)];
                let mut line = format!("line {number} of round {round}").into_bytes();
                line.resize(line.len().max(1 + random.index(len)), b'x');
                line.push(b'\n');
                assert_eq!(plain_write(&plain, &line), Ok(line.len()));
                expected.push(text(&line));
            }
        }
        drop((writer, plain));
        for (number, wanted) in expected.into_iter().enumerate() {
            assert_eq!(
                recv_any_cap(&reader, 8192, 0),
                wanted,
                "{number} of round {round}"
            );
        }
        assert_eq!(recv_any(&reader, 0), ENDED);
    }
}

/// More text than a pipe buffer holds, cut at any point: lines shorter than a buffer arrive whole.
#[apply(isolated)]
fn long_text() {
    let _folder = WorkingDirectory::new();
    let (reader, writer, plain) = three_ends();
    let lines: Vec<Vec<u8>> = (0..400)
        .map(|number| format!("{number}: {}\n", "y".repeat(number % 150)).into_bytes())
        .collect();
    let all = lines.concat();
    assert!(all.len() > 20_000 && all.len() < 60_000);
    for blocking in [false, true] {
        let _case = Case(format!("blocking: {blocking}"));
        set_nonblocking(&reader, !blocking);
        for part in all.chunks(20_000) {
            assert_eq!(plain_write(&plain, part), Ok(part.len()));
        }
        assert_eq!(send(&writer, b"behind", 0), Ok(0));
        for line in &lines {
            assert_eq!(recv_any(&reader, 0), text(line));
        }
        assert_eq!(recv_any(&reader, 0), item(b"behind"));
        // A line longer than all buffers arrives in pieces, and nothing is lost.
        let mut long = vec![b'z'; 40_000];
        long.push(b'\n');
        for cap in [1, 64, 4096, 10_000, 50_000] {
            assert_eq!(plain_write(&plain, &long), Ok(long.len()));
            assert_eq!(send(&writer, b"behind", 0), Ok(0));
            let mut got = Vec::new();
            // Each call looks at the whole line, so only the first pieces are short.
            let mut caps = iter::repeat_n(cap, 700).chain(iter::repeat(4096));
            while !got.ends_with(b"\n") {
                let (piece, is_text) = recv_any_cap(&reader, caps.next().unwrap(), 0).unwrap();
                assert!(is_text);
                got.extend(piece);
            }
            assert_eq!(got, long);
            assert_eq!(recv_any(&reader, 0), item(b"behind"));
        }
    }
}

/// Text that was written in packet mode: the rest of a packet stays.
#[apply(isolated)]
fn lines_in_a_packet() {
    let _folder = WorkingDirectory::new();
    // The writer's descriptor is in packet mode.
    let (reader, writer) = ends();
    for blocking in [false, true] {
        set_nonblocking(&reader, !blocking);
        assert_eq!(plain_write(&writer, b"one\ntwo\n"), Ok(8));
        assert_eq!(send(&writer, b"record", 0), Ok(0));
        assert_eq!(recv_any(&reader, 0), text(b"one\n"));
        assert_eq!(recv_any_cap(&reader, 3, 0), text(b"two"));
        assert_eq!(recv_any(&reader, 0), text(b"\n"));
        assert_eq!(recv_any(&reader, 0), item(b"record"));
    }
}

/// Before Linux 6.15, a write whose memory cannot be read leaves an empty buffer in a pipe.
#[apply(isolated)]
fn behind_an_empty_buffer() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    for count in 0..3 {
        for _ in 0..count {
            // SAFETY: the kernel fails to read from the address.
            let done = unsafe { write(writer.as_raw_fd(), ptr::without_provenance(1), 10) };
            assert_eq!(done, -1);
        }
        assert_eq!(send(&writer, b"record", 0), Ok(0));
        assert_eq!(recv_any(&reader, 0), item(b"record"));
        assert_eq!(recv_any(&reader, 0), Err(EAGAIN));
    }
}

/// Text without a line end, before a record that crosses the end of a small buffer.
#[apply(isolated)]
fn record_behind_text() {
    let _folder = WorkingDirectory::new();
    let (reader, writer, plain) = three_ends();
    for len in [4000, 4096, 8000, 8191, 8192, 16_000, 16_384, 20_000] {
        let _case = Case(len);
        let unfinished = vec![b'u'; len];
        assert_eq!(plain_write(&plain, &unfinished), Ok(len));
        let record = vec![b'r'; 1000];
        assert_eq!(send(&writer, &record, 0), Ok(0));
        let mut got = Vec::new();
        let last = loop {
            match recv_any_cap(&reader, 50_000, 0).unwrap() {
                (piece, true) => got.extend(piece),
                (record, false) => break record,
            }
        };
        assert_eq!(got, unfinished);
        assert_eq!(last, record);
    }
}

#[apply(isolated)]
fn pieces() {
    let _folder = WorkingDirectory::new();
    let (reader, writer, plain) = three_ends();
    assert_eq!(plain_write(&plain, b"a line\nno newline"), Ok(17));
    assert_eq!(send(&writer, b"ours", 0), Ok(0));
    assert_eq!(plain_write(&plain, b"\n\nend"), Ok(5));
    assert_eq!(recv_any_cap(&reader, 3, 0), text(b"a l"));
    assert_eq!(recv_any_cap(&reader, 3, 0), text(b"ine"));
    assert_eq!(recv_any_cap(&reader, 3, 0), text(b"\n"));
    assert_eq!(recv_any(&reader, 0), text(b"no newline"));
    assert_eq!(recv_any_cap(&reader, 3, 0), Err(EMSGSIZE));
    assert_eq!(recv_any(&reader, 0), text(b"\n"));
    assert_eq!(recv_any(&reader, 0), text(b"\n"));
    assert_eq!(recv_any(&reader, 0), text(b"end"));
    assert_eq!(recv_any(&reader, 0), Err(EAGAIN));
}

#[apply(isolated)]
fn waiting() {
    let _folder = WorkingDirectory::new();
    let (reader, writer, plain) = three_ends();
    for timeout in [-1, LONG, INTR] {
        for is_text in [false, true] {
            let receiver = fork_reporter::<usize>(|| {
                let (got, text) = recv_any(&reader, timeout)?;
                assert_eq!(text, is_text);
                Ok(got.len())
            });
            wait_asleep(receiver.0);
            if is_text {
                assert_eq!(plain_write(&plain, b"woken\n"), Ok(6));
            } else {
                assert_eq!(send(&writer, b"woken", 0), Ok(0));
            }
            assert_eq!(receiver.outcome(), Ok(5 + usize::from(is_text)));
        }
    }
    for restart in [0, SA_RESTART] {
        let receiver = fork_reporter::<usize>(|| {
            count_signal(SIGUSR1, restart);
            recv_any(&reader, INTR).map(|_| 0)
        });
        receiver.interrupt(SIGUSR1);
        assert_eq!(receiver.outcome(), Err(EINTR));
    }
    let receiver = fork_reporter::<usize>(|| {
        // SAFETY: the child's copies, which it does not use.
        let _ = unsafe { close(writer.as_raw_fd()) + close(plain.as_raw_fd()) };
        recv_any(&reader, -1).map(|got| got.0.len())
    });
    wait_asleep(receiver.0);
    drop((writer, plain));
    assert_eq!(receiver.outcome(), Ok(0), "the end");
    for timeout in [0, 10, -1, INTR] {
        assert_eq!(recv_any(&reader, timeout), ENDED);
    }
}

/// At the descriptor limit nothing is lost, and a blocking descriptor keeps the time-out.
#[apply(isolated)]
fn descriptors_and_modes() {
    let _folder = WorkingDirectory::new();
    let (reader, writer, plain) = three_ends();
    let before = descriptors();
    for blocking in [false, true] {
        let needed = 2;
        set_nonblocking(&reader, !blocking);
        assert_eq!(recv_any(&reader, 0), Err(EAGAIN));
        assert_eq!(recv_any(&reader, 10), Err(ETIMEDOUT));
        assert_eq!(plain_write(&plain, b"text\n"), Ok(5));
        assert_eq!(send(&writer, b"record", 0), Ok(0));
        for left in 0..needed {
            let limit = leave_descriptors(left);
            let got = recv_any(&reader, 0);
            drop(limit);
            assert_eq!(got, Err(EMFILE), "{left} left");
        }
        let limit = leave_descriptors(needed);
        let got = [(); 2].map(|()| recv_any(&reader, LONG));
        drop(limit);
        assert_eq!(got, [text(b"text\n"), item(b"record")]);
    }
    assert_eq!(descriptors(), before);
}

#[apply(isolated)]
fn refused_tee() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    assert_eq!(send(&writer, b"record", 0), Ok(0));
    for error in [ENOSYS, EPERM] {
        let child = fork_reporter::<usize>(|| {
            refuse(SYS_tee, error);
            assert_eq!(recv_any(&reader, LONG), Err(ENOSYS));
            Ok(0)
        });
        assert_eq!(child.outcome(), Ok(0));
    }
    assert_eq!(recv_any(&reader, 0), item(b"record"));
}

/// Text that a shell writes.
#[apply(isolated)]
fn shell() {
    let _folder = WorkingDirectory::new();
    let (reader, writer) = ends();
    let keeps_open = &writer;
    let shell = Command::new("sh")
        .args([
            "-c",
            "echo one line >f; { echo two; echo three; } >f; printf %s no-newline >f",
        ])
        .status()
        .unwrap();
    assert!(shell.success());
    assert_eq!(send(keeps_open, b"record", 0), Ok(0));
    for line in [&b"one line\n"[..], b"two\n", b"three\n", b"no-newline"] {
        assert_eq!(recv_any(&reader, 0), text(line));
    }
    assert_eq!(recv_any(&reader, 0), item(b"record"));
}

/// Many writers of text and of records, at the same time.
#[apply(isolated)]
fn crowd() {
    let _folder = WorkingDirectory::new();
    let (writers, each) = (4, scaled(2000) as usize);
    let seen = shared::<AtomicU32>(2 * writers * each);
    let keeper = open("f", PERSIST, 0).err();
    assert_eq!(keeper, Some(ENOENT));
    let (reader, first) = ends();
    let children: Vec<_> = (0..2 * writers)
        .map(|writer| {
            let reader = &reader;
            fork_reporter::<usize>(move || {
                // SAFETY: the child's copy; and no pointers.
                let _ = unsafe { close(reader.as_raw_fd()) + alarm(120) as c_int };
                if writer < writers {
                    let fd = open("f", WRITE, LONG)?;
                    for number in 0..each {
                        send(&fd, &record(writer, number), -1)?;
                    }
                } else {
                    let fd = plain_open("f", O_WRONLY)?;
                    for number in 0..each {
                        let line = format!("{writer} {number}\n");
                        assert_eq!(plain_write(&fd, line.as_bytes()), Ok(line.len()));
                    }
                }
                Ok(0)
            })
        })
        .collect();
    drop(first);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut all = 0;
            while all < 2 * writers * each {
                let (bytes, is_text) = recv_any(&reader, LONG).unwrap();
                if bytes.is_empty() {
                    // A moment without a writer: before the first one, or between two.
                    thread::yield_now();
                    continue;
                }
                let (writer, number) = if is_text {
                    let line = std::str::from_utf8(&bytes).unwrap().trim_end();
                    let (writer, number) = line.split_once(' ').unwrap();
                    (writer.parse().unwrap(), number.parse().unwrap())
                } else {
                    check_record(&bytes)
                };
                assert_eq!(is_text, writer >= writers);
                assert_eq!(seen[writer * each + number].fetch_add(1, SeqCst), 0);
                all += 1;
            }
        });
    });
    for child in children {
        assert_eq!(child.outcome(), Ok(0));
    }
}
