//! Connecting a socket to a listener.

use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use nix::fcntl::{FcntlArg, OFlag};
use nix::sys::socket::{self, UnixAddr, sockopt};
use nix::sys::time::TimeVal;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// Connects the socket. Waits while the listener's queue is full.
pub fn connect_socket(socket: &OwnedFd, address: &UnixAddr, deadline: &mut Deadline) -> Result<()> {
    loop {
        match socket::connect(socket.as_raw_fd(), address).map_err(Errno::from) {
            Err(error) if error == Errno::EAGAIN => block_next_attempt(socket, deadline)?,
            Err(error) if error == Errno::EINTR => {
                deadline.interrupted()?;
                block_next_attempt(socket, deadline)?; // for the remaining time
            }
            connected => return connected,
        }
    }
}

/// Makes the socket block in its next connect(2), for the remaining time: poll(2) does not report
/// space in the listener's queue.
fn block_next_attempt(socket: &OwnedFd, deadline: &mut Deadline) -> Result<()> {
    let remaining = deadline.remaining()?;
    // With any time-out, connect(2) fails with EINTR after a signal handler, even after one with
    // SA_RESTART (signal(7)).
    const LONG: Duration = Duration::from_secs(1 << 30);
    let timeout = match remaining {
        None if deadline.ends_with_signal() => LONG,
        None => Duration::ZERO, // no time-out
        Some(remaining) => remaining.max(Duration::from_micros(1)),
    };
    let timeout = TimeVal::new(timeout.as_secs() as i64, timeout.subsec_micros().into());
    socket::setsockopt(socket, sockopt::SendTimeout, &timeout)?;
    nix::fcntl::fcntl(socket, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(())
}
