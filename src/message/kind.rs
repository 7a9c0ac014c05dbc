//! Who keeps messages apart on a socket.
//!
//! A receiver has to ask for the type. A sender need not: a send with an address that it does
//! not need tells the same. A local `SOCK_SEQPACKET` does not look at the address, while every
//! other kind of socket refuses this one before anything is sent. So such a send is either the
//! message itself, or says what to do instead.

use crate::errno::{Errno, Result};
use libc::c_int;
use nix::sys::socket::{self, SockType, sockopt};
use std::os::fd::BorrowedFd;

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

/// The kind of a socket, by its type.
pub fn of(fd: BorrowedFd) -> Result<Kind> {
    match socket::getsockopt(&fd, sockopt::SockType)? {
        SockType::SeqPacket | SockType::Datagram => Ok(Kind::Bordered),
        SockType::Stream => Ok(Kind::Stream),
        _ => Err(Errno::EOPNOTSUPP),
    }
}
