//! Names of regions: files in /dev/shm, as for shm_open(3).

use super::check;
use super::file::FileId;
use crate::errno::{Errno, Result, errno};
use libc::NAME_MAX;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FileStat, SFlag, fstatat};
use std::ffi::CStr;

/// The directory of the names, which the C libraries also use.
pub const DIRECTORY: &CStr = c"/dev/shm";

/// The size of a path: the directory, the name with its slash, and a NUL.
const PATH_MAX: usize = DIRECTORY.count_bytes() + 1 + NAME_MAX as usize + 1;

/// A valid name, as a path.
#[derive(Clone)]
pub struct Name {
    path: [u8; PATH_MAX],
}

impl Name {
    /// Checks a name of the form `/name`.
    pub fn new(name: &CStr) -> Result<Self> {
        let name = name.to_bytes();
        let file = match name {
            [b'/', file @ ..] if !matches!(file, b"" | b"." | b"..") => file,
            _ => return Err(errno!(EINVAL)),
        };
        if file.contains(&b'/') {
            return Err(errno!(EINVAL));
        }
        let directory = DIRECTORY.to_bytes();
        let mut path = [0; PATH_MAX];
        if directory.len() + name.len() >= PATH_MAX {
            return Err(errno!(ENAMETOOLONG));
        }
        for (to, byte) in path.iter_mut().zip(directory.iter().chain(name)) {
            *to = *byte;
        }
        Ok(Self { path })
    }

    /// Checks the name of a new region. `EINVAL` also for the form of the name lock's files: the
    /// lock of another name would remove the region.
    pub fn for_new_region(name: &CStr) -> Result<Self> {
        let bytes = name.to_bytes();
        if bytes.starts_with(b"/.") && bytes.ends_with(b".lock") {
            return Err(errno!(EINVAL));
        }
        Self::new(name)
    }

    /// The path of the file.
    #[inline(never)] // large, with many callers
    pub fn path(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.path).unwrap_or_default()
    }

    /// The status of the file with this name. Does not follow a symbolic link.
    pub fn stat(&self) -> Result<FileStat> {
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        Ok(fstatat(AT_FDCWD, self.path(), flags)?)
    }

    /// Whether this file has the name.
    pub fn leads_to(&self, file: FileId) -> Result<bool> {
        match self.stat() {
            Ok(st) => Ok(FileId::of(&st) == file),
            Err(error) if error == Errno::ENOENT => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes the name if this file has it. The caller holds the name lock, so no other process that
    /// holds it can replace the file between the check and the removal. Publishing and unlinking a
    /// region do not take the lock, because they have no time-out and another user may hold it: if a
    /// process does both within that moment, the name of its new region is removed.
    pub fn unlink_if(&self, file: FileId) -> Result<()> {
        if !self.leads_to(file)? {
            return Ok(());
        }
        match self.unlink() {
            Err(error) if error == Errno::ENOENT => Ok(()),
            unlinked => unlinked,
        }
    }

    /// Removes the name.
    pub fn unlink(&self) -> Result<()> {
        Ok(nix::unistd::unlink(self.path())?)
    }
}

/// `ELOOP` for a symbolic link, `EINVAL` for any other file that is not a regular file.
pub fn check_regular(st: &FileStat) -> Result<()> {
    if check::is_regular(st) {
        return Ok(());
    }
    match SFlag::from_bits_truncate(st.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFLNK => Err(errno!(ELOOP)),
        _ => Err(errno!(EINVAL)),
    }
}
