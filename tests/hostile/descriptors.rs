//! The descriptors that come with a hello.

use crate::support::*;
use common::descriptors::pipe;
use libc::*;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

/// A file on a disk, of the right size.
fn on_disk(folder: &str) -> OwnedFd {
    let file = open_file(folder, O_TMPFILE | O_RDWR);
    // SAFETY: no pointers.
    assert_eq!(
        unsafe { ftruncate(file.as_raw_fd(), (CONTROL + RING) as i64) },
        0
    );
    file
}

fn socket_end() -> OwnedFd {
    sockets(Way::Stream).0
}

fn event() -> OwnedFd {
    // SAFETY: no pointers.
    own(unsafe { eventfd(0, EFD_CLOEXEC) })
}

fn huge() -> OwnedFd {
    let flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB;
    // SAFETY: a string.
    let fd = own(unsafe { memfd_create(c"unixipc-test".as_ptr(), flags) });
    // SAFETY: no pointers.
    assert_eq!(unsafe { ftruncate(fd.as_raw_fd(), 2 << 20) }, 0);
    // SAFETY: no pointers.
    assert_eq!(unsafe { fcntl(fd.as_raw_fd(), F_ADD_SEALS, SEALS) }, 0);
    fd
}

#[apply(isolated)]
fn memories() {
    // Without one of the seals, or without all.
    let all = [F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL];
    for missing in all {
        let pieces = |_: Way| {
            whole(
                hello(RING),
                memory_of(CONTROL + RING, SEALS & !missing),
                read_end(),
            )
        };
        tell(
            &format!("without seal {missing:#x}"),
            pieces,
            false,
            Err(EPROTO),
        );
    }
    for seals in [0, F_SEAL_SHRINK, F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL] {
        let pieces = |_: Way| whole(hello(RING), memory_of(CONTROL + RING, seals), read_end());
        tell(&format!("seals {seals:#x}"), pieces, false, Err(EPROTO));
    }
    let disk = std::env::temp_dir();
    let disk = disk.to_str().unwrap();
    type Make<'a> = &'a dyn Fn() -> OwnedFd;
    let others: [(&str, Make); 12] = [
        ("file", &|| on_disk(disk)),
        ("tmpfs", &|| on_disk("/dev/shm")),
        ("hugetlb", &huge),
        ("directory", &|| open_file("/", O_RDONLY)),
        ("zero", &|| open_file("/dev/zero", O_RDWR)),
        ("proc", &|| open_file("/proc/self/stat", O_RDONLY)),
        ("pipe", &read_end),
        ("socket", &socket_end),
        ("event", &event),
        ("epoll", &|| own(unsafe { epoll_create1(EPOLL_CLOEXEC) })),
        // The right memory, with descriptors that cannot be mapped for reading.
        ("path", &|| reopen(&memory(), O_PATH)),
        ("write-only", &|| reopen(&memory(), O_WRONLY)),
    ];
    for (what, make) in others {
        tell(
            what,
            |_| whole(hello(RING), make(), read_end()),
            false,
            Err(EPROTO),
        );
    }
    tell(
        "read-only",
        |_| whole(hello(RING), reopen(&memory(), O_RDONLY), read_end()),
        false,
        Ok(()),
    );
}

#[apply(isolated)]
fn pipes() {
    let disk = std::env::temp_dir();
    let disk = disk.to_str().unwrap();
    type Make<'a> = &'a dyn Fn() -> OwnedFd;
    let others: [(&str, Make); 13] = [
        ("write end", &|| pipe().1.into()),
        ("both ends", &|| reopen(&read_end(), O_RDWR)),
        ("path", &|| reopen(&read_end(), O_PATH)),
        ("named, both ends", &|| fifo(O_RDWR)),
        ("file", &|| on_disk(disk)),
        ("memory", &memory),
        ("socket", &socket_end),
        ("event", &event),
        ("epoll", &|| own(unsafe { epoll_create1(EPOLL_CLOEXEC) })),
        ("null, read-only", &|| open_file("/dev/null", O_RDONLY)),
        ("null", &|| open_file("/dev/null", O_RDWR)),
        ("directory", &|| open_file("/", O_RDONLY)),
        ("proc", &|| open_file("/proc/self/stat", O_RDONLY)),
    ];
    for (what, make) in others {
        let pieces = |_: Way| whole(hello(RING), memory(), make());
        tell(what, pieces, false, Err(EPROTO));
    }
    let swapped = |_: Way| whole(hello(RING), read_end(), memory());
    tell("swapped", swapped, false, Err(EPROTO));
    let twice = |make: fn() -> OwnedFd| {
        move |_: Way| {
            let fd = make();
            whole(hello(RING), fd.try_clone().unwrap(), fd)
        }
    };
    tell("the memory twice", twice(memory), false, Err(EPROTO));
    tell("the pipe twice", twice(read_end), false, Err(EPROTO));
    let nonblocking = |_: Way| {
        let fd = reopen(&read_end(), O_RDONLY | O_NONBLOCK);
        whole(hello(RING), memory(), fd)
    };
    tell("nonblocking", nonblocking, false, Ok(()));
}

/// A named pipe, whose name is removed.
fn fifo(flags: c_int) -> OwnedFd {
    let path = std::env::temp_dir().join("fifo");
    let path = path.to_str().unwrap();
    let name = CString::new(path).unwrap();
    // SAFETY: a string.
    assert_eq!(unsafe { mkfifo(name.as_ptr(), 0o600) }, 0);
    let fd = open_file(path, flags);
    fs::remove_file(path).unwrap();
    fd
}

#[apply(isolated)]
fn counts() {
    for count in [0, 1, 3, 4, 16, 252, 253] {
        let pieces = |_: Way| {
            let fds = (0..count).map(|i| if i == 0 { memory() } else { read_end() });
            vec![Piece(hello(RING), fds.collect())]
        };
        tell(&format!("{count} descriptors"), pieces, false, Err(EPROTO));
    }
}

/// A victim that has no room for the descriptors.
#[apply(isolated)]
fn few_descriptors() {
    let mut refused = 0;
    for room in 0.. {
        let before = (open_numbers(), mappings());
        let (mine, theirs) = sockets(Way::Stream);
        let piece = Piece(hello(RING), vec![memory(), read_end()]);
        assert_eq!(send_piece(&mine, &piece), Ok(64));
        drop(piece);
        let error = with_room_for(room, || from_fd(&theirs, 0)).err();
        drop((mine, theirs));
        close_write_ends();
        assert_eq!((open_numbers(), mappings()), before);
        match error {
            None => break,
            Some(error) => assert_eq!(error, EMFILE),
        }
        refused += 1;
    }
    assert!(refused >= 4, "{refused}");
}

/// The same for a listener: the client stays in the queue.
#[apply(isolated)]
fn few_descriptors_to_accept() {
    let mut refused = 0;
    for room in 0.. {
        let before = (open_numbers(), mappings());
        let (mine, listener) = sockets(Way::Accept);
        let piece = Piece(hello(RING), vec![memory(), read_end()]);
        assert_eq!(send_piece(&mine, &piece), Ok(64));
        drop(piece);
        let result = with_room_for(room, || accept_from(&listener, 0));
        let error = result.as_ref().err().copied();
        let ch = result.or_else(|_| accept_from(&listener, 0)).unwrap();
        assert!(hear(&mine).is_ok());
        assert_eq!(ch.send(b"x", 0), Ok(0));
        drop((mine, listener, ch));
        close_write_ends();
        assert_eq!((open_numbers(), mappings()), before);
        match error {
            None => break,
            Some(error) => assert_eq!(error, EMFILE),
        }
        refused += 1;
    }
    assert!(refused >= 4, "{refused}");
}
