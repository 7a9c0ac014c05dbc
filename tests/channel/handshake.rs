//! ipc_channel_from_fd: the handshake with another end, and with peers that do not use the library.

use crate::support::*;
pub use common::connection::{Hello, recv_hello, send_with_fds};
use common::connection::{SEALS, sealed_memfd};
use libc::{EAGAIN, EPIPE, EPROTO, ESTALE, ETIMEDOUT, SOCK_SEQPACKET, SOCK_STREAM, c_int};
use nix::sys::socket::MsgFlags;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use unixipc::ffi::channel::*;

/// The hello that a call of ipc_channel_from_fd sends. The call has failed since, but the
/// descriptors of the hello are open.
pub fn captured_hello() -> Hello {
    captured_hello_with(&DEFAULTS)
}

/// The same for a call with these options.
pub fn captured_hello_with(opts: &ipc_channel_opts) -> Hello {
    let (one, two) = sockets(SOCK_SEQPACKET);
    let made = from_fd_with(one.as_raw_fd(), opts, 0);
    assert_eq!(made.unwrap_err(), EAGAIN);
    recv_hello(&two)
}

/// Two processes make the ends, close the sockets, and exchange messages.
#[track_caller]
fn check_two_processes(one: OwnedFd, two: OwnedFd) {
    let (mut one, mut two) = (Some(one), Some(two));
    let child = fork(|| {
        drop(one.take());
        let end = from_fd(two.as_ref().unwrap(), LONG).unwrap();
        drop(two.take());
        for number in 0..1000u32 {
            assert_eq!(end.recv(LONG).unwrap(), number.to_le_bytes());
            assert_eq!(end.send(&number.to_le_bytes(), LONG), DONE);
        }
        assert_eq!(end.recv(LONG), Ok(vec![]));
    });
    drop(two.take());
    let end = from_fd(one.as_ref().unwrap(), LONG).unwrap();
    drop(one.take());
    for number in 0..1000u32 {
        assert_eq!(end.send(&number.to_le_bytes(), LONG), DONE);
        assert_eq!(end.recv(LONG).unwrap(), number.to_le_bytes());
    }
    drop(end);
    child.join();
}

#[apply(isolated)]
fn socket_types() {
    for socket_type in SOCKET_TYPES {
        let (one, two) = sockets(socket_type);
        check_two_processes(one, two);
        let (one, two) = sockets(socket_type | libc::SOCK_NONBLOCK);
        check_two_processes(one, two);
        let mut fds = [-1; 2];
        // SAFETY: an array of two.
        assert_eq!(
            unsafe { unixipc::ffi::pair::ipc_pair_open(socket_type, fds.as_mut_ptr()) },
            0
        );
        check_two_processes(own(fds[0]), own(fds[1]));
    }
    // Sockets that were made by connect(2) and accept(2).
    let path = std::env::temp_dir().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let one = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let (two, _) = listener.accept().unwrap();
    check_two_processes(one.into(), two.into());
    std::fs::remove_file(path).unwrap();
}

/// Makes both ends in one process, in two threads. The sockets stay open.
pub fn make_both(
    one: &OwnedFd,
    two: &OwnedFd,
    opts: [&ipc_channel_opts; 2],
) -> [Result<End, c_int>; 2] {
    thread::scope(|scope| {
        let other = scope.spawn(|| from_fd_with(two.as_raw_fd(), opts[1], LONG));
        [
            from_fd_with(one.as_raw_fd(), opts[0], LONG),
            other.join().unwrap(),
        ]
    })
}

#[apply(isolated)]
fn socket_stays_usable() {
    for socket_type in SOCKET_TYPES {
        let (one, two) = sockets(socket_type);
        let [a, b] = make_both(&one, &two, [&DEFAULTS; 2]).map(Result::unwrap);
        // The socket is unchanged, and can carry other data.
        send_with_fds(&one, b"something else", &[]);
        let mut buffer = [0; 64];
        // SAFETY: a buffer of 64 bytes.
        let len = unsafe { libc::recv(two.as_raw_fd(), buffer.as_mut_ptr().cast(), 64, 0) };
        assert_eq!(&buffer[..len as usize], b"something else");
        // It can even carry a second handshake, because both sides have read the hello only.
        let [c, d] = make_both(&one, &two, [&DEFAULTS; 2]).map(Result::unwrap);
        drop((one, two));
        for (from, to) in [(&a, &b), (&d, &c)] {
            assert_eq!(from.send(b"x", 0), DONE);
            assert_eq!(to.recv(0).unwrap(), b"x");
        }
    }
}

#[apply(isolated)]
fn sizes() {
    let sized = |send_size, recv_size_max| ipc_channel_opts {
        send_size,
        recv_size_max,
        ..DEFAULTS
    };
    let (one, two) = sockets(SOCK_STREAM);
    let opts = [&sized(1 << 20, 0), &sized(1, 1 << 20)];
    let [a, b] = make_both(&one, &two, opts).map(Result::unwrap);
    assert_eq!((a.max(), b.max()), ((1 << 20) - 68, SMALL_RING - 68));
    let message = pattern(a.max(), 1);
    assert_eq!(a.send(&message, 0), DONE);
    assert_eq!(b.peek(0).unwrap(), message);
    assert_eq!(b.send(&message[..b.max()], 0), DONE);
    assert_eq!(a.peek(0).unwrap(), &message[..b.max()]);
    // The largest ring that an end accepts by default.
    let (one, two) = sockets(SOCK_STREAM);
    let ends = make_both(&one, &two, [&sized(16 << 20, 0), &DEFAULTS]);
    assert!(ends.iter().all(Result::is_ok));
    // The ring is larger than the peer accepts, by its options or by default. The side with that
    // ring has received a valid hello, and then detects that its peer has closed.
    for (size, recv_size_max) in [((1 << 20) + 1, 1 << 20), ((16 << 20) + 1, 0), (1 << 31, 0)] {
        let (one, two) = sockets(SOCK_STREAM);
        let [a, b] = make_both(&one, &two, [&sized(size, 0), &sized(1, recv_size_max)]);
        assert_eq!(b.unwrap_err(), EPROTO);
        let a = a.unwrap();
        assert_eq!(a.recv(LONG), Ok(vec![]));
        assert_eq!(a.send(b"x", 0), Err(EPIPE));
    }
}

#[apply(isolated)]
fn time_outs() {
    for socket_type in SOCKET_TYPES {
        // A peer that sends nothing.
        let silent = || sockets(socket_type);
        let (one, two) = silent();
        assert_eq!(from_fd(&one, 0).unwrap_err(), EAGAIN);
        // The peer may have received the hello of an end that was not made. Both sides detect this.
        assert_eq!(from_fd(&one, 0).unwrap_err(), EPIPE);
        assert_eq!(recv_hello(&two).fds.len(), 2);
        assert_eq!(from_fd(&two, 0).unwrap_err(), EPIPE);
        let (one, _two) = silent();
        let (made, ms) = timed_ms(|| from_fd(&one, 30));
        assert_eq!(made.unwrap_err(), ETIMEDOUT);
        assert!((30..5000).contains(&ms), "{ms} ms");
        let (one, _two) = silent();
        count_signals(0);
        storm(500);
        let (made, ms) = timed_ms(|| from_fd(&one, 60));
        storm(0);
        assert_eq!(made.unwrap_err(), ETIMEDOUT);
        assert!((60..5000).contains(&ms), "{ms} ms");
        ends_with_signal(|| {
            let (one, _two) = silent();
            from_fd(&one, INTR).map(|_| 0)
        });
    }
}

#[apply(isolated)]
fn peer_closes() {
    for socket_type in SOCKET_TYPES {
        let (one, two) = sockets(socket_type);
        drop(two);
        assert_eq!(from_fd(&one, -1).unwrap_err(), EPIPE);
        // The peer closes while this side waits.
        let (one, two) = sockets(socket_type);
        thread::scope(|scope| {
            let (waiter, _) = spawn_sleeper(scope, || from_fd(&one, LONG).unwrap_err());
            drop(two);
            assert_eq!(waiter.join().unwrap(), EPIPE);
        });
        // The peer closes, or ends its sending, after a part of its hello.
        let (one, two) = sockets(socket_type);
        let hello = captured_hello();
        send_with_fds(&two, &hello.bytes[..32], &hello.raw_fds());
        drop(two);
        assert_eq!(from_fd(&one, -1).unwrap_err(), EPIPE);
        let (one, two) = sockets(socket_type);
        send_with_fds(&two, &hello.bytes[..32], &hello.raw_fds());
        nix::sys::socket::shutdown(two.as_raw_fd(), nix::sys::socket::Shutdown::Write).unwrap();
        assert_eq!(from_fd(&one, -1).unwrap_err(), EPROTO);
    }
}

/// The result of ipc_channel_from_fd if the peer has sent these bytes and descriptors.
#[track_caller]
fn answer(socket_type: c_int, bytes: &[u8], fds: &[c_int]) -> Result<(), c_int> {
    let (one, two) = sockets(socket_type);
    send_with_fds(&two, bytes, fds);
    from_fd(&one, 0).map(drop)
}

/// Changes each byte of a hello: another version is ESTALE, unknown flags are ignored, and each
/// other change is EPROTO.
#[apply(isolated)]
fn changed_bytes() {
    let hello = captured_hello();
    let fds = hello.raw_fds();
    for socket_type in SOCKET_TYPES {
        assert_eq!(answer(socket_type, &hello.bytes, &fds), Ok(()));
        for at in 0..64 {
            for change in [1, 0x40, 0xff] {
                let mut bytes = hello.bytes;
                bytes[at] ^= change;
                let expected = match at {
                    4 | 5 => Err(ESTALE),
                    6 | 7 => Ok(()),
                    _ => Err(EPROTO),
                };
                assert_eq!(
                    answer(socket_type, &bytes, &fds),
                    expected,
                    "byte {at} ^ {change}"
                );
            }
        }
        for size in [
            0u64,
            1,
            4096,
            65535,
            65536,
            1 << 17,
            1 << 40,
            1 << 41,
            1 << 63,
        ] {
            let mut bytes = hello.bytes;
            bytes[8..16].copy_from_slice(&size.to_le_bytes());
            assert_eq!(answer(socket_type, &bytes, &fds), Err(EPROTO), "{size}");
        }
    }
    let mut random = Random(1);
    for _ in 0..200 {
        let bytes = pattern(64, random.next_u64());
        assert_eq!(answer(SOCK_STREAM, &bytes, &fds), Err(EPROTO));
    }
}

/// The size of the memory of an end with the default ring.
const MEMORY: u64 = (64 << 10) + (256 << 10);

/// Descriptors of the wrong type, in the wrong order, or too few or too many.
#[apply(isolated)]
fn invalid_descriptors() {
    let hello = captured_hello();
    let [memory, pipe_end]: [c_int; 2] = hello.raw_fds().try_into().unwrap();
    let file = tempfile::tempfile().unwrap();
    file.set_len(MEMORY).unwrap();
    let null: OwnedFd = File::open("/dev/null").unwrap().into();
    let unsealed = sealed_memfd(MEMORY, 0);
    let half_sealed = sealed_memfd(MEMORY, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW);
    let short = sealed_memfd(65536, SEALS);
    let longer = sealed_memfd(MEMORY + 4096, SEALS);
    let (read, write) = pipe();
    let path = std::env::temp_dir().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let both_ways = File::options().read(true).write(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let (socket, _other) = sockets(SOCK_STREAM);
    let sets: [(&str, Vec<c_int>); 16] = [
        ("no descriptor", vec![]),
        ("the memory alone", vec![memory]),
        ("the pipe alone", vec![pipe_end]),
        ("three descriptors", vec![memory, pipe_end, pipe_end]),
        ("swapped", vec![pipe_end, memory]),
        ("a file", vec![file.as_raw_fd(), pipe_end]),
        ("/dev/null", vec![null.as_raw_fd(), pipe_end]),
        ("memory without seals", vec![unsealed.as_raw_fd(), pipe_end]),
        (
            "memory with two seals",
            vec![half_sealed.as_raw_fd(), pipe_end],
        ),
        ("short memory", vec![short.as_raw_fd(), pipe_end]),
        ("longer memory", vec![longer.as_raw_fd(), pipe_end]),
        ("the write end of a pipe", vec![memory, write.as_raw_fd()]),
        ("both ends of a pipe", vec![memory, both_ways.as_raw_fd()]),
        ("a socket for the pipe", vec![memory, socket.as_raw_fd()]),
        ("memory twice", vec![memory, memory]),
        ("a file for the pipe", vec![memory, file.as_raw_fd()]),
    ];
    let before = open_numbers();
    for socket_type in SOCKET_TYPES {
        for (what, fds) in &sets {
            let result = answer(socket_type, &hello.bytes, fds);
            assert_eq!(result, Err(EPROTO), "{what}");
            assert_eq!(open_numbers(), before, "{what}: descriptors are left");
        }
        // The read end of any pipe is valid.
        assert_eq!(
            answer(socket_type, &hello.bytes, &[memory, read.as_raw_fd()]),
            Ok(())
        );
    }
    let exact = sealed_memfd(MEMORY, SEALS);
    assert_eq!(
        answer(SOCK_STREAM, &hello.bytes, &[exact.as_raw_fd(), pipe_end]),
        Ok(())
    );
}

/// Hellos that are too long or arrive in parts.
#[apply(isolated)]
fn invalid_lengths() {
    let hello = captured_hello();
    let fds = hello.raw_fds();
    let mut longer = hello.bytes.to_vec();
    longer.push(0);
    assert_eq!(answer(SOCK_SEQPACKET, &longer, &fds), Err(EPROTO));
    assert_eq!(
        answer(SOCK_STREAM, &longer, &fds),
        Ok(()),
        "the rest stays in the socket"
    );
    // The descriptors arrive with the second part, or with both parts.
    let (one, two) = sockets(SOCK_SEQPACKET);
    send_with_fds(&two, &hello.bytes[..1], &[]);
    send_with_fds(&two, &hello.bytes[1..], &fds);
    assert_eq!(from_fd(&one, 0).unwrap_err(), EPROTO);
    let (one, two) = sockets(SOCK_STREAM);
    send_with_fds(&two, &hello.bytes[..10], &fds);
    send_with_fds(&two, &hello.bytes[10..], &fds);
    assert_eq!(from_fd(&one, 0).unwrap_err(), EPROTO);
    // The call does not wait for the rest of a partial hello.
    for socket_type in SOCKET_TYPES {
        for len in [1, 32, 63] {
            assert_eq!(answer(socket_type, &hello.bytes[..len], &fds), Err(EPROTO));
            let (one, two) = sockets(socket_type);
            send_with_fds(&two, &hello.bytes[..len], &fds);
            assert_eq!(from_fd(&one, LONG).unwrap_err(), EPROTO);
            drop(two);
        }
    }
}

/// The socket's send buffer is full of other data.
#[apply(isolated)]
fn full_socket() {
    let (one, _two) = sockets(SOCK_STREAM);
    let bytes = [0u8; 4096];
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: the buffer has this number of bytes.
    while unsafe { libc::send(one.as_raw_fd(), bytes.as_ptr().cast(), 4096, flags) } > 0 {}
    // SAFETY: as above.
    while unsafe { libc::send(one.as_raw_fd(), bytes.as_ptr().cast(), 1, flags) } > 0 {}
    assert_eq!(from_fd(&one, 20).unwrap_err(), EPROTO);
}

/// An intermediary forwards both hellos, and the two ends then exchange messages without it. It
/// must forward each hello as a whole.
#[apply(isolated)]
fn forwarded_hellos() {
    let (one, one_far) = sockets(SOCK_STREAM);
    thread::scope(|scope| {
        let end = scope.spawn(|| from_fd(&one, LONG).unwrap_err());
        let hello = recv_hello(&one_far);
        send_with_fds(&one_far, &hello.bytes[..1], &hello.raw_fds());
        assert_eq!(end.join().unwrap(), EPROTO);
        // The failed side has shut the socket down.
        let more = nix::sys::socket::send(
            one_far.as_raw_fd(),
            &hello.bytes[1..2],
            MsgFlags::MSG_NOSIGNAL,
        );
        assert_eq!(more, Err(nix::Error::EPIPE));
    });
    let (one, one_far) = sockets(SOCK_STREAM);
    let (two, two_far) = sockets(SOCK_STREAM);
    thread::scope(|scope| {
        let a = scope.spawn(|| from_fd(&one, LONG).unwrap());
        let b = scope.spawn(|| from_fd(&two, LONG).unwrap());
        for (from, to) in [(&one_far, &two_far), (&two_far, &one_far)] {
            let hello = recv_hello(from);
            send_with_fds(to, &hello.bytes, &hello.raw_fds());
        }
        let (a, b) = (a.join().unwrap(), b.join().unwrap());
        assert_eq!(a.send(b"there", 0), DONE);
        assert_eq!(b.recv(0).unwrap(), b"there");
        assert_eq!(b.send(b"and back", 0), DONE);
        assert_eq!(a.recv(0).unwrap(), b"and back");
        drop(a);
        assert_eq!(b.recv(LONG), Ok(vec![]));
    });
}

/// The peer's memory can be read only, and its size cannot be changed.
#[apply(isolated)]
fn memory_of_the_peer() {
    let hello = captured_hello();
    let [memory, _pipe] = &hello.fds[..] else {
        panic!("{hello:?}")
    };
    let fd = memory.as_raw_fd();
    let map = |fd: c_int, access| {
        // SAFETY: a new mapping.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), 4096, access, libc::MAP_SHARED, fd, 0) };
        if at == libc::MAP_FAILED {
            return Err(failure());
        }
        // SAFETY: the mapping that was just made.
        let made_writable = unsafe { libc::mprotect(at, 4096, libc::PROT_READ | libc::PROT_WRITE) };
        // SAFETY: as above; it is not used.
        unsafe { libc::munmap(at, 4096) };
        Ok(made_writable)
    };
    assert_eq!(
        map(fd, libc::PROT_READ | libc::PROT_WRITE),
        Err(libc::EPERM)
    );
    assert_eq!(map(fd, libc::PROT_READ), Ok(-1), "mprotect");
    // SAFETY: no pointers, and one byte.
    unsafe {
        assert_eq!(
            outcome(|| libc::ftruncate(fd, 0) as isize),
            Err(libc::EPERM)
        );
        assert_eq!(
            outcome(|| libc::ftruncate(fd, 1 << 30) as isize),
            Err(libc::EPERM)
        );
        assert_eq!(
            outcome(|| libc::pwrite(fd, c"x".as_ptr().cast(), 1, 0)),
            Err(libc::EPERM)
        );
    }
    // The same for a descriptor that is opened through /proc.
    let reopened = File::options()
        .write(true)
        .read(true)
        .open(format!("/proc/self/fd/{fd}"));
    if let Ok(mut reopened) = reopened {
        assert_eq!(
            map(reopened.as_raw_fd(), libc::PROT_WRITE | libc::PROT_READ),
            Err(libc::EPERM)
        );
        assert!(reopened.write(b"x").is_err());
        assert!(reopened.set_len(0).is_err());
    }
}
