//! ipc_channel_from_fd: the handshake, with a peer of the same kind and with others.

use crate::support::*;
use libc::{EAGAIN, EPIPE, EPROTO, ESTALE, ETIMEDOUT, SOCK_SEQPACKET, SOCK_STREAM, c_int};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use unixipc::ffi::channel::*;

const KINDS: [c_int; 2] = [SOCK_STREAM, SOCK_SEQPACKET];
const NO_SIGNAL: MsgFlags = MsgFlags::MSG_NOSIGNAL;

/// A hello: the bytes that a side sends, with its descriptors.
#[derive(Debug)]
pub struct Hello {
    pub bytes: [u8; 64],
    pub fds: Vec<OwnedFd>,
}

/// Sends any bytes and descriptors.
#[track_caller]
pub fn say(socket: &OwnedFd, bytes: &[u8], fds: &[c_int]) {
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    let fd = socket.as_raw_fd();
    let sent = sendmsg::<()>(fd, &[IoSlice::new(bytes)], control, flags, None);
    assert_eq!(sent, Ok(bytes.len()));
}

/// Receives a hello.
#[track_caller]
pub fn hear(socket: &OwnedFd) -> Hello {
    let mut bytes = [0; 64];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let mut control = nix::cmsg_space!([c_int; 4]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let fd = socket.as_raw_fd();
    let got = recvmsg::<()>(fd, &mut parts, Some(&mut control), flags).unwrap();
    let mut fds = Vec::new();
    for message in got.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            fds.extend(numbers.into_iter().map(own));
        }
    }
    assert_eq!(got.bytes, 64);
    Hello { bytes, fds }
}

/// The hello of a real end. The end is gone afterwards, but its memory stays.
pub fn overheard() -> Hello {
    overheard_with(&DEFAULTS)
}

/// The same for an end with these options.
pub fn overheard_with(opts: &ipc_channel_opts) -> Hello {
    let (one, two) = sockets(SOCK_SEQPACKET);
    let made = from_fd_with(one.as_raw_fd(), opts, 0);
    assert_eq!(made.unwrap_err(), EAGAIN);
    hear(&two)
}

impl Hello {
    pub fn raw_fds(&self) -> Vec<c_int> {
        self.fds.iter().map(AsRawFd::as_raw_fd).collect()
    }
}

/// Both ends exchange messages, in two processes; the sockets are closed first.
#[track_caller]
fn converse(one: OwnedFd, two: OwnedFd) {
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
fn kinds_of_sockets() {
    for kind in KINDS {
        let (one, two) = sockets(kind);
        converse(one, two);
        let (one, two) = sockets(kind | libc::SOCK_NONBLOCK);
        converse(one, two);
        let mut fds = [-1; 2];
        // SAFETY: an array of two.
        assert_eq!(
            unsafe { unixipc::ffi::pair::ipc_pair_open(kind, fds.as_mut_ptr()) },
            0
        );
        converse(own(fds[0]), own(fds[1]));
    }
    // A socket that was made by connecting.
    let path = std::env::temp_dir().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let one = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let (two, _) = listener.accept().unwrap();
    converse(one.into(), two.into());
    std::fs::remove_file(path).unwrap();
}

/// Both ends in one process, made by two threads; the sockets stay open.
fn both(one: &OwnedFd, two: &OwnedFd, opts: [&ipc_channel_opts; 2]) -> [Result<End, c_int>; 2] {
    thread::scope(|scope| {
        let other = scope.spawn(|| from_fd_with(two.as_raw_fd(), opts[1], LONG));
        [
            from_fd_with(one.as_raw_fd(), opts[0], LONG),
            other.join().unwrap(),
        ]
    })
}

#[apply(isolated)]
fn socket_stays_the_callers() {
    for kind in KINDS {
        let (one, two) = sockets(kind);
        let [a, b] = both(&one, &two, [&DEFAULTS; 2]).map(Result::unwrap);
        // It is unchanged, and may carry anything.
        say(&one, b"something else", &[]);
        let mut room = [0; 64];
        // SAFETY: room for 64 bytes.
        let got = unsafe { libc::recv(two.as_raw_fd(), room.as_mut_ptr().cast(), 64, 0) };
        assert_eq!(&room[..got as usize], b"something else");
        // Even for a second channel: both sides took only the hello.
        let [c, d] = both(&one, &two, [&DEFAULTS; 2]).map(Result::unwrap);
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
    let [a, b] = both(&one, &two, opts).map(Result::unwrap);
    assert_eq!((a.max(), b.max()), ((1 << 20) - 12, SMALL_RING - 12));
    let message = pattern(a.max(), 1);
    assert_eq!(a.send(&message, 0), DONE);
    assert_eq!(b.peek(0).unwrap(), message);
    assert_eq!(b.send(&message[..b.max()], 0), DONE);
    assert_eq!(a.peek(0).unwrap(), &message[..b.max()]);
    // The largest ring that is accepted by default.
    let (one, two) = sockets(SOCK_STREAM);
    let ends = both(&one, &two, [&sized(16 << 20, 0), &DEFAULTS]);
    assert!(ends.iter().all(Result::is_ok));
    // Larger than the other side accepts, by its options or by default. The side with that ring
    // has received a valid hello, and finds its peer gone.
    for (size, most) in [((1 << 20) + 1, 1 << 20), ((16 << 20) + 1, 0), (1 << 31, 0)] {
        let (one, two) = sockets(SOCK_STREAM);
        let [a, b] = both(&one, &two, [&sized(size, 0), &sized(1, most)]);
        assert_eq!(b.unwrap_err(), EPROTO);
        let a = a.unwrap();
        assert_eq!(a.recv(LONG), Ok(vec![]));
        assert_eq!(a.send(b"x", 0), Err(EPIPE));
    }
}

#[apply(isolated)]
fn time_outs() {
    for kind in KINDS {
        // The other side exists, and sends nothing.
        let silent = || sockets(kind);
        let (one, two) = silent();
        assert_eq!(from_fd(&one, 0).unwrap_err(), EAGAIN);
        // The peer may have received the hello of an end that does not exist: both sides notice.
        assert_eq!(from_fd(&one, 0).unwrap_err(), EPIPE);
        assert_eq!(hear(&two).fds.len(), 2);
        assert_eq!(from_fd(&two, 0).unwrap_err(), EPIPE);
        let (one, _two) = silent();
        let (got, ms) = timed_ms(|| from_fd(&one, 30));
        assert_eq!(got.unwrap_err(), ETIMEDOUT);
        assert!((30..5000).contains(&ms), "{ms} ms");
        let (one, _two) = silent();
        count_signals(0);
        storm(500);
        let (got, ms) = timed_ms(|| from_fd(&one, 60));
        storm(0);
        assert_eq!(got.unwrap_err(), ETIMEDOUT);
        assert!((60..5000).contains(&ms), "{ms} ms");
        ends_with_signal(|| {
            let (one, _two) = silent();
            from_fd(&one, INTR).map(|_| 0)
        });
    }
}

#[apply(isolated)]
fn partner_goes() {
    for kind in KINDS {
        let (one, two) = sockets(kind);
        drop(two);
        assert_eq!(from_fd(&one, -1).unwrap_err(), EPIPE);
        // While this side waits for it.
        let (one, two) = sockets(kind);
        let (tids, mut two) = (Counters::new(), Some(two));
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                tids.set(0, thread_id());
                from_fd(&one, LONG).unwrap_err()
            });
            tids.wait_for(0, 1);
            wait_thread_asleep(tids.get(0));
            drop(two.take());
            let error = waiter.join().unwrap();
            assert_eq!(error, EPIPE);
        });
        // After a part of its hello.
        let (one, two) = sockets(kind);
        let hello = overheard();
        say(&two, &hello.bytes[..32], &hello.raw_fds());
        drop(two);
        assert_eq!(from_fd(&one, -1).unwrap_err(), EPIPE);
        let (one, two) = sockets(kind);
        say(&two, &hello.bytes[..32], &hello.raw_fds());
        nix::sys::socket::shutdown(two.as_raw_fd(), nix::sys::socket::Shutdown::Write).unwrap();
        assert_eq!(from_fd(&one, -1).unwrap_err(), EPROTO);
    }
}

/// The result of a side whose peer has sent this.
#[track_caller]
fn answer(kind: c_int, bytes: &[u8], fds: &[c_int]) -> Result<(), c_int> {
    let (one, two) = sockets(kind);
    say(&two, bytes, fds);
    from_fd(&one, 0).map(drop)
}

/// Each byte of a hello, changed: another version is ESTALE, unknown flags are ignored, everything
/// else is EPROTO.
#[apply(isolated)]
fn every_byte() {
    let hello = overheard();
    let fds = hello.raw_fds();
    for kind in KINDS {
        assert_eq!(answer(kind, &hello.bytes, &fds), Ok(()));
        for at in 0..64 {
            for change in [1, 0x40, 0xff] {
                let mut bytes = hello.bytes;
                bytes[at] ^= change;
                let expected = match at {
                    4 | 5 => Err(ESTALE),
                    6 | 7 => Ok(()),
                    _ => Err(EPROTO),
                };
                assert_eq!(answer(kind, &bytes, &fds), expected, "byte {at} ^ {change}");
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
            assert_eq!(answer(kind, &bytes, &fds), Err(EPROTO), "{size}");
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

/// Descriptors of the wrong kind, or the wrong number of them.
#[apply(isolated)]
fn wrong_descriptors() {
    let hello = overheard();
    let [memory, bell]: [c_int; 2] = hello.raw_fds().try_into().unwrap();
    let file = tempfile::tempfile().unwrap();
    file.set_len(MEMORY).unwrap();
    let null: OwnedFd = File::open("/dev/null").unwrap().into();
    let unsealed = memfd(MEMORY, &[]);
    let half_sealed = memfd(MEMORY, &[libc::F_SEAL_SHRINK, libc::F_SEAL_GROW]);
    let all = [
        libc::F_SEAL_SHRINK,
        libc::F_SEAL_GROW,
        libc::F_SEAL_FUTURE_WRITE,
        libc::F_SEAL_SEAL,
    ];
    let short = memfd(65536, &all);
    let longer = memfd(MEMORY + 4096, &all);
    let (read, write) = pipe();
    let path = std::env::temp_dir().join("fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let both_ways = File::options().read(true).write(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let (socket, _other) = sockets(SOCK_STREAM);
    let sets: [(&str, Vec<c_int>); 16] = [
        ("none", vec![]),
        ("the memory alone", vec![memory]),
        ("the pipe alone", vec![bell]),
        ("three", vec![memory, bell, bell]),
        ("swapped", vec![bell, memory]),
        ("a file", vec![file.as_raw_fd(), bell]),
        ("/dev/null", vec![null.as_raw_fd(), bell]),
        ("memory without seals", vec![unsealed.as_raw_fd(), bell]),
        ("memory with two seals", vec![half_sealed.as_raw_fd(), bell]),
        ("short memory", vec![short.as_raw_fd(), bell]),
        ("longer memory", vec![longer.as_raw_fd(), bell]),
        ("the write end of a pipe", vec![memory, write.as_raw_fd()]),
        ("both ends of a pipe", vec![memory, both_ways.as_raw_fd()]),
        ("a socket for the pipe", vec![memory, socket.as_raw_fd()]),
        ("memory twice", vec![memory, memory]),
        ("a file for the pipe", vec![memory, file.as_raw_fd()]),
    ];
    let before = open_numbers();
    for kind in KINDS {
        for (what, fds) in &sets {
            let answered = answer(kind, &hello.bytes, fds);
            assert_eq!(answered, Err(EPROTO), "{what}");
            assert_eq!(open_numbers(), before, "{what}: descriptors are left");
        }
        // The read end of any pipe will do.
        assert_eq!(
            answer(kind, &hello.bytes, &[memory, read.as_raw_fd()]),
            Ok(())
        );
    }
    let exactly = memfd(MEMORY, &all);
    assert_eq!(
        answer(SOCK_STREAM, &hello.bytes, &[exactly.as_raw_fd(), bell]),
        Ok(())
    );
}

fn memfd(size: u64, seals: &[c_int]) -> OwnedFd {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: a string.
    let fd = own(unsafe { libc::memfd_create(c"test".as_ptr(), flags) });
    let file = File::from(fd);
    file.set_len(size).unwrap();
    for seal in seals {
        // SAFETY: no pointers.
        assert_eq!(
            unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, *seal) },
            0
        );
    }
    file.into()
}

/// Hellos that are too long or come in parts.
#[apply(isolated)]
fn wrong_lengths() {
    let hello = overheard();
    let fds = hello.raw_fds();
    let mut longer = hello.bytes.to_vec();
    longer.push(0);
    assert_eq!(answer(SOCK_SEQPACKET, &longer, &fds), Err(EPROTO));
    assert_eq!(answer(SOCK_STREAM, &longer, &fds), Ok(()), "the rest stays");
    // The descriptors with the second part, or with both.
    let (one, two) = sockets(SOCK_SEQPACKET);
    say(&two, &hello.bytes[..1], &[]);
    say(&two, &hello.bytes[1..], &fds);
    assert_eq!(from_fd(&one, 0).unwrap_err(), EPROTO);
    let (one, two) = sockets(SOCK_STREAM);
    say(&two, &hello.bytes[..10], &fds);
    say(&two, &hello.bytes[10..], &fds);
    assert_eq!(from_fd(&one, 0).unwrap_err(), EPROTO);
    // It does not wait for the rest of a first part.
    for kind in KINDS {
        for len in [1, 32, 63] {
            assert_eq!(answer(kind, &hello.bytes[..len], &fds), Err(EPROTO));
            let (one, two) = sockets(kind);
            say(&two, &hello.bytes[..len], &fds);
            assert_eq!(from_fd(&one, LONG).unwrap_err(), EPROTO);
            drop(two);
        }
    }
}

/// The socket is full of something else.
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

/// A third side passes both hellos on: the two ends then exchange messages without it. It must
/// pass on a whole hello at once.
#[apply(isolated)]
fn byte_by_byte() {
    let (one, one_far) = sockets(SOCK_STREAM);
    thread::scope(|scope| {
        let end = scope.spawn(|| from_fd(&one, LONG).unwrap_err());
        let hello = hear(&one_far);
        say(&one_far, &hello.bytes[..1], &hello.raw_fds());
        assert_eq!(end.join().unwrap(), EPROTO);
        // The failed side has ended the connection.
        let more = nix::sys::socket::send(one_far.as_raw_fd(), &hello.bytes[1..2], NO_SIGNAL);
        assert_eq!(more, Err(nix::Error::EPIPE));
    });
    let (one, one_far) = sockets(SOCK_STREAM);
    let (two, two_far) = sockets(SOCK_STREAM);
    thread::scope(|scope| {
        let a = scope.spawn(|| from_fd(&one, LONG).unwrap());
        let b = scope.spawn(|| from_fd(&two, LONG).unwrap());
        for (from, to) in [(&one_far, &two_far), (&two_far, &one_far)] {
            let hello = hear(from);
            say(to, &hello.bytes, &hello.raw_fds());
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

/// The descriptor of the peer's memory allows reading only, and no change of its size.
#[apply(isolated)]
fn memory_of_the_other() {
    let hello = overheard();
    let [memory, _bell] = &hello.fds[..] else {
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
        let later = unsafe { libc::mprotect(at, 4096, libc::PROT_READ | libc::PROT_WRITE) };
        // SAFETY: as above; it is not used.
        unsafe { libc::munmap(at, 4096) };
        Ok(later)
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
    // Nor after opening it again.
    let again = File::options()
        .write(true)
        .read(true)
        .open(format!("/proc/self/fd/{fd}"));
    if let Ok(mut again) = again {
        assert_eq!(
            map(again.as_raw_fd(), libc::PROT_WRITE | libc::PROT_READ),
            Err(libc::EPERM)
        );
        assert!(again.write(b"x").is_err());
        assert!(again.set_len(0).is_err());
    }
}
