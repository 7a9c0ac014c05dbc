//! Creating a region: its file, its memory and its seals.

use super::check::{file_system, is_in_memory};
use super::file::RegionFile;
use super::name::DIRECTORY;
use super::trailer::Attributes;
use super::{FileRegion, MapOptions, Shm, users};
use crate::errno::{Errno, Result, errno};
use crate::init_once::InitOnce;
use crate::sys::{CancelGuard, memory};
use libc::{c_uint, mode_t};
use nix::fcntl::{OFlag, SealFlag};
use nix::sys::stat::{Mode, fstat};
use nix::sys::statfs::Statfs;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// `MFD_NOEXEC_SEAL` of linux/memfd.h (Linux 6.3).
const MFD_NOEXEC_SEAL: c_uint = 8;

/// The size of the first allocation request.
const CHUNK: usize = 4 << 20;
/// The smallest allocation request.
const CHUNK_MIN: usize = 4096;

/// The largest size that every system is assumed to have: the check costs more than the failed
/// allocation of so little.
const SMALL: u64 = 1 << 20;

/// The permissions that a region can have: reading and writing by owner, group and others.
const MODES: mode_t = 0o666;
/// The default permissions, for a mode of 0.
const MODE: mode_t = 0o600;

/// The kind of region to create.
#[derive(Clone, Copy, Debug, Default)]
pub struct CreateOptions {
    /// How this process maps the region.
    pub map: MapOptions,
    /// Whether it can get a name.
    pub publish: bool,
    /// Whether no other process can ever map it for writing.
    pub sole_writer: bool,
    /// Whether its name is removed after its last user has gone.
    pub transient: bool,
    /// The permissions; 0 for 0600.
    pub mode: mode_t,
    /// The layout tag; 0 for none.
    pub layout: u64,
}

impl CreateOptions {
    /// `EINVAL` for a combination of options that no region can have.
    pub fn check(&self, size: usize) -> Result<()> {
        // A named file on tmpfs cannot be sealed, and a region without a name cannot be transient.
        let contradicts = self.map.read_only
            || (self.publish && self.sole_writer)
            || (self.transient && !self.publish);
        if size == 0 || self.mode & !MODES != 0 || contradicts {
            return Err(errno!(EINVAL));
        }
        Ok(())
    }
}

/// Creates a region of zero bytes.
pub fn create(size: usize, options: CreateOptions) -> Result<Shm> {
    let CreateOptions {
        map, publish, mode, ..
    } = options;
    options.check(size)?;
    let attributes = Attributes {
        size,
        layout: options.layout,
        transient: options.transient,
    };
    let len = attributes.file_len()?;
    let _uncancelled = CancelGuard::new();
    let fd = if publish {
        tmpfile()?
    } else {
        memfd(c"unixipc-region")?
    };
    let mode = if mode == 0 { MODE } else { mode };
    nix::sys::stat::fchmod(&fd, Mode::from_bits_truncate(mode))?;
    set_size(fd.as_fd(), len)?;
    if !map.huge {
        allocate(fd.as_fd(), len)?;
    }
    let mapping = map.map(fd.as_fd(), size)?;
    if map.huge {
        // Only an access through the mapping allocates huge pages. `allocate` then allocates the
        // other pages.
        let _ = mapping.populate(true);
        allocate(fd.as_fd(), len)?;
    }
    map.lock(&mapping)?;
    attributes.write(fd.as_fd())?;
    if options.transient {
        users::begin(fd.as_fd())?;
    }
    if !publish {
        seal(fd.as_fd(), options.sole_writer)?;
    }
    let st = fstat(&fd)?;
    let file = RegionFile::new(fd, &st);
    Ok(Shm::from_file(FileRegion {
        mapping,
        file,
        attributes,
        publishable: publish,
        read_only: false,
        name: InitOnce::new(),
    }))
}

/// Creates a memfd that can be sealed. It cannot be executed if the kernel supports that. /proc shows
/// the name.
#[inline(never)]
pub fn memfd(name: &CStr) -> Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    match memory::memfd_create(name, flags | MFD_NOEXEC_SEAL) {
        // The kernel or a system call filter does not know the flag.
        Err(error) if error == Errno::EINVAL || error.is_missing_call() => {
            memory::memfd_create(name, flags)
        }
        done => done,
    }
}

/// Creates an unnamed file in the directory of names. Its mode is 0, so no other process can open
/// it before the caller sets the mode.
fn tmpfile() -> Result<OwnedFd> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let fd = nix::fcntl::open(DIRECTORY, flags, Mode::empty())?;
    if is_in_memory(fd.as_fd())? {
        Ok(fd)
    } else {
        Err(errno!(EOPNOTSUPP))
    }
}

/// Sets the size of a new file. `EFBIG` if this process may not create a file of this size. `ENOSPC`
/// if the system does not have that much memory: checked first, because a failed allocation would
/// use up the memory that exists.
#[inline(never)]
pub fn set_size(fd: BorrowedFd, size: usize) -> Result<()> {
    let len = i64::try_from(size).map_err(|_| errno!(EFBIG))?;
    check_size(size as u64)?;
    if size as u64 > SMALL {
        check_free_space(file_system(fd)?.as_ref(), size as u64)?;
    }
    Ok(nix::unistd::ftruncate(fd, len)?)
}

/// Fails if this process certainly cannot create a file in memory of this size. If a system call
/// filter refuses to report a limit, only the allocation notices the limit.
pub fn check_size(size: u64) -> Result<()> {
    if size > memory::file_size_limit()? {
        return Err(errno!(EFBIG));
    }
    if size <= SMALL {
        return Ok(());
    }
    match memory::total() {
        Ok(total) if size > total => Err(errno!(ENOSPC)),
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
        return Err(errno!(ENOSPC));
    }
    Ok(())
}

/// Allocates all memory of a new file: a shortage is `ENOSPC` here and not SIGBUS later. The file
/// must contain only zeros, because this function writes zeros if the kernel refuses fallocate(2).
#[inline(never)]
pub fn allocate(fd: BorrowedFd, size: usize) -> Result<()> {
    match reserve(fd, size) {
        Err(error) if error.is_missing_call() => write_zeros(fd, 0, size),
        reserved => reserved,
    }
}

/// Allocates the missing pages of a file, without changing its content.
pub(super) fn reserve(fd: BorrowedFd, size: usize) -> Result<()> {
    let mut chunk = CHUNK;
    let mut done = 0;
    while done < size {
        let len = chunk.min(size - done);
        match memory::allocate(fd, done, len) {
            Ok(()) => done += len,
            // A signal has interrupted and undone the allocation of the chunk (on Linux 6.18 only a
            // fatal signal does). If signals are frequent, only a small chunk succeeds.
            Err(error) if error == Errno::EINTR => chunk = (chunk / 2).max(CHUNK_MIN),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes zeros to a part of a file.
fn write_zeros(fd: BorrowedFd, mut from: usize, end: usize) -> Result<()> {
    let zeros = [0; CHUNK_MIN];
    while from < end {
        let len = zeros.len().min(end - from);
        match memory::write_at(fd, &zeros[..len], from) {
            Ok(0) => return Err(errno!(ENOSPC)),
            Ok(written) => from += written,
            Err(error) if error == Errno::EINTR => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Seals the size of a memfd. With `sole_writer`, it can no longer be mapped for writing, but
/// existing mappings stay writable.
#[inline(never)]
pub fn seal(fd: BorrowedFd, sole_writer: bool) -> Result<()> {
    let mut seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    if sole_writer {
        seals |= SealFlag::F_SEAL_FUTURE_WRITE;
    }
    memory::add_seals(fd, seals)
}
