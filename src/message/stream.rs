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

use super::{
    Content, PARTS_MAX, Received, part_of, recv_part, recv_with_fds, send_parts, when_ready,
};
use crate::bytes::to_fill;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::iovec::Source;
use crate::pair::send_error;
use crate::sys::{self, CancelGuard};
use libc::{c_int, iovec};
use nix::poll::PollFlags;
use nix::sys::socket::{self, Shutdown};
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

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
        Err(errno!(EPROTO))
    }
}

/// Sends a message. Fails with `EAGAIN` or `EINTR` only if nothing was sent.
#[inline(never)]
pub fn send(fd: BorrowedFd, content: Content, fds: &[c_int], wait: Deadline) -> Result<()> {
    match content {
        Content::Bytes(bytes) => send_message(fd, &mut [EMPTY, part_of(bytes)], fds, wait),
        Content::Parts(parts) if parts.len() < FEW => {
            send_copied(fd, &mut [EMPTY; FEW], parts, fds, wait)
        }
        Content::Parts(parts) => send_many(fd, parts, fds, wait),
    }
}

/// A part without bytes.
const EMPTY: iovec = iovec {
    iov_base: ptr::null_mut(),
    iov_len: 0,
};

/// The number of parts, with the header, for which the stack frame stays small.
const FEW: usize = 16;

#[inline(never)]
fn send_many(fd: BorrowedFd, parts: &[Source], fds: &[c_int], wait: Deadline) -> Result<()> {
    send_copied(fd, &mut [EMPTY; 1 + PARTS_MAX], parts, fds, wait)
}

/// Copies the parts that are not empty to `copy`, behind the header, and sends the message.
fn send_copied(
    fd: BorrowedFd,
    copy: &mut [iovec],
    parts: &[Source],
    fds: &[c_int],
    wait: Deadline,
) -> Result<()> {
    let mut count = 1;
    for part in parts {
        let bytes = part.bytes()?;
        if !bytes.is_empty() {
            *copy.get_mut(count).ok_or(errno!(EINVAL))? = part_of(bytes);
            count += 1;
        }
    }
    send_message(fd, copy.get_mut(..count).ok_or(errno!(EINVAL))?, fds, wait)
}

/// Sends a message. The first part is free, for the header.
fn send_message(
    fd: BorrowedFd,
    parts: &mut [iovec],
    fds: &[c_int],
    mut wait: Deadline,
) -> Result<()> {
    let len = parts
        .iter()
        .try_fold(0, |sum: usize, part| sum.checked_add(part.iov_len))
        .filter(|len| *len <= LEN_MAX)
        .ok_or(errno!(EMSGSIZE))?;
    let header = header(len);
    if let Some(first) = parts.first_mut() {
        *first = part_of(&header);
    }
    let mut unsent = Unsent(parts);
    // A call that waits in the kernel with a part of the message sent could be cancelled there.
    unsent.send_once(fd, fds, &mut wait, libc::MSG_DONTWAIT)?;
    if unsent.0.is_empty() {
        return Ok(());
    }
    wait.commit();
    // A cancellation here would leave a part of a message, and descriptors, behind.
    let _uncancelled = CancelGuard::new();
    while !unsent.0.is_empty() {
        unsent.send_once(fd, &[], &mut wait, 0).map_err(|error| {
            // The receiver then gets the end of the stream in the middle of the message.
            let _ = socket::shutdown(fd.as_raw_fd(), Shutdown::Write);
            mid_message_error(error)
        })?;
    }
    Ok(())
}

/// The parts of a message that have not been sent. The first one is not empty.
struct Unsent<'a>(&'a mut [iovec]);

impl Unsent<'_> {
    /// Sends as much as the socket accepts at once, and at least one byte.
    fn send_once(
        &mut self,
        fd: BorrowedFd,
        fds: &[c_int],
        wait: &mut Deadline,
        more_flags: c_int,
    ) -> Result<()> {
        let parts = self.0.get(..PARTS_MAX).unwrap_or(self.0);
        let sent = when_ready(fd, PollFlags::POLLOUT, wait, |flags| {
            send_parts(fd, parts, fds, flags | more_flags, &[])
        })
        .map_err(send_error)?;
        self.remove(sent);
        Ok(())
    }

    /// Removes bytes that have been sent.
    fn remove(&mut self, mut sent: usize) {
        let parts = mem::take(&mut self.0);
        let mut done = 0;
        for part in parts.iter_mut() {
            let now = sent.min(part.iov_len);
            part.iov_base = part.iov_base.wrapping_byte_add(now);
            part.iov_len -= now;
            sent -= now;
            if part.iov_len != 0 {
                break;
            }
            done += 1;
        }
        self.0 = parts.get_mut(done..).unwrap_or_default();
    }
}

/// Converts an error in the middle of a message: `EAGAIN` would mean that nothing was transferred.
fn mid_message_error(error: Errno) -> Errno {
    if error == Errno::EAGAIN {
        errno!(ETIMEDOUT)
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
        Ok(0) => return Ok(0),
        Err(error) if error == Errno::ECONNRESET => return Ok(0),
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
        Ok(None) => Err(errno!(EMSGSIZE)),
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
            Ok(0) => return Err(errno!(EPROTO)),
            Err(error) if error == Errno::ECONNRESET => return Err(errno!(EPROTO)),
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
    loop {
        match sys::recv(fd, &mut scratch, libc::MSG_DONTWAIT) {
            Ok(1..) => {}
            Err(error) if error == Errno::EINTR => {}
            _ => break,
        }
    }
}
