//! The C calls with Rust types.

pub use common::prelude::*;
use libc::{c_int, c_void, iovec, size_t, ssize_t};
use std::os::fd::{AsRawFd, OwnedFd};
use std::{io, ptr};
use unixipc::ffi::message::{IPC_MSG_FDS_MAX, ipc_msg_recv, ipc_msg_send, ipc_msg_sendv};
use unixipc::ffi::pair::{ipc_pair_open, ipc_recv_full, ipc_send_full};

/// The types of pairs.
pub const TYPES: [c_int; 3] = [libc::SOCK_STREAM, libc::SOCK_SEQPACKET, libc::SOCK_DGRAM];

/// Both ends of a pair.
pub type Pair = (OwnedFd, OwnedFd);

#[track_caller]
pub fn pair(socket_type: c_int) -> Pair {
    let mut fds = [-7; 2];
    // SAFETY: an array of two.
    assert_eq!(
        outcome(|| unsafe { ipc_pair_open(socket_type, fds.as_mut_ptr()) } as ssize_t),
        Ok(0)
    );
    (own(fds[0]), own(fds[1]))
}

/// The first end of a pair whose second end is closed.
pub fn pair_with_closed_peer(socket_type: c_int) -> OwnedFd {
    pair(socket_type).0
}

#[track_caller]
pub fn send_fds(fd: &OwnedFd, bytes: &[u8], fds: &[c_int], timeout_ms: c_int) -> Outcome {
    let (at, len) = (bytes.as_ptr().cast(), bytes.len());
    outcome(|| {
        // SAFETY: the slices, with their lengths.
        (unsafe { ipc_msg_send(fd.as_raw_fd(), at, len, fds.as_ptr(), fds.len(), timeout_ms) })
            as ssize_t
    })
}

/// Sends the parts as one message.
#[track_caller]
pub fn send_parts_fds(fd: &OwnedFd, parts: &[iovec], fds: &[c_int], timeout_ms: c_int) -> Outcome {
    let (at, count) = (parts.as_ptr(), parts.len() as c_int);
    // SAFETY: the slices, with their lengths.
    outcome(|| unsafe {
        ipc_msg_sendv(
            fd.as_raw_fd(),
            at,
            count,
            fds.as_ptr(),
            fds.len(),
            timeout_ms,
        )
    })
}

#[track_caller]
pub fn send_parts(fd: &OwnedFd, parts: &[iovec], timeout_ms: c_int) -> Outcome {
    send_parts_fds(fd, parts, &[], timeout_ms)
}

/// A buffer that is only read.
pub fn part(bytes: &[u8]) -> iovec {
    iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}

/// The bytes in this number of parts of similar lengths.
pub fn split(bytes: &[u8], count: usize) -> Vec<iovec> {
    let at = |number| bytes.len() * number / count;
    (0..count)
        .map(|number| part(&bytes[at(number)..at(number + 1)]))
        .collect()
}

#[track_caller]
pub fn send(fd: &OwnedFd, bytes: &[u8], timeout_ms: c_int) -> Outcome {
    send_fds(fd, bytes, &[], timeout_ms)
}

#[track_caller]
pub fn recv(fd: &OwnedFd, buf: &mut [u8], timeout_ms: c_int) -> Outcome {
    let (at, cap) = (buf.as_mut_ptr().cast(), buf.len());
    outcome(|| {
        let none = ptr::null_mut();
        // SAFETY: the slice, with its length.
        unsafe { ipc_msg_recv(fd.as_raw_fd(), at, cap, none, ptr::null_mut(), timeout_ms) }
    })
}

/// Receives a message with up to `max_fds` descriptors. A failure must leave the outputs unchanged.
#[track_caller]
pub fn recv_fds(
    fd: &OwnedFd,
    buf: &mut [u8],
    max_fds: usize,
    timeout_ms: c_int,
) -> Result<(usize, Vec<OwnedFd>), c_int> {
    let mut fds = [-7; 300];
    let mut nfds = max_fds;
    let (at, cap) = (buf.as_mut_ptr().cast(), buf.len());
    let got = outcome(|| {
        let (fds, nfds) = (fds.as_mut_ptr(), &raw mut nfds);
        // SAFETY: the slice with its length, and an array longer than nfds.
        unsafe { ipc_msg_recv(fd.as_raw_fd(), at, cap, fds, nfds, timeout_ms) }
    });
    let stored = if got.is_ok() { nfds } else { 0 };
    assert!(nfds <= max_fds);
    assert!(got.is_ok() || nfds == max_fds, "inout_nfds after a failure");
    assert!(fds[stored..].iter().all(|fd| *fd == -7), "ret_fds: {fds:?}");
    let fds = fds[..stored].iter().map(|fd| own(*fd)).collect();
    got.map(|len| (len, fds))
}

#[track_caller]
pub fn send_full(
    fd: &OwnedFd,
    bytes: &[u8],
    done: Option<&mut size_t>,
    timeout_ms: c_int,
) -> Outcome {
    let (at, len) = (bytes.as_ptr().cast(), bytes.len());
    let done = done.map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: the slice with its length, and a count or NULL.
    outcome(|| unsafe { ipc_send_full(fd.as_raw_fd(), at, len, done, timeout_ms) })
}

#[track_caller]
pub fn recv_full(
    fd: &OwnedFd,
    buf: &mut [u8],
    done: Option<&mut size_t>,
    timeout_ms: c_int,
) -> Outcome {
    let (at, len) = (buf.as_mut_ptr().cast(), buf.len());
    let done = done.map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: the slice with its length, and a count or NULL.
    outcome(|| unsafe { ipc_recv_full(fd.as_raw_fd(), at, len, done, timeout_ms) })
}

/// `send(2)`, for data that the library would not send.
#[track_caller]
pub fn raw_send(fd: &OwnedFd, bytes: &[u8], flags: c_int) -> usize {
    let flags = flags | libc::MSG_NOSIGNAL;
    // SAFETY: the slice, with its length.
    let sent = unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    assert!(sent >= 0, "{}", io::Error::last_os_error());
    sent as usize
}

/// `recv(2)`, without waiting.
pub fn raw_recv(fd: &OwnedFd, buf: &mut [u8]) -> Outcome {
    let (at, len) = (buf.as_mut_ptr().cast::<c_void>(), buf.len());
    // SAFETY: the slice, with its length.
    outcome(|| unsafe { libc::recv(fd.as_raw_fd(), at, len, libc::MSG_DONTWAIT) })
}

/// The header of a message on a stream, as unixipc.h describes it.
pub fn header(len: u32) -> [u8; 8] {
    let [a, b, c, d] = len.to_le_bytes();
    [b'u', b'i', b'p', b'c', a, b, c, d]
}

#[track_caller]
pub fn shut(fd: &OwnedFd, how: c_int) {
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::shutdown(fd.as_raw_fd(), how) }, 0);
}

/// The errno of a send after an earlier send found the receiver closed: the kernel then disconnects
/// a datagram socket.
pub fn errno_after_close(socket_type: c_int) -> c_int {
    if socket_type == libc::SOCK_DGRAM {
        libc::ENOTCONN
    } else {
        libc::EPIPE
    }
}

pub fn set_option(fd: &OwnedFd, option: c_int, value: c_int) {
    let (at, len) = ((&raw const value).cast(), size_of::<c_int>() as u32);
    // SAFETY: an int, with its size.
    let done = unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, at, len) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// Fills the queue from `fd` to its peer with one-byte messages or bytes.
pub fn fill(fd: &OwnedFd) {
    while send(fd, b"x", 0).is_ok() {}
}

/// This many descriptors of one open file.
pub fn descriptors(count: usize) -> Vec<OwnedFd> {
    assert!(count <= IPC_MSG_FDS_MAX + 1);
    let file = tempfile::tempfile().unwrap();
    (0..count)
        .map(|_| file.try_clone().unwrap().into())
        .collect()
}

pub fn raw(fds: &[OwnedFd]) -> Vec<c_int> {
    fds.iter().map(AsRawFd::as_raw_fd).collect()
}
