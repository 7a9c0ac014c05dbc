//! The descriptors that a hello carries.

use crate::support::*;
use common::descriptors::pipe;
use libc::*;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

/// A file of the right size in a directory.
fn file_in(directory: &str) -> OwnedFd {
    let file = open_file(directory, O_TMPFILE | O_RDWR);
    // SAFETY: no pointers.
    assert_eq!(
        unsafe { ftruncate(file.as_raw_fd(), (CONTROL + RING) as i64) },
        0
    );
    file
}

/// One end of a pair of stream sockets.
fn socket_end() -> OwnedFd {
    sockets(Transport::Stream).0
}

fn event_descriptor() -> OwnedFd {
    // SAFETY: no pointers.
    own(unsafe { eventfd(0, EFD_CLOEXEC) })
}

/// A sealed memory file with huge pages.
fn huge_memory() -> OwnedFd {
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
fn memory_descriptors() {
    // Without one of the seals, or without several.
    let all = [F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL];
    for missing in all {
        let pieces = |_: Transport| {
            whole(
                hello(RING),
                memory_of(CONTROL + RING, SEALS & !missing),
                read_end(),
            )
        };
        check_hello(
            &format!("without seal {missing:#x}"),
            pieces,
            false,
            Err(EPROTO),
        );
    }
    for seals in [0, F_SEAL_SHRINK, F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL] {
        let pieces =
            |_: Transport| whole(hello(RING), memory_of(CONTROL + RING, seals), read_end());
        check_hello(&format!("seals {seals:#x}"), pieces, false, Err(EPROTO));
    }
    let directory = std::env::temp_dir();
    let directory = directory.to_str().unwrap();
    type Make<'a> = &'a dyn Fn() -> OwnedFd;
    let others: [(&str, Make); 12] = [
        ("file", &|| file_in(directory)),
        ("tmpfs", &|| file_in("/dev/shm")),
        ("hugetlb", &huge_memory),
        ("directory", &|| open_file("/", O_RDONLY)),
        ("zero", &|| open_file("/dev/zero", O_RDWR)),
        ("proc", &|| open_file("/proc/self/stat", O_RDONLY)),
        ("pipe", &read_end),
        ("socket", &socket_end),
        ("event", &event_descriptor),
        ("epoll", &|| own(unsafe { epoll_create1(EPOLL_CLOEXEC) })),
        // The right memory, with descriptors that cannot be mapped for reading.
        ("path", &|| reopen(&memory(), O_PATH)),
        ("write-only", &|| reopen(&memory(), O_WRONLY)),
    ];
    for (what, make) in others {
        check_hello(
            what,
            |_| whole(hello(RING), make(), read_end()),
            false,
            Err(EPROTO),
        );
    }
    check_hello(
        "read-only",
        |_| whole(hello(RING), reopen(&memory(), O_RDONLY), read_end()),
        false,
        Ok(()),
    );
}

#[apply(isolated)]
fn pipe_descriptors() {
    let directory = std::env::temp_dir();
    let directory = directory.to_str().unwrap();
    type Make<'a> = &'a dyn Fn() -> OwnedFd;
    let others: [(&str, Make); 13] = [
        ("write end", &|| pipe().1.into()),
        ("both ends", &|| reopen(&read_end(), O_RDWR)),
        ("path", &|| reopen(&read_end(), O_PATH)),
        ("a FIFO, both ends", &|| fifo(O_RDWR)),
        ("file", &|| file_in(directory)),
        ("memory", &memory),
        ("socket", &socket_end),
        ("event", &event_descriptor),
        ("epoll", &|| own(unsafe { epoll_create1(EPOLL_CLOEXEC) })),
        ("null, read-only", &|| open_file("/dev/null", O_RDONLY)),
        ("null", &|| open_file("/dev/null", O_RDWR)),
        ("directory", &|| open_file("/", O_RDONLY)),
        ("proc", &|| open_file("/proc/self/stat", O_RDONLY)),
    ];
    for (what, make) in others {
        let pieces = |_: Transport| whole(hello(RING), memory(), make());
        check_hello(what, pieces, false, Err(EPROTO));
    }
    let swapped = |_: Transport| whole(hello(RING), read_end(), memory());
    check_hello("swapped", swapped, false, Err(EPROTO));
    let twice = |make: fn() -> OwnedFd| {
        move |_: Transport| {
            let fd = make();
            whole(hello(RING), fd.try_clone().unwrap(), fd)
        }
    };
    check_hello("the memory twice", twice(memory), false, Err(EPROTO));
    check_hello("the pipe twice", twice(read_end), false, Err(EPROTO));
    let nonblocking = |_: Transport| {
        let fd = reopen(&read_end(), O_RDONLY | O_NONBLOCK);
        whole(hello(RING), memory(), fd)
    };
    check_hello("nonblocking", nonblocking, false, Ok(()));
}

/// A FIFO whose path is removed.
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
        let pieces = |_: Transport| {
            let fds = (0..count).map(|i| if i == 0 { memory() } else { read_end() });
            vec![Piece(hello(RING), fds.collect())]
        };
        check_hello(&format!("{count} descriptors"), pieces, false, Err(EPROTO));
    }
}

/// A hello with as many descriptors as the kernel permits costs only a few for a moment.
#[apply(isolated)]
fn limited_cost() {
    let (peer_socket, socket) = sockets(Transport::Stream);
    let fds = (0..253).map(|_| read_end()).collect();
    assert_eq!(send_piece(&peer_socket, &Piece(hello(RING), fds)), Ok(64));
    let result = with_room_for(50, || from_fd(&socket, 0));
    assert_eq!(result.err(), Some(EPROTO));
    close_write_ends();
}

/// Repeats `attempt` while this process can open no descriptor, then one, and so on until it
/// succeeds. It must fail with EMFILE, and leave no descriptor or mapping.
fn check_few_descriptors(attempt: impl Fn(u64) -> Option<c_int>) {
    let mut refused = 0;
    for available in 0.. {
        let before = (open_numbers(), mappings());
        let error = attempt(available);
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

/// The victim can open too few descriptors.
#[apply(isolated)]
fn few_descriptors() {
    check_few_descriptors(|available| {
        let (peer_socket, socket) = sockets(Transport::Stream);
        let piece = Piece(hello(RING), vec![memory(), read_end()]);
        assert_eq!(send_piece(&peer_socket, &piece), Ok(64));
        drop(piece);
        with_room_for(available, || from_fd(&socket, 0)).err()
    });
}

/// The same for a listener, which leaves the client in its queue.
#[apply(isolated)]
fn few_descriptors_to_accept() {
    check_few_descriptors(|available| {
        let (peer_socket, listener) = sockets(Transport::Accept);
        let piece = Piece(hello(RING), vec![memory(), read_end()]);
        assert_eq!(send_piece(&peer_socket, &piece), Ok(64));
        drop(piece);
        let result = with_room_for(available, || accept_from(&listener, 0));
        let error = result.as_ref().err().copied();
        let ch = result.or_else(|_| accept_from(&listener, 0)).unwrap();
        let hello = recv_hello(&peer_socket);
        assert!(hello.is_ok());
        assert_eq!(ch.send(b"x", 0), Ok(0));
        error
    });
}
