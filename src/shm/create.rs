//! Making a region: its file, its memory, its seals.

use super::check::is_tmpfs;
use super::name::FOLDER;
use super::{Memory, Shm, Usage};
use crate::errno::{Errno, Result};
use crate::sys::memory;
use libc::{c_uint, mode_t};
use nix::fcntl::{OFlag, SealFlag};
use nix::sys::stat::Mode;
use nix::sys::statfs::{Statfs, fstatfs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `MFD_NOEXEC_SEAL` of linux/memfd.h (Linux 6.3).
const MFD_NOEXEC_SEAL: c_uint = 8;

/// How much memory is asked for at a time, at first.
const PIECE: usize = 4 << 20;
/// The least that is asked for at a time.
const PIECE_MIN: usize = 4096;

/// Who may do what with a region: reading and writing by owner, group and others.
const MODES: mode_t = 0o666;
/// What is meant by 0.
const MODE: mode_t = 0o600;

/// What kind of region is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Creation {
    /// How this process maps it.
    pub usage: Usage,
    /// Whether it will get a name.
    pub publish: bool,
    /// Whether nobody else may ever map it for writing.
    pub sole_writer: bool,
    /// The permissions; 0 stands for 0600.
    pub mode: mode_t,
}

impl Creation {
    /// Fails for what cannot be asked for.
    pub fn check(&self, size: usize) -> Result<()> {
        // A file on tmpfs takes no seals.
        let contradicts = self.usage.read_only || (self.publish && self.sole_writer);
        if size == 0 || self.mode & !MODES != 0 || contradicts {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}

/// Makes a region of zero bytes.
pub fn create(size: usize, creation: Creation) -> Result<Shm> {
    let Creation {
        usage,
        publish,
        sole_writer,
        mode,
    } = creation;
    creation.check(size)?;
    let fd = if publish { nameless()? } else { memfd()? };
    let mode = if mode == 0 { MODE } else { mode };
    nix::sys::stat::fchmod(&fd, Mode::from_bits_truncate(mode))?;
    set_size(fd.as_fd(), size)?;
    if !usage.huge {
        allocate(fd.as_fd(), size)?;
    }
    let mapping = usage.map(fd.as_fd(), size)?;
    if usage.huge {
        // Only a touch through the mapping makes huge pages; what it could not make is made now.
        let _ = mapping.populate(true);
        allocate(fd.as_fd(), size)?;
    }
    usage.lock(&mapping)?;
    if !publish {
        seal(fd.as_fd(), sole_writer)?;
    }
    Ok(Shm(Memory::File {
        mapping,
        fd,
        publishable: publish,
    }))
}

/// A file of memory that can be sealed, and not be executed where the kernel knows that.
pub fn memfd() -> Result<OwnedFd> {
    let name = c"unixipc";
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    match memory::memfd_create(name, flags | MFD_NOEXEC_SEAL) {
        Err(Errno::EINVAL) => memory::memfd_create(name, flags),
        done => done,
    }
}

/// A file in the folder of names that has none yet. Nobody may open it before it has its mode.
fn nameless() -> Result<OwnedFd> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let fd = nix::fcntl::open(FOLDER, flags, Mode::empty())?;
    if is_tmpfs(&fstatfs(&fd)?) {
        Ok(fd)
    } else {
        Err(Errno::EOPNOTSUPP)
    }
}

/// Gives a file its size. `EFBIG` if this process may not make such a large one; `ENOSPC` if there
/// cannot be so much memory, before what there is is taken in the attempt.
pub fn set_size(fd: BorrowedFd, size: usize) -> Result<()> {
    let len = i64::try_from(size).map_err(|_| Errno::EFBIG)?;
    if size as u64 > memory::file_size_limit()? {
        return Err(Errno::EFBIG);
    }
    check_room(&fstatfs(fd)?, size as u64)?;
    Ok(nix::unistd::ftruncate(fd, len)?)
}

fn check_room(file_system: &Statfs, size: u64) -> Result<()> {
    let limited = file_system.blocks() > 0;
    let block = u64::try_from(file_system.block_size()).unwrap_or(1);
    if (limited && size > file_system.blocks_available().saturating_mul(block))
        || size > memory::total()?
    {
        return Err(Errno::ENOSPC);
    }
    Ok(())
}

/// Has the kernel find all memory of a file now: `ENOSPC` here, and no SIGBUS later.
pub fn allocate(fd: BorrowedFd, size: usize) -> Result<()> {
    let mut piece = PIECE;
    let mut done = 0;
    while done < size {
        let len = piece.min(size - done);
        match memory::allocate(fd, done, len) {
            Ok(()) => done += len,
            // A signal has undone the piece (on Linux 6.18 only one that kills does). Where they
            // come often, only a small one gets done.
            Err(Errno::EINTR) => piece = (piece / 2).max(PIECE_MIN),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// From here on the memory has this size for ever. Where `sole_writer`, mappings for writing
/// that exist stay, and no other can be made.
pub fn seal(fd: BorrowedFd, sole_writer: bool) -> Result<()> {
    let mut seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    if sole_writer {
        seals |= SealFlag::F_SEAL_FUTURE_WRITE;
    }
    memory::add_seals(fd, seals)
}
