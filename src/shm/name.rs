//! Names of regions: files in /dev/shm, as shm_open(3) has them.

use crate::bytes;
use crate::errno::{Errno, Result};
use libc::NAME_MAX;
use std::ffi::CStr;

/// Where the names are: the C libraries know no other place.
pub const FOLDER: &CStr = c"/dev/shm";

/// The folder, the name with its slash, and a NUL.
const PATH_MAX: usize = FOLDER.count_bytes() + 1 + NAME_MAX as usize + 1;

/// A name that is one, as a path.
pub struct Name {
    path: [u8; PATH_MAX],
    len: usize,
}

impl Name {
    /// Understands `/name`.
    pub fn new(name: &CStr) -> Result<Self> {
        let name = name.to_bytes();
        let file = match name {
            [b'/', file @ ..] if !matches!(file, b"" | b"." | b"..") => file,
            _ => return Err(Errno::EINVAL),
        };
        if file.contains(&b'/') {
            return Err(Errno::EINVAL);
        }
        let folder = FOLDER.to_bytes();
        let len = folder.len() + name.len();
        let mut path = [0; PATH_MAX];
        if len >= PATH_MAX {
            return Err(Errno(libc::ENAMETOOLONG));
        }
        for (to, byte) in path.iter_mut().zip(folder.iter().chain(name)) {
            *to = *byte;
        }
        Ok(Self { path, len })
    }

    /// The file of that name.
    #[inline(never)] // it is long, and asked for often
    pub fn path(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.path).unwrap_or_default()
    }

    /// A number of 62 bits that another name hardly has too (FNV-1a).
    pub fn number(&self) -> i64 {
        let hash = bytes::hash(self.path.iter().take(self.len));
        (hash >> 2) as i64
    }
}
