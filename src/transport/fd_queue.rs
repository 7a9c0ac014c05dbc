//! Descriptors that travel over a socket while their messages travel through shared memory.
//!
//! For each message with descriptors, the socket carries one message of `LEN` bytes with
//! `SCM_RIGHTS`:
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | the token, which the message in shared memory has too |
//! | 8 | 8 | the number of descriptors |
//!
//! Both numbers are little-endian. The sender sends this first, and then publishes the message. If
//! the sender is killed in between, descriptors without a message stay in the queue. The receiver
//! finds out by the token, and discards them.

use crate::bytes::{little_endian, to_fill};
use crate::errno::{Errno, Result, errno};
use crate::message::{RecvControl, part_of, recv_part, send_parts};
use crate::pair::send_error;
use crate::sys::{self, CancelGuard};
use libc::c_int;
use std::os::fd::BorrowedFd;

/// The size of a message on the socket.
const LEN: usize = 16;
/// The number of messages of killed senders that a receiver discards at once.
const STALE_MAX: usize = 16;

/// Sends descriptors, at least one. Does not wait: returns false if the queue is full. `EPIPE` if
/// the peer has closed the socket, or accepts no descriptors (`SO_PASSRIGHTS`).
pub fn send(socket: BorrowedFd, token: u64, fds: &[c_int]) -> Result<bool> {
    // A cancelled thread would have sent the descriptors, but not the message.
    let _uncancelled = CancelGuard::new();
    let mut bytes = [0; LEN];
    let (first, second) = bytes.split_at_mut(8);
    first.copy_from_slice(&token.to_le_bytes());
    second.copy_from_slice(&(fds.len() as u64).to_le_bytes());
    loop {
        match send_parts(socket, &[part_of(&bytes)], fds, libc::MSG_DONTWAIT, &[]) {
            Ok(LEN) => return Ok(true),
            Ok(_) => return Err(errno!(EPROTO)), // does not happen: the kernel sends all or nothing
            Err(error) if error == Errno::EINTR => {}
            Err(error) if error == Errno::EAGAIN => return Ok(false),
            Err(error) if error == Errno::EPERM => return Err(errno!(EPIPE)),
            Err(error) => return Err(send_error(error)),
        }
    }
}

/// Whether the first descriptors in the queue are those of `token`.
pub fn is_first(socket: BorrowedFd, token: u64) -> Result<bool> {
    let _uncancelled = CancelGuard::new();
    Ok(peek(socket, &mut None)?.is_some_and(|first| first.token == token))
}

/// Finds the descriptors of `token`. They stay in the queue until [`consume`]; `control`, if there
/// is one, gets duplicates. Returns the flags of the message, for `RecvControl::store`.
///
/// `EPROTO` if the peer has sent none, or anything else; `EMFILE` if this process may not have that
/// many descriptors more.
pub fn find(
    socket: BorrowedFd,
    token: u64,
    mut control: Option<&mut RecvControl>,
) -> Result<c_int> {
    let _uncancelled = CancelGuard::new();
    for _ in 0..=STALE_MAX {
        let first = peek(socket, &mut control)?.ok_or(errno!(EPROTO))?;
        if first.token == token {
            if let Some(control) = control {
                first.check(control)?;
            }
            return Ok(first.flags);
        }
        consume(socket)?;
    }
    Err(errno!(EPROTO))
}

/// Removes the first descriptors from the queue. `EBUSY` if another process has removed them.
pub fn consume(socket: BorrowedFd) -> Result<()> {
    let _uncancelled = CancelGuard::new();
    // recv(2) has no buffer for the descriptors, so the kernel closes them.
    match receive(|bytes| Ok((sys::recv(socket, to_fill(bytes), libc::MSG_DONTWAIT)?, 0)))? {
        Some(_) => Ok(()),
        None => Err(errno!(EBUSY)),
    }
}

/// A message on the socket.
struct First {
    token: u64,
    count: u64,
    flags: c_int,
}

impl First {
    /// Checks that `control` has the announced number of descriptors.
    fn check(&self, control: &RecvControl) -> Result<()> {
        if self.flags & libc::MSG_CTRUNC != 0 {
            return Err(errno!(EMFILE));
        }
        let count = control.count() as u64;
        if count == 0 || count != self.count {
            return Err(errno!(EPROTO));
        }
        Ok(())
    }
}

/// The first message in the queue, which stays there; none if the queue is empty. `control`, if
/// there is one, gets duplicates of its descriptors.
fn peek(socket: BorrowedFd, control: &mut Option<&mut RecvControl>) -> Result<Option<First>> {
    // With MSG_TRUNC recv(2) returns the length of a message even if it exceeds the buffer.
    let flags = libc::MSG_DONTWAIT | libc::MSG_PEEK | libc::MSG_TRUNC;
    receive(|bytes| match control {
        Some(control) => {
            // The descriptors of an earlier attempt.
            control.close();
            recv_part(socket, to_fill(bytes), control, flags)
        }
        None => Ok((sys::recv(socket, to_fill(bytes), flags)?, 0)),
    })
}

/// Calls `attempt` until it is not interrupted. None if the queue is empty, also at its end.
/// `EPROTO` for a message of another length.
fn receive(
    mut attempt: impl FnMut(&mut [u8; LEN]) -> Result<(usize, c_int)>,
) -> Result<Option<First>> {
    let mut bytes = [0; LEN];
    let mut is_reset = false;
    let flags = loop {
        match attempt(&mut bytes) {
            Ok((LEN, flags)) => break flags,
            Ok((0, _)) => return Ok(None),
            Err(error) if error == Errno::EAGAIN => return Ok(None),
            Ok(_) => return Err(errno!(EPROTO)),
            Err(error) if error == Errno::EINTR => {}
            // The peer has closed with unread data in its queue. The kernel reports that once.
            Err(error) if error == Errno::ECONNRESET && !is_reset => is_reset = true,
            Err(error) if error == Errno::ECONNRESET => return Ok(None),
            Err(error) => return Err(error),
        }
    };
    let (token, count) = bytes.split_at(8);
    Ok(Some(First {
        token: little_endian(token),
        count: little_endian(count),
        flags,
    }))
}
