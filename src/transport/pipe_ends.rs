//! The two ends of the pipe by which one side wakes the other, each in its own process.

use crate::errno::{Errno, Result};
use crate::sys::{CancelGuard, pipe};
use nix::fcntl::{FcntlArg, OFlag};
use std::os::fd::{AsFd, OwnedFd};

/// The read end of a peer's pipe, which was checked.
pub struct ReadEnd(OwnedFd);

impl ReadEnd {
    /// Checks what a peer has sent: `EPROTO` unless it is the read end of a pipe.
    pub fn new(fd: OwnedFd) -> Result<Self> {
        // Not fstat: that may ask a file system of the peer's own (FUSE), which may never answer.
        let is_pipe = nix::fcntl::fcntl(&fd, nix::fcntl::F_GETPIPE_SZ).is_ok();
        let mode = OFlag::from_bits_retain(nix::fcntl::fcntl(&fd, FcntlArg::F_GETFL)?);
        // With a description that may write too, the peer's death would go unnoticed.
        if !is_pipe || mode & OFlag::O_ACCMODE != OFlag::O_RDONLY {
            return Err(Errno::EPROTO);
        }
        Ok(Self(fd))
    }

    /// The descriptor.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }
}

/// This side's write end, by which the peer is woken.
pub struct PeerDoorbell(OwnedFd);

impl PeerDoorbell {
    /// Makes a pipe: the write end, and the read end for the peer.
    pub fn new() -> Result<(Self, OwnedFd)> {
        let (read_end, write_end) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        // The description of the write end is this side's own.
        nix::fcntl::fcntl(&write_end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((Self(write_end), read_end))
    }

    /// Wakes the peer; `EPIPE` if it is dead. A full pipe is no failure: the peer has enough to
    /// read.
    #[inline(never)]
    pub fn notify(&self) -> Result<()> {
        // The message is published already: a thread that is cancelled here would not wake the peer.
        let _uncancelled = CancelGuard::new();
        loop {
            match pipe::write_without_signal(self.0.as_fd(), &[0]) {
                Err(Errno::EINTR) => {}
                Ok(_) | Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
