//! ipc_channel_accept: a failed call leaves the client in the queue, and a client that has not sent
//! its hello costs the server one descriptor.

use crate::handshake::send_with_fds;
use crate::peer::*;
use crate::support::*;
use common::user::become_nobody;
use libc::{EAGAIN, EFBIG, EINVAL, EMFILE, ENOSPC, EPIPE, SOCK_SEQPACKET, SOCK_STREAM, c_int};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use unixipc::ffi::channel::*;
use unixipc::ffi::message::ipc_msg_send;

/// The number of descriptors that accepting a client needs at once: the socket, the two of the
/// client's hello, and two of the server's own.
const NEEDED: u64 = 5;

/// A listener, and a client in its queue that has sent its hello and waits for the answer.
#[track_caller]
fn queued_client(name: &str) -> (OwnedFd, Child) {
    let listener = listen(name);
    let client = fork(|| {
        let end = connect(name, LONG).unwrap();
        assert_eq!(end.send(b"connected", LONG), DONE);
        assert_eq!(end.recv(LONG).unwrap(), b"accepted");
    });
    assert_eq!(poll(listener.as_raw_fd(), LONG), libc::POLLIN);
    client.wait_asleep();
    (listener, client)
}

/// Checks that ipc_channel_accept returns the client without waiting.
#[track_caller]
fn assert_accepts(listener: &OwnedFd, client: Child) {
    let end = accept(listener, 0).expect("the client has left the queue");
    assert_connected(&end, client);
}

/// Exchanges messages with the client of [`queued_client`], which then ends.
#[track_caller]
fn assert_connected(end: &End, client: Child) {
    assert_eq!(end.recv(LONG).unwrap(), b"connected");
    assert_eq!(end.send(b"accepted", LONG), DONE);
    client.join();
}

/// Accepting fails if the process can open too few descriptors, whether or not the client has sent
/// its hello.
#[apply(isolated)]
fn few_descriptors_leave_the_client() {
    let name = abstract_name();
    for available in 0..NEEDED {
        let _case = Case(format!("{available} descriptors available"));
        let (listener, client) = queued_client(&name);
        let before = open_numbers();
        let failed = with_room_for(available, || accept(&listener, 0));
        assert_eq!(failed.unwrap_err(), EMFILE);
        assert_eq!(open_numbers(), before);
        assert_accepts(&listener, client);
        let silent = silent_client(&name);
        let failed = with_room_for(available, || accept(&listener, 0));
        assert_eq!(failed.unwrap_err(), EMFILE);
        let end = accept(&listener, 0).expect("the silent client has left the queue");
        assert_eq!(end.recv(0), Err(EAGAIN));
        drop(silent);
    }
    let (listener, client) = queued_client(&name);
    let end = with_room_for(NEEDED, || accept(&listener, 0)).unwrap();
    assert_connected(&end, client);
}

/// Accepting fails because of the options or a limit.
#[apply(isolated)]
fn invalid_options_leave_the_client() {
    let name = abstract_name();
    let receive_size = ipc_channel_opts {
        recv_size: 65536,
        ..DEFAULTS
    };
    let unknown_flag = ipc_channel_opts {
        flags: 1 << 31,
        ..DEFAULTS
    };
    let too_large = ipc_channel_opts {
        send_size: 1 << 39,
        flags: IPC_CHANNEL_F_PREFAULT,
        ..DEFAULTS
    };
    let large = ipc_channel_opts {
        send_size: 64 << 20,
        ..DEFAULTS
    };
    let cases: [(&str, &ipc_channel_opts, Option<u64>, c_int); 4] = [
        ("recv_size", &receive_size, None, EINVAL),
        ("an unknown flag", &unknown_flag, None, EINVAL),
        ("prefaulting 512 GiB", &too_large, None, ENOSPC),
        ("RLIMIT_FSIZE", &large, Some(1 << 20), EFBIG),
    ];
    for (what, opts, file_limit, error) in cases {
        let _case = Case(what);
        let (listener, client) = queued_client(&name);
        let before = open_numbers();
        let old = file_limit.map(|limit| set_soft_limit(libc::RLIMIT_FSIZE, limit));
        let failed = accept_with(&listener, opts, 0);
        if let Some(old) = old {
            set_soft_limit(libc::RLIMIT_FSIZE, old);
        }
        assert_eq!(failed.unwrap_err(), error);
        assert_eq!(open_numbers(), before);
        assert_accepts(&listener, client);
    }
}

/// The number of rings that this process has mapped.
fn mapped_rings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("/memfd:")).count()
}

/// Passes a descriptor over a socket.
fn pass_descriptor() -> Outcome {
    let (one, _two) = sockets(SOCK_STREAM);
    let (fd, byte) = (one.as_raw_fd(), [0u8; 1]);
    let passed = [fd];
    // SAFETY: one byte and one descriptor.
    outcome(|| unsafe { ipc_msg_send(fd, byte.as_ptr().cast(), 1, passed.as_ptr(), 1, 0) } as isize)
}

/// Clients that send nothing or an invalid hello, and never read. The server is unprivileged, so
/// the kernel limits its descriptors in flight to RLIMIT_NOFILE.
#[apply(isolated)]
#[needs(needs::root)]
fn unread_clients_cost_a_descriptor() {
    const LIMIT: u64 = 128;
    const OPEN_AT_ONCE: usize = 16;
    let name = abstract_name();
    let listener = listen(&name);
    let accepted = Counters::new();
    let server = fork(|| {
        become_nobody().unwrap();
        set_soft_limit(libc::RLIMIT_NOFILE, LIMIT);
        let prefaulted = ipc_channel_opts {
            flags: IPC_CHANNEL_F_PREFAULT,
            ..DEFAULTS
        };
        let before = open_numbers().len();
        let mut ends = Vec::new();
        for number in 0..2 * LIMIT {
            let _case = Case(format!("client {number}"));
            let end = accept_with(&listener, &prefaulted, LONG).unwrap();
            accepted.set(0, number + 1);
            let sends_invalid_hello = number % 2 == 1;
            if sends_invalid_hello {
                assert_eq!(end.recv(LONG), Err(libc::EPROTO));
            } else {
                assert_eq!(end.recv(0), Err(EAGAIN));
            }
            ends.push(end);
            assert!(open_numbers().len() - before <= ends.len(), "descriptors");
            assert_eq!(mapped_rings(), 0, "rings");
            if ends.len() == OPEN_AT_ONCE {
                ends.clear();
            }
        }
        drop(ends);
        assert_eq!(pass_descriptor(), DONE);
        let end = accept(&listener, LONG).unwrap();
        assert_eq!(end.send(b"accepted", LONG), DONE);
    });
    let invalid_hello = [b'?'; 64];
    let mut clients = Vec::new();
    for number in 0..2 * LIMIT {
        let client = silent_client(&name);
        accepted.wait_for(0, number + 1);
        if number % 2 == 1 {
            send_with_fds(&client, &invalid_hello, &[]);
        }
        clients.push(client);
    }
    let end = connect(&name, LONG).unwrap();
    assert_eq!(end.recv(LONG).unwrap(), b"accepted");
    server.join();
    drop(clients);
}

const SO_PASSRIGHTS: c_int = 83;

/// Makes a socket refuse descriptors. Returns false if the kernel cannot.
fn refuse_descriptors(socket: &OwnedFd) -> bool {
    let off: c_int = 0;
    let size = size_of::<c_int>() as libc::socklen_t;
    let (fd, value) = (socket.as_raw_fd(), (&raw const off).cast());
    // SAFETY: a number, with its size.
    unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, SO_PASSRIGHTS, value, size) == 0 }
}

/// Why this kernel cannot run the test.
fn no_passrights() -> Option<&'static str> {
    let refused = refuse_descriptors(&local_socket(SOCK_SEQPACKET));
    (!refused).then_some("needs SO_PASSRIGHTS of Linux 6.16")
}

/// If the peer's socket refuses descriptors, the call that sends the hello fails with EPIPE.
#[apply(isolated)]
#[needs(no_passrights)]
fn peer_refuses_descriptors() {
    for socket_type in SOCKET_TYPES {
        let (one, two) = sockets(socket_type);
        assert!(refuse_descriptors(&two));
        for _ in 0..2 {
            assert_eq!(from_fd(&one, 0).unwrap_err(), EPIPE);
        }
    }
    let name = abstract_name();
    let listener = listen(&name);
    let peer = Peer::new(RING);
    // The client's hello arrives after the accept call.
    let (server, client) = silent_pair(&listener, &name, &DEFAULTS);
    assert!(refuse_descriptors(&client));
    peer.send_hello(&client);
    for _ in 0..2 {
        assert_eq!(server.send(b"x", 0), Err(EPIPE));
    }
    assert_received_nothing(&client);
    // The client's hello arrives before it.
    let client = silent_client(&name);
    assert!(refuse_descriptors(&client));
    peer.send_hello(&client);
    match accept(&listener, 0) {
        Ok(server) => assert_eq!(server.send(b"x", 0), Err(EPIPE)),
        Err(error) => assert_eq!(error, EPIPE),
    }
    // The listener still works.
    let (server, client) = silent_pair(&listener, &name, &DEFAULTS);
    peer.send_hello(&client);
    assert_eq!(server.recv(0), Err(EAGAIN));
    assert_received_hello(&client);
}
