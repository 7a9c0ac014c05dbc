//! Messages on a stream: each after a header of eight bytes.
//!
//! | bytes | what |
//! |---|---|
//! | 0 to 3 | the letters `uipc` |
//! | 4 to 7 | the length of the message, little-endian, from 1 to [`LEN_MAX`] |
//!
//! Descriptors come with the header's first byte. A message is sent with one `sendmsg` where
//! the socket has room: on a local socket the kernel takes up to 32 KiB as one piece, so that
//! such a message is never cut by a time-out; a longer one, or one of TCP, can be.
//!
//! No state is kept between calls: what was read of a message cannot be given back. So a call
//! that has to stop inside of one ends its direction of the stream, lest what follows be taken
//! for the beginning of a message.

use super::control::RecvControl;
use super::{Received, recv_part, send_parts, when_ready};
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

/// The longest message: 1 GiB. What a peer says beyond is a lie or a mistake.
///
/// cbindgen:ignore
pub const LEN_MAX: usize = 1 << 30;

const HEADER: usize = 8;
const MAGIC: [u8; 4] = *b"uipc";

fn header(len: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&MAGIC);
    header[4..].copy_from_slice(&(len as u32).to_le_bytes());
    header
}

/// The length that a header gives, if it is one.
fn length(header: [u8; HEADER]) -> Result<usize> {
    let [a, b, c, d, len @ ..] = header;
    let len = u32::from_le_bytes(len) as usize;
    if [a, b, c, d] == MAGIC && (1..=LEN_MAX).contains(&len) {
        Ok(len)
    } else {
        Err(Errno::EPROTO)
    }
}

/// Sends a message. Fails with `EAGAIN` or `EINTR` only before any of it was sent.
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
    // Cancelled here, the thread would leave a part of a message, and descriptors, behind.
    let _uncancelled = CancelGuard::new();
    send_rest(fd, &header, bytes, sent, wait).map_err(|error| {
        // The receiver finds the end inside the message, and no wrong message after it.
        let _ = socket::shutdown(fd.as_raw_fd(), Shutdown::Write);
        half_done(error)
    })
}

/// Sends what is left of a message after `sent` bytes, the header's included.
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

/// `EAGAIN` says that nothing was done. Inside a message it is a time-out.
fn half_done(error: Errno) -> Errno {
    if error == Errno::EAGAIN {
        Errno::ETIMEDOUT
    } else {
        error
    }
}

/// Receives a message. Fails with `EAGAIN` or `EINTR` only before any of it was received.
#[inline(never)]
pub fn recv(
    fd: BorrowedFd,
    bytes: &mut [MaybeUninit<u8>],
    fds: &mut [MaybeUninit<c_int>],
    wait: Deadline,
) -> Result<Received> {
    if fds.is_empty() {
        // Descriptors that come with the message the kernel closes.
        let len = recv_message(fd, bytes, wait, |room, flags| sys::recv(fd, room, flags))?;
        return Ok(Received { len, nfds: 0 });
    }
    recv_with_fds(fd, bytes, fds, wait)
}

#[inline(never)]
fn recv_with_fds(
    fd: BorrowedFd,
    bytes: &mut [MaybeUninit<u8>],
    fds: &mut [MaybeUninit<c_int>],
    wait: Deadline,
) -> Result<Received> {
    let mut control = RecvControl::new();
    let mut msg_flags = 0;
    let len = recv_message(fd, bytes, wait, |room, flags| {
        let len;
        (len, msg_flags) = recv_part(fd, room, &mut control, flags)?;
        Ok(len)
    })?;
    if len == 0 {
        return Ok(Received::END);
    }
    let nfds = control.store(fds, msg_flags)?;
    Ok(Received { len, nfds })
}

/// Receives a message of which `first` receives the first piece; its length, 0 at the end.
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
    // Cancelled here, the thread would leave a part of a message, and descriptors, behind.
    let _uncancelled = CancelGuard::new();
    let message = recv_exactly(
        fd,
        to_fill(header.get_mut(begun..).unwrap_or_default()),
        &mut wait,
    )
    .and_then(|()| length(header))
    .and_then(|len| match bytes.get_mut(..len) {
        Some(room) => recv_exactly(fd, room, &mut wait).map(|()| Some(len)),
        None => discard(fd, len, &mut wait).map(|()| None),
    });
    match message {
        Ok(Some(len)) => Ok(len),
        Ok(None) => Err(Errno::EMSGSIZE),
        Err(error) => {
            end_receiving(fd);
            Err(half_done(error))
        }
    }
}

/// Fills `room`; the end of the stream is `EPROTO` here.
fn recv_exactly(
    fd: BorrowedFd,
    mut room: &mut [MaybeUninit<u8>],
    wait: &mut Deadline,
) -> Result<()> {
    while !room.is_empty() {
        let waitall = if wait.may_block() {
            libc::MSG_WAITALL
        } else {
            0
        };
        let len = when_ready(fd, PollFlags::POLLIN, wait, |flags| {
            sys::recv(fd, room, flags | waitall)
        });
        match len {
            Ok(0) | Err(Errno::ECONNRESET) => return Err(Errno::EPROTO),
            other => room = room.get_mut(other?..).unwrap_or_default(),
        }
    }
    Ok(())
}

/// Receives `len` bytes that nobody wants.
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

/// Ends the direction: the peer's next send is `EPIPE`, and what it has sent is thrown away,
/// which is no more than the socket holds. The next receive finds the end of the session.
#[inline(never)]
fn end_receiving(fd: BorrowedFd) {
    let _ = socket::shutdown(fd.as_raw_fd(), Shutdown::Read);
    // TCP goes on receiving after that; for it this is a reset. A local socket refuses it.
    sys::disconnect(fd);
    let mut scratch = [MaybeUninit::uninit(); 16 * 1024];
    while matches!(
        sys::recv(fd, &mut scratch, libc::MSG_DONTWAIT),
        Ok(1..) | Err(Errno::EINTR)
    ) {}
}
