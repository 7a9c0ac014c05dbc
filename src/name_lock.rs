//! A lock on a name in a directory, which the kernel releases when its owner dies.
//!
//! The lock of `NAME` is flock(2) on a file `.NAME.lock` in the same directory. The owner creates
//! the file, and removes it before it releases the lock. Only a process that may write in the
//! directory can create the file, and only its user (and root) can open it: its mode is 0600. A
//! process that may merely read the directory cannot hold the lock.
//!
//! - **Killed owner.** At most the empty file stays. The next owner uses it and removes it.
//! - **Another user's file.** It cannot be opened, so the lock counts as held; when the time-out
//!   expires, the error is `EACCES`. A file that a killed process of another user left
//!   behind stays until that user, or root, locks the name or removes the file.
//! - **Removed file.** Another process may have opened the file before its owner removed it.
//!   After it got the lock it compares the file with the directory entry, and starts again if
//!   they differ.
//! - **fork.** A child that another thread forks while the lock is held has a copy of the
//!   descriptor, which shares the lock. So the lock is released by `LOCK_UN` and not by closing. If
//!   the owner is killed first, the lock lasts until such a child executes a program or exits.
//! - **Cancellation** of the thread is deferred from the beginning of [`NameLock::acquire`] until
//!   the lock is dropped.
//! - **Long names.** Where `.NAME.lock` would be longer than `NAME_MAX` (for names of more than
//!   249 bytes), the file is `.HASH.lock`, with a hash of the name in 16 hexadecimal digits. Two
//!   names with the same hash share one lock, so one waits for the other; that is harmless.
//! - **Clean-up.** [`remove_stale`] removes a file that a killed owner has left. It removes none that
//!   another process has open: a program may lock a file with such a name in another way.
//! - **Hostile files.** In a directory that others may write, such as /tmp, another user can
//!   create `.NAME.lock` first. Symbolic links are not followed, and anything but a regular file
//!   is refused. Nothing waits in open(2), neither for a FIFO nor for a file lease. The file is
//!   never read or written. A hard link to another file is locked and removed like any file of
//!   that name; the other file stays as it is. Another user can thus make the call fail after its
//!   time-out, as they can by taking `NAME` itself; they can do nothing else.

use crate::bytes;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::fd::duplicate;
use crate::sys::{self, CancelGuard};
use libc::NAME_MAX;
use nix::errno::Errno as Error;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long to pause before the next attempt while another process has the lock: at first, and
/// at most.
const PAUSE: Duration = Duration::from_micros(50);
const PAUSE_MAX: Duration = Duration::from_millis(5);

/// How the file is opened. Without O_NONBLOCK the open of a FIFO or of a file with a lease would wait.
const FLAGS: OFlag = OFlag::O_RDWR
    .union(OFlag::O_CLOEXEC)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY);

/// The permissions of the file.
const MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// The lock of one name, held by this process until it is dropped.
#[must_use]
pub struct NameLock {
    entry: Entry,
    file: OwnedFd,
    _uncancelled: CancelGuard,
}

/// The outcome of one attempt to lock the file.
enum Attempt {
    Locked(OwnedFd),
    /// The file was removed after it had been opened or found.
    Removed,
    /// Another process holds the lock.
    Held,
    /// Another user's file.
    Inaccessible,
}

impl NameLock {
    /// Locks the name that `path` ends in; its directory must exist.
    ///
    /// Fails with `ETIMEDOUT`, `EAGAIN` or `EINTR`, as `wait` says, if another process holds the
    /// lock; with `EACCES` if the directory may not be written or searched, or the file is another
    /// user's; with `EEXIST` if there is something else than a regular file at its name; with
    /// `EISDIR` if `path` ends in no name ("/", ".."); with what openat(2) and flock(2) return.
    pub fn acquire(path: &CStr, wait: Deadline) -> Result<Self> {
        // `is_needless` is never true, so the result is never none.
        Self::acquire_unless(path, wait, &mut || Ok(false))?.ok_or(errno!(EAGAIN))
    }

    /// As [`NameLock::acquire`], for a name in a directory.
    pub fn acquire_at(directory: BorrowedFd, name: &CStr, wait: Deadline) -> Result<Self> {
        let entry = Entry {
            directory: duplicate(directory, 0)?,
            name: FileName::of(name.to_bytes()),
        };
        Self::acquire_entry(entry, wait, &mut || Ok(false))?.ok_or(errno!(EAGAIN))
    }

    /// As [`NameLock::acquire`]. While another process has the lock, it calls `is_needless` before
    /// each further attempt, and returns none as soon as that is true.
    pub fn acquire_unless(
        path: &CStr,
        wait: Deadline,
        is_needless: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<Option<Self>> {
        let _uncancelled = CancelGuard::new();
        Self::acquire_entry(Entry::new(path)?, wait, is_needless)
    }

    fn acquire_entry(
        entry: Entry,
        mut wait: Deadline,
        is_needless: &mut dyn FnMut() -> Result<bool>,
    ) -> Result<Option<Self>> {
        let uncancelled = CancelGuard::new();
        let mut pause = PAUSE;
        loop {
            let is_accessible = match entry.try_lock()? {
                Attempt::Locked(file) => {
                    return Ok(Some(Self {
                        entry,
                        file,
                        _uncancelled: uncancelled,
                    }));
                }
                Attempt::Removed => {
                    wait.remaining()?;
                    continue;
                }
                Attempt::Held => true,
                Attempt::Inaccessible => false,
            };
            if is_needless()? {
                return Ok(None);
            }
            match wait.any(&mut [], Some(pause)) {
                Ok(_) => pause = pause.saturating_mul(2).min(PAUSE_MAX),
                Err(error)
                    if error.is_one_of(&[Errno::EAGAIN, Errno::ETIMEDOUT]) && !is_accessible =>
                {
                    return Err(errno!(EACCES));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for NameLock {
    fn drop(&mut self) {
        // Only this file: another program may have removed it, so that the name refers to another.
        if fstat(&self.file).is_ok_and(|st| self.entry.refers_to(&st) == Ok(true)) {
            self.entry.remove();
        }
        let _ = sys::flock(self.file.as_fd(), libc::LOCK_UN);
    }
}

/// Removes the lock file `name` in a directory if no other process has it open. Returns whether it did,
/// or would do so if `only_check`. False if the file system does not report who has it open. `EINVAL`
/// if the name is not that of a lock file; `EACCES` if the file belongs to another user.
pub fn remove_stale(directory: BorrowedFd, name: &CStr, only_check: bool) -> Result<bool> {
    let uncancelled = CancelGuard::new();
    let name = name.to_bytes();
    if !name.starts_with(PREFIX) || !name.ends_with(SUFFIX) || name.len() > NAME_MAX as usize {
        return Err(errno!(EINVAL));
    }
    let entry = Entry {
        directory: duplicate(directory, 0)?,
        name: FileName::exactly(name),
    };
    let file = match entry.try_lock_existing()? {
        Attempt::Locked(file) => file,
        Attempt::Inaccessible => return Err(errno!(EACCES)),
        Attempt::Removed | Attempt::Held => return Ok(false),
    };
    let unused = is_unused(&file);
    if only_check || unused != Ok(true) {
        sys::flock(file.as_fd(), libc::LOCK_UN)?;
        return unused;
    }
    drop(NameLock {
        entry,
        file,
        _uncancelled: uncancelled,
    });
    Ok(true)
}

/// Whether no other process has the file open, which then cannot be opened until the descriptor is
/// closed. False if the file system does not report that.
fn is_unused(file: &OwnedFd) -> Result<bool> {
    match sys::lease(file.as_fd()) {
        Err(error) if error.is_one_of(&[Errno::EAGAIN, Errno::EINVAL]) => Ok(false),
        leased => leased.map(|()| true),
    }
}

/// The directory entry of the lock file.
struct Entry {
    directory: OwnedFd,
    name: FileName,
}

impl Entry {
    fn new(path: &CStr) -> Result<Self> {
        let (directory, name) = split(path.to_bytes());
        if matches!(name, b"" | b"." | b"..") {
            return Err(errno!(EISDIR));
        }
        // O_PATH: it need not be readable.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut path = [0; PATH_MAX];
        Ok(Self {
            directory: nix::fcntl::open(terminate(directory, &mut path)?, flags, Mode::empty())?,
            name: FileName::of(name),
        })
    }

    fn try_lock(&self) -> Result<Attempt> {
        let flags = FLAGS | OFlag::O_CREAT | OFlag::O_EXCL;
        match openat(&self.directory, self.name.as_cstr(), flags, MODE) {
            Ok(file) => self.lock_created(file),
            Err(Error::EEXIST) => self.try_lock_existing(),
            Err(error) => Err(error.into()),
        }
    }

    fn try_lock_existing(&self) -> Result<Attempt> {
        // The open of a device can have an effect, so the type is checked before the open. It may
        // change in between, so it is checked after the open too.
        match self.stat() {
            Ok(st) => check_regular(&st)?,
            Err(Error::ENOENT) => return Ok(Attempt::Removed),
            Err(error) => return Err(error.into()),
        }
        match openat(&self.directory, self.name.as_cstr(), FLAGS, Mode::empty()) {
            Ok(file) => self.lock(file),
            Err(Error::ENOENT) => Ok(Attempt::Removed),
            Err(Error::EACCES) => Ok(Attempt::Inaccessible),
            Err(Error::EAGAIN) => Ok(Attempt::Held), // a lease
            Err(Error::ELOOP | Error::ENXIO | Error::EISDIR) => Err(errno!(EEXIST)),
            Err(error) => Err(error.into()),
        }
    }

    fn lock_created(&self, file: OwnedFd) -> Result<Attempt> {
        // A umask can remove the permissions of the owner. If this process were then killed,
        // another process of this user could not open the file. A file system without permissions
        // may refuse.
        if Mode::from_bits_truncate(fstat(&file)?.st_mode) & MODE != MODE {
            let _ = fchmod(&file, MODE);
        }
        self.lock(file).inspect_err(|_| self.remove())
    }

    fn lock(&self, file: OwnedFd) -> Result<Attempt> {
        let st = fstat(&file)?;
        check_regular(&st)?;
        match sys::flock(file.as_fd(), libc::LOCK_EX | libc::LOCK_NB) {
            Ok(()) => {}
            Err(error) if error == Errno::EAGAIN => return Ok(Attempt::Held),
            Err(error) => return Err(error),
        }
        Ok(if self.refers_to(&st)? {
            Attempt::Locked(file)
        } else {
            Attempt::Removed
        })
    }

    fn stat(&self) -> nix::Result<FileStat> {
        let name = self.name.as_cstr();
        fstatat(&self.directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
    }

    /// Whether the entry refers to this file.
    fn refers_to(&self, file: &FileStat) -> Result<bool> {
        match self.stat() {
            Ok(st) => Ok((st.st_dev, st.st_ino) == (file.st_dev, file.st_ino)),
            Err(Error::ENOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn remove(&self) {
        let name = self.name.as_cstr();
        let _ = unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir);
    }
}

fn check_regular(st: &FileStat) -> Result<()> {
    match SFlag::from_bits_truncate(st.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => Ok(()),
        _ => Err(errno!(EEXIST)),
    }
}

/// The name of the lock file, with a NUL.
struct FileName([u8; NAME_MAX as usize + 1]);

/// The beginning of the name.
const PREFIX: &[u8] = b".";
/// The end of the name.
const SUFFIX: &[u8] = b".lock";

impl FileName {
    fn of(name: &[u8]) -> Self {
        let hash;
        let middle = if PREFIX.len() + name.len() + SUFFIX.len() <= NAME_MAX as usize {
            name
        } else {
            hash = hexadecimal(bytes::hash(name));
            &hash
        };
        Self::exactly([PREFIX, middle, SUFFIX].into_iter().flatten())
    }

    fn exactly<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> Self {
        let mut file = [0; NAME_MAX as usize + 1];
        for (to, byte) in file.iter_mut().zip(bytes) {
            *to = *byte;
        }
        Self(file)
    }

    fn as_cstr(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

/// Splits a path into its directory and its name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        None => (b".", path),
        Some(0) => (b"/", path.get(1..).unwrap_or_default()),
        Some(at) => {
            let name = path.get(at + 1..).unwrap_or_default();
            (path.get(..at).unwrap_or_default(), name)
        }
    }
}

const PATH_MAX: usize = libc::PATH_MAX as usize;

/// Copies a path and appends a NUL.
fn terminate<'a>(path: &[u8], buffer: &'a mut [u8; PATH_MAX]) -> Result<&'a CStr> {
    for (to, byte) in buffer.iter_mut().zip(path) {
        *to = *byte;
    }
    CStr::from_bytes_until_nul(buffer).map_err(|_| errno!(ENAMETOOLONG))
}

fn hexadecimal(number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (at, digit) in digits.iter_mut().rev().enumerate() {
        let value = (number >> (4 * at)) as u8 & 0xf;
        *digit = if value < 10 {
            b'0' + value
        } else {
            b'a' + value - 10
        };
    }
    digits
}
