//! Names of regions: files in /dev/shm, as shm_open(3) has them.

use super::check;
use super::file::FileId;
use crate::errno::{Errno, Result};
use libc::NAME_MAX;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FileStat, SFlag, fstatat};
use std::ffi::CStr;

/// The directory of the names: the C libraries know no other.
pub const DIRECTORY: &CStr = c"/dev/shm";

/// The directory, the name with its slash, and a NUL.
const PATH_MAX: usize = DIRECTORY.count_bytes() + 1 + NAME_MAX as usize + 1;

/// A valid name, as a path.
#[derive(Clone)]
pub struct Name {
    path: [u8; PATH_MAX],
}

impl Name {
    /// Checks `/name`.
    pub fn new(name: &CStr) -> Result<Self> {
        let name = name.to_bytes();
        let file = match name {
            [b'/', file @ ..] if !matches!(file, b"" | b"." | b"..") => file,
            _ => return Err(Errno::EINVAL),
        };
        if file.contains(&b'/') {
            return Err(Errno::EINVAL);
        }
        let directory = DIRECTORY.to_bytes();
        let mut path = [0; PATH_MAX];
        if directory.len() + name.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        for (to, byte) in path.iter_mut().zip(directory.iter().chain(name)) {
            *to = *byte;
        }
        Ok(Self { path })
    }

    /// Checks `/name` of a new region. `EINVAL` for the names that the files of the name lock
    /// have: the lock of another name would remove the region.
    pub fn of_new(name: &CStr) -> Result<Self> {
        let bytes = name.to_bytes();
        if bytes.starts_with(b"/.") && bytes.ends_with(b".lock") {
            return Err(Errno::EINVAL);
        }
        Self::new(name)
    }

    /// The path of the file.
    #[inline(never)] // it is long, and often called
    pub fn path(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.path).unwrap_or_default()
    }

    /// The status of the name itself: it does not follow a symbolic link.
    pub fn stat(&self) -> Result<FileStat> {
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        Ok(fstatat(AT_FDCWD, self.path(), flags)?)
    }

    /// Whether the name leads to this file.
    pub fn leads_to(&self, file: FileId) -> Result<bool> {
        match self.stat() {
            Ok(st) => Ok(FileId::of(&st) == file),
            Err(Errno::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes the name if it leads to this file. The caller holds the name lock; only a program
    /// that does not use that lock could replace the file in between.
    pub fn unlink_if(&self, file: FileId) -> Result<()> {
        if !self.leads_to(file)? {
            return Ok(());
        }
        match self.unlink() {
            Err(Errno::ENOENT) => Ok(()),
            unlinked => unlinked,
        }
    }

    /// Removes the name.
    pub fn unlink(&self) -> Result<()> {
        Ok(nix::unistd::unlink(self.path())?)
    }
}

/// `ELOOP` for a symbolic link, `EINVAL` for any other file that is not a regular one.
pub fn check_regular(st: &FileStat) -> Result<()> {
    if check::is_regular(st) {
        return Ok(());
    }
    match SFlag::from_bits_truncate(st.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFLNK => Err(Errno::ELOOP),
        _ => Err(Errno::EINVAL),
    }
}
