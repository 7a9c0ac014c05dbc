//! Messages: whole or not at all, with descriptors.
//!
//! On `SOCK_SEQPACKET` and `SOCK_DGRAM` the kernel keeps the borders; on `SOCK_STREAM`
//! the header of `stream` does.

mod control;
mod kind;
mod stream;

use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::pair::send_error;
use crate::sys;
use kind::Kind;
use libc::{c_int, iovec, msghdr};
use nix::poll::PollFlags;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

pub use control::FDS_MAX;
pub(crate) use control::{RecvControl, SendControl};
pub use stream::LEN_MAX;

/// The result of a receive.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    /// The message's length; 0 at the end of the session.
    pub len: usize,
    /// How many descriptors were stored.
    pub nfds: usize,
}

impl Received {
    const END: Self = Self { len: 0, nfds: 0 };
}

/// Sends a message with descriptors.
pub fn send(fd: BorrowedFd, bytes: &[u8], fds: &[c_int], wait: Deadline) -> Result<()> {
    if bytes.is_empty() || fds.len() > FDS_MAX {
        return Err(Errno::EINVAL);
    }
    // A socket that is not local would discard the descriptors without an error.
    if !fds.is_empty() && !sys::is_local(fd)? {
        return Err(Errno::EOPNOTSUPP);
    }
    match send_bordered(fd, bytes, fds, wait, kind::ADDRESS) {
        Err(error) => match kind::of_error(fd, error)? {
            Some(Kind::Stream) => stream::send(fd, bytes, fds, wait),
            Some(Kind::Bordered) => send_bordered(fd, bytes, fds, wait, &[]),
            None => Err(error),
        },
        Ok(()) => Ok(()),
    }
}

/// Receives a message; as many of its descriptors as `fds` has room for are stored there,
/// the others closed.
pub fn recv(
    fd: BorrowedFd,
    bytes: &mut [MaybeUninit<u8>],
    fds: &mut [MaybeUninit<c_int>],
    wait: Deadline,
) -> Result<Received> {
    if bytes.is_empty() {
        return Err(Errno::EINVAL);
    }
    match kind::of_receiver(fd)? {
        Kind::Bordered => recv_bordered(fd, bytes, fds, wait),
        Kind::Stream => stream::recv(fd, bytes, fds, wait),
    }
}

/// Repeats a transfer that the socket is not ready for, under the time-out. `attempt` is
/// told whether it may block.
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
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => wait.ready(fd, events)?,
            done => return done,
        }
    }
}

fn send_bordered(
    fd: BorrowedFd,
    bytes: &[u8],
    fds: &[c_int],
    mut wait: Deadline,
    address: &[u8],
) -> Result<()> {
    let address_flags = if address.is_empty() { 0 } else { kind::FLAGS };
    when_ready(fd, PollFlags::POLLOUT, &mut wait, |flags| {
        let flags = flags | address_flags;
        if fds.is_empty() {
            // Cheaper than sendmsg.
            return sys::sendto(fd, bytes, flags, address);
        }
        send_parts(fd, &[bytes], fds, flags, address)
    })
    .map(drop)
    .map_err(|error| match error {
        Errno::EDESTADDRREQ => Errno::ENOTCONN, // UDP
        other => send_error(other),
    })
}

fn recv_bordered(
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
        Err(Errno::ECONNRESET) => Ok(Received::END),
        other => other,
    }
}

/// Receives, also where the peer is gone and left something unread. Here the kernel says so
/// once, and before it gives what the peer had sent; so it is tried again.
fn past_reset<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    match attempt() {
        Err(Errno::ECONNRESET) => attempt(),
        other => other,
    }
}

/// Receives; 0 bytes only at the end. The kernel looks for a message first, and whether the peer
/// is gone after that: one that sends and goes in between is gone, and its message is there. So
/// the end is looked at once more, without waiting: the queue is complete by then.
pub(crate) fn past_end(
    flags: c_int,
    mut attempt: impl FnMut(c_int) -> Result<usize>,
) -> Result<usize> {
    match attempt(flags) {
        Ok(0) => match attempt(flags | libc::MSG_DONTWAIT) {
            Err(Errno::EAGAIN) => Ok(0), // it was an empty packet
            again => again,
        },
        other => other,
    }
}

/// How many empty packets a receive that must not wait passes over.
const EMPTY_MAX: u32 = 16;

/// Receives a message that is not empty; 0 bytes only at the end. [`send`] sends no empty message,
/// but another program can, and the kernel gives 0 for that too: it is passed over. `attempt` is
/// told the flags.
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
            // A message that the peer sent just before it ended is in the queue by now.
            return match attempt(libc::MSG_DONTWAIT) {
                Err(Errno::EAGAIN) => Ok(0),
                again => again,
            };
        }
        empty += 1;
        // A peer that sends nothing else must not hold up the receiver.
        if !wait.is_never() || empty == EMPTY_MAX {
            wait.remaining()?;
        }
    }
}

/// Receives a message; descriptors that come with it the kernel closes.
fn recv_bytes(fd: BorrowedFd, bytes: &mut [MaybeUninit<u8>], wait: Deadline) -> Result<Received> {
    // The length is then the message's own, however little of it there is room for.
    let len = recv_nonempty(fd, wait, |flags| {
        past_reset(|| sys::recv(fd, bytes, flags | libc::MSG_TRUNC))
    })?;
    if len > bytes.len() {
        return Err(Errno::EMSGSIZE);
    }
    Ok(Received { len, nfds: 0 })
}

// Not inlined, like whatever else has much on the stack: to touch a row of pages would cost
// those who do not need them.
#[inline(never)]
fn recv_bytes_and_fds(
    fd: BorrowedFd,
    bytes: &mut [MaybeUninit<u8>],
    fds: &mut [MaybeUninit<c_int>],
    wait: Deadline,
) -> Result<Received> {
    let mut control = RecvControl::new();
    let mut msg_flags = 0;
    let len = recv_nonempty(fd, wait, |flags| {
        let len;
        (len, msg_flags) = past_reset(|| recv_part(fd, bytes, &mut control, flags))?;
        if len == 0 {
            // An empty packet has descriptors only if another program sent it.
            control.close();
        }
        Ok(len)
    })?;
    if len == 0 {
        return Ok(Received::END);
    }
    if msg_flags & libc::MSG_TRUNC != 0 {
        return Err(Errno::EMSGSIZE);
    }
    let nfds = control.store(fds, msg_flags)?;
    Ok(Received { len, nfds })
}

/// `sendmsg` of up to two parts, with descriptors.
fn send_parts(
    fd: BorrowedFd,
    parts: &[&[u8]],
    fds: &[c_int],
    flags: c_int,
    address: &[u8],
) -> Result<usize> {
    let mut iov = [iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    }; 2];
    for (to, part) in iov.iter_mut().zip(parts) {
        to.iov_base = part.as_ptr().cast_mut().cast();
        to.iov_len = part.len();
    }
    let mut header = empty_header();
    header.msg_iov = iov.as_mut_ptr();
    header.msg_iovlen = parts.len() as _;
    header.msg_name = address.as_ptr().cast_mut().cast();
    header.msg_namelen = address.len() as _;
    if !fds.is_empty() {
        return send_with_fds(fd, &mut header, fds, flags);
    }
    // SAFETY: the parts outlive the call, and the lengths are theirs.
    unsafe { sys::sendmsg(fd, &header, flags) }
}

#[inline(never)]
fn send_with_fds(
    fd: BorrowedFd,
    header: &mut msghdr,
    fds: &[c_int],
    flags: c_int,
) -> Result<usize> {
    let mut control = SendControl::new(fds);
    control.attach(header);
    // SAFETY: the parts and the control data outlive the call, and the lengths are theirs.
    unsafe { sys::sendmsg(fd, header, flags) }
}

/// `recvmsg` into one part. The length and the flags that the kernel gives.
fn recv_part(
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
    // SAFETY: the part and the control data outlive the call, and the lengths are theirs.
    let len = unsafe { sys::recvmsg(fd, &mut header, flags) }?;
    control.received(&header);
    Ok((len, header.msg_flags))
}

pub(crate) fn empty_header() -> msghdr {
    // SAFETY: all zero bytes are a msghdr without anything; it has private padding on some
    // C libraries, so it cannot be written as a literal.
    unsafe { std::mem::zeroed() }
}
