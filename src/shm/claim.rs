//! The right to make the region of a name, which one process has at a time, and loses when it
//! dies.
//!
//! It hangs on the folder of names itself: that is the one thing that all who use its names
//! have in common, whatever their namespaces and rights, and that needs not be made and so is
//! not left behind. A folder can be opened for reading only, and so takes no exclusive lock of a
//! range of bytes; but a shared one, and a look at whether an exclusive one would be granted. So
//! a claim is a shared lock of the byte that has the name's number, made while nobody else looks
//! (flock(2), held for these two calls and never while other code runs). Locks of open file
//! descriptions go with the last descriptor, however that goes; a child that was forked meanwhile
//! has one too.

use super::name::{FOLDER, Name};
use crate::errno::Result;
use crate::sys::flock;
use libc::c_int;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, OwnedFd};

/// A claim on a name, once it is taken; given up when dropped.
pub struct Claim {
    folder: OwnedFd,
    place: i64,
}

impl Claim {
    /// Prepares one.
    pub fn new(name: &Name) -> Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self {
            folder: nix::fcntl::open(FOLDER, flags, Mode::empty())?,
            place: name.number(),
        })
    }

    /// Takes it; false if another has it.
    pub fn take(&self) -> Result<bool> {
        // At first without disturbing anybody.
        if self.is_anothers()? {
            return Ok(false);
        }
        flock(self.folder.as_fd(), libc::LOCK_EX)?;
        let free = !self.is_anothers()?;
        if free {
            let shared = self.lock(libc::F_RDLCK);
            fcntl(&self.folder, FcntlArg::F_OFD_SETLK(&shared))?;
        }
        flock(self.folder.as_fd(), libc::LOCK_UN)?;
        Ok(free)
    }

    fn is_anothers(&self) -> Result<bool> {
        let mut lock = self.lock(libc::F_WRLCK);
        fcntl(&self.folder, FcntlArg::F_OFD_GETLK(&mut lock))?;
        Ok(c_int::from(lock.l_type) != libc::F_UNLCK)
    }

    fn lock(&self, kind: c_int) -> libc::flock {
        libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: self.place,
            l_len: 1,
            l_pid: 0, // has to be
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Not by closing alone: a child that was forked meanwhile would keep it.
        let none = self.lock(libc::F_UNLCK);
        let _ = fcntl(&self.folder, FcntlArg::F_OFD_SETLK(&none));
    }
}
