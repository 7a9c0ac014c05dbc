//! Invalid arguments, options, and output structures.

use crate::support::*;
use common::filter;
use libc::{
    E2BIG, EAGAIN, EBADF, EBUSY, EINVAL, EMSGSIZE, ENAMETOOLONG, EOPNOTSUPP, EPROTO, c_int,
};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr::{null, null_mut};
use std::{fs::File, mem, net};

const SIZE: usize = size_of::<ipc_feed_opts>();
const SUB_SIZE: usize = size_of::<ipc_sub_opts>();
const INVALID: Outcome = Err(EINVAL);

#[apply(isolated)]
fn null_pointers() {
    let feed = Feed::new();
    let sub = feed.subscribe(&RELIABLE);
    let mut bytes = [0u8; 128];
    let at: *mut libc::c_void = bytes.as_mut_ptr().cast();
    let assert_invalid =
        |call: &dyn Fn() -> c_int| assert_eq!(outcome(|| call() as isize), INVALID);
    // SAFETY: NULL is refused; the other pointers are valid.
    unsafe {
        assert_invalid(&|| ipc_feed_create(null(), 0, null_mut()));
        assert_invalid(&|| ipc_feed_listen(null_mut(), c"x".as_ptr(), 0o600, 0));
        assert_invalid(&|| ipc_feed_listen(feed.0, null(), 0o600, 0));
        assert_invalid(&|| ipc_feed_add(null_mut(), 0));
        assert_invalid(&|| ipc_feed_publish(null_mut(), at, 1, 0));
        assert_invalid(&|| ipc_feed_publish(feed.0, null(), 1, 0));
        assert_invalid(&|| ipc_feed_publish(feed.0, null(), 0, 0));
        assert_invalid(&|| ipc_feed_commit(null_mut(), 1));
        assert_invalid(&|| ipc_feed_cancel(null_mut()));
        assert_invalid(&|| ipc_feed_service(null_mut()));
        assert_invalid(&|| ipc_feed_fd(null_mut()));
        assert_invalid(&|| ipc_feed_subscribers(null_mut(), at.cast(), 1, 72) as c_int);
        assert_invalid(&|| ipc_feed_subscribers(feed.0, null_mut(), 1, 72) as c_int);
        assert_invalid(&|| ipc_feed_info(null_mut(), at.cast(), 32));
        assert_invalid(&|| ipc_feed_info(feed.0, null_mut(), 32));
        assert_invalid(&|| ipc_sub_connect(null(), null(), 0, 0, &mut null_mut()));
        assert_invalid(&|| ipc_sub_connect(c"x".as_ptr(), null(), 0, 0, null_mut()));
        assert_invalid(&|| ipc_sub_from_fd(0, null(), 0, 0, null_mut()));
        assert_invalid(&|| ipc_sub_recv(null_mut(), at, 1, null_mut(), 0) as c_int);
        assert_invalid(&|| ipc_sub_recv(sub.0, null_mut(), 1, null_mut(), 0) as c_int);
        assert_invalid(&|| ipc_sub_recv(sub.0, null_mut(), 0, null_mut(), 0) as c_int);
        assert_invalid(&|| ipc_sub_peek(null_mut(), &mut null(), null_mut(), 0) as c_int);
        assert_invalid(&|| ipc_sub_peek(sub.0, null_mut(), null_mut(), 0) as c_int);
        assert_invalid(&|| ipc_sub_release(null_mut()));
        assert_invalid(&|| ipc_sub_fd(null_mut()));
        assert_invalid(&|| ipc_sub_info(null_mut(), at.cast(), 56));
        assert_invalid(&|| ipc_sub_info(sub.0, null_mut(), 56));
        ipc_feed_close(null_mut());
        ipc_sub_close(null_mut());
    }
    assert_eq!(bytes, [0; 128], "outputs are unchanged");
    let null_feed = Feed(null_mut());
    assert_eq!(null_feed.reserve(1, 0).unwrap_err(), EINVAL);
    assert_eq!((feed.info().published, sub.recv(0)), (0, Err(EAGAIN)));
}

/// A NULL ret_seq is permitted.
#[apply(isolated)]
fn no_sequence_number() {
    let feed = Feed::new();
    let sub = feed.subscribe(&RELIABLE);
    feed.publish_up_to(2, 8, 0);
    let (mut word, mut at) = (0u64, null());
    // SAFETY: an open subscriber, a buffer, and an out pointer.
    unsafe {
        let buf = (&raw mut word).cast();
        assert_eq!(ipc_sub_recv(sub.0, buf, 8, null_mut(), 0), 8);
        assert_eq!(ipc_sub_peek(sub.0, &mut at, null_mut(), 0), 8);
        assert_eq!((word, *at.cast::<u64>()), (0, 1));
    }
}

#[apply(isolated)]
fn lengths() {
    let feed = Feed::with(&SMALL);
    let sub = feed.subscribe(&RELIABLE);
    let max = feed.max();
    assert_eq!(max, SMALL_RING - 72);
    let bytes = vec![1; max + 1];
    assert_eq!(feed.publish(&[], 0), INVALID);
    assert_eq!(feed.publish(&bytes, 0), Err(EMSGSIZE));
    for len in [isize::MAX as usize, usize::MAX / 2 + 2, usize::MAX] {
        let at = bytes.as_ptr().cast();
        assert_eq!(feed.publish_raw(at, len, 0), Err(EMSGSIZE), "{len:#x}");
        assert_eq!(feed.reserve(len, 0).unwrap_err(), EMSGSIZE, "{len:#x}");
    }
    assert_eq!(feed.reserve(0, 0).unwrap_err(), EINVAL);
    assert_eq!(feed.reserve(max + 1, 0).unwrap_err(), EMSGSIZE);
    assert_eq!(sub.recv_cap(0, 0), Err(EINVAL), "a buffer of 0 bytes");
    assert_eq!(sub.recv(0), Err(EAGAIN), "nothing was published");
    assert_eq!(feed.info().published, 0);
}

#[apply(isolated)]
fn invalid_time_outs() {
    let feed = Feed::new();
    let sub = feed.subscribe(&RELIABLE);
    let name = abstract_name();
    feed.listen(&name);
    let (one, _two) = sockets(libc::SOCK_STREAM);
    for timeout_ms in [-3, -1000, c_int::MIN] {
        assert_eq!(feed.publish(b"x", timeout_ms), INVALID);
        assert_eq!(feed.reserve(1, timeout_ms).unwrap_err(), EINVAL);
        assert_eq!(sub.recv(timeout_ms), Err(EINVAL));
        assert_eq!(sub.peek(timeout_ms).unwrap_err(), EINVAL);
        assert_eq!(from_fd(&one, &RELIABLE, timeout_ms).unwrap_err(), EINVAL);
        assert_eq!(connect(&name, &RELIABLE, timeout_ms).unwrap_err(), EINVAL);
    }
    assert_eq!(feed.cancel(), INVALID, "nothing is reserved");
    assert_eq!(
        (feed.service(), feed.count()),
        (DONE, 1),
        "no client has connected"
    );
    assert_eq!(poll(one.as_raw_fd(), 0), 0, "the socket is not shut down");
}

#[apply(isolated)]
fn out_of_order() {
    let feed = Feed::new();
    let sub = feed.subscribe(&RELIABLE);
    assert_eq!((feed.commit(1), feed.cancel()), (INVALID, INVALID));
    assert_eq!(sub.release(), INVALID);
    feed.reserve(100, 0).unwrap();
    for len in [0, 101, usize::MAX] {
        assert_eq!(feed.commit(len), INVALID, "{len}");
    }
    assert_eq!(feed.publish(b"x", -1), Err(EBUSY));
    assert_eq!(feed.reserve(1, -1).unwrap_err(), EBUSY);
    assert_eq!(feed.commit(100), DONE);
    assert_eq!((feed.commit(1), feed.cancel()), (INVALID, INVALID));
    sub.peek(0).unwrap();
    assert_eq!((sub.release(), sub.release()), (DONE, INVALID));
    assert_eq!(feed.publish(b"x", 0), DONE);
    sub.peek(0).unwrap();
    assert_eq!(sub.recv(0), message(1, b"x"));
    assert_eq!(sub.release(), INVALID, "the message was received");
    feed.reserve(9, 0).unwrap();
    assert_eq!((feed.cancel(), feed.cancel()), (DONE, INVALID));
    assert_eq!(feed.publish(b"y", 0), DONE);
    assert_eq!(sub.recv(0), message(2, b"y"));
}

#[apply(isolated)]
fn feed_options() {
    let fails = |opts: ipc_feed_opts| Feed::try_with(&opts, SIZE).map(drop).unwrap_err();
    for flags in [8, 0x8000_0000] {
        assert_eq!(fails(ipc_feed_opts { flags, ..FEED }), EINVAL);
    }
    let spin_us = 1_000_001;
    assert_eq!(fails(ipc_feed_opts { spin_us, ..FEED }), EINVAL);
    for size in [u64::MAX, 1 << 63, (1 << 34) + 1] {
        assert_eq!(fails(ipc_feed_opts { size, ..FEED }), EINVAL, "{size:#x}");
    }
    // The largest ring, for which the machine may have too little memory.
    let size = 1 << 34;
    let largest = Feed::try_with(&ipc_feed_opts { size, ..FEED }, SIZE).map(drop);
    assert!(
        matches!(largest, Ok(()) | Err(libc::ENOSPC | libc::ENOMEM)),
        "{largest:?}"
    );
    for message_max in [u64::MAX, 1 << 31] {
        assert_eq!(
            fails(ipc_feed_opts {
                message_max,
                ..FEED
            }),
            EINVAL
        );
    }
    for message_align in [1, 4, 7, 24, 128, 1 << 31] {
        let opts = ipc_feed_opts {
            message_align,
            ..FEED
        };
        assert_eq!(fails(opts), EINVAL, "{message_align}");
    }
    let subscribers_max = 65_537;
    assert_eq!(
        fails(ipc_feed_opts {
            subscribers_max,
            ..FEED
        }),
        EINVAL
    );
    for stall_ms in [-1, c_int::MIN] {
        assert_eq!(fails(ipc_feed_opts { stall_ms, ..FEED }), EINVAL);
    }
    for lossy_only in [2, 1 << 31] {
        assert_eq!(fails(ipc_feed_opts { lossy_only, ..FEED }), EINVAL);
    }
    // The limits are permitted.
    Feed::with(&ipc_feed_opts {
        flags: IPC_FEED_F_PREFAULT | IPC_FEED_F_NO_SPIN,
        size: 1,
        subscribers_max: 65_536,
        stall_ms: c_int::MAX,
        ..FEED
    });
    Feed::with(&ipc_feed_opts {
        spin_us: 1_000_000,
        ..FEED
    });
    // The size, and the length of a message.
    for (size, message_max, expected) in [
        (0, 0, (256 << 10) - 72),
        (1, 0, SMALL_RING - 72),
        (65_537, 0, 2 * SMALL_RING - 72),
        (1, SMALL_RING as u64 - 72, SMALL_RING - 72),
        (1, SMALL_RING as u64 - 71, 2 * SMALL_RING - 72),
    ] {
        let feed = Feed::with(&ipc_feed_opts {
            size,
            message_max,
            ..FEED
        });
        assert_eq!(feed.max(), expected, "{size} {message_max}");
    }
}

#[apply(isolated)]
fn sub_options() {
    let feed = Feed::new();
    let fails = |opts: ipc_sub_opts| {
        let (one, _two) = sockets(libc::SOCK_STREAM);
        let error = from_fd(&one, &opts, 0).unwrap_err();
        assert_eq!(poll(one.as_raw_fd(), 0), 0, "the socket is not shut down");
        error
    };
    for flags in [
        32,
        1 << 31,
        IPC_SUB_F_WAIT,
        IPC_SUB_F_OLDEST | IPC_SUB_F_FROM_SEQ,
    ] {
        assert_eq!(fails(ipc_sub_opts { flags, ..RELIABLE }), EINVAL);
    }
    assert_eq!(fails(ipc_sub_opts { seq: 1, ..RELIABLE }), EINVAL);
    assert_eq!(fails(ipc_sub_opts { seq: 1, ..OLDEST }), EINVAL);
    let spin_us = 1_000_001;
    assert_eq!(
        fails(ipc_sub_opts {
            spin_us,
            ..RELIABLE
        }),
        EINVAL
    );
    let name = c"0123456789012345678901234567890_".as_ptr();
    assert_eq!(fails(ipc_sub_opts { name, ..RELIABLE }), ENAMETOOLONG);
    // The longest name.
    let name = c"0123456789012345678901234567890".as_ptr();
    let sub = feed.subscribe(&ipc_sub_opts { name, ..RELIABLE });
    assert_eq!(feed.subscriber().name[30..], [b'0' as _, 0]);
    drop(sub);
    // The largest ring to accept.
    let accepts = |size_max| {
        feed.try_subscribe(&ipc_sub_opts {
            size_max,
            ..RELIABLE
        })
    };
    assert_eq!(accepts((256 << 10) - 1).unwrap_err(), EPROTO);
    drop(accepts(256 << 10).unwrap());
    let large = Feed::with(&ipc_feed_opts {
        size: 32 << 20,
        ..FEED
    });
    assert_eq!(large.try_subscribe(&RELIABLE).unwrap_err(), EPROTO);
    let size_max = 32 << 20;
    drop(
        large
            .try_subscribe(&ipc_sub_opts {
                size_max,
                ..RELIABLE
            })
            .unwrap(),
    );
}

/// Options that are smaller than the first version, larger ones, and no options.
#[apply(isolated)]
fn sizes_of_options() {
    /// Options of a later version: a further member follows.
    #[repr(C)]
    struct Later<T>(T, u64);
    let name = abstract_name();
    let (one, two) = sockets(libc::SOCK_SEQPACKET);
    let fd = two.as_raw_fd();
    for size in [0, 1, SIZE - 1] {
        assert_eq!(Feed::try_with(&FEED, size).unwrap_err(), EINVAL, "{size}");
    }
    for size in [0, 1, SUB_SIZE - 1] {
        assert_eq!(from_fd_size(fd, &RELIABLE, size, 0).unwrap_err(), EINVAL);
        assert_eq!(connect_size(&name, &RELIABLE, size, 0).unwrap_err(), EINVAL);
    }
    let (later, later_sub) = (Later(FEED, 1), Later(RELIABLE, 1));
    assert_eq!(Feed::try_with(&later.0, SIZE + 8).unwrap_err(), E2BIG);
    assert_eq!(
        from_fd_size(fd, &later_sub.0, SUB_SIZE + 8, 0).unwrap_err(),
        E2BIG
    );
    assert_eq!(
        connect_size(&name, &later_sub.0, SUB_SIZE + 8, 0).unwrap_err(),
        E2BIG
    );
    // Unknown members that are 0, and no options.
    let (later, later_sub) = (Later(FEED, 0), Later(RELIABLE, 0));
    drop(Feed::try_with(&later.0, SIZE + 8).unwrap());
    let feed = Feed::try_with(null(), 0).unwrap();
    let subscribe = |opts: *const ipc_sub_opts, size: usize| {
        let (opts, two) = (opts.addr(), two.try_clone().unwrap());
        let (near, far) = sockets(libc::SOCK_SEQPACKET);
        drop(two);
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                from_fd_size(far.as_raw_fd(), opts as *const ipc_sub_opts, size, LONG).unwrap()
            });
            assert_eq!(feed.add(&near), DONE);
            feed.serve(thread)
        })
    };
    drop(subscribe(&later_sub.0, SUB_SIZE + 8));
    drop(subscribe(null(), 0));
    drop(one);
}

/// Output structures that are smaller than the first version, and larger ones.
#[apply(isolated)]
fn sizes_of_outputs() {
    let feed = Feed::new();
    let sub = feed.subscribe(&RELIABLE);
    feed.publish_up_to(3, 8, 0);
    let mut bytes = [0xa5u8; 256];
    let at = bytes.as_mut_ptr();
    let first = [
        size_of::<ipc_feed_info>(),
        size_of::<ipc_sub_info>(),
        size_of::<ipc_feed_subscriber>(),
    ];
    assert_eq!(first, [32, 56, 72]);
    let call = |which: usize, size: usize| {
        // SAFETY: open objects, and a structure of up to 256 bytes.
        outcome(|| unsafe {
            match which {
                0 => ipc_feed_info(feed.0, at.cast(), size) as isize,
                1 => ipc_sub_info(sub.0, at.cast(), size) as isize,
                _ => ipc_feed_subscribers(feed.0, at.cast(), 1, size),
            }
        })
    };
    for (which, first) in first.into_iter().enumerate() {
        for size in [0, 1, first - 1] {
            assert_eq!(call(which, size), INVALID, "{which} {size}");
            // SAFETY: the buffer is ours.
            let unchanged = unsafe { std::slice::from_raw_parts(at, 256) };
            assert!(unchanged.iter().all(|byte| *byte == 0xa5), "{which} {size}");
        }
        // The call sets the members that it does not know to 0, and writes nothing behind them.
        assert!(call(which, first + 16).is_ok());
        // SAFETY: as above.
        let written = unsafe { std::slice::from_raw_parts_mut(at, 256) };
        assert!(written[first..first + 16].iter().all(|byte| *byte == 0));
        assert!(written[first + 16..].iter().all(|byte| *byte == 0xa5));
        written.fill(0xa5);
    }
    // SAFETY: all zero bytes are a valid value.
    let mut info: ipc_sub_info = unsafe { mem::zeroed() };
    // SAFETY: an open subscriber, and a structure of this size.
    assert_eq!(unsafe { ipc_sub_info(sub.0, &mut info, 56) }, 0);
    assert_eq!(
        (info.published, info.next_seq, info.lost, info.reserved),
        (3, 0, 0, 0)
    );
}

#[apply(isolated)]
fn sockets_of_other_kinds() {
    let feed = Feed::new();
    let null = File::open("/dev/null").unwrap();
    let unconnected = local_socket(libc::SOCK_SEQPACKET);
    let udp = net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let from = |fd: c_int| from_fd_size(fd, &RELIABLE, SUB_SIZE, 0).map(drop);
    for (fd, error) in [
        (-1, EBADF),
        (9999, EBADF),
        (null.as_raw_fd(), libc::ENOTSOCK),
        (udp.as_raw_fd(), libc::EOPNOTSUPP),
        (unconnected.as_raw_fd(), libc::ENOTCONN),
    ] {
        assert_eq!(feed.add_number(fd), Err(error), "add {fd}");
        assert_eq!(from(fd), Err(error), "from {fd}");
    }
    // The other end is closed.
    let (one, two) = UnixStream::pair().unwrap();
    drop(two);
    assert_eq!(from_fd(&one, &RELIABLE, 0).unwrap_err(), libc::EPIPE);
    assert_eq!(feed.add(&one), DONE);
    assert_eq!(feed.service(), DONE);
    assert_eq!(feed.count(), 0);
    // 64 sockets may be silent.
    let pairs: Vec<_> = (0..65).map(|_| sockets(libc::SOCK_SEQPACKET)).collect();
    for (one, _) in &pairs[..64] {
        assert_eq!(feed.add(one), DONE);
    }
    let before = open_numbers();
    assert_eq!(feed.add(&pairs[64].0), Err(EAGAIN));
    assert_eq!(open_numbers(), before);
}

/// After an error that follows the request, both sides of the socket are shut down.
#[apply(isolated)]
fn failure_shuts_the_socket_down() {
    for socket_type in SOCKET_TYPES {
        let (one, two) = sockets(socket_type);
        assert_eq!(from_fd(&one, &RELIABLE, 0).unwrap_err(), EAGAIN);
        assert_ne!(
            poll_for(two.as_raw_fd(), libc::POLLRDHUP, 0) & libc::POLLHUP,
            0
        );
        let feed = Feed::new();
        assert_eq!(feed.add(&two), DONE);
        assert_eq!(feed.service(), DONE);
        let (count, _) = (feed.count(), feed.publish(b"x", 0));
        assert!(count <= 1, "{count} subscribers");
        feed.service_until_count(0);
    }
}

#[apply(isolated)]
fn errno_after_success() {
    expect_unchanged_errno();
}

/// As on kernels before Linux 6.5, which refuse the flags of these calls.
#[apply(isolated)]
fn errno_after_success_on_an_old_kernel() {
    for call in [libc::SYS_preadv2, libc::SYS_pwritev2] {
        filter::refuse(call, EOPNOTSUPP);
    }
    expect_unchanged_errno();
}

/// Successful calls leave errno unchanged, also those that wake, wait or admit.
fn expect_unchanged_errno() {
    #[track_caller]
    fn keeps<T>(call: impl FnOnce() -> T) -> T {
        set_errno(SENTINEL);
        let result = call();
        assert_eq!(errno(), SENTINEL);
        result
    }
    let (feed, name) = (keeps(|| Feed::with(&SMALL)), abstract_name());
    keeps(|| feed.listen(&name));
    let first = feed.subscribe(&RELIABLE);
    let sub = std::thread::scope(|scope| {
        let thread = scope.spawn(|| keeps(|| connect(&name, &RELIABLE, LONG).unwrap()));
        wait_until("the admission", || {
            assert_eq!(keeps(|| feed.service()), DONE);
            thread.is_finished()
        });
        thread.join().unwrap()
    });
    keeps(|| feed.fd().unwrap());
    keeps(|| sub.fd().unwrap());
    keeps(|| feed.publish_up_to(100, 500, 0));
    keeps(|| feed.reserve(8, 0).unwrap().fill(0));
    assert_eq!(keeps(|| feed.cancel()), DONE);
    std::thread::scope(|scope| {
        // Each side waits for the other one.
        let threads =
            [&first, &sub].map(|sub| scope.spawn(move || keeps(|| sub.expect_up_to(500, LONG))));
        keeps(|| feed.publish_up_to(500, 500, LONG));
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    });
    // A publication wakes a subscriber that sleeps.
    std::thread::scope(|scope| {
        let first = &first;
        let (sleeper, _) = spawn_sleeper(scope, move || keeps(|| first.recv(LONG).unwrap()));
        assert_eq!(keeps(|| feed.publish(b"x", 0)), DONE);
        sleeper.join().unwrap();
    });
    sub.recv(LONG).unwrap();
    keeps(|| drop(feed));
    assert_eq!(keeps(|| sub.recv(LONG)), END);
    keeps(|| drop(sub));
}
