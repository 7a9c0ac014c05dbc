//! Connecting to a listener, accepting connections, and making a channel over a given socket.

use super::endpoint::Channel;
use super::handshake::{FDS_AT_PEAK, Offer};
use super::memory::RingParams;
use super::options::Options;
use super::pending::Pending;
use crate::deadline::Deadline;
use crate::errno::{Result, errno};
use crate::fd::{borrow, duplicate};
use crate::pair;
use crate::sys::{self, CancelGuard};
use crate::transport::await_listener::until_listening;
use crate::transport::connect::connect_socket;
use crate::transport::listen::{accept_socket, address, new_socket};
use crate::transport::wait::Role;
use nix::fcntl::{FcntlArg, OFlag};
use nix::poll::PollFlags;
use nix::sys::socket::{self, Shutdown, UnixAddr};
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Makes the end of a channel over a connected socket.
pub fn from_socket(
    socket: BorrowedFd,
    options: &Options,
    deadline: &mut Deadline,
) -> Result<Channel> {
    // A cancelled thread would leak descriptors.
    let _uncancelled = CancelGuard::new();
    let ring = options.own_ring()?;
    if !sys::is_local(socket)? {
        return Err(errno!(EOPNOTSUPP));
    }
    let cred = pair::peer_cred(socket)?;
    let copy = duplicate(socket, 0)?;
    let offer = Offer::new(&ring, options.fds)?;
    offer.send(socket)?;
    let pending = Pending::new(copy, options, &ring, Some(offer.into_own()));
    let channel = Channel::new(options, &ring, cred, pending);
    let completed = channel.complete_handshake(Role::Receiver, deadline);
    if let Err(error) = completed {
        // The peer may have received the offer of this end, which no longer exists. So the socket
        // cannot be used again, and the shutdown reports that to both sides.
        let _ = socket::shutdown(socket.as_raw_fd(), Shutdown::Both);
        return Err(error);
    }
    Ok(channel)
}

/// Accepts a connection from a listener's queue. None if the queue is empty. The handshake ends here
/// if the client's hello arrives immediately, and otherwise in the first call that needs the peer.
/// `has_waited` if the caller has called it before, and then waited for a client.
pub fn accept(
    listener: BorrowedFd,
    options: &Options,
    has_waited: bool,
    deadline: &mut Deadline,
) -> Result<Option<Channel>> {
    let _uncancelled = CancelGuard::new();
    let ring = options.own_ring()?;
    if !has_waited {
        ring.check()?;
        check_listener(listener)?;
    }
    // First, so that a shortage of descriptors leaves the client in the queue.
    let spare = SpareFds::reserve(listener)?;
    let Some(socket) = accept_socket(listener)? else {
        return Ok(None);
    };
    drop(spare);
    let cred = pair::peer_cred(borrow(socket.as_raw_fd())?)?;
    let pending = Pending::new(socket, options, &ring, None);
    let channel = Channel::new(options, &ring, cred, pending);
    channel.await_hello(deadline);
    Ok(Some(channel))
}

/// Waits until the queue has a client. A cancellation point.
pub fn wait_for_client(listener: BorrowedFd, deadline: &mut Deadline) -> Result<()> {
    deadline.ready(listener, PollFlags::POLLIN)
}

/// Fails if the descriptor is not a listening local socket. Makes it nonblocking: accept4(2) has no
/// time-out, and another process may accept the client after poll(2) has reported it.
fn check_listener(listener: BorrowedFd) -> Result<()> {
    if !sys::is_local(listener)? {
        return Err(errno!(EOPNOTSUPP));
    }
    let flags = OFlag::from_bits_retain(nix::fcntl::fcntl(listener, FcntlArg::F_GETFL)?);
    if !flags.contains(OFlag::O_NONBLOCK) {
        if !sys::is_listening(listener)? {
            return Err(errno!(EINVAL));
        }
        nix::fcntl::fcntl(listener, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    }
    Ok(())
}

/// Reserves descriptors for the handshake of a client.
struct SpareFds(#[allow(dead_code, reason = "held")] [OwnedFd; FDS_AT_PEAK - 1]);

impl SpareFds {
    /// Fails if this process may not have that many descriptors.
    fn reserve(any: BorrowedFd) -> Result<Self> {
        let spare = || duplicate(any, 0);
        Ok(Self([spare()?, spare()?, spare()?, spare()?]))
    }
}

/// Connects to a listener. If the options say so, it also waits until a process listens.
pub fn connect(path: &CStr, options: &Options, deadline: &mut Deadline) -> Result<Channel> {
    let _uncancelled = CancelGuard::new();
    let address = address(path)?;
    let ring = options.own_ring()?;
    let mut offer = None;
    until_listening(path, options.wait, deadline, |deadline| {
        try_connect(&address, options, &ring, &mut offer, deadline)
    })
}

/// Connects to a listener that exists. Leaves an offer that was not sent in `offer`, for the next
/// attempt.
fn try_connect(
    address: &UnixAddr,
    options: &Options,
    ring: &RingParams,
    offer: &mut Option<Offer>,
    deadline: &mut Deadline,
) -> Result<Channel> {
    if offer.is_none() {
        // Before connecting, so that the hello follows the connection immediately.
        *offer = Some(Offer::new(ring, options.fds)?);
    }
    let socket = new_socket()?;
    connect_socket(&socket, address, deadline)?;
    let offer = offer.take().ok_or(errno!(EPROTO))?;
    offer.send(socket.as_fd())?;
    let own = offer.into_own();
    let cred = pair::peer_cred(socket.as_fd())?;
    let pending = Pending::new(socket, options, ring, Some(own));
    let channel = Channel::new(options, ring, cred, pending);
    channel.complete_handshake(Role::Receiver, deadline)?;
    Ok(channel)
}
