//! Messages over sockets: sent and received as a whole, with descriptors.
//!
//! On `SOCK_SEQPACKET` and `SOCK_DGRAM` the kernel preserves message boundaries; on `SOCK_STREAM`
//! a header before each message does (`stream`).

mod control;
mod kind;
mod stream;

use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::iovec::Source;
use crate::pair::send_error;
use crate::sys;
use kind::SocketKind;
use libc::{c_int, iovec, msghdr};
use nix::poll::PollFlags;
use probe::probe;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd};

pub use control::FDS_MAX;
pub(crate) use control::{RecvControl, SendControl};
pub use stream::LEN_MAX;

/// The largest number of buffers of a message: `UIO_MAXIOV` of the kernel.
///
/// cbindgen:ignore
pub const PARTS_MAX: usize = 1024;

/// The result of a receive.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    /// The length of the message; 0 at the end of the session.
    pub len: usize,
    /// The number of descriptors that were stored.
    pub nfds: usize,
}

impl Received {
    pub(crate) const END: Self = Self { len: 0, nfds: 0 };
}

/// The bytes of a message: one buffer, or at most [`PARTS_MAX`] that the call joins.
#[derive(Clone, Copy)]
pub enum Content<'a> {
    /// One buffer.
    Bytes(&'a [u8]),
    /// Several buffers.
    Parts(&'a [Source]),
}

impl Content<'_> {
    /// The number of bytes. `EMSGSIZE` if they exceed the size of any buffer; otherwise fails as
    /// [`Source::bytes`].
    fn len(self) -> Result<usize> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.len()),
            Self::Parts(parts) => parts.iter().try_fold(0, |sum: usize, part| {
                sum.checked_add(part.bytes()?.len())
                    .filter(|sum| *sum <= isize::MAX as usize)
                    .ok_or(errno!(EMSGSIZE))
            }),
        }
    }
}

/// Sends a message with descriptors. Returns its length.
pub fn send(fd: BorrowedFd, content: Content, fds: &[c_int], wait: Deadline) -> Result<usize> {
    let len = content.len()?;
    if len == 0 || fds.len() > FDS_MAX {
        return Err(errno!(EINVAL));
    }
    // A socket that is not local would discard the descriptors without an error.
    if !fds.is_empty() && !sys::is_local(fd)? {
        return Err(errno!(EOPNOTSUPP));
    }
    match send_packet(fd, content, fds, wait, kind::ADDRESS) {
        Err(error) => match kind::from_send_error(fd, error)? {
            Some(SocketKind::Stream) => stream::send(fd, content, fds, wait),
            Some(SocketKind::MessageOriented) => send_packet(fd, content, fds, wait, &[]),
            None => Err(error),
        },
        Ok(()) => Ok(()),
    }?;
    probe!(unixipc, message_send, fd.as_raw_fd(), len, fds.len());
    Ok(len)
}

/// Receives a message. Stores as many of its descriptors as `fds` has elements, and closes the
/// others.
pub fn recv(
    fd: BorrowedFd,
    bytes: &mut [MaybeUninit<u8>],
    fds: &mut [MaybeUninit<c_int>],
    wait: Deadline,
) -> Result<Received> {
    if bytes.is_empty() {
        return Err(errno!(EINVAL));
    }
    let received = match kind::of_receiver(fd)? {
        SocketKind::MessageOriented => recv_packet(fd, bytes, fds, wait),
        SocketKind::Stream => stream::recv(fd, bytes, fds, wait),
    }?;
    probe!(
        unixipc,
        message_receive,
        fd.as_raw_fd(),
        received.len,
        received.nfds
    );
    Ok(received)
}

/// Repeats a transfer until the socket is ready for it, or the time-out expires. `attempt` gets the
/// flags of the transfer, which say whether it may block.
fn when_ready<T>(
    fd: BorrowedFd,
    events: PollFlags,
    wait: &mut Deadline,
    mut attempt: impl FnMut(c_int) -> Result<T>,
) -> Result<T> {
    let flags = if wait.may_block() {
        0
    } else {
        libc::MSG_DONTWAIT
    };
    loop {
        match attempt(flags) {
            Err(error) if error == Errno::EINTR => {}
            Err(error) if error == Errno::EAGAIN => wait.ready(fd, events)?,
            done => return done,
        }
    }
}

fn send_packet(
    fd: BorrowedFd,
    content: Content,
    fds: &[c_int],
    mut wait: Deadline,
    address: &[u8],
) -> Result<()> {
    let address_flags = if address.is_empty() { 0 } else { kind::FLAGS };
    when_ready(fd, PollFlags::POLLOUT, &mut wait, |flags| {
        let flags = flags | address_flags;
        match content {
            // sendto(2) is cheaper than sendmsg(2).
            Content::Bytes(bytes) if fds.is_empty() => sys::sendto(fd, bytes, flags, address),
            Content::Bytes(bytes) => send_parts(fd, &[part_of(bytes)], fds, flags, address),
            Content::Parts(parts) => send_parts(fd, Source::raw(parts), fds, flags, address),
        }
    })
    .map(drop)
    .map_err(|error| match error.code() {
        libc::EDESTADDRREQ => errno!(ENOTCONN), // UDP
        _ => send_error(error),
    })
}

fn recv_packet(
    fd: BorrowedFd,
    bytes: &mut [MaybeUninit<u8>],
    fds: &mut [MaybeUninit<c_int>],
    wait: Deadline,
) -> Result<Received> {
    let received = if fds.is_empty() {
        recv_bytes(fd, bytes, wait)
    } else {
        recv_bytes_and_fds(fd, bytes, fds, wait)
    };
    match received {
        Err(error) if error == Errno::ECONNRESET => Ok(Received::END),
        other => other,
    }
}

/// Receives, and repeats the attempt after `ECONNRESET`. If the peer has closed with unread data,
/// the kernel reports that once, before it returns the messages that the peer had sent.
fn retry_after_reset<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    match attempt() {
        Err(error) if error == Errno::ECONNRESET => attempt(),
        other => other,
    }
}

/// Receives; returns 0 only at the end of the session. The kernel first checks for a message, and
/// then whether the peer has closed. A peer that sends and closes in between has closed, but its
/// message is in the queue. So the attempt is repeated without waiting: the queue is complete now.
pub(crate) fn retry_at_eof(
    flags: c_int,
    mut attempt: impl FnMut(c_int) -> Result<usize>,
) -> Result<usize> {
    match attempt(flags) {
        Ok(0) => match attempt(flags | libc::MSG_DONTWAIT) {
            Err(error) if error == Errno::EAGAIN => Ok(0), // it was an empty packet
            again => again,
        },
        other => other,
    }
}

/// The number of empty packets that a receive discards before it gives up, if it must not wait.
const EMPTY_MAX: u32 = 16;

/// Receives a message that is not empty; returns 0 only at the end of the session. [`send`] sends
/// no empty message, but another program can, for which the kernel returns 0 too: it is discarded.
/// `attempt` gets the flags of the transfer.
fn recv_nonempty(
    fd: BorrowedFd,
    mut wait: Deadline,
    mut attempt: impl FnMut(c_int) -> Result<usize>,
) -> Result<usize> {
    let mut empty = 0;
    loop {
        let len = when_ready(fd, PollFlags::POLLIN, &mut wait, &mut attempt)?;
        if len != 0 {
            return Ok(len);
        }
        if sys::has_ended(fd)? {
            // A message that the peer sent just before it closed is in the queue now.
            return match attempt(libc::MSG_DONTWAIT) {
                Err(error) if error == Errno::EAGAIN => Ok(0),
                again => again,
            };
        }
        empty += 1;
        // A peer that sends only empty packets must not delay the receiver without limit.
        if !wait.is_never() || empty == EMPTY_MAX {
            wait.remaining()?;
        }
    }
}

/// Receives a message. The kernel closes descriptors that come with it.
fn recv_bytes(fd: BorrowedFd, bytes: &mut [MaybeUninit<u8>], wait: Deadline) -> Result<Received> {
    // With MSG_TRUNC the result is the length of the message, even if it exceeds the buffer.
    let len = recv_nonempty(fd, wait, |flags| {
        retry_after_reset(|| sys::recv(fd, bytes, flags | libc::MSG_TRUNC))
    })?;
    if len > bytes.len() {
        return Err(errno!(EMSGSIZE));
    }
    Ok(Received { len, nfds: 0 })
}

// Not inlined, like other functions with large stack frames: callers that do not need the buffer
// should not touch its pages.
#[inline(never)]
fn recv_bytes_and_fds(
    fd: BorrowedFd,
    bytes: &mut [MaybeUninit<u8>],
    fds: &mut [MaybeUninit<c_int>],
    wait: Deadline,
) -> Result<Received> {
    recv_with_fds(fds, |control, msg_flags| {
        let len = recv_nonempty(fd, wait, |flags| {
            let len;
            (len, *msg_flags) = retry_after_reset(|| recv_part(fd, bytes, control, flags))?;
            if len == 0 {
                // The descriptors of an empty packet, which only another program can send.
                control.close();
            }
            Ok(len)
        })?;
        if *msg_flags & libc::MSG_TRUNC != 0 {
            return Err(errno!(EMSGSIZE));
        }
        Ok(len)
    })
}

/// Receives a message with `receive`, and stores its descriptors. `receive` gets the buffer for the
/// control data, sets the flags of the message, and returns the length, 0 at the end of the
/// session.
#[inline(always)]
fn recv_with_fds(
    fds: &mut [MaybeUninit<c_int>],
    receive: impl FnOnce(&mut RecvControl, &mut c_int) -> Result<usize>,
) -> Result<Received> {
    let mut control = RecvControl::new();
    let mut msg_flags = 0;
    let len = receive(&mut control, &mut msg_flags)?;
    if len == 0 {
        return Ok(Received::END);
    }
    let nfds = control.store(fds, msg_flags)?;
    Ok(Received { len, nfds })
}

/// The bytes as a buffer that is only read.
pub(crate) fn part_of(bytes: &[u8]) -> iovec {
    iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}

/// Sends the parts and the descriptors with one sendmsg(2).
pub(crate) fn send_parts(
    fd: BorrowedFd,
    parts: &[iovec],
    fds: &[c_int],
    flags: c_int,
    address: &[u8],
) -> Result<usize> {
    let mut header = empty_header();
    header.msg_iov = parts.as_ptr().cast_mut();
    header.msg_iovlen = parts.len() as _;
    header.msg_name = address.as_ptr().cast_mut().cast();
    header.msg_namelen = address.len() as _;
    if !fds.is_empty() {
        return send_with_fds(fd, &mut header, fds, flags);
    }
    // SAFETY: the parts outlive the call, and the header has their lengths.
    unsafe { sys::sendmsg(fd, &header, flags) }
}

#[inline(never)]
fn send_with_fds(
    fd: BorrowedFd,
    header: &mut msghdr,
    fds: &[c_int],
    flags: c_int,
) -> Result<usize> {
    let mut control = SendControl::new(fds)?;
    control.attach(header);
    // SAFETY: the parts and the control data outlive the call, and the header has their lengths.
    unsafe { sys::sendmsg(fd, header, flags) }
}

/// Receives into one part with recvmsg(2). Returns the length and the flags of the message.
pub(crate) fn recv_part(
    fd: BorrowedFd,
    bytes: &mut [MaybeUninit<u8>],
    control: &mut RecvControl,
    flags: c_int,
) -> Result<(usize, c_int)> {
    let mut iov = iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let mut header = empty_header();
    header.msg_iov = &mut iov;
    header.msg_iovlen = 1;
    control.attach(&mut header);
    // SAFETY: the part and the control data outlive the call, and the header has their lengths.
    let len = unsafe { sys::recvmsg(fd, &mut header, flags) }?;
    control.received(&header);
    Ok((len, header.msg_flags))
}

/// A header that refers to nothing.
pub(crate) fn empty_header() -> msghdr {
    // SAFETY: zeros are a valid msghdr. With some C libraries it has private padding, so it cannot
    // be written as a literal.
    unsafe { std::mem::zeroed() }
}
