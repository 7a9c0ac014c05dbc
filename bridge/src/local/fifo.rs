//! A FIFO in an event loop.

use super::{LocalError, Readiness, Scratch, c_path};
use crate::config::{Local, RouteOptions};
use bytes::Bytes;
use std::os::fd::{AsFd, OwnedFd};
use unixipc::deadline::Deadline;
use unixipc::errno::{Errno, Result};
use unixipc::fifo::{self, Side, any, record};

/// The reader of a FIFO, which is a writer too: so the end of the last writer is no end for it.
pub struct FifoReader {
    readiness: Readiness,
    fd: OwnedFd,
}

impl FifoReader {
    /// Opens a FIFO. Creates it, with the permissions of the route, if it does not exist.
    pub fn open(local: &Local, options: &RouteOptions) -> std::result::Result<Self, LocalError> {
        let path = c_path(&local.path);
        let open = || {
            match fifo::create(&path, options.mode(), false) {
                Ok(()) => {}
                Err(errno) if errno == Errno::EEXIST => {}
                Err(error) => return Err(error),
            }
            let fd = fifo::open(&path, Side::ReadPersistent, Deadline::never())?;
            let readiness = Readiness::of(fd.as_fd())?;
            Ok(Self { readiness, fd })
        };
        open().map_err(|errno| LocalError::new(local, errno))
    }

    /// The next record, or line of text.
    pub fn try_recv(&mut self, scratch: &mut Scratch) -> Result<Bytes> {
        let receive = |buffer: &mut [_]| any::recv(self.fd.as_fd(), buffer, Deadline::never());
        Ok(scratch.receive(receive, |received| received.len)?.1)
    }

    /// Waits for an event, see [`Readiness::event`].
    pub async fn event(&self) {
        self.readiness.event().await;
    }
}

/// A writer of a FIFO.
pub struct FifoWriter {
    readiness: Readiness,
    fd: OwnedFd,
}

impl FifoWriter {
    /// Opens a FIFO. Fails with `EAGAIN` if it has no reader.
    pub fn open(local: &Local) -> std::result::Result<Self, LocalError> {
        let open = || {
            let fd = fifo::open(&c_path(&local.path), Side::Write, Deadline::never())?;
            let readiness = Readiness::for_writing(fd.as_fd())?;
            Ok(Self { readiness, fd })
        };
        open().map_err(|errno| LocalError::new(local, errno))
    }

    /// Sends a record.
    pub fn try_send(&mut self, bytes: &[u8]) -> Result<()> {
        record::send(self.fd.as_fd(), bytes, Deadline::never())
    }

    /// Waits for an event, see [`Readiness::event`].
    pub async fn event(&self) {
        self.readiness.event().await;
    }
}
