//! The other end of a handshake, made by hand: its memory, its pipe and its hello.

use crate::handshake::{hear, say};
use crate::support::*;
use libc::{SOCK_SEQPACKET, c_int};
use nix::sys::socket::{self, UnixAddr};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::process;

/// The version of the protocol that the library speaks.
pub const VERSION: u16 = 2;
/// Bytes of control words before the ring.
const CONTROL: u64 = 65536;
/// The same as SMALL_RING.
pub const RING: u64 = SMALL_RING as u64;

/// The memory and the pipe of a peer.
pub struct Peer {
    memory: File,
    ring_size: u64,
    /// The end that goes with the hello.
    given: File,
    /// The end that the peer keeps. While it is open, the peer is alive.
    kept: File,
}

impl Peer {
    /// A peer with a ring of this size, of which no page is allocated.
    pub fn new(ring_size: u64) -> Self {
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        // SAFETY: a string.
        let memory = own(unsafe { libc::memfd_create(c"peer".as_ptr(), flags) });
        let memory = File::from(memory);
        memory.set_len(CONTROL + ring_size).unwrap();
        let seals =
            libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_FUTURE_WRITE | libc::F_SEAL_SEAL;
        // SAFETY: no pointers.
        let sealed = unsafe { libc::fcntl(memory.as_raw_fd(), libc::F_ADD_SEALS, seals) };
        assert_eq!(sealed, 0);
        let (given, kept) = pipe();
        Self {
            memory,
            ring_size,
            given,
            kept,
        }
    }

    /// The 64 bytes of its hello.
    pub fn hello(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..4].copy_from_slice(b"uich");
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.ring_size.to_le_bytes());
        bytes
    }

    /// The descriptors of its hello.
    pub fn fds(&self) -> [c_int; 2] {
        [self.memory.as_raw_fd(), self.given.as_raw_fd()]
    }

    /// The end of the pipe that must not go with a hello.
    pub fn kept_fd(&self) -> c_int {
        self.kept.as_raw_fd()
    }

    /// Sends the hello.
    #[track_caller]
    pub fn greet(&self, socket: &OwnedFd) {
        say(socket, &self.hello(), &self.fds());
    }

    /// How many bytes of its memory are allocated.
    pub fn allocated(&self) -> u64 {
        self.memory.metadata().unwrap().blocks() * 512
    }
}

/// A name for a listener, in no file system.
pub fn abstract_name() -> String {
    format!("@unixipc-test-{}", process::id())
}

/// Connects, and sends nothing.
#[track_caller]
pub fn silent_client(name: &str) -> OwnedFd {
    let client = local_socket(SOCK_SEQPACKET);
    let address = UnixAddr::new_abstract(&name.as_bytes()[1..]).unwrap();
    socket::connect(client.as_raw_fd(), &address).unwrap();
    client
}

/// Checks that a client has received nothing.
#[track_caller]
pub fn assert_hears_nothing(client: &OwnedFd) {
    let mut byte = 0u8;
    let flags = libc::MSG_DONTWAIT;
    // SAFETY: room for one byte.
    let got = unsafe { libc::recv(client.as_raw_fd(), (&raw mut byte).cast(), 1, flags) };
    assert!(got <= 0, "the server has sent something");
}

/// Checks that a client has received the server's hello.
#[track_caller]
pub fn assert_hears_hello(client: &OwnedFd) {
    assert_ne!(poll(client.as_raw_fd(), 0) & libc::POLLIN, 0, "no hello");
    let hello = hear(client);
    assert_eq!(&hello.bytes[..4], b"uich");
    assert_eq!(hello.bytes[4..6], VERSION.to_le_bytes());
    assert_eq!(hello.fds.len(), 2);
}

/// Accepts with options.
#[track_caller]
pub fn accept_with(
    listener: &OwnedFd,
    opts: &unixipc::ffi::channel::ipc_channel_opts,
    timeout_ms: c_int,
) -> Result<End, c_int> {
    let (fd, size) = (listener.as_raw_fd(), size_of_val(opts));
    // SAFETY: options of that size, and a place.
    got(|ch| unsafe { unixipc::ffi::channel::ipc_channel_accept(fd, opts, size, timeout_ms, ch) })
}

/// An accepted channel, and its client that has sent nothing yet.
#[track_caller]
pub fn silent_pair(
    listener: &OwnedFd,
    name: &str,
    opts: &unixipc::ffi::channel::ipc_channel_opts,
) -> (End, OwnedFd) {
    let client = silent_client(name);
    (accept_with(listener, opts, 0).unwrap(), client)
}

/// Sends a message each way.
#[track_caller]
pub fn talk(a: &End, b: &End) {
    for (from, to) in [(a, b), (b, a)] {
        assert_eq!(from.send(b"message", LONG), DONE);
        assert_eq!(to.recv(LONG).unwrap(), b"message");
    }
}
