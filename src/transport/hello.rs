//! The first exchange of two processes over a socket: each sends one message of [`HELLO_LEN`] bytes
//! with two descriptors, the hello.
//!
//! A hello is received in two steps. [`peek`] returns copies of the hello and of its descriptors,
//! and leaves the hello queued, so a failure of the receiver (no descriptor or memory left) loses
//! nothing. [`consume`] then removes the hello from the queue. If two processes share the socket,
//! only one of them succeeds.

use crate::bytes;
use crate::errno::{Errno, Result, errno};
use crate::fd::own;
use crate::message::{RecvControl, SendControl, empty_header, retry_at_eof};
use crate::pair::send_error;
use crate::sys::{self, CancelGuard};
use libc::{c_int, iovec};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// The size of a hello.
///
/// cbindgen:ignore
pub const HELLO_LEN: usize = 64;

/// Space for the descriptors of a hello, for some more, which show that the message is none, and for
/// what the options of a socket add: credentials, a pidfd, a security label. A peer that sends as many
/// descriptors as the kernel permits does not get them all opened here.
const CONTROL_LEN: usize = 192;

/// A hello from the peer.
pub struct Hello {
    /// Its bytes.
    pub bytes: [u8; HELLO_LEN],
    /// Its descriptors.
    pub fds: [OwnedFd; 2],
}

/// Sends a hello. Does not wait: the buffer of a new socket is empty. `EPIPE` if the peer is dead,
/// or accepts no descriptors (`SO_PASSRIGHTS`).
pub fn send(socket: BorrowedFd, mut bytes: [u8; HELLO_LEN], fds: [BorrowedFd; 2]) -> Result<()> {
    let mut part = iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: HELLO_LEN,
    };
    let mut control = SendControl::new(&fds.map(|fd| fd.as_raw_fd()))?;
    let mut header = empty_header();
    header.msg_iov = &mut part;
    header.msg_iovlen = 1;
    control.attach(&mut header);
    loop {
        // SAFETY: the part and the control data outlive the call, and the lengths are theirs.
        match unsafe { sys::sendmsg(socket, &header, libc::MSG_DONTWAIT) } {
            Ok(HELLO_LEN) => return Ok(()),
            // The socket is full of other messages.
            Ok(_) => return Err(errno!(EPROTO)),
            Err(error) if error == Errno::EAGAIN => return Err(errno!(EPROTO)),
            Err(error) if error == Errno::EINTR => {}
            Err(error) if error == Errno::EPERM => return Err(errno!(EPIPE)),
            Err(error) => return Err(send_error(error)),
        }
    }
}

/// Returns a copy of the queued hello. `EAGAIN` if the queue is empty, `EPIPE` if the peer has
/// closed the socket, `EPROTO` if the queued message is not a hello or is urgent, `EMFILE` if this
/// process may not have two more descriptors.
pub fn peek(socket: BorrowedFd) -> Result<Hello> {
    let mut bytes = [0; HELLO_LEN];
    let mut control = RecvControl::new();
    let mut msg_flags = 0;
    let len = receive(|flags| {
        // The descriptors of an earlier attempt.
        control.close();
        let mut part = part_of(bytes::to_fill(&mut bytes));
        let mut header = empty_header();
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        control.attach_part(&mut header, CONTROL_LEN);
        // SAFETY: the part and the control data outlive the call, and the lengths are theirs.
        let len = unsafe { sys::recvmsg(socket, &mut header, flags | libc::MSG_PEEK) }?;
        control.received(&header);
        msg_flags = header.msg_flags;
        Ok(len)
    });
    let len = match len {
        Err(error) if error == Errno::EAGAIN && has_urgent_data(socket) => {
            return Err(errno!(EPROTO));
        }
        len => len?,
    };
    if control.count() > 2 {
        return Err(errno!(EPROTO));
    }
    let fds = descriptors(&mut control, msg_flags)?;
    match fds {
        // The message is not truncated.
        [Some(first), Some(second)] if len == HELLO_LEN && msg_flags & libc::MSG_TRUNC == 0 => {
            let fds = [first, second];
            Ok(Hello { bytes, fds })
        }
        _ => Err(errno!(EPROTO)),
    }
}

/// Whether the peer has sent urgent data, which a peek does not show, although the socket is readable.
fn has_urgent_data(socket: BorrowedFd) -> bool {
    let mut fds = [PollFd::new(socket, PollFlags::POLLPRI)];
    let _uncancelled = CancelGuard::new();
    let polled = nix::poll::poll(&mut fds, PollTimeout::ZERO);
    let seen = fds[0].revents().unwrap_or(PollFlags::empty());
    polled.is_ok() && seen.contains(PollFlags::POLLPRI)
}

/// Removes the hello that [`peek`] has returned. `EBUSY` if another process has removed it.
pub fn consume(socket: BorrowedFd) -> Result<()> {
    let mut bytes = [MaybeUninit::uninit(); HELLO_LEN];
    // recv(2) has no buffer for the descriptors, so the kernel closes them.
    match receive(|flags| sys::recv(socket, &mut bytes, flags)) {
        Ok(HELLO_LEN) => Ok(()),
        Ok(_) => Err(errno!(EBUSY)),
        Err(error) if error.is_one_of(&[Errno::EAGAIN, Errno::EPIPE]) => Err(errno!(EBUSY)),
        Err(error) => Err(error),
    }
}

/// Calls `attempt` without waiting, until it is not interrupted. `EPIPE` at the end of file.
fn receive(mut attempt: impl FnMut(c_int) -> Result<usize>) -> Result<usize> {
    loop {
        match retry_at_eof(libc::MSG_DONTWAIT, &mut attempt) {
            Ok(0) => return Err(errno!(EPIPE)),
            Err(error) if error == Errno::ECONNRESET => return Err(errno!(EPIPE)),
            Err(error) if error == Errno::EINTR => {}
            received => return received,
        }
    }
}

fn part_of(buffer: &mut [MaybeUninit<u8>]) -> iovec {
    iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    }
}

/// The first two descriptors that came with a message.
fn descriptors(control: &mut RecvControl, msg_flags: c_int) -> Result<[Option<OwnedFd>; 2]> {
    let mut fds = [MaybeUninit::new(-1); 2];
    let count = control.store(&mut fds, msg_flags)?;
    let mut owned = fds.into_iter().take(count).map(|fd| {
        // SAFETY: all of the array is initialised.
        let fd: c_int = unsafe { fd.assume_init() };
        // SAFETY: the kernel has opened it for this message, and nothing else owns it.
        unsafe { own(fd) }.ok()
    });
    let mut next = || owned.next().flatten();
    Ok([next(), next()])
}
