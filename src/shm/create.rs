//! Creates a region: its file, its memory, its seals.

use super::check::{file_system, is_in_memory};
use super::name::FOLDER;
use super::{Memory, Shm, Usage};
use crate::errno::{Errno, Result};
use crate::sys::memory;
use libc::{c_uint, mode_t};
use nix::fcntl::{OFlag, SealFlag};
use nix::sys::stat::Mode;
use nix::sys::statfs::Statfs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `MFD_NOEXEC_SEAL` of linux/memfd.h (Linux 6.3).
const MFD_NOEXEC_SEAL: c_uint = 8;

/// The size of the first allocation request.
const PIECE: usize = 4 << 20;
/// The smallest allocation request.
const PIECE_MIN: usize = 4096;

/// Who may do what with a region: reading and writing by owner, group and others.
const MODES: mode_t = 0o666;
/// The permissions that 0 stands for.
const MODE: mode_t = 0o600;

/// The kind of region to create.
#[derive(Clone, Copy, Debug, Default)]
pub struct Creation {
    /// How this process maps it.
    pub usage: Usage,
    /// Whether it will get a name.
    pub publish: bool,
    /// Whether no other process may ever map it for writing.
    pub sole_writer: bool,
    /// The permissions; 0 stands for 0600.
    pub mode: mode_t,
}

impl Creation {
    /// Fails for a combination that no region can have.
    pub fn check(&self, size: usize) -> Result<()> {
        // A file on tmpfs takes no seals.
        let contradicts = self.usage.read_only || (self.publish && self.sole_writer);
        if size == 0 || self.mode & !MODES != 0 || contradicts {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }
}

/// Creates a region of zero bytes.
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
        // Only a touch through the mapping allocates huge pages; the rest is allocated now.
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
#[inline(never)]
pub fn memfd() -> Result<OwnedFd> {
    let name = c"unixipc";
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    match memory::memfd_create(name, flags | MFD_NOEXEC_SEAL) {
        // A kernel from before the flag, or a filter that does not know it.
        Err(error) if error == Errno::EINVAL || error.is_missing_call() => {
            memory::memfd_create(name, flags)
        }
        done => done,
    }
}

/// A file without a name in the directory of names. No other process may open it before it has
/// its mode.
fn nameless() -> Result<OwnedFd> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let fd = nix::fcntl::open(FOLDER, flags, Mode::empty())?;
    if is_in_memory(fd.as_fd())? {
        Ok(fd)
    } else {
        Err(Errno::EOPNOTSUPP)
    }
}

/// Gives a file its size. `EFBIG` if this process may not make such a large one; `ENOSPC` if there
/// cannot be that much memory, before the attempt takes the memory that exists.
#[inline(never)]
pub fn set_size(fd: BorrowedFd, size: usize) -> Result<()> {
    let len = i64::try_from(size).map_err(|_| Errno::EFBIG)?;
    check_size(size as u64)?;
    check_free_space(file_system(fd)?.as_ref(), size as u64)?;
    Ok(nix::unistd::ftruncate(fd, len)?)
}

/// Fails if no file of memory of this size can be made on this system by this process. If a system
/// call filter refuses to report a limit, only the allocation notices it.
pub fn check_size(size: u64) -> Result<()> {
    if size > memory::file_size_limit()? {
        return Err(Errno::EFBIG);
    }
    match memory::total() {
        Ok(total) if size > total => Err(Errno::ENOSPC),
        Err(error) if !error.is_missing_call() => Err(error),
        _ => Ok(()),
    }
}

fn check_free_space(file_system: Option<&Statfs>, size: u64) -> Result<()> {
    let available = file_system.filter(|fs| fs.blocks() > 0).map(|fs| {
        let block = u64::try_from(fs.block_size()).unwrap_or(1);
        fs.blocks_available().saturating_mul(block)
    });
    if available.is_some_and(|available| size > available) {
        return Err(Errno::ENOSPC);
    }
    Ok(())
}

/// Has the kernel find all memory of a new file now: `ENOSPC` here, and no SIGBUS later. The file
/// must still be all zeros, since they are written where `fallocate` is refused.
#[inline(never)]
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
            Err(error) if error.is_missing_call() => return write_zeros(fd, done, size),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes zeros to a part of a file.
fn write_zeros(fd: BorrowedFd, mut from: usize, end: usize) -> Result<()> {
    let zeros = [0; PIECE_MIN];
    while from < end {
        let len = zeros.len().min(end - from);
        match memory::write_at(fd, &zeros[..len], from) {
            Ok(0) => return Err(Errno::ENOSPC),
            Ok(written) => from += written,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// From here on the memory has this size for ever. Where `sole_writer`, mappings for writing
/// that exist stay, and no other can be made.
#[inline(never)]
pub fn seal(fd: BorrowedFd, sole_writer: bool) -> Result<()> {
    let mut seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    if sole_writer {
        seals |= SealFlag::F_SEAL_FUTURE_WRITE;
    }
    memory::add_seals(fd, seals)
}
