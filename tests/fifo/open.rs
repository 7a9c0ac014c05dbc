//! ipc_fifo_open.

use crate::create::without_proc;
use crate::support::*;
use crate::support::{open, recv, send}; // libc has these names too
use common::child::{Child, fork};
use common::threads::voluntary_switches;
use libc::*;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::ptr;
use std::thread;
use std::time::Duration;
use unixipc::ffi::fifo::*;

/// A short time-out.
const SHORT: c_int = 60;

#[apply(isolated)]
fn arguments() {
    let _folder = WorkingDirectory::new();
    let path = make();
    // SAFETY: NULL is refused.
    let fd = unsafe { ipc_fifo_open(ptr::null(), PERSIST, 0) };
    assert_eq!((fd, errno()), (-1, EINVAL));
    let packet = IPC_FIFO_F_PACKET;
    let good = [
        READ,
        WRITE,
        PERSIST,
        READ | packet,
        WRITE | packet,
        PERSIST | packet,
    ];
    for flags in (0..64).chain((6..32).map(|bit| 1 << bit | READ)) {
        let expected = match flags {
            PERSIST => None,
            flags if flags == PERSIST | packet => None,
            flags if good.contains(&flags) => Some(EAGAIN),
            _ => Some(EINVAL),
        };
        assert_eq!(open(path, flags, 0).err(), expected, "flags {flags:#x}");
    }
    for timeout in [-3, -100, c_int::MIN] {
        for flags in [READ, WRITE, PERSIST] {
            assert_eq!(open(path, flags, timeout).err(), Some(EINVAL), "{timeout}");
        }
    }
}

#[apply(isolated)]
fn paths() {
    let _folder = WorkingDirectory::new();
    make();
    fs::write("file", "").unwrap();
    fs::create_dir("directory").unwrap();
    let _socket = UnixListener::bind("socket").unwrap();
    symlink("f", "link").unwrap();
    symlink("loop", "loop").unwrap();
    symlink("nowhere", "dangling").unwrap();
    symlink(".", "way").unwrap();
    let long = "n".repeat(256);
    for (path, expected) in [
        ("file", EINVAL),
        ("directory", EINVAL),
        (".", EINVAL),
        ("socket", EINVAL),
        ("/dev/null", EINVAL),
        ("/dev/tty", EINVAL),
        ("link", ELOOP),
        ("dangling", ELOOP),
        ("loop", ELOOP),
        ("loop/f", ELOOP),
        ("", ENOENT),
        ("missing", ENOENT),
        ("missing/f", ENOENT),
        ("file/f", ENOTDIR),
        ("f/f", ENOTDIR),
        (&long, ENAMETOOLONG),
    ] {
        for flags in [READ, WRITE, PERSIST] {
            for timeout in [0, SHORT, -1] {
                let got = open(path, flags, timeout);
                assert_eq!(got.err(), Some(expected), "{path:?}, flags {flags}");
            }
        }
    }
    let keeper = open("way/f", PERSIST, 0).unwrap();
    let writer = open("way/way/f", WRITE, 0).unwrap();
    assert_eq!(send(&writer, b"through links", 0), Ok(0));
    assert_eq!(recv(&keeper, 0), Ok(b"through links".to_vec()));
}

#[apply(isolated)]
#[needs(needs::root)]
fn another_user() {
    let _folder = WorkingDirectory::new();
    open_to_all();
    make();
    let _keeper = open("f", PERSIST, 0).unwrap();
    for (mode, read, write) in [
        (0o600, false, false),
        (0o604, true, false),
        (0o602, false, true),
        (0o606, true, true),
    ] {
        set_mode("f", mode);
        as_nobody(|| {
            let error = |granted: bool| (!granted).then_some(EACCES);
            assert_eq!(open("f", READ, 0).err(), error(read), "{mode:o}");
            assert_eq!(open("f", WRITE, 0).err(), error(write), "{mode:o}");
            assert_eq!(
                open("f", PERSIST, 0).err(),
                error(read && write),
                "{mode:o}"
            );
            assert_eq!(open("f", WRITE, -1).err(), error(write), "{mode:o}");
        });
    }
}

#[apply(isolated)]
fn descriptor_flags() {
    let _folder = WorkingDirectory::new();
    let path = make();
    let keeper = open(path, PERSIST, 0).unwrap();
    for packet in [0, IPC_FIFO_F_PACKET] {
        for (side, access) in [(READ, O_RDONLY), (WRITE, O_WRONLY), (PERSIST, O_RDWR)] {
            let fd = open(path, side | packet, 0).unwrap();
            // SAFETY: no pointers.
            let status = unsafe { fcntl(fd.as_raw_fd(), F_GETFL) };
            assert_eq!(status & O_ACCMODE, access);
            assert_ne!(status & O_NONBLOCK, 0, "{side}");
            if side == WRITE {
                assert_ne!(status & O_DIRECT, 0, "packet mode");
            }
            // SAFETY: no pointers.
            assert_eq!(unsafe { fcntl(fd.as_raw_fd(), F_GETFD) }, FD_CLOEXEC);
        }
    }
    drop(keeper);
}

#[apply(isolated)]
fn time_outs() {
    let _folder = WorkingDirectory::new();
    let path = make();
    let before = descriptors();
    for flags in [READ, WRITE] {
        let (got, took) = timed(|| open(path, flags, 0).err());
        assert_eq!(got, Some(EAGAIN));
        assert!(took < Duration::from_secs(5));
        for timeout in [1, SHORT, 200] {
            let (got, took) = timed(|| open(path, flags, timeout).err());
            assert_eq!(got, Some(ETIMEDOUT));
            assert!(
                took >= Duration::from_millis(timeout as u64),
                "{took:?} of {timeout} ms"
            );
            assert!(took < Duration::from_secs(5), "{took:?} of {timeout} ms");
        }
    }
    assert_eq!(descriptors(), before);
}

/// A waiting call polls often at first, and then more and more seldom.
#[apply(isolated)]
fn uses_little_processor_time() {
    let _folder = WorkingDirectory::new();
    make();
    for flags in [READ, WRITE] {
        let before = voluntary_switches();
        assert_eq!(open("f", flags, 500).err(), Some(ETIMEDOUT));
        let polls = voluntary_switches() - before;
        // 250 in the first 100 ms, and 103 later.
        assert!(polls <= 360, "{polls} polls, flags {flags}");
    }
}

/// Processes on the same side do not count as each other's peers.
#[apply(isolated)]
fn same_side_does_not_connect() {
    let _folder = WorkingDirectory::new();
    make();
    for flags in [READ, WRITE] {
        let waiting = [(); 3].map(|()| fork(|| drop(open("f", flags, LONG))));
        waiting.iter().for_each(Child::wait_asleep);
        assert_eq!(open("f", flags, 0).err(), Some(EAGAIN));
        assert_eq!(open("f", flags, SHORT).err(), Some(ETIMEDOUT));
        assert!(!waiting.iter().any(Child::has_ended), "flags {flags}");
    }
}

/// The ways in which a peer opens the FIFO.
#[derive(Clone, Copy, Debug)]
enum How {
    Library,
    /// With open(2), as cat does.
    Blocking,
    NonBlocking,
    ReadWrite,
}

impl How {
    fn open(self, flags: c_uint) -> Result<OwnedFd, c_int> {
        let access = if flags == WRITE { O_WRONLY } else { O_RDONLY };
        match self {
            Self::Library => open("f", flags, LONG),
            Self::Blocking => plain_open("f", access),
            Self::NonBlocking => plain_open("f", access | O_NONBLOCK),
            Self::ReadWrite => plain_open("f", O_RDWR),
        }
    }
}

/// One record as the library writes it; a peer without the library writes these bytes.
const PACKET: &[u8] = b"hello\0\xf5\x05\0";

/// Passes a record from one side to the other. Each process reads or writes; `fd` may be blocking.
fn talk(fd: &OwnedFd, flags: c_uint) -> Outcome {
    if flags == WRITE {
        return plain_write(fd, PACKET);
    }
    assert_eq!(recv(fd, LONG), Ok(b"hello".to_vec()));
    Ok(PACKET.len())
}

/// Waits until the descriptor is readable.
fn wait_readable(fd: &OwnedFd) {
    let mut poll = pollfd {
        fd: fd.as_raw_fd(),
        events: POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd, ours.
    let ready = unsafe { libc::poll(&mut poll, 1, LONG) };
    assert_eq!(ready, 1, "nothing comes");
}

fn connect(flags: c_uint, how: How, waiter_first: bool) {
    eprintln!("flags {flags}, peer {how:?}, waiter first: {waiter_first}");
    let other = if flags == WRITE { READ } else { WRITE };
    let waiter = || fork_reporter::<usize>(|| talk(&open("f", flags, LONG)?, flags));
    let peer = || {
        fork_reporter::<usize>(|| {
            let fd = how.open(other)?;
            if other == READ {
                // Before a writer has opened the FIFO, a non-blocking reader reads end of file.
                wait_readable(&fd);
            }
            talk(&fd, other)
        })
    };
    let (first, second) = if waiter_first {
        let first = waiter();
        wait_asleep(first.0);
        (first, peer())
    } else {
        let first = peer();
        wait_asleep(first.0);
        (first, waiter())
    };
    assert_eq!(second.outcome(), Ok(PACKET.len()));
    assert_eq!(first.outcome(), Ok(PACKET.len()));
}

fn all_connections() {
    for flags in [READ, WRITE] {
        for how in [
            How::Library,
            How::Blocking,
            How::NonBlocking,
            How::ReadWrite,
        ] {
            connect(flags, how, true);
        }
        for how in [How::Library, How::Blocking] {
            connect(flags, how, false);
        }
    }
    // A non-blocking reader may open it first.
    let reader = plain_open("f", O_RDONLY | O_NONBLOCK).unwrap();
    let writer = open("f", WRITE, 0).unwrap();
    talk(&writer, WRITE).unwrap();
    talk(&reader, READ).unwrap();
    // So may a writer after a reader has let it open the FIFO.
    let again = open("f", READ, 0).unwrap();
    talk(&writer, WRITE).unwrap();
    talk(&again, READ).unwrap();
}

#[apply(isolated)]
fn peers() {
    let _folder = WorkingDirectory::new();
    make();
    all_connections();
}

/// With too few descriptors for waiting.
#[apply(isolated)]
fn few_descriptors() {
    let _folder = WorkingDirectory::new();
    make();
    for left in 0..=4 {
        // A reader, and the pipe by which it finds a writer; a writer only opens the FIFO.
        for (flags, needs) in [(READ, 3), (WRITE, 1)] {
            let child = fork_reporter::<usize>(|| {
                let before = descriptors();
                let old = leave_descriptors(left);
                let now = open("f", flags, 0).err();
                let soon = open("f", flags, SHORT).err();
                drop(old);
                assert_eq!(descriptors(), before, "{left} left, flags {flags}");
                if left >= needs {
                    assert_eq!(
                        (now, soon),
                        (Some(EAGAIN), Some(ETIMEDOUT)),
                        "{left}, {flags}"
                    );
                } else {
                    assert_eq!((now, soon), (Some(EMFILE), Some(EMFILE)), "{left}, {flags}");
                }
                Ok(0)
            });
            assert_eq!(child.outcome(), Ok(0), "{left} left, flags {flags}");
        }
        // The other side exists: a writer does not need the descriptors for waiting.
        let child = fork_reporter::<usize>(|| {
            let _keeper = open("f", PERSIST, 0).unwrap();
            let old = leave_descriptors(left);
            let opened = open("f", WRITE, LONG).err();
            drop(old);
            assert_eq!(opened, (left == 0).then_some(EMFILE), "{left} left");
            Ok(0)
        });
        assert_eq!(child.outcome(), Ok(0), "{left} left");
    }
}

#[apply(isolated)]
#[needs(needs::root)]
fn no_proc() {
    let _folder = WorkingDirectory::new();
    make();
    let reader = fork_reporter::<usize>(|| {
        without_proc();
        talk(&open("f", READ, LONG)?, READ)
    });
    let writer = fork_reporter::<usize>(|| {
        without_proc();
        talk(&open("f", WRITE, LONG)?, WRITE)
    });
    assert_eq!(reader.outcome(), Ok(PACKET.len()));
    assert_eq!(writer.outcome(), Ok(PACKET.len()));
}

/// A writer that opened the FIFO briefly is found, with its data or without any.
#[apply(isolated)]
fn writer_comes_and_goes() {
    let _folder = WorkingDirectory::new();
    make();
    for round in 0..50 {
        let reader = fork_reporter::<usize>(|| {
            let fd = open("f", READ, LONG)?;
            if round % 2 == 0 {
                assert_eq!(recv(&fd, LONG), Ok(b"hello".to_vec()));
            }
            assert_eq!(recv(&fd, LONG), END);
            Ok(0)
        });
        wait_asleep(reader.0);
        let writer = open("f", WRITE, LONG).unwrap();
        if round % 2 == 0 {
            assert_eq!(send(&writer, b"hello", 0), Ok(0));
        }
        drop(writer);
        assert_eq!(reader.outcome(), Ok(0), "round {round}");
    }
}

/// Readers that open and close the FIFO leave a waiting writer waiting, or let it return; the
/// reader that stays gets its record.
#[apply(isolated)]
fn reader_comes_and_goes() {
    let _folder = WorkingDirectory::new();
    make();
    let writer = fork_reporter::<usize>(|| {
        loop {
            let fd = open("f", WRITE, LONG)?;
            match send(&fd, b"hello", LONG) {
                Err(EPIPE) => {} // let in by a reader that has closed
                sent => return sent,
            }
        }
    });
    wait_asleep(writer.0);
    for _ in 0..2000 {
        let passing = plain_open("f", O_RDONLY | O_NONBLOCK).unwrap();
        // The reader closes in the next moment, possibly with the record.
        let got = recv(&passing, 0);
        drop(passing);
        if got == Ok(b"hello".to_vec()) {
            assert_eq!(writer.outcome(), Ok(0));
            return;
        }
    }
    let stays = open("f", PERSIST, 0).unwrap();
    // A record sent to a reader that closes without reading is lost with the pipe.
    let got = recv(&stays, 500);
    assert!(matches!(got, Ok(ref record) if record == b"hello") || got == Err(ETIMEDOUT));
    assert_eq!(writer.outcome(), Ok(0));
}

/// A process killed during its wait leaves no state that others take for a peer.
#[apply(isolated)]
fn killed_while_waiting() {
    let _folder = WorkingDirectory::new();
    make();
    for flags in [READ, WRITE] {
        let other = if flags == WRITE { READ } else { WRITE };
        for how in [How::Library, How::Blocking] {
            let waiting = fork_reporter::<usize>(|| how.open(flags).map(|_| 0));
            wait_asleep(waiting.0);
            waiting.signal(SIGKILL);
            waiting.end();
            assert_eq!(open("f", other, 0).err(), Some(EAGAIN), "{flags}, {how:?}");
            assert_eq!(
                open("f", other, SHORT).err(),
                Some(ETIMEDOUT),
                "{flags}, {how:?}"
            );
            connect(flags, how, true);
        }
    }
}

/// The name is removed, or refers to another FIFO, while a writer waits.
#[apply(isolated)]
fn removed_while_waiting() {
    let _folder = WorkingDirectory::new();
    make();
    let writer = fork_reporter::<usize>(|| open("f", WRITE, LONG).map(|_| 0));
    wait_asleep(writer.0);
    fs::remove_file("f").unwrap();
    assert_eq!(writer.outcome(), Err(ENOENT));
}

/// A path to "f" that takes the kernel a millisecond to resolve. Each of the kernel's three
/// attempts counts the path's 40 links separately.
fn slow_path() -> String {
    fs::create_dir("d").unwrap();
    let detour = "d/../".repeat(800);
    (0..13)
        .map(|i| {
            let name = format!("l{i}");
            symlink(&detour, &name).unwrap();
            name + "/"
        })
        .chain(["f".into()])
        .collect()
}

/// A reader finds a writer that has found it, with its record, even if the name is removed or
/// refers to another FIFO when the reader checks it.
#[apply(isolated)]
fn removed_by_the_writer() {
    let _folder = WorkingDirectory::new();
    let path = slow_path();
    for round in 0..200 {
        make();
        assert_eq!(create("other", 0o600, 0), Ok(0));
        let reader = fork_reporter::<usize>(|| {
            let fd = open(&path, READ, 1000)?;
            assert_eq!(recv(&fd, LONG), Ok(b"hello".to_vec()));
            Ok(0)
        });
        thread::sleep(Duration::from_micros(30 * (round % 100)));
        let writer = open("f", WRITE, LONG).unwrap();
        assert_eq!(send(&writer, b"hello", 0), Ok(0));
        if round < 100 {
            fs::remove_file("f").unwrap();
            drop(writer);
            fs::remove_file("other").unwrap();
        } else {
            fs::rename("other", "f").unwrap();
        }
        assert_eq!(reader.outcome(), Ok(0), "round {round}");
        let _ = fs::remove_file("f");
    }
}

#[apply(isolated)]
fn interrupted() {
    let _folder = WorkingDirectory::new();
    make();
    for restart in [0, SA_RESTART] {
        for flags in [READ, WRITE] {
            let ran = shared::<std::sync::atomic::AtomicU32>(1);
            let intr = fork_reporter::<usize>(|| {
                count_signal(SIGUSR1, restart);
                open("f", flags, INTR).map(|_| 0)
            });
            // The handler is installed before the wait; an earlier signal would kill the child.
            intr.interrupt(SIGUSR1);
            assert_eq!(intr.outcome(), Err(EINTR), "flags {flags}");
            for timeout in [-1, LONG] {
                let goes_on = fork_reporter::<usize>(|| {
                    count_signal(SIGUSR1, restart);
                    let opened = open("f", flags, timeout);
                    ran[0].store(handled() as u32, std::sync::atomic::Ordering::SeqCst);
                    talk(&opened?, flags)
                });
                for _ in 0..5 {
                    wait_asleep(goes_on.0);
                    goes_on.signal(SIGUSR1);
                }
                wait_asleep(goes_on.0);
                let other = if flags == WRITE { READ } else { WRITE };
                let peer = fork_reporter::<usize>(|| talk(&open("f", other, LONG)?, other));
                assert_eq!(goes_on.outcome(), Ok(PACKET.len()));
                assert_eq!(peer.outcome(), Ok(PACKET.len()));
                assert!(ran[0].load(std::sync::atomic::Ordering::SeqCst) > 0);
            }
        }
    }
}

/// Interruptions do not lengthen the time-out.
#[apply(isolated)]
fn time_outs_under_interruptions() {
    let _folder = WorkingDirectory::new();
    make();
    count_signal(libc::SIGALRM, 0);
    storm(1000);
    for flags in [READ, WRITE] {
        let (got, took) = timed(|| open("f", flags, 200).err());
        assert_eq!(got, Some(ETIMEDOUT));
        assert!(
            took >= Duration::from_millis(200) && took < Duration::from_secs(3),
            "{took:?}"
        );
    }
    storm(0);
    assert!(handled() > 50);
}

/// A persistent reader does not wait for a writer, and sees no end between clients.
#[apply(isolated)]
fn persistent() {
    let _folder = WorkingDirectory::new();
    make();
    let server = open("f", PERSIST, 0).unwrap();
    assert_eq!(recv(&server, 0), Err(EAGAIN));
    for client in 0..3 {
        let child = fork_reporter::<usize>(|| send(&open("f", WRITE, 0)?, &record(client, 0), 0));
        assert_eq!(child.outcome(), Ok(0));
        assert_eq!(recv(&server, 0), Ok(record(client, 0)));
        assert_eq!(recv(&server, 0), Err(EAGAIN), "no end");
        assert_eq!(recv(&server, 20), Err(ETIMEDOUT), "no end");
    }
}

/// The end of a session, and the next session.
#[apply(isolated)]
fn sessions() {
    let _folder = WorkingDirectory::new();
    for session in 0..3 {
        let (reader, writer) = ends();
        let second = open("f", WRITE, 0).unwrap();
        assert_eq!(send(&writer, &record(session, 0), 0), Ok(0));
        assert_eq!(send(&second, &record(session, 1), 0), Ok(0));
        drop(writer);
        assert_eq!(recv(&reader, 0), Ok(record(session, 0)));
        drop(second);
        assert_eq!(recv(&reader, 0), Ok(record(session, 1)));
        for timeout in [0, SHORT, -1, INTR] {
            assert_eq!(recv(&reader, timeout), END);
        }
        drop(reader);
        assert_eq!(
            open("f", READ, 0).err(),
            Some(EAGAIN),
            "the next session has not begun"
        );
    }
}

/// Pairs of threads open and close their FIFOs at the same time; a second FIFO synchronises the
/// sessions.
#[apply(isolated)]
fn threads() {
    let _folder = WorkingDirectory::new();
    for i in 0..8 {
        assert_eq!(create(&format!("to{i}"), 0o600, 0), Ok(0));
        assert_eq!(create(&format!("from{i}"), 0o600, 0), Ok(0));
    }
    thread::scope(|scope| {
        for i in 0..8 {
            let (to, from) = (format!("to{i}"), format!("from{i}"));
            let names = (to.clone(), from.clone());
            scope.spawn(move || {
                for round in 0..20 {
                    let writer = open(&to, WRITE, LONG).unwrap();
                    assert_eq!(send(&writer, &record(i, round), LONG), Ok(0));
                    drop(writer);
                    let reader = open(&from, READ, LONG).unwrap();
                    assert_eq!(recv(&reader, LONG), Ok(record(i, round)));
                    assert_eq!(recv(&reader, LONG), END);
                }
            });
            scope.spawn(move || {
                for _ in 0..20 {
                    let reader = open(&names.0, READ, LONG).unwrap();
                    let got = recv(&reader, LONG).unwrap();
                    assert_eq!(recv(&reader, LONG), END);
                    drop(reader);
                    let writer = open(&names.1, WRITE, LONG).unwrap();
                    assert_eq!(send(&writer, &got, LONG), Ok(0));
                }
            });
        }
    });
}
