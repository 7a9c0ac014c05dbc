//! Invalid arguments, options, and output structures.

use crate::peer::{abstract_name, silent_client};
use crate::support::*;
use libc::{EBADF, EBUSY, EINVAL, EMSGSIZE, c_int};
use std::ptr::{null, null_mut};
use std::{mem, os::fd::AsRawFd};
use unixipc::ffi::channel::*;
use unixipc::pair::Cred;

const SIZE: usize = size_of::<ipc_channel_opts>();
const CRED_SIZE: usize = size_of::<Cred>();
const STATS_SIZE: usize = size_of::<ipc_channel_stats>();
const INVALID: Outcome = Err(EINVAL);

#[apply(isolated)]
fn null_pointers() {
    let (a, _b) = pair();
    let mut bytes = [0u8; STATS_SIZE];
    let at: *mut libc::c_void = bytes.as_mut_ptr().cast();
    let assert_invalid =
        |call: &dyn Fn() -> c_int| assert_eq!(outcome(|| call() as isize), INVALID);
    // SAFETY: NULL is refused; the other pointers are valid.
    unsafe {
        assert_invalid(&|| ipc_channel_pair(null(), 0, null_mut()));
        assert_invalid(&|| ipc_channel_from_fd(0, null(), 0, 0, null_mut()));
        assert_invalid(&|| ipc_channel_listen(null(), 0o600, 0));
        assert_invalid(&|| ipc_channel_accept(0, null(), 0, 0, null_mut()));
        assert_invalid(&|| ipc_channel_connect(c"x".as_ptr(), null(), 0, 0, null_mut()));
        assert_invalid(&|| ipc_channel_connect(null(), null(), 0, 0, &mut null_mut()));
        assert_invalid(&|| ipc_channel_send(null_mut(), at, 1, 0));
        assert_invalid(&|| ipc_channel_send(a.0, null(), 1, 0));
        assert_invalid(&|| ipc_channel_send(a.0, null(), 0, 0));
        assert_invalid(&|| ipc_channel_recv(null_mut(), at, 1, 0) as c_int);
        assert_invalid(&|| ipc_channel_recv(a.0, null_mut(), 1, 0) as c_int);
        assert_invalid(&|| ipc_channel_recv(a.0, null_mut(), 0, 0) as c_int);
        assert_invalid(&|| ipc_channel_call(null_mut(), at, 1, at, 1, 0) as c_int);
        assert_invalid(&|| ipc_channel_call(a.0, null(), 1, at, 1, 0) as c_int);
        assert_invalid(&|| ipc_channel_call(a.0, at, 1, null_mut(), 1, 0) as c_int);
        assert_invalid(&|| ipc_channel_next_call(null_mut(), at, 1, &mut 0, 0) as c_int);
        assert_invalid(&|| ipc_channel_next_call(a.0, null_mut(), 1, &mut 0, 0) as c_int);
        assert_invalid(&|| ipc_channel_next_call(a.0, at, 1, null_mut(), 0) as c_int);
        assert_invalid(&|| ipc_channel_reply(null_mut(), 1, at, 1, 0));
        assert_invalid(&|| ipc_channel_reply(a.0, 1, null(), 1, 0));
        assert_invalid(&|| ipc_channel_commit(null_mut(), 1));
        assert_invalid(&|| ipc_channel_cancel(null_mut()));
        assert_invalid(&|| ipc_channel_peek(null_mut(), &mut null(), 0) as c_int);
        assert_invalid(&|| ipc_channel_peek(a.0, null_mut(), 0) as c_int);
        assert_invalid(&|| ipc_channel_release(null_mut()));
        assert_invalid(&|| ipc_channel_shutdown(null_mut(), libc::SHUT_RD));
        assert_invalid(&|| ipc_channel_fd(null_mut()));
        assert_invalid(&|| ipc_channel_peer_cred(null(), at.cast(), CRED_SIZE));
        assert_invalid(&|| ipc_channel_peer_cred(a.0, null_mut(), CRED_SIZE));
        assert_invalid(&|| ipc_channel_peer_pidfd(null()));
        assert_invalid(&|| ipc_channel_stats(null(), at.cast(), STATS_SIZE));
        assert_invalid(&|| ipc_channel_stats(a.0, null_mut(), STATS_SIZE));
        ipc_channel_close(null_mut());
    }
    let null_end = End(null_mut());
    assert_eq!(null_end.reserve(1, 0).unwrap_err(), EINVAL);
    set_errno(SENTINEL);
    assert_eq!(null_end.max(), 0);
    assert_eq!(failure(), EINVAL);
    assert_eq!(a.recv(0), Err(libc::EAGAIN)); // the end still works
}

#[apply(isolated)]
fn lengths() {
    let (a, b) = small();
    let max = a.max();
    let bytes = vec![1; max + 1];
    assert_eq!(max, SMALL_RING - 68);
    assert_eq!(a.send(&[], 0), INVALID);
    assert_eq!(a.send(&bytes, 0), Err(EMSGSIZE));
    for len in [isize::MAX as usize, usize::MAX / 2 + 2, usize::MAX] {
        let at = bytes.as_ptr().cast_mut().cast();
        assert_eq!(a.send_raw(at, len, 0), Err(EMSGSIZE), "{len:#x}");
        assert_eq!(a.reserve(len, 0).unwrap_err(), EMSGSIZE, "{len:#x}");
    }
    assert_eq!(a.reserve(0, 0).unwrap_err(), EINVAL);
    assert_eq!(a.reserve(max + 1, 0).unwrap_err(), EMSGSIZE);
    assert_eq!(
        b.recv_raw(bytes.as_ptr().cast_mut().cast(), 0, 0),
        INVALID,
        "a buffer of 0 bytes"
    );
    assert_eq!(b.peek(0).unwrap_err(), libc::EAGAIN, "nothing was sent");
    // The longest message fits into an empty ring, whatever the position in the ring.
    for len in [1, max, 3, max, max - 1, max, 8, max] {
        assert_eq!(a.send(&bytes[..len], 0), DONE, "{len}");
        assert_eq!(b.recv_cap(max, 0).map(|message| message.len()), Ok(len));
    }
}

#[apply(isolated)]
fn invalid_time_outs() {
    let (a, b) = pair();
    let (one, _two) = sockets(libc::SOCK_STREAM);
    let name = abstract_name();
    let listener = listen(&name);
    for timeout_ms in [-3, -1000, c_int::MIN] {
        assert_eq!(a.send(b"x", timeout_ms), INVALID);
        assert_eq!(a.reserve(1, timeout_ms).unwrap_err(), EINVAL);
        assert_eq!(b.recv(timeout_ms), Err(EINVAL));
        assert_eq!(b.peek(timeout_ms).unwrap_err(), EINVAL);
        assert_eq!(a.call(b"x", 9, timeout_ms), Err(EINVAL));
        assert_eq!(b.next_call(9, timeout_ms), Err(EINVAL));
        assert_eq!(b.reply(1, b"x", timeout_ms), INVALID);
        assert_eq!(from_fd(&one, timeout_ms).unwrap_err(), EINVAL);
        assert_eq!(accept(&listener, timeout_ms).unwrap_err(), EINVAL);
        assert_eq!(connect(&name, timeout_ms).unwrap_err(), EINVAL);
    }
    assert_eq!(a.cancel(), INVALID, "nothing is reserved");
    assert_eq!(b.recv(0), Err(libc::EAGAIN), "nothing was sent");
    assert_eq!(accept(&listener, 0).unwrap_err(), libc::EAGAIN);
}

#[apply(isolated)]
fn out_of_order() {
    let (a, b) = pair();
    assert_eq!(a.commit(1), INVALID);
    assert_eq!(a.cancel(), INVALID);
    assert_eq!(b.release(), INVALID);
    a.reserve(100, 0).unwrap();
    for len in [0, 101, usize::MAX] {
        assert_eq!(a.commit(len), INVALID, "{len}");
    }
    assert_eq!(a.send(b"x", -1), Err(EBUSY));
    assert_eq!(a.reserve(1, -1).unwrap_err(), EBUSY);
    assert_eq!(a.commit(100), DONE);
    assert_eq!(a.commit(1), INVALID);
    b.peek(0).unwrap();
    assert_eq!(b.release(), DONE);
    assert_eq!(b.release(), INVALID);
    assert_eq!(a.send(b"x", 0), DONE);
    b.peek(0).unwrap();
    assert_eq!(b.recv(0).unwrap(), b"x");
    assert_eq!(b.release(), INVALID, "the message was received");
    for how in [-1, 3, c_int::MAX, c_int::MIN] {
        assert_eq!(a.shutdown(how), INVALID);
    }
    assert_eq!(a.send(b"y", 0), DONE);
    assert_eq!(b.recv(0).unwrap(), b"y");
}

/// Passes these options to each call that takes options: pair, from_fd, accept and connect.
fn with_options(opts: *const ipc_channel_opts, size: usize) -> [Result<(), c_int>; 4] {
    let name = abstract_name();
    let listener = listen(&name);
    let _client = silent_client(&name);
    let name = std::ffi::CString::new(name).unwrap();
    let (one, two) = sockets(libc::SOCK_SEQPACKET);
    // It ends when `one` is closed.
    let peer = std::thread::spawn(move || from_fd(&two, LONG).map(drop));
    // SAFETY: options of this size, out pointers and strings.
    let results = unsafe {
        [
            try_pair(opts, size).map(drop),
            end_from(|ch| ipc_channel_from_fd(one.as_raw_fd(), opts, size, 2000, ch)).map(drop),
            end_from(|ch| ipc_channel_accept(listener.as_raw_fd(), opts, size, 2000, ch)).map(drop),
            // No process accepts this client. The call checks the options before it waits.
            end_from(|ch| ipc_channel_connect(name.as_ptr(), opts, size, 0, ch))
                .map(drop)
                .or_else(|error| match error {
                    libc::EAGAIN => Ok(()),
                    _ => Err(error),
                }),
        ]
    };
    drop(one);
    let _ = peer.join().unwrap();
    results
}

const ALL_OK: [Result<(), c_int>; 4] = [Ok(()); 4];

#[apply(isolated)]
fn options() {
    let with = |opts: ipc_channel_opts| with_options(&opts, SIZE);
    let invalid = [Err(EINVAL); 4];
    assert_eq!(with(DEFAULTS), ALL_OK);
    assert_eq!(with_options(null(), 0), ALL_OK);
    assert_eq!(
        with_options(null(), usize::MAX),
        ALL_OK,
        "the size of NULL is ignored"
    );
    const FLAGS: [u32; 3] = [
        IPC_CHANNEL_F_PREFAULT,
        IPC_CHANNEL_F_NO_SPIN,
        IPC_CHANNEL_F_FDS,
    ];
    // Only ipc_channel_connect can wait for a listener.
    let flags = IPC_CHANNEL_F_WAIT;
    assert_eq!(
        with(ipc_channel_opts { flags, ..DEFAULTS }),
        [Err(EINVAL), Err(EINVAL), Err(EINVAL), Ok(())]
    );
    let known = FLAGS
        .iter()
        .fold(IPC_CHANNEL_F_LOCK | flags, |all, flag| all | flag);
    for flags in (0..32).map(|bit| 1 << bit).filter(|bit| known & bit == 0) {
        assert_eq!(with(ipc_channel_opts { flags, ..DEFAULTS }), invalid);
    }
    for flags in FLAGS {
        assert_eq!(with(ipc_channel_opts { flags, ..SMALL }), ALL_OK);
    }
    for spin_us in [1, 1_000_000] {
        assert_eq!(
            with(ipc_channel_opts {
                spin_us,
                ..DEFAULTS
            }),
            ALL_OK
        );
        let contradiction = ipc_channel_opts { spin_us, ..NO_SPIN };
        assert_eq!(with(contradiction), invalid);
    }
    for spin_us in [1_000_001, u32::MAX] {
        assert_eq!(
            with(ipc_channel_opts {
                spin_us,
                ..DEFAULTS
            }),
            invalid
        );
    }
    let too_large = (1u64 << 40) + 1;
    for send_size in [too_large, u64::MAX / 2, u64::MAX] {
        assert_eq!(
            with(ipc_channel_opts {
                send_size,
                ..DEFAULTS
            }),
            invalid
        );
    }
    // The longest message has 2^31 - 1 bytes, whatever the sizes of the rings.
    for message_max in [1 << 31, u32::MAX.into(), 1 << 40, (1 << 40) + 1, u64::MAX] {
        assert_eq!(
            with(ipc_channel_opts {
                message_max,
                ..DEFAULTS
            }),
            invalid
        );
    }
    // Descriptors with a message need space too.
    for (message_max, expected) in [((1 << 31) - 16, invalid), (100, ALL_OK)] {
        let flags = IPC_CHANNEL_F_FDS;
        let opts = ipc_channel_opts {
            flags,
            message_max,
            ..DEFAULTS
        };
        assert_eq!(with(opts), expected);
    }
    // In the other calls the peer chooses the size of the ring from which this side receives.
    let recv_size = 1;
    let results = with(ipc_channel_opts {
        recv_size,
        ..DEFAULTS
    });
    assert_eq!(results, [Ok(()), Err(EINVAL), Err(EINVAL), Err(EINVAL)]);
    let recv_size = too_large;
    assert_eq!(
        with(ipc_channel_opts {
            recv_size,
            ..DEFAULTS
        }),
        invalid
    );
}

#[apply(isolated)]
fn sizes_of_options() {
    #[repr(C)]
    struct Longer {
        known: ipc_channel_opts,
        new: [u8; 4096],
    }
    let mut longer = Longer {
        known: DEFAULTS,
        new: [0; 4096],
    };
    for size in [SIZE + 1, SIZE + 8, 4096] {
        assert_eq!(
            with_options(&raw const longer.known, size),
            ALL_OK,
            "{size}"
        );
    }
    let too_big = [Err(libc::E2BIG); 4];
    for size in [4097, usize::MAX] {
        assert_eq!(
            with_options(&raw const longer.known, size),
            too_big,
            "{size}"
        );
    }
    longer.new[7] = 1;
    assert_eq!(with_options(&raw const longer.known, SIZE + 7), ALL_OK);
    assert_eq!(with_options(&raw const longer.known, SIZE + 8), too_big);
    // Smaller than the first version of the structure; 8 is the size of a pointer.
    for size in [0, 1, 8, 16, 32, SIZE - 1] {
        let too_small = [Err(EINVAL); 4];
        assert_eq!(with_options(&DEFAULTS, size), too_small, "{size}");
    }
}

#[apply(isolated)]
fn sizes_of_rings() {
    let sizes = |send_size, recv_size, message_max| {
        let opts = ipc_channel_opts {
            send_size,
            recv_size,
            message_max,
            ..DEFAULTS
        };
        let (a, b) = pair_with(&opts);
        (a.max() + 68, b.max() + 68)
    };
    const K: usize = 1024;
    assert_eq!(sizes(0, 0, 0), (256 * K, 256 * K));
    assert_eq!(sizes(1, 0, 0), (64 * K, 64 * K));
    assert_eq!(sizes(65536, 65537, 0), (64 * K, 128 * K));
    assert_eq!(sizes(0, 1, 0), (256 * K, 64 * K));
    assert_eq!(sizes(1, 1 << 30, 0), (64 * K, 1 << 30));
    // The longest message fits, in both directions.
    assert_eq!(sizes(1, 0, 1), (64 * K, 64 * K));
    assert_eq!(sizes(1, 0, 65468), (64 * K, 64 * K));
    assert_eq!(sizes(1, 0, 65469), (128 * K, 128 * K));
    assert_eq!(sizes(1 << 20, 0, 65533), (1 << 20, 1 << 20));
    assert_eq!(sizes(0, 0, 300_000), (512 * K, 512 * K));
    let opts = ipc_channel_opts {
        message_max: 3 << 20,
        ..DEFAULTS
    };
    let (a, b) = pair_with(&opts);
    let message = pattern(3 << 20, 1);
    assert_eq!(a.send(&message, 0), DONE);
    assert_eq!(b.peek(0).unwrap(), message);
}

#[apply(isolated)]
fn structures() {
    let (a, b) = pair();
    assert_eq!(a.send(&[7; 100], 0), DONE);
    assert_eq!(b.recv(0).unwrap().len(), 100);
    let cred = a.cred();
    assert_eq!(cred, Cred::own());
    assert_eq!(b.cred(), Cred::own());
    // SAFETY: the structure has no padding.
    let whole: [u8; CRED_SIZE] = unsafe { mem::transmute(cred) };
    // SAFETY: an open end, and a buffer of at least this size.
    let cred_of = |at, size| unsafe { ipc_channel_peer_cred(a.0, at, size) };
    check_sizes(&whole, |at, size| cred_of(at.cast(), size));
    // SAFETY: the structure has no padding.
    let whole: [u8; STATS_SIZE] = unsafe { mem::transmute(a.stats()) };
    assert_eq!((whole[0], whole[8]), (1, 100));
    // SAFETY: an open end, and a buffer of at least this size.
    let stats_of = |at, size| unsafe { ipc_channel_stats(a.0, at, size) };
    check_sizes(&whole, |at, size| stats_of(at.cast(), size));
}

/// Checks that a size below that of the first version is EINVAL, and that the bytes behind the
/// known structure become 0.
fn check_sizes(whole: &[u8], call: impl Fn(*mut u8, usize) -> c_int) {
    for size in 0..100 {
        let mut bytes = [0xaa; 101];
        let done = outcome(|| call(bytes.as_mut_ptr(), size) as isize);
        let written = if size < whole.len() {
            assert_eq!(done, INVALID, "{size}");
            0
        } else {
            assert_eq!(done, DONE, "{size}");
            assert_eq!(bytes[..whole.len()], *whole);
            assert!(bytes[whole.len()..size].iter().all(|byte| *byte == 0));
            size
        };
        assert!(bytes[written..].iter().all(|byte| *byte == 0xaa), "{size}");
    }
}

#[apply(isolated)]
fn invalid_descriptors() {
    for fd in [-1, -2, c_int::MIN, 1000, c_int::MAX] {
        assert_eq!(from_fd_with(fd, &DEFAULTS, 0).unwrap_err(), EBADF, "{fd}");
        // SAFETY: no options, and an out pointer.
        let accepted = end_from(|ch| unsafe { ipc_channel_accept(fd, null(), 0, 0, ch) });
        assert_eq!(accepted.unwrap_err(), EBADF, "{fd}");
    }
    let (read, _write) = pipe();
    assert_eq!(from_fd(&read, 0).unwrap_err(), libc::ENOTSOCK);
    let read = read.into();
    assert_eq!(accept(&read, 0).unwrap_err(), libc::ENOTSOCK);
    for socket_type in SOCKET_TYPES {
        let unconnected = local_socket(socket_type);
        assert_eq!(from_fd(&unconnected, 0).unwrap_err(), libc::ENOTCONN);
        // Neither of these sockets listens.
        assert_eq!(accept(&unconnected, 0).unwrap_err(), EINVAL);
        let (one, _two) = sockets(socket_type);
        assert_eq!(accept(&one, 0).unwrap_err(), EINVAL);
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert_eq!(from_fd(&client, 0).unwrap_err(), libc::EOPNOTSUPP);
    let accepted = accept(&listener.into(), LONG);
    assert_eq!(accepted.unwrap_err(), libc::EOPNOTSUPP);
}
