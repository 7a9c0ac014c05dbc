//! The shared memory of an end, and the mapping of its peer's.
//!
//! Each end has a [`RingMemory`], which only the end itself can write. The two ends of a pair in one
//! process share a memfd, the memory of the second behind that of the first.
//!
//! | offset | content | written |
//! |---|---|---|
//! | 0 | tail: the cursor up to which this end has written its ring | with each message sent |
//! | 8 | 1 while the tail is published with the asymmetric fence (`event_count`) | rarely |
//! | 12 | the process that sends | once |
//! | 128 | head: the cursor up to which this end has read the peer's ring | with each message received |
//! | 136 | 1 while the head is published with the asymmetric fence | rarely |
//! | 140 | the process that receives | once |
//! | 256 | the receiver's event count | when it sleeps |
//! | 260 | the sender's event count | when it sleeps |
//! | 264 | 1 + the processor on which this side ran last; 0 if unknown | rarely |
//! | 268 | 1 when this side will send nothing from now on | once |
//! | 272 | 1 when this side will receive nothing from now on | once |
//! | 1024 | the [label](label) | once |
//! | 65536 | the ring | |
//!
//! All numbers are little-endian. A busy side writes the two cursors often. They are a pair of cache
//! lines (128 bytes) apart from each other and from the other words.

use super::control::Control;
use super::state::PeerRing;
use crate::atomic::{AtomicU32, Ordering};
use crate::errno::{Result, errno};
use crate::shm::create;
use crate::transport::label;
use crate::transport::ring::{ALIGN_MIN, Geometry};
use crate::transport::ring_memory::{
    CONTROL, ControlWords, Pages, RingMemory, create_file, file_size,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;

/// The memory of an end, mapped by its own process or by the peer's.
pub type EndMemory = RingMemory<Control>;

// SAFETY: atomics only.
unsafe impl ControlWords for Control {}

/// The parameters of a new memory.
#[derive(Clone, Copy, Debug)]
pub struct RingParams {
    /// The size of its ring; see [`ring_size`](crate::transport::ring_memory::ring_size).
    pub ring_size: u64,
    /// The alignment of messages that this side asks for.
    pub align: u64,
    /// How its pages are allocated.
    pub pages: Pages,
}

impl RingParams {
    /// Fails if this process certainly cannot create such a memory. Creates nothing.
    pub fn check(&self) -> Result<()> {
        create::check_size(file_size(self.ring_size)? as u64)
    }

    /// The geometry before the alignment has been agreed on.
    fn geometry(&self) -> Geometry {
        Geometry::new(self.ring_size, ALIGN_MIN)
    }
}

impl EndMemory {
    /// Creates the memory of this end. Also returns its descriptor, for the peer.
    pub fn of_end(params: &RingParams) -> Result<(Self, OwnedFd)> {
        Self::create(&label::CHANNEL, params.geometry(), params.pages)
    }

    /// Creates the memory of both ends of a pair in one file, which costs less than two. Returns for
    /// each end its memory, and the same memory as its peer maps it.
    pub fn create_pair(params: [&RingParams; 2]) -> Result<[(Self, Self); 2]> {
        let [a, b] = params;
        let a_size = file_size(a.ring_size)?;
        let size = a_size
            .checked_add(file_size(b.ring_size)?)
            .ok_or(errno!(EINVAL))?;
        let fd = create_file(&label::CHANNEL, size, a.pages.populate || b.pages.populate)?;
        let map = |offset, params: &RingParams, writable, end| {
            Self::map(fd.as_fd(), offset, params.geometry(), writable, end)
        };
        // In descending order: the memory of `a`, that of `b` for `a`, and the same for `b`. So each
        // end can unmap both of its memories together. Only what is mapped after the seals is
        // read-only for ever.
        let a_own = map(0, a, true, ptr::null_mut())?;
        let gap = a_own
            .start()
            .wrapping_byte_sub(CONTROL + 2 * b.ring_size as usize);
        let b_own = map(a_size, b, true, gap)?;
        create::seal(fd.as_fd(), true)?;
        let b_peers = map(a_size, b, false, a_own.start())?;
        let a_peers = map(0, a, false, b_own.start())?;
        a_own.prepare(a.pages)?;
        b_own.prepare(b.pages)?;
        Ok([(a_own, a_peers), (b_own, b_peers)])
    }

    /// Checks and maps the peer's memory, as [`RingMemory::of_peer`].
    pub fn of_other_end(fd: BorrowedFd, ring_size: u64) -> Result<Self> {
        // No ring has another size.
        file_size(ring_size)?;
        Self::of_peer(fd, Geometry::new(ring_size, ALIGN_MIN))
    }

    /// Writes the label of an end of a pair, which has none before its first use.
    pub fn write_label(&self) {
        let align = self.geometry().align();
        self.label().write_late(&label::CHANNEL, align);
    }

    /// This memory, in whose ring messages are aligned to `align`. The ring is empty.
    pub fn with_alignment(self, align: u64) -> Self {
        let size = self.ring_size();
        self.with_geometry(Geometry::new(size, align))
    }

    /// Writes the label, and allocates the pages that the first message needs. The memory is new.
    pub fn touch(&self) {
        self.label().write(&label::CHANNEL);
        self.length(0).store(0, Ordering::Relaxed);
    }
}

impl PeerRing for EndMemory {
    fn length_at(&self, cursor: u64) -> &AtomicU32 {
        self.length(self.geometry().position(cursor))
    }
}
