//! A peer that is made without the library; clients that are silent; and set-up of connections.

use crate::support::*;
pub use common::connection::*;
use libc::{EAGAIN, c_int};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::thread;

/// The version of the protocol that the library speaks.
pub const VERSION: u16 = 4;
/// The size of the control words, which precede the ring.
const CONTROL: u64 = 65536;
/// The same as SMALL_RING.
pub const RING: u64 = SMALL_RING as u64;

/// The memory and the pipe of a peer.
pub struct Peer {
    memory: File,
    ring_size: u64,
    /// The read end, which the hello carries.
    read_end: File,
    /// The write end, which the peer keeps. While it is open, the peer is alive.
    write_end: File,
}

impl Peer {
    /// A peer with a ring of this size, of which no page is allocated.
    pub fn new(ring_size: u64) -> Self {
        let (read_end, write_end) = pipe();
        Self {
            memory: sealed_memfd(CONTROL + ring_size, SEALS),
            ring_size,
            read_end,
            write_end,
        }
    }

    /// The bytes of its hello.
    pub fn hello(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..4].copy_from_slice(b"uich");
        bytes[16] = 8;
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.ring_size.to_le_bytes());
        bytes
    }

    /// The descriptors of its hello.
    pub fn fds(&self) -> [c_int; 2] {
        [self.memory.as_raw_fd(), self.read_end.as_raw_fd()]
    }

    /// The write end of its pipe, which a hello must not carry.
    pub fn write_end(&self) -> c_int {
        self.write_end.as_raw_fd()
    }

    /// Sends the hello.
    #[track_caller]
    pub fn send_hello(&self, socket: &OwnedFd) {
        send_with_fds(socket, &self.hello(), &self.fds());
    }

    /// The number of bytes of its memory that are allocated.
    pub fn allocated(&self) -> u64 {
        self.memory.metadata().unwrap().blocks() * 512
    }
}

/// Checks that a client has received nothing.
#[track_caller]
pub fn assert_received_nothing(client: &OwnedFd) {
    let mut byte = 0u8;
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: a buffer of one byte.
    let received = unsafe { libc::recv(client.as_raw_fd(), (&raw mut byte).cast(), 1, flags) };
    assert!(received <= 0, "the server has sent something");
}

/// Checks that the server has refused a hello with this error. Only a hello of another version gets
/// an answer, which has the version of the server and nothing else.
#[track_caller]
pub fn assert_refused(client: &OwnedFd, error: c_int) {
    if error == libc::ESTALE {
        let refusal = assert_received_hello(client);
        assert_eq!(refusal.bytes[6..], [0; 58]);
    }
    assert_received_nothing(client);
}

/// Checks that a client has received the server's hello.
#[track_caller]
pub fn assert_received_hello(client: &OwnedFd) -> Hello {
    assert_ne!(poll(client.as_raw_fd(), 0) & libc::POLLIN, 0, "no hello");
    let hello = recv_hello(client);
    assert_eq!(&hello.bytes[..4], b"uich");
    assert_eq!(hello.bytes[4..6], VERSION.to_le_bytes());
    assert_eq!(hello.fds.len(), 2);
    hello
}

/// Accepts with options.
#[track_caller]
pub fn accept_with(
    listener: &OwnedFd,
    opts: &unixipc::ffi::channel::ipc_channel_opts,
    timeout_ms: c_int,
) -> Result<End, c_int> {
    let (fd, size) = (listener.as_raw_fd(), size_of_val(opts));
    // SAFETY: options of this size, and an out pointer.
    end_from(|ch| unsafe {
        unixipc::ffi::channel::ipc_channel_accept(fd, opts, size, timeout_ms, ch)
    })
}

/// An accepted channel, and its client, which has sent nothing.
#[track_caller]
pub fn silent_pair(
    listener: &OwnedFd,
    name: &str,
    opts: &unixipc::ffi::channel::ipc_channel_opts,
) -> (End, OwnedFd) {
    let client = silent_client(name);
    (accept_with(listener, opts, 0).unwrap(), client)
}

/// Sends messages in both directions.
#[track_caller]
pub fn exchange(a: &End, b: &End) {
    for (from, to) in [(a, b), (b, a), (a, b)] {
        assert_eq!(from.send(b"message", LONG), DONE);
        assert_eq!(to.recv(LONG).unwrap(), b"message");
    }
}

/// Both ends of a new connection: the server's and the client's.
#[track_caller]
pub fn connected_pair(listener: &OwnedFd, path: &str) -> (End, End) {
    thread::scope(|scope| {
        let client = scope.spawn(|| connect(path, LONG).unwrap());
        let server = accept(listener, LONG).unwrap();
        answer_until_finished(&server, &client);
        (server, client.join().unwrap())
    })
}

/// Receives on the server's end until the client has completed its handshake.
#[track_caller]
fn answer_until_finished(server: &End, client: &thread::ScopedJoinHandle<End>) {
    wait_until("the end of the handshake", || {
        assert_eq!(server.recv(0), Err(EAGAIN));
        client.is_finished()
    });
}

/// Completes the handshake of a silent client with the server's end. Returns the client's end.
#[track_caller]
pub fn finish_handshake(client: &impl AsRawFd, server: &End) -> End {
    let client = client.as_raw_fd();
    thread::scope(|scope| {
        let end = scope.spawn(move || from_fd(&client, LONG).unwrap());
        answer_until_finished(server, &end);
        end.join().unwrap()
    })
}

/// Accepts the queued clients, which have closed their connections.
#[track_caller]
pub fn drain_closed_clients(listener: &OwnedFd) {
    loop {
        match accept(listener, 0) {
            Ok(end) => assert_eq!(end.recv(0), Ok(vec![])),
            Err(error) => return assert_eq!(error, EAGAIN),
        }
    }
}
