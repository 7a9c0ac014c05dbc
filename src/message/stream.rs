//! Messages on a stream. Each follows a header of eight bytes.
//!
//! | bytes | content |
//! |---|---|
//! | 0 to 3 | the letters `uipc` |
//! | 4 to 7 | the length of the message, little-endian, from 1 to [`LEN_MAX`] |
//!
//! Descriptors are attached to the first byte of the header. If the send buffer has space, one
//! sendmsg(2) sends the whole message. On a local socket the kernel accepts up to 32 KiB as one
//! piece, so a time-out never interrupts such a message. It can interrupt a longer message, or one
//! over TCP.
//!
//! No state is kept between calls, so bytes that were read cannot be put back. A call that has to
//! stop in the middle of a message therefore ends its direction of the stream. Otherwise the rest
//! of the message would be taken for the beginning of the next one.

use super::{Received, recv_part, recv_with_fds, send_parts, when_ready};
use crate::bytes::to_fill;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::pair::send_error;
use crate::sys::{self, CancelGuard};
use libc::c_int;
use nix::poll::PollFlags;
use nix::sys::socket::{self, Shutdown};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The length of the longest message: 1 GiB. A longer one in a header is an error of the peer.
///
/// cbindgen:ignore
pub const LEN_MAX: usize = 1 << 30;

/// The size of the header.
const HEADER: usize = 8;
const MAGIC: [u8; 4] = *b"uipc";

fn header(len: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&MAGIC);
    header[4..].copy_from_slice(&(len as u32).to_le_bytes());
    header
}

/// Returns the length in a header; `EPROTO` if it is not a header.
fn length(header: [u8; HEADER]) -> Result<usize> {
    let [a, b, c, d, len @ ..] = header;
    let len = u32::from_le_bytes(len) as usize;
    if [a, b, c, d] == MAGIC && (1..=LEN_MAX).contains(&len) {
        Ok(len)
    } else {
        Err(Errno::EPROTO)
    }
}

/// Sends a message. Fails with `EAGAIN` or `EINTR` only if nothing was sent.
#[inline(never)]
pub fn send(fd: BorrowedFd, bytes: &[u8], fds: &[c_int], mut wait: Deadline) -> Result<()> {
    if bytes.len() > LEN_MAX {
        return Err(Errno::EMSGSIZE);
    }
    let header = header(bytes.len());
    let sent = when_ready(fd, PollFlags::POLLOUT, &mut wait, |flags| {
        send_parts(fd, &[&header, bytes], fds, flags, &[])
    })
    .map_err(send_error)?;
    if sent == HEADER + bytes.len() {
        return Ok(());
    }
    wait.commit();
    // A cancellation here would leave a part of a message, and descriptors, behind.
    let _uncancelled = CancelGuard::new();
    send_rest(fd, &header, bytes, sent, wait).map_err(|error| {
        // The receiver then gets the end of the stream in the middle of the message.
        let _ = socket::shutdown(fd.as_raw_fd(), Shutdown::Write);
        mid_message_error(error)
    })
}

/// Sends the rest of a message of which `sent` bytes, including the header, have been sent.
fn send_rest(
    fd: BorrowedFd,
    header: &[u8; HEADER],
    bytes: &[u8],
    mut sent: usize,
    mut wait: Deadline,
) -> Result<()> {
    while sent < HEADER + bytes.len() {
        let rest = match sent.checked_sub(HEADER) {
            None => header.get(sent..),
            Some(at) => bytes.get(at..),
        }
        .unwrap_or_default();
        sent += when_ready(fd, PollFlags::POLLOUT, &mut wait, |flags| {
            sys::send(fd, rest, flags)
        })
        .map_err(send_error)?;
    }
    Ok(())
}

/// Converts an error in the middle of a message: `EAGAIN` would mean that nothing was transferred.
fn mid_message_error(error: Errno) -> Errno {
    if error == Errno::EAGAIN {
        Errno::ETIMEDOUT
    } else {
        error
    }
}

/// Receives a message. Fails with `EAGAIN` or `EINTR` only if nothing was received.
#[inline(never)]
pub fn recv(
    fd: BorrowedFd,
    bytes: &mut [MaybeUninit<u8>],
    fds: &mut [MaybeUninit<c_int>],
    wait: Deadline,
) -> Result<Received> {
    if fds.is_empty() {
        // The kernel closes descriptors that come with the message.
        let len = recv_message(fd, bytes, wait, |part, flags| sys::recv(fd, part, flags))?;
        return Ok(Received { len, nfds: 0 });
    }
    recv_bytes_and_fds(fd, bytes, fds, wait)
}

#[inline(never)]
fn recv_bytes_and_fds(
    fd: BorrowedFd,
    bytes: &mut [MaybeUninit<u8>],
    fds: &mut [MaybeUninit<c_int>],
    wait: Deadline,
) -> Result<Received> {
    recv_with_fds(fds, |control, msg_flags| {
        recv_message(fd, bytes, wait, |part, flags| {
            let len;
            (len, *msg_flags) = recv_part(fd, part, control, flags)?;
            Ok(len)
        })
    })
}

/// Receives a message, of which `first` receives the first piece. Returns its length, 0 at the end
/// of the session.
fn recv_message(
    fd: BorrowedFd,
    bytes: &mut [MaybeUninit<u8>],
    mut wait: Deadline,
    mut first: impl FnMut(&mut [MaybeUninit<u8>], c_int) -> Result<usize>,
) -> Result<usize> {
    let mut header = [0; HEADER];
    let begun = when_ready(fd, PollFlags::POLLIN, &mut wait, |flags| {
        first(to_fill(&mut header), flags)
    });
    let begun = match begun {
        Ok(0) | Err(Errno::ECONNRESET) => return Ok(0),
        other => other?,
    };
    wait.commit();
    // A cancellation here would leave a part of a message, and descriptors, behind.
    let _uncancelled = CancelGuard::new();
    let message = recv_exactly(
        fd,
        to_fill(header.get_mut(begun..).unwrap_or_default()),
        &mut wait,
    )
    .and_then(|()| length(header))
    .and_then(|len| match bytes.get_mut(..len) {
        Some(buffer) => recv_exactly(fd, buffer, &mut wait).map(|()| Some(len)),
        None => discard(fd, len, &mut wait).map(|()| None),
    });
    match message {
        Ok(Some(len)) => Ok(len),
        Ok(None) => Err(Errno::EMSGSIZE),
        Err(error) => {
            end_receiving(fd);
            Err(mid_message_error(error))
        }
    }
}

/// Fills `buffer`. Fails with `EPROTO` at the end of the stream.
fn recv_exactly(
    fd: BorrowedFd,
    mut buffer: &mut [MaybeUninit<u8>],
    wait: &mut Deadline,
) -> Result<()> {
    while !buffer.is_empty() {
        let waitall = if wait.may_block() {
            libc::MSG_WAITALL
        } else {
            0
        };
        let len = when_ready(fd, PollFlags::POLLIN, wait, |flags| {
            sys::recv(fd, buffer, flags | waitall)
        });
        match len {
            Ok(0) | Err(Errno::ECONNRESET) => return Err(Errno::EPROTO),
            other => buffer = buffer.get_mut(other?..).unwrap_or_default(),
        }
    }
    Ok(())
}

/// Receives and discards `len` bytes.
#[inline(never)]
fn discard(fd: BorrowedFd, mut len: usize, wait: &mut Deadline) -> Result<()> {
    let mut scratch = [MaybeUninit::uninit(); 16 * 1024];
    while len > 0 {
        let part = len.min(scratch.len());
        recv_exactly(fd, scratch.get_mut(..part).unwrap_or_default(), wait)?;
        len -= part;
    }
    Ok(())
}

/// Ends the receiving direction. The next send of the peer fails with `EPIPE`, and the next receive
/// on this side returns the end of the session. The bytes in the socket, which its buffers limit,
/// are discarded.
#[inline(never)]
fn end_receiving(fd: BorrowedFd) {
    let _ = socket::shutdown(fd.as_raw_fd(), Shutdown::Read);
    // TCP still receives after that, so its connection is reset. A local socket refuses this call.
    sys::disconnect(fd);
    let mut scratch = [MaybeUninit::uninit(); 16 * 1024];
    while matches!(
        sys::recv(fd, &mut scratch, libc::MSG_DONTWAIT),
        Ok(1..) | Err(Errno::EINTR)
    ) {}
}
