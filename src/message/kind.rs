//! Who keeps messages apart on a socket.
//!
//! To ask for the type (`SO_TYPE`) is one of the dearer system calls, so that is done only where
//! nothing cheaper tells.
//!
//! A sender learns it from a send with an address that it does not need. A local
//! `SOCK_SEQPACKET` does not look at the address, while every other kind of socket refuses this
//! one before anything is sent. So such a send is either the message itself, or says what to do
//! instead.
//!
//! A receiver asks for urgent data (`MSG_OOB`), of which there is none: `EINVAL` says so on a
//! stream, while a socket on which the kernel keeps borders does not know such data
//! (`EOPNOTSUPP`). Local streams know them since Linux 5.15, if the kernel was built so; whether
//! this one was is found out once.

use crate::errno::{Errno, Result};
use crate::sys;
use libc::c_int;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU8, Ordering};

/// Who keeps messages apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The kernel.
    Bordered,
    /// A header before each.
    Stream,
}

/// The address: of family `AF_UNSPEC`, and no more than that.
pub const ADDRESS: &[u8] = &(libc::AF_UNSPEC as libc::sa_family_t).to_ne_bytes();
/// The flags beside it: with this one TCP looks at the address. Other sockets do not know it.
pub const FLAGS: c_int = libc::MSG_FASTOPEN;

/// What the error of a send to [`ADDRESS`] says of the socket; nothing if it is an error of
/// another reason.
pub fn of_error(fd: BorrowedFd, error: Errno) -> Result<Option<Kind>> {
    match error {
        Errno::EISCONN => Ok(Some(Kind::Stream)),
        // A local datagram socket; TCP, and whatever else there is.
        Errno::EINVAL | Errno::EOPNOTSUPP => of(fd).map(Some),
        _ => Ok(None),
    }
}

/// The kind of a socket, for a receiver.
pub fn of_receiver(fd: BorrowedFd) -> Result<Kind> {
    match urgent_data(fd) {
        Err(Errno::EINVAL) => Ok(Kind::Stream),
        Err(Errno::EOPNOTSUPP) if local_streams_know_urgent_data() => Ok(Kind::Bordered),
        // The error of an earlier send over UDP, which the kernel reports once.
        Err(Errno::ECONNREFUSED) => Err(Errno::ECONNREFUSED),
        _ => of(fd),
    }
}

/// Asks for urgent data; takes none away, and does not wait.
fn urgent_data(fd: BorrowedFd) -> Result<usize> {
    let flags = libc::MSG_OOB | libc::MSG_PEEK | libc::MSG_DONTWAIT;
    sys::recv(fd, &mut [], flags)
}

/// What kind of kernel this is. No more than a fact about it is kept: whoever finds it out at
/// the same time finds the same, and so does a child.
fn local_streams_know_urgent_data() -> bool {
    const UNKNOWN: u8 = 0;
    const NO: u8 = 1;
    const YES: u8 = 2;
    static FACT: AtomicU8 = AtomicU8::new(UNKNOWN);
    match FACT.load(Ordering::Relaxed) {
        UNKNOWN => {}
        fact => return fact == YES,
    }
    let Ok(pair) = sys::local_pair(libc::SOCK_STREAM) else {
        return false; // this time
    };
    let knows = urgent_data(pair.0.as_fd()) == Err(Errno::EINVAL);
    FACT.store(if knows { YES } else { NO }, Ordering::Relaxed);
    knows
}

/// The kind of a socket, by its type.
fn of(fd: BorrowedFd) -> Result<Kind> {
    match sys::socket_type(fd)? {
        libc::SOCK_SEQPACKET | libc::SOCK_DGRAM => Ok(Kind::Bordered),
        libc::SOCK_STREAM => Ok(Kind::Stream),
        _ => Err(Errno::EOPNOTSUPP),
    }
}
