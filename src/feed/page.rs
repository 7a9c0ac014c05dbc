//! The shared memory of a subscriber: a page with its control words. The subscriber maps it
//! writable and seals it; the publisher maps it read-only.

use super::control::SubscriberControl;
use crate::errno::{Result, errno};
use crate::shm::{check, create};
use crate::sys::memory::Mapping;
use crate::transport::label::{self, Label};
use crate::transport::ring_memory::{SEALS, to_enomem, to_eproto};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The size of the file: the largest page of any system. Only its first page is used.
pub const SIZE: usize = 1 << 16;
/// The size of the part that is mapped: the control words and the label.
const USED: usize = label::OFFSET + size_of::<Label>();

/// A subscriber's memory, mapped by the subscriber or by the publisher.
pub struct Page(Mapping);

impl Page {
    /// Creates the memory. Also returns its descriptor, for the publisher.
    pub fn create() -> Result<(Self, OwnedFd)> {
        let fd = create::memfd(label::SUBSCRIBER.file_name)?;
        create::set_size(fd.as_fd(), SIZE)?;
        let this = Self::map(fd.as_fd(), true).map_err(to_enomem)?;
        create::seal(fd.as_fd(), true)?;
        Ok((this, fd))
    }

    /// Checks and maps the memory of a subscriber. `EPROTO` unless no process can truncate it or map
    /// it writable.
    pub fn of_peer(fd: BorrowedFd) -> Result<Self> {
        if check::sealed(fd, SEALS).map_err(to_eproto)? != SIZE {
            return Err(errno!(EPROTO));
        }
        Self::map(fd, false).map_err(to_enomem).map_err(to_eproto)
    }

    fn map(fd: BorrowedFd, writable: bool) -> Result<Self> {
        Mapping::new(fd, USED, writable, false).map(Self)
    }

    /// The control words.
    #[inline]
    pub fn control(&self) -> &SubscriberControl {
        // SAFETY: the mapping begins with the control words and lives as long as self. They are
        // atomics, for which any bytes are valid. In a read-only mapping no caller stores to them.
        unsafe { &*self.0.address().cast::<SubscriberControl>() }
    }

    /// The label.
    pub fn label(&self) -> &Label {
        let at = self.0.address().wrapping_byte_add(label::OFFSET);
        // SAFETY: as in `control`; the mapping contains the label.
        unsafe { &*at.cast::<Label>() }
    }
}
