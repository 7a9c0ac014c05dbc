//! The path at which a feed listens.

use crate::errno::{Errno, Result};
use crate::transport::listen::listen;
use libc::mode_t;
use nix::sys::stat::lstat;
use nix::unistd::unlink;
use std::ffi::CStr;
use std::os::fd::OwnedFd;

/// The size of the longest path of a socket, with its terminating null byte.
const PATH_SIZE: usize = 108;

/// A path that this process has created.
pub struct Listening {
    /// None for an abstract name.
    file: Option<File>,
}

/// A file, and the path at which it was created.
struct File {
    path: [u8; PATH_SIZE],
    /// The device and the number of the file.
    number: (u64, u64),
}

impl Listening {
    /// Listens at a path. Also returns the socket.
    pub fn new(path: &CStr, mode: mode_t) -> Result<(Self, OwnedFd)> {
        let socket = listen(path, mode)?;
        let file = match path.to_bytes().first() {
            Some(b'@') => None,
            _ => Some(File::new(path)?),
        };
        Ok((Self { file }, socket))
    }

    /// Removes the path, unless it is now that of another file.
    pub fn unlink(&self) {
        let Some(file) = &self.file else {
            return;
        };
        let Ok(path) = CStr::from_bytes_until_nul(&file.path) else {
            return;
        };
        if number(path) == Ok(file.number) {
            let _ = unlink(path);
        }
    }
}

impl File {
    fn new(path: &CStr) -> Result<Self> {
        let mut this = Self {
            path: [0; PATH_SIZE],
            number: number(path)?,
        };
        for (to, from) in this.path.iter_mut().zip(path.to_bytes_with_nul()) {
            *to = *from;
        }
        Ok(this)
    }
}

/// The device and the number of a file.
fn number(path: &CStr) -> Result<(u64, u64)> {
    let st = lstat(path).map_err(Errno::from)?;
    Ok((st.st_dev, st.st_ino))
}
