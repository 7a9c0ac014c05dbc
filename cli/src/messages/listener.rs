//! A listener of channels, whose path is removed with it.

use super::address::Address;
use crate::error::{Context, Result};
use libc::mode_t;
use nix::sys::stat::lstat;
use nix::unistd::unlink;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use unixipc::transport::listen::listen;

/// A listener.
pub struct Listener {
    socket: OwnedFd,
    address: Address,
    /// The device and the number of the file; none for an abstract name.
    file: Option<(u64, u64)>,
}

impl Listener {
    /// Listens at an address.
    pub fn new(address: &Address, mode: mode_t) -> Result<Self> {
        let socket = listen(address.path(), mode).context(address)?;
        let is_abstract = address.path().as_bytes().starts_with(b"@");
        Ok(Self {
            socket,
            file: (!is_abstract).then(|| number(address)).flatten(),
            address: address.clone(),
        })
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn number(address: &Address) -> Option<(u64, u64)> {
    let found = lstat(address.path().as_c_str()).ok()?;
    Some((found.st_dev, found.st_ino))
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Another process may have replaced the path.
        if self.file.is_some() && number(&self.address) == self.file {
            let _ = unlink(self.address.path().as_c_str());
        }
    }
}
