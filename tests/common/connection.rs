//! Connections that are made without the library: silent clients, listeners, and hellos with
//! descriptors.

use crate::descriptors::{local_socket, memfd_with, own};
use libc::{SOCK_SEQPACKET, c_int};
use nix::sys::socket::{
    self, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg,
};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process;

/// The types of sockets over which ipc_channel_from_fd works.
pub const SOCKET_TYPES: [c_int; 2] = [libc::SOCK_STREAM, libc::SOCK_SEQPACKET];

/// The seals that the memory of an end must have.
pub const SEALS: c_int =
    libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_FUTURE_WRITE | libc::F_SEAL_SEAL;

/// A memory file with this size and these seals.
pub fn sealed_memfd(size: u64, seals: c_int) -> File {
    let file = memfd_with(size as usize, libc::MFD_ALLOW_SEALING);
    // SAFETY: no pointers.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) };
    assert_eq!(done, 0);
    file
}

/// An abstract name for a listener, unique to this process.
pub fn abstract_name() -> String {
    format!("@unixipc-test-{}", process::id())
}

/// The address of a path, or of an abstract name that begins with `@`.
pub fn address(path: &str) -> UnixAddr {
    match path.strip_prefix('@') {
        Some(name) => UnixAddr::new_abstract(name.as_bytes()).unwrap(),
        None => UnixAddr::new(path).unwrap(),
    }
}

/// A client that has connected, and has sent nothing.
#[track_caller]
pub fn silent_client(path: &str) -> OwnedFd {
    let client = local_socket(SOCK_SEQPACKET);
    socket::connect(client.as_raw_fd(), &address(path)).unwrap();
    client
}

/// A listener that is made without the library.
pub fn raw_listener(path: &str) -> OwnedFd {
    let listener = local_socket(SOCK_SEQPACKET);
    socket::bind(listener.as_raw_fd(), &address(path)).unwrap();
    socket::listen(&listener, Backlog::new(100).unwrap()).unwrap();
    listener
}

/// A listener whose queue is full with one client, and that client.
pub fn full_listener(path: &str) -> (OwnedFd, OwnedFd) {
    let listener = local_socket(SOCK_SEQPACKET);
    socket::bind(listener.as_raw_fd(), &address(path)).unwrap();
    socket::listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let queued = silent_client(path);
    (listener, queued)
}

/// A hello: the bytes that a side sends, with its descriptors.
#[derive(Debug)]
pub struct Hello {
    pub bytes: [u8; 64],
    pub fds: Vec<OwnedFd>,
}

/// Sends bytes with descriptors.
#[track_caller]
pub fn send_with_fds(socket: &OwnedFd, bytes: &[u8], fds: &[c_int]) {
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    let fd = socket.as_raw_fd();
    let sent = sendmsg::<()>(fd, &[IoSlice::new(bytes)], control, flags, None);
    assert_eq!(sent, Ok(bytes.len()));
}

/// Receives a hello.
#[track_caller]
pub fn recv_hello(socket: &OwnedFd) -> Hello {
    let mut bytes = [0; 64];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let mut control = nix::cmsg_space!([c_int; 4]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let fd = socket.as_raw_fd();
    let received = recvmsg::<()>(fd, &mut parts, Some(&mut control), flags).unwrap();
    let mut fds = Vec::new();
    for message in received.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            fds.extend(numbers.into_iter().map(own));
        }
    }
    assert_eq!(received.bytes, 64);
    Hello { bytes, fds }
}

impl Hello {
    pub fn raw_fds(&self) -> Vec<c_int> {
        self.fds.iter().map(AsRawFd::as_raw_fd).collect()
    }
}
