//! The first calls on an accepted channel, which complete the handshake.

use crate::handshake::send_with_fds;
use crate::peer::*;
use crate::support::*;
use libc::{EAGAIN, EMFILE, EPIPE, EPROTO, ESTALE, ETIMEDOUT, c_int};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use unixipc::ffi::channel::*;

/// Checks that a call on an accepted channel completes the handshake with a client.
#[track_caller]
fn assert_completes(server: &End, client: &OwnedFd) {
    assert_eq!(server.recv(0), Err(EAGAIN));
    assert_received_hello(client);
}

/// The server sends nothing before the client's hello. The descriptor reports the hello, and the
/// next call answers it.
#[apply(isolated)]
fn hello_wakes_the_event_loop() {
    let name = abstract_name();
    let listener = listen(&name);
    for _ in 0..20 {
        let (server, client) = silent_pair(&listener, &name, &DEFAULTS);
        assert!(!is_readable(&server));
        assert_received_nothing(&client);
        thread::scope(|scope| {
            let connecting = scope.spawn(|| from_fd(&client, LONG));
            assert_eq!(poll(server.fd().unwrap(), LONG), libc::POLLIN);
            assert!(!connecting.is_finished());
            assert_eq!(server.recv(0), Err(EAGAIN));
            let end = connecting.join().unwrap().unwrap();
            assert_eq!(server.recv(0), Err(EAGAIN));
            assert!(!is_readable(&server));
            exchange(&server, &end);
        });
    }
    // The same with a client that does not use the library.
    let (server, client) = silent_pair(&listener, &name, &DEFAULTS);
    assert!(!is_readable(&server));
    let peer = Peer::new(RING);
    peer.send_hello(&client);
    assert_received_nothing(&client);
    assert!(is_readable(&server));
    assert_completes(&server, &client);
    assert!(!is_readable(&server));
}

/// A hello that has arrived before accept is answered by accept.
#[apply(isolated)]
fn accept_answers_at_once() {
    let name = abstract_name();
    let listener = listen(&name);
    let client = silent_client(&name);
    let peer = Peer::new(RING);
    peer.send_hello(&client);
    let server = accept(&listener, 0).unwrap();
    let _hello = assert_received_hello(&client);
    assert_eq!(server.send(b"x", 0), DONE);
    // The client's connect returns while the server makes no further call.
    let connected = Counters::new();
    let child = fork(|| {
        let end = connect(&name, LONG).unwrap();
        connected.set(0, 1);
        assert_eq!(end.recv(LONG).unwrap(), b"done");
    });
    child.wait_asleep();
    let server = accept(&listener, LONG).unwrap();
    connected.wait_for(0, 1);
    assert_eq!(server.send(b"done", LONG), DONE);
    child.join();
}

/// Each call reports the error, the descriptor stays readable, and the client is refused.
#[track_caller]
fn assert_fails(server: &End, client: &OwnedFd, error: c_int) {
    assert!(is_readable(server));
    for _ in 0..2 {
        assert_eq!(server.recv(0), Err(error));
        assert_eq!(server.peek(-1).unwrap_err(), error);
        assert_eq!(server.send(b"x", -1), Err(error));
        assert_eq!(server.reserve(1, 0).unwrap_err(), error);
        assert!(is_readable(server));
    }
    assert_refused(client, error);
}

/// Hellos that are invalid, have another version, or arrive in parts.
#[apply(isolated)]
fn invalid_hellos() {
    let name = abstract_name();
    let listener = listen(&name);
    let peer = Peer::new(RING);
    let (hello, fds, [memory, pipe]) = (peer.hello(), peer.fds(), peer.fds());
    let with_version = |version: u16| {
        let mut bytes = hello;
        bytes[4..6].copy_from_slice(&version.to_le_bytes());
        bytes
    };
    let (old, new) = (with_version(VERSION - 1), with_version(VERSION + 1));
    let high = with_version(VERSION + 0x100);
    let cases: [(&str, &[u8], &[c_int], c_int); 14] = [
        ("an older version", &old, &fds, ESTALE),
        ("a newer version", &new, &fds, ESTALE),
        ("a version above 255", &high, &fds, ESTALE),
        ("another protocol", b"GET / HTTP/1.1\r\n\r\n", &[], EPROTO),
        ("zeros", &[0; 64], &fds, EPROTO),
        ("one byte", &hello[..1], &[], EPROTO),
        ("half of the hello", &hello[..32], &fds, EPROTO),
        ("all bytes but one", &hello[..63], &fds, EPROTO),
        ("no descriptor", &hello, &[], EPROTO),
        ("one descriptor", &hello, &[memory], EPROTO),
        ("three descriptors", &hello, &[memory, pipe, pipe], EPROTO),
        (
            "the descriptors in the wrong order",
            &hello,
            &[pipe, memory],
            EPROTO,
        ),
        (
            "the pipe's write end",
            &hello,
            &[memory, peer.write_end()],
            EPROTO,
        ),
        ("the memory twice", &hello, &[memory, memory], EPROTO),
    ];
    for (what, bytes, fds, error) in cases {
        let _case = Case(what);
        let (server, client) = silent_pair(&listener, &name, &DEFAULTS);
        assert!(!is_readable(&server));
        send_with_fds(&client, bytes, fds);
        assert_fails(&server, &client, error);
        // The channel stays unusable when the rest of the hello arrives.
        if bytes.len() < 64 {
            try_send(&client, &hello[bytes.len()..]);
            assert_fails(&server, &client, error);
        }
    }
}

/// Sends bytes to a server that may have closed the socket.
fn try_send(client: &OwnedFd, bytes: &[u8]) {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    let (at, len) = (bytes.as_ptr().cast(), bytes.len());
    // SAFETY: the slice with its length.
    unsafe { libc::send(client.as_raw_fd(), at, len, flags) };
}

/// A partial hello on a stream socket, on which the kernel preserves no message boundaries.
#[apply(isolated)]
fn partial_hello_on_a_stream() {
    let peer = Peer::new(RING);
    let hello = peer.hello();
    for len in [1, 4, 32, 63] {
        let (one, two) = sockets(libc::SOCK_STREAM);
        send_with_fds(&two, &hello[..len], &peer.fds());
        assert_eq!(from_fd(&one, LONG).unwrap_err(), EPROTO, "{len} bytes");
    }
}

/// Clients that close the connection before or after their hello.
#[apply(isolated)]
fn clients_that_close() {
    let name = abstract_name();
    let listener = listen(&name);
    for (sends_hello, polled) in [(false, false), (false, true), (true, false), (true, true)] {
        let _case = Case(format!("hello: {sends_hello}, polled: {polled}"));
        let (server, client) = silent_pair(&listener, &name, &DEFAULTS);
        if polled {
            assert!(!is_readable(&server));
        }
        let peer = Peer::new(RING);
        if sends_hello {
            peer.send_hello(&client);
        }
        drop((client, peer));
        if polled {
            assert!(is_readable(&server));
        }
        for _ in 0..2 {
            assert_eq!(server.recv(-1), Ok(vec![]));
            assert_eq!(server.peek(-1), Ok(&[][..]));
            assert_eq!(server.send(b"x", -1), Err(EPIPE));
            assert_eq!(server.reserve(1, -1).unwrap_err(), EPIPE);
        }
        if polled {
            assert!(is_readable(&server));
        }
    }
    // The client closes after the server's answer.
    let (server, client) = silent_pair(&listener, &name, &DEFAULTS);
    let peer = Peer::new(RING);
    peer.send_hello(&client);
    assert_completes(&server, &client);
    drop((client, peer));
    assert_eq!(server.recv(-1), Ok(vec![]));
    assert_eq!(server.send(b"x", -1), Err(EPIPE));
}

/// The process of a client is killed while its connect waits for the answer.
#[apply(isolated)]
fn killed_client() {
    let name = abstract_name();
    let listener = listen(&name);
    for polled in [false, true] {
        let (server, client) = silent_pair(&listener, &name, &DEFAULTS);
        if polled {
            assert!(!is_readable(&server));
        }
        let child = fork(|| drop(from_fd(&client, -1)));
        drop(client);
        child.wait_asleep();
        kill(child);
        if polled {
            assert!(is_readable(&server));
        }
        assert_eq!(server.recv(-1), Ok(vec![]));
        assert_eq!(server.send(b"x", -1), Err(EPIPE));
    }
}

type Call = fn(&End) -> Result<(), c_int>;

/// A first call fails if the process can open too few descriptors, and leaves the hello in the
/// socket.
#[apply(isolated)]
fn few_descriptors() {
    /// The number of descriptors that the first call needs beside the socket.
    const NEEDED: u64 = 4;
    let name = abstract_name();
    let listener = listen(&name);
    let calls: [(&str, Call); 3] = [
        ("recv", |end| match end.recv(0) {
            Err(EAGAIN) => Ok(()),
            other => other.map(drop),
        }),
        ("send", |end| end.send(b"x", 0).map(drop)),
        ("reserve", |end| end.reserve(1, 0).map(drop)),
    ];
    for (what, call) in calls {
        for polled in [false, true] {
            let _case = Case(format!("{what}, polled: {polled}"));
            let (server, client) = silent_pair(&listener, &name, &DEFAULTS);
            if polled {
                server.fd().unwrap();
            }
            let peer = Peer::new(RING);
            peer.send_hello(&client);
            let before = open_numbers();
            let needed = (0..=NEEDED)
                .find(|available| {
                    let done = with_room_for(*available, || call(&server));
                    if done == Err(EMFILE) {
                        assert_eq!(open_numbers(), before);
                        assert_received_nothing(&client);
                        assert!(!polled || is_readable(&server));
                        return false;
                    }
                    assert_eq!(done, Ok(()), "{available} descriptors available");
                    true
                })
                .expect("the handshake needs more descriptors");
            assert!(needed >= 2, "{needed} descriptors are too few");
            assert_received_hello(&client);
        }
    }
    // The same with a client that waits in from_fd.
    let (server, client) = silent_pair(&listener, &name, &DEFAULTS);
    thread::scope(|scope| {
        let connecting = scope.spawn(|| from_fd(&client, LONG));
        assert_eq!(poll(server.fd().unwrap(), LONG), libc::POLLIN);
        with_room_for(0, || {
            assert_eq!(server.send(b"x", LONG), Err(EMFILE));
            assert_eq!(server.recv(LONG), Err(EMFILE));
        });
        assert_eq!(server.send(b"first", 0), DONE);
        let end = connecting.join().unwrap().unwrap();
        assert_eq!(end.recv(0).unwrap(), b"first");
        exchange(&end, &server);
    });
}

/// The flags of the options apply to the ring of this side only. A client whose large ring has no
/// allocated page costs the server neither time nor memory.
#[track_caller]
fn receive_from_sparse_ring(flags: u32) {
    let name = abstract_name();
    let listener = listen(&name);
    let opts = ipc_channel_opts {
        flags,
        recv_size_max: 2 << 30,
        ..SMALL
    };
    let (server, client) = silent_pair(&listener, &name, &opts);
    let peer = Peer::new(1 << 30);
    peer.send_hello(&client);
    let (received, ms) = timed_ms(|| server.recv(10));
    assert_eq!(received, Err(ETIMEDOUT));
    assert!(ms < 5000, "{ms} ms");
    // Each read of the server can allocate a page or a huge page.
    let allocated = peer.allocated();
    assert!(allocated <= 8 << 20, "{allocated} bytes");
    assert_received_hello(&client);
}

#[apply(isolated)]
fn sparse_ring() {
    receive_from_sparse_ring(0);
    receive_from_sparse_ring(IPC_CHANNEL_F_PREFAULT);
}

#[apply(isolated)]
#[needs(needs::root)]
fn sparse_ring_with_lock() {
    receive_from_sparse_ring(IPC_CHANNEL_F_LOCK);
    receive_from_sparse_ring(IPC_CHANNEL_F_LOCK | IPC_CHANNEL_F_PREFAULT);
}

/// The largest ring of a client is 16 MiB, unless the option recv_size_max is set.
#[apply(isolated)]
fn largest_ring() {
    let name = abstract_name();
    let listener = listen(&name);
    const MIB: u64 = 1 << 20;
    for (recv_size_max, ring, answer) in [
        (0, 16 * MIB, EAGAIN),
        (0, 32 * MIB, EPROTO),
        (32 * MIB, 32 * MIB, EAGAIN),
        (32 * MIB, 64 * MIB, EPROTO),
        (MIB, MIB, EAGAIN),
        (MIB, 2 * MIB, EPROTO),
    ] {
        let _case = Case(format!("recv_size_max {recv_size_max}, ring of {ring}"));
        let opts = ipc_channel_opts {
            recv_size_max,
            ..DEFAULTS
        };
        let (server, client) = silent_pair(&listener, &name, &opts);
        let peer = Peer::new(ring);
        peer.send_hello(&client);
        assert_eq!(server.recv(0), Err(answer));
        match answer {
            EPROTO => assert_received_nothing(&client),
            _ => drop(assert_received_hello(&client)),
        }
    }
}
