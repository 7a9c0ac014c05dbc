//! The two ends of the pipe through which one side wakes the other.

use crate::errno::{Errno, Result, errno};
use crate::sys::{CancelGuard, pipe};
use nix::fcntl::{FcntlArg, OFlag};
use std::os::fd::{AsFd, OwnedFd};

/// The read end of the peer's pipe.
pub struct ReadEnd(OwnedFd);

impl ReadEnd {
    /// Checks a descriptor that the peer has sent. `EPROTO` if it is not the read end of a pipe.
    pub fn new(fd: OwnedFd) -> Result<Self> {
        // fstat(2) could hang: it may query a FUSE file system of the peer, which may never answer.
        let is_pipe = nix::fcntl::fcntl(&fd, nix::fcntl::F_GETPIPE_SZ).is_ok();
        let mode = OFlag::from_bits_retain(nix::fcntl::fcntl(&fd, FcntlArg::F_GETFL)?);
        // A description that is open for writing too would hide the peer's death.
        if !is_pipe || mode & OFlag::O_ACCMODE != OFlag::O_RDONLY {
            return Err(errno!(EPROTO));
        }
        Ok(Self(fd))
    }

    /// The read end of a pipe that this process has made.
    pub fn own(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The descriptor.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }
}

/// The write end of this side's pipe, through which it wakes the peer.
pub struct PeerDoorbell(OwnedFd);

impl PeerDoorbell {
    /// Makes a pipe. Returns the write end, and the read end for the peer.
    pub fn new() -> Result<(Self, OwnedFd)> {
        let (read_end, write_end) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        // Only the write end becomes nonblocking: the peer does not share its description.
        nix::fcntl::fcntl(&write_end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((Self(write_end), read_end))
    }

    /// Wakes the peer; `EPIPE` if it is dead. A full pipe is not an error: the peer has unread
    /// wake-ups.
    #[inline(never)]
    pub fn notify(&self) -> Result<()> {
        // The message is already published, so a thread that is cancelled here would leave the peer
        // asleep.
        let _uncancelled = CancelGuard::new();
        loop {
            match pipe::write_without_signal(self.0.as_fd(), &[0]) {
                Err(error) if error == Errno::EINTR => {}
                Ok(_) => return Ok(()),
                Err(error) if error == Errno::EAGAIN => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
