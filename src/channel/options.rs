//! The options of a channel, and their defaults.

use super::descriptors;
use super::memory::RingParams;
use crate::errno::{Result, errno};
use crate::transport::ring::{alignment, longest, size_for};
use crate::transport::ring_memory::{Pages, RING_MAX, ring_size};
use crate::transport::spin::{ADAPTIVE_SPIN, SpinPolicy};

/// The options of a channel.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The size of the ring into which this side sends; 0 for the default.
    pub send_size: u64,
    /// The size of the ring into which the other side of a pair sends; 0 for the same size.
    pub recv_size: u64,
    /// The largest ring that this side accepts from a peer; 0 for the default.
    pub recv_size_max: u64,
    /// The length of a message that must fit into each ring; 0 for no requirement. It increases
    /// the sizes if necessary.
    pub message_max: u64,
    /// The alignment of messages: 8, 16, 32 or 64; 0 for the default.
    pub message_align: u32,
    /// How long a blocking call spins before it sleeps.
    pub spin: SpinPolicy,
    /// Whether all pages of the own ring are allocated and mapped when it is created.
    pub populate: bool,
    /// Whether the own ring is locked into memory.
    pub lock: bool,
    /// Whether this side asks for descriptors with messages.
    pub fds: bool,
    /// Whether connecting waits until a process listens.
    pub wait: bool,
}

/// The default size of a ring.
const RING_SIZE: u64 = 256 << 10;
/// The default size of the largest ring that is accepted from a peer.
const RING_SIZE_MAX: u64 = 16 << 20;

impl Default for Options {
    fn default() -> Self {
        Self {
            send_size: 0,
            recv_size: 0,
            recv_size_max: 0,
            message_max: 0,
            message_align: 0,
            spin: SpinPolicy::Adaptive(ADAPTIVE_SPIN),
            populate: false,
            lock: false,
            fds: false,
            wait: false,
        }
    }
}

impl Options {
    /// The ring into which this side sends.
    pub fn send_ring(&self) -> Result<RingParams> {
        self.ring(self.send_size)
    }

    /// The ring into which the other side of a pair sends.
    pub fn recv_ring(&self) -> Result<RingParams> {
        self.ring(match self.recv_size {
            0 => self.send_size,
            size => size,
        })
    }

    /// The ring into which this side sends if the peer chooses its own ring. `EINVAL` if the
    /// options choose the peer's ring too.
    pub fn own_ring(&self) -> Result<RingParams> {
        if self.recv_size != 0 {
            return Err(errno!(EINVAL));
        }
        self.send_ring()
    }

    /// The size of the largest ring that is accepted from a peer.
    pub fn recv_size_max(&self) -> u64 {
        match self.recv_size_max {
            0 => RING_SIZE_MAX,
            size => size,
        }
    }

    #[inline(never)]
    fn ring(&self, size: u64) -> Result<RingParams> {
        let size = if size == 0 { RING_SIZE } else { size };
        let room = if self.fds {
            descriptors::ROOM as u64
        } else {
            0
        };
        let for_message = match self.message_max {
            0 => 0,
            len if len <= longest(RING_MAX) - room => size_for(len + room),
            _ => return Err(errno!(EINVAL)),
        };
        Ok(RingParams {
            ring_size: ring_size(size.max(for_message))?,
            align: alignment(self.message_align)?,
            pages: Pages {
                populate: self.populate,
                lock: self.lock,
            },
        })
    }
}
