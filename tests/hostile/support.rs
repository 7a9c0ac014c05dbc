//! The handshake with a hostile peer: the bytes and descriptors that it sends, and checks of the
//! library's answer.

use common::descriptors::pipe;
pub use common::prelude::*;

use libc::*;

use std::ffi::CString;

use std::fs;

use std::os::fd::{AsRawFd, OwnedFd};

use std::ptr;

use std::sync::{Mutex, PoisonError};

use unixipc::ffi::channel::*;

pub const CONTROL: u64 = 65536;

pub const RING: u64 = 65536;

const F_SEAL_FUTURE_WRITE: c_int = 0x10;

pub const SEALS: c_int = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

/// How a hello reaches the library.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transport {
    /// `ipc_channel_from_fd` over a stream.
    Stream,
    /// `ipc_channel_from_fd` over a socket that preserves message boundaries.
    SeqPacket,
    /// `ipc_channel_accept`.
    Accept,
}

const TRANSPORTS: [Transport; 3] = [Transport::Stream, Transport::SeqPacket, Transport::Accept];

/// Bytes that are sent at once, with descriptors.
pub struct Piece(pub Vec<u8>, pub Vec<OwnedFd>);

/// The library's end.
pub struct Channel(pub *mut unixipc::channel::Channel);

impl Drop for Channel {
    fn drop(&mut self) {
        // SAFETY: an open channel, and this is its last use.
        unsafe { ipc_channel_close(self.0) };
    }
}

impl Channel {
    pub fn recv(&self, buffer: &mut [u8], timeout_ms: c_int) -> Outcome {
        let (at, cap) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: the slice, with its length.
        outcome(|| unsafe { ipc_channel_recv(self.0, at, cap, timeout_ms) })
    }

    pub fn send(&self, bytes: &[u8], timeout_ms: c_int) -> Outcome {
        let (at, len) = (bytes.as_ptr().cast(), bytes.len());
        // SAFETY: the slice, with its length.
        outcome(|| unsafe { ipc_channel_send(self.0, at, len, timeout_ms) } as isize)
    }

    /// Receives a message of up to 256 bytes. Returns its length and its descriptors.
    pub fn recv_fds(
        &self,
        places: usize,
        timeout_ms: c_int,
    ) -> Result<(usize, Vec<OwnedFd>), c_int> {
        let (mut buffer, mut fds, mut nfds) = ([0u8; 256], vec![-1; places], places);
        let (at, to) = (buffer.as_mut_ptr().cast(), fds.as_mut_ptr());
        // SAFETY: arrays of these lengths.
        let received =
            outcome(|| unsafe { ipc_channel_recv_fds(self.0, at, 256, to, &mut nfds, timeout_ms) });
        Ok((received?, fds[..nfds].iter().map(|fd| own(*fd)).collect()))
    }

    pub fn send_fds(&self, bytes: &[u8], fd: &OwnedFd, timeout_ms: c_int) -> Outcome {
        let (at, len, fd) = (bytes.as_ptr().cast(), bytes.len(), fd.as_raw_fd());
        // SAFETY: the slice with its length, and one descriptor.
        outcome(|| unsafe { ipc_channel_send_fds(self.0, at, len, &fd, 1, timeout_ms) } as isize)
    }

    /// The length of the next message.
    pub fn peek(&self, timeout_ms: c_int) -> Outcome {
        let mut at = ptr::null();
        // SAFETY: an out pointer.
        outcome(|| unsafe { ipc_channel_peek(self.0, &mut at, timeout_ms) })
    }

    pub fn release(&self) -> Outcome {
        // SAFETY: an open channel.
        outcome(|| unsafe { ipc_channel_release(self.0) } as isize)
    }

    pub fn call(&self, request: &[u8], reply: &mut [u8], timeout_ms: c_int) -> Outcome {
        let (at, len) = (request.as_ptr().cast(), request.len());
        let (reply, cap) = (reply.as_mut_ptr().cast(), reply.len());
        // SAFETY: the slices, with their lengths.
        outcome(|| unsafe { ipc_channel_call(self.0, at, len, reply, cap, timeout_ms) })
    }

    /// Receives a request, whose id is not checked.
    pub fn next_call(&self, buffer: &mut [u8], timeout_ms: c_int) -> Outcome {
        let (at, cap, mut id) = (buffer.as_mut_ptr().cast(), buffer.len(), 0);
        // SAFETY: the slice, with its length, and an out pointer.
        outcome(|| unsafe { ipc_channel_next_call(self.0, at, cap, &mut id, timeout_ms) })
    }

    pub fn reply(&self, id: u64, bytes: &[u8], timeout_ms: c_int) -> Outcome {
        let (at, len) = (bytes.as_ptr().cast(), bytes.len());
        // SAFETY: the slice, with its length.
        outcome(|| unsafe { ipc_channel_reply(self.0, id, at, len, timeout_ms) } as isize)
    }

    pub fn is_readable(&self) -> bool {
        // SAFETY: an open channel.
        let fd = unsafe { ipc_channel_fd(self.0) };
        assert!(fd >= 0);
        common::descriptors::poll(fd, 0) != 0
    }
}

fn opts() -> ipc_channel_opts {
    // SAFETY: numbers only.
    let mut opts: ipc_channel_opts = unsafe { std::mem::zeroed() };
    opts.send_size = RING;
    opts.recv_size_max = 4 * RING;
    opts
}

pub fn from_fd(sock: &OwnedFd, timeout_ms: c_int) -> Result<Channel, c_int> {
    from_fd_with(sock, 0, timeout_ms)
}

/// The same with these flags.
pub fn from_fd_with(sock: &OwnedFd, flags: u32, timeout_ms: c_int) -> Result<Channel, c_int> {
    let mut ch = ptr::null_mut();
    let size = size_of::<ipc_channel_opts>();
    let opts = ipc_channel_opts { flags, ..opts() };
    let sock = sock.as_raw_fd();
    // SAFETY: the structure with its size, and an out pointer.
    outcome(|| unsafe { ipc_channel_from_fd(sock, &opts, size, timeout_ms, &mut ch) } as isize)
        .map(|_| Channel(ch))
}

pub fn accept_from(listener: &OwnedFd, timeout_ms: c_int) -> Result<Channel, c_int> {
    let mut ch = ptr::null_mut();
    let (opts, size) = (opts(), size_of::<ipc_channel_opts>());
    let fd = listener.as_raw_fd();
    // SAFETY: the structure with its size, and an out pointer.
    outcome(|| unsafe { ipc_channel_accept(fd, &opts, size, timeout_ms, &mut ch) } as isize)
        .map(|_| Channel(ch))
}

/// The bytes of a hello that announces a ring of this size.
pub fn hello(ring_size: u64) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..4].copy_from_slice(b"uich");
    bytes[4] = 4;
    bytes[8..16].copy_from_slice(&ring_size.to_le_bytes());
    bytes[16] = 8;
    bytes
}

/// A memory file of this size with these seals.
pub fn memory_of(size: u64, seals: c_int) -> OwnedFd {
    let fd = unsealed_memory_of(size);
    // SAFETY: no pointers.
    assert_eq!(unsafe { fcntl(fd.as_raw_fd(), F_ADD_SEALS, seals) }, 0);
    fd
}

pub fn unsealed_memory_of(size: u64) -> OwnedFd {
    memfd_with(size as usize, MFD_ALLOW_SEALING).into()
}

/// Valid memory of a peer.
pub fn memory() -> OwnedFd {
    memory_of(CONTROL + RING, SEALS)
}

/// The write ends of the pipes of [`read_end`].
static WRITE_ENDS: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

/// The read end of a pipe. Its write end stays open until [`close_write_ends`].
pub fn read_end() -> OwnedFd {
    let (read, write) = pipe();
    let mut write_ends = WRITE_ENDS.lock().unwrap_or_else(PoisonError::into_inner);
    write_ends.push(write.into());
    read.into()
}

pub fn close_write_ends() {
    let mut write_ends = WRITE_ENDS.lock().unwrap_or_else(PoisonError::into_inner);
    *write_ends = Vec::new();
}

/// Opens the file of a descriptor again, with other flags.
pub fn reopen(fd: &OwnedFd, flags: c_int) -> OwnedFd {
    open_file(&format!("/proc/self/fd/{}", fd.as_raw_fd()), flags)
}

pub fn open_file(path: &str, flags: c_int) -> OwnedFd {
    let path = CString::new(path).unwrap();
    // SAFETY: a string.
    own(unsafe { libc::open(path.as_ptr(), flags | O_CLOEXEC, 0o600) })
}

/// A hello in one piece, as the protocol requires.
pub fn whole(bytes: Vec<u8>, memory: OwnedFd, read_end: OwnedFd) -> Vec<Piece> {
    vec![Piece(bytes, vec![memory, read_end])]
}

pub fn send_piece(sock: &OwnedFd, Piece(bytes, fds): &Piece) -> Outcome {
    let fds: Vec<c_int> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let mut part = iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut control = vec![0u64; 200];
    // SAFETY: numbers and pointers only.
    let mut header: msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &mut part;
    header.msg_iovlen = 1;
    if !fds.is_empty() {
        let size = size_of_val(&fds[..]);
        header.msg_control = control.as_mut_ptr().cast();
        // SAFETY: only computes.
        header.msg_controllen = unsafe { CMSG_SPACE(size as u32) } as usize;
        // SAFETY: the control buffer is aligned, and large enough for a header.
        let cmsg = unsafe { &mut *CMSG_FIRSTHDR(&header) };
        cmsg.cmsg_level = SOL_SOCKET;
        cmsg.cmsg_type = SCM_RIGHTS;
        // SAFETY: only computes.
        cmsg.cmsg_len = unsafe { CMSG_LEN(size as u32) } as usize;
        // SAFETY: the control buffer is large enough.
        unsafe { ptr::copy_nonoverlapping(fds.as_ptr(), CMSG_DATA(cmsg).cast(), fds.len()) };
    }
    // SAFETY: everything that the header names outlives the call.
    outcome(|| unsafe { sendmsg(sock.as_raw_fd(), &header, MSG_NOSIGNAL) })
}

/// Receives a hello with its two descriptors: the memory and the read end. Fails with EAGAIN if
/// none was sent.
pub fn recv_hello(sock: &OwnedFd) -> Result<(Vec<u8>, [OwnedFd; 2]), c_int> {
    match recv_hello_once(sock) {
        // The channel has closed its socket before it has read everything.
        Err(ECONNRESET) => recv_hello_once(sock),
        result => result,
    }
}

fn recv_hello_once(sock: &OwnedFd) -> Result<(Vec<u8>, [OwnedFd; 2]), c_int> {
    let mut bytes = vec![0u8; 64];
    let mut part = iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: 64,
    };
    let mut control = [0u64; 8];
    // SAFETY: numbers and pointers only.
    let mut header: msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    let flags = MSG_CMSG_CLOEXEC | MSG_DONTWAIT;
    // SAFETY: everything that the header names outlives the call.
    let len = outcome(|| unsafe { recvmsg(sock.as_raw_fd(), &mut header, flags) })?;
    assert_eq!(len, 64);
    // SAFETY: the kernel has stored the control data.
    let cmsg = unsafe { CMSG_FIRSTHDR(&header).as_ref() }.expect("descriptors");
    let fds_size = 2 * size_of::<c_int>() as u32;
    // SAFETY: only computes.
    assert_eq!(cmsg.cmsg_len, unsafe { CMSG_LEN(fds_size) } as usize);
    // SAFETY: the message has two descriptors.
    let fds: [c_int; 2] = unsafe { CMSG_DATA(cmsg).cast::<[c_int; 2]>().read_unaligned() };
    Ok((bytes, fds.map(own)))
}

/// The peer's socket and the library's: a pair, or a client's socket and the listener.
pub fn sockets(transport: Transport) -> (OwnedFd, OwnedFd) {
    let mut fds = [-1; 2];
    let socket_type = match transport {
        Transport::Stream => SOCK_STREAM,
        Transport::SeqPacket | Transport::Accept => SOCK_SEQPACKET,
    } | SOCK_CLOEXEC;
    if transport != Transport::Accept {
        // SAFETY: an array of two.
        assert_eq!(
            unsafe { socketpair(AF_UNIX, socket_type, 0, fds.as_mut_ptr()) },
            0
        );
        return (own(fds[0]), own(fds[1]));
    }
    let path = std::env::temp_dir().join("listener");
    let path = path.to_str().unwrap();
    let name = CString::new(path).unwrap();
    // SAFETY: a string.
    let listener = own(unsafe { ipc_channel_listen(name.as_ptr(), 0o600, 0) });
    // SAFETY: no pointers.
    let sock = own(unsafe { libc::socket(AF_UNIX, socket_type, 0) });
    // SAFETY: numbers only.
    let mut address: sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = AF_UNIX as u16;
    for (to, from) in address.sun_path.iter_mut().zip(path.bytes()) {
        *to = from as c_char;
    }
    let len = size_of::<sockaddr_un>() as u32;
    // SAFETY: the address with its size.
    let connected = unsafe { connect(sock.as_raw_fd(), (&raw const address).cast(), len) };
    assert_eq!(connected, 0);
    fs::remove_file(path).unwrap();
    (sock, listener)
}

/// The number of mappings of memory files in this process.
pub fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("/memfd:")).count()
}

/// Sends the pieces over each transport, and checks the result: Ok, or an error. If `ends`, the
/// peer shuts its sending down after the pieces.
#[track_caller]
pub fn check_hello(
    what: &str,
    pieces: impl Fn(Transport) -> Vec<Piece>,
    ends: bool,
    expected: Result<(), c_int>,
) {
    check_hello_over(&TRANSPORTS, what, pieces, ends, expected);
}

/// The same over some transports.
#[track_caller]
pub fn check_hello_over(
    transports: &[Transport],
    what: &str,
    pieces: impl Fn(Transport) -> Vec<Piece>,
    ends: bool,
    expected: Result<(), c_int>,
) {
    for &transport in transports {
        let _case = Case(format!("{what}, {transport:?}"));
        let before = (open_numbers(), mappings());
        let (peer_socket, socket) = sockets(transport);
        for piece in pieces(transport) {
            let sent = send_piece(&peer_socket, &piece);
            assert_eq!(sent, Ok(piece.0.len()));
        }
        if ends {
            // The socket stays open, so that the channel can still send its hello.
            // SAFETY: no pointers.
            assert_eq!(unsafe { shutdown(peer_socket.as_raw_fd(), SHUT_WR) }, 0);
        }
        if transport == Transport::Accept {
            check_accepted(&peer_socket, &socket, expected);
        } else {
            check_from_fd(&peer_socket, &socket, expected);
        }
        drop((peer_socket, socket));
        close_write_ends();
        let after = (open_numbers(), mappings());
        assert_eq!(after, before, "a descriptor or a mapping is left");
    }
}

/// Checks ipc_channel_from_fd, which sends its hello at once, and shuts the socket down on failure.
#[track_caller]
fn check_from_fd(peer_socket: &OwnedFd, socket: &OwnedFd, expected: Result<(), c_int>) {
    match from_fd(socket, 20) {
        Ok(ch) => {
            assert_eq!(expected, Ok(()));
            assert_eq!(ch.recv(&mut [0], 0), Err(EAGAIN));
        }
        Err(error) => {
            assert_eq!(Err(error), expected);
            let byte = Piece(vec![0], Vec::new());
            assert_eq!(
                send_piece(peer_socket, &byte),
                Err(EPIPE),
                "the socket was not shut down"
            );
        }
    }
    assert!(recv_hello(peer_socket).is_ok(), "no hello");
}

/// Checks an accepted channel. It makes no memory and sends nothing before it has received a valid
/// hello, and each call reports the error. A hello of another version is answered.
#[track_caller]
fn check_accepted(peer_socket: &OwnedFd, listener: &OwnedFd, expected: Result<(), c_int>) {
    let before = (open_numbers().len(), mappings());
    let ch = accept_from(listener, 1000).unwrap();
    let answer = match expected {
        Err(ESTALE) => Ok(()),
        other => other.map_err(|_| EAGAIN),
    };
    assert_eq!(recv_hello(peer_socket).map(drop), answer);
    if expected.is_err() {
        let socket = 1;
        let now = (open_numbers().len(), mappings());
        assert_eq!(now, (before.0 + socket, before.1));
    }
    let fails = !matches!(expected, Ok(()) | Err(ETIMEDOUT));
    if fails {
        assert!(ch.is_readable());
    }
    for _ in 0..2 {
        // If the peer closes before its hello, the channel ends.
        let received = match expected {
            Ok(()) | Err(ETIMEDOUT) => Err(EAGAIN),
            Err(EPIPE) => Ok(0),
            Err(error) => Err(error),
        };
        assert_eq!(ch.recv(&mut [0; 8], 0), received);
        if fails {
            assert_eq!(ch.send(b"x", 0), Err(expected.unwrap_err()));
            assert!(ch.is_readable());
        }
    }
    if expected == Err(ETIMEDOUT) {
        assert_eq!(ch.send(b"x", 10), Err(ETIMEDOUT));
        assert_eq!(ch.recv(&mut [0; 8], 10), Err(ETIMEDOUT));
    }
}
