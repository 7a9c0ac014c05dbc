//! The handshake: the offer of each side, and the check of the peer's offer.
//!
//! Each side sends one [`hello`](crate::transport::hello) with two descriptors: its memory
//! (`memory`), and the read end of the pipe through which it wakes its peer (`doorbell`). The side
//! that connects sends first. A side that accepts connections neither sends nor creates memory
//! before it has received a valid hello. It answers a hello of another version with its own version.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 4 | the letters `uich` |
//! | 4 | 2 | the version of the protocol |
//! | 6 | 2 | bit 0: this process is registered for `membarrier`; bit 1: the side asks for descriptors with messages |
//! | 8 | 8 | the size of the ring in the memory |
//! | 16 | 4 | the alignment of messages that this side asks for; both rings have the larger one |
//! | 20 | 44 | reserved, 0 |
//!
//! All numbers are little-endian.

use super::memory::{EndMemory, RingParams};
use crate::bytes::little_endian;
use crate::errno::{Errno, Result, errno};
use crate::sys::membarrier;
use crate::transport::hello::{self, HELLO_LEN, Hello};
use crate::transport::pipe_ends::{PeerDoorbell, ReadEnd};
use crate::transport::ring::is_alignment;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const MAGIC: [u8; 4] = *b"uich";
/// The version of the protocol, which covers the hello and the memory.
///
/// cbindgen:ignore
pub const VERSION: u16 = 4;
/// A flag of the hello: the side can use `membarrier`.
const MEMBARRIER: u16 = 1;
/// A flag of the hello: the side asks for descriptors with messages.
const FDS: u16 = 2;

/// The maximum number of descriptors that an accepting side has at one time during a handshake: the
/// socket, the peer's pipe, the own memory and the two ends of the own pipe. The descriptor of the
/// peer's memory is closed before the own memory is created.
///
/// cbindgen:ignore
pub const FDS_AT_PEAK: usize = 5;

/// The part of an offer that its side keeps.
pub struct OwnSide {
    /// The memory of this side.
    pub memory: EndMemory,
    /// The alignment of messages that this side asks for.
    pub align: u64,
    /// The write end of the pipe through which this side wakes the peer.
    pub peer_bell: PeerDoorbell,
    /// Whether this process is registered for `membarrier`, and so can probably issue one. If not, its
    /// sleeps are short.
    pub membarrier: bool,
    /// Whether this side asks for descriptors with messages.
    pub fds: bool,
}

/// The offer of this side.
pub struct Offer {
    own: OwnSide,
    memory_fd: OwnedFd,
    read_end: OwnedFd,
}

/// The offer of the peer, which has been checked.
pub struct PeerOffer {
    /// The memory of the peer, which this side can only read.
    pub memory: EndMemory,
    /// As in [`OwnSide`].
    pub align: u64,
    /// The read end of the pipe through which the peer wakes this side.
    pub pipe: ReadEnd,
    /// As in [`OwnSide`].
    pub membarrier: bool,
    /// As in [`OwnSide`].
    pub fds: bool,
}

impl Offer {
    /// Makes an offer: creates the memory and the pipe. `fds` as in [`OwnSide`].
    #[inline(never)] // large, with several callers
    pub fn new(params: &RingParams, fds: bool) -> Result<Self> {
        let (memory, memory_fd) = EndMemory::of_end(params)?;
        let (peer_bell, read_end) = PeerDoorbell::new()?;
        Ok(Self {
            own: OwnSide::new(memory, params.align, peer_bell, membarrier::register(), fds),
            memory_fd,
            read_end,
        })
    }

    /// Sends the offer as a hello.
    pub fn send(&self, socket: BorrowedFd) -> Result<()> {
        let mut bytes = header();
        let flags = u16::from(self.own.membarrier) * MEMBARRIER + u16::from(self.own.fds) * FDS;
        bytes[6..8].copy_from_slice(&flags.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.own.memory.ring_size().to_le_bytes());
        bytes[16..20].copy_from_slice(&(self.own.align as u32).to_le_bytes());
        hello::send(
            socket,
            bytes,
            [self.memory_fd.as_fd(), self.read_end.as_fd()],
        )
    }

    /// Closes the descriptors that have been sent, and returns the part that this side keeps. The
    /// peer is working on its answer meanwhile, so this is the time to allocate the first pages.
    pub fn into_own(self) -> OwnSide {
        self.own.memory.touch();
        self.own
    }
}

impl OwnSide {
    /// Makes the side of an end with this memory, which is new.
    fn new(
        memory: EndMemory,
        align: u64,
        peer_bell: PeerDoorbell,
        membarrier: bool,
        fds: bool,
    ) -> Self {
        Self {
            memory,
            align,
            peer_bell,
            membarrier,
            fds,
        }
    }

    /// Makes both sides of a pair in one process, each with what its peer would receive of it.
    pub fn pair(params: [&RingParams; 2], fds: bool) -> Result<[(Self, PeerOffer); 2]> {
        let membarrier = membarrier::register();
        let side = |(memory, peers), params: &RingParams| -> Result<_> {
            let (peer_bell, read_end) = PeerDoorbell::new()?;
            let offer = PeerOffer {
                memory: peers,
                align: params.align,
                pipe: ReadEnd::own(read_end),
                membarrier,
                fds,
            };
            let own = Self::new(memory, params.align, peer_bell, membarrier, fds);
            Ok((own, offer))
        };
        let [a, b] = EndMemory::create_pair(params)?;
        Ok([side(a, params[0])?, side(b, params[1])?])
    }
}

impl PeerOffer {
    /// Checks a hello, and maps the peer's memory. `ESTALE` for another version; `EPROTO` for any
    /// other fault, and for a ring larger than `size_max`.
    pub fn new(hello: Hello, size_max: u64) -> Result<Self> {
        let Fields {
            membarrier,
            fds,
            ring_size,
            align,
        } = Fields::from_bytes(&hello.bytes)?;
        if ring_size > size_max {
            return Err(errno!(EPROTO));
        }
        let [memory, pipe] = hello.fds;
        Ok(Self {
            pipe: ReadEnd::new(pipe)?,
            memory: EndMemory::of_other_end(memory.as_fd(), ring_size)?,
            align,
            membarrier,
            fds,
        })
    }
}

/// Answers the hello of a client that uses another version of the protocol, so that the client
/// learns of it too. The answer has the letters and the version of this side, and the descriptors of
/// the client: every version has two.
pub fn refuse_other_version(socket: BorrowedFd, hello: &Hello) {
    if Fields::from_bytes(&hello.bytes) == Err(Errno::ESTALE) {
        let [memory, pipe] = &hello.fds;
        // A client that has gone needs no answer.
        let _ = hello::send(socket, header(), [memory.as_fd(), pipe.as_fd()]);
    }
}

/// A hello with the letters and the version. All other bytes are 0.
fn header() -> [u8; HELLO_LEN] {
    let mut bytes = [0; HELLO_LEN];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
    bytes
}

/// The content of a hello.
#[derive(Debug, PartialEq, Eq)]
struct Fields {
    membarrier: bool,
    fds: bool,
    ring_size: u64,
    align: u64,
}

impl Fields {
    /// Decodes a hello. `ESTALE` and `EPROTO` as [`PeerOffer::new`].
    fn from_bytes(bytes: &[u8; HELLO_LEN]) -> Result<Self> {
        let (magic, rest) = bytes.split_at(4);
        let (version, rest) = rest.split_at(2);
        let (flags, rest) = rest.split_at(2);
        let (ring_size, rest) = rest.split_at(8);
        let (align, reserved) = rest.split_at(4);
        if magic != MAGIC {
            return Err(errno!(EPROTO));
        }
        if version != VERSION.to_le_bytes() {
            return Err(errno!(ESTALE));
        }
        if reserved.iter().any(|byte| *byte != 0) {
            return Err(errno!(EPROTO));
        }
        let align = little_endian(align);
        if !is_alignment(align) {
            return Err(errno!(EPROTO));
        }
        // Unknown flags are ignored.
        let has = |flag: u16| {
            let [low, _] = flag.to_le_bytes();
            flags.first().is_some_and(|flags| flags & low != 0)
        };
        Ok(Self {
            membarrier: has(MEMBARRIER),
            fds: has(FDS),
            ring_size: little_endian(ring_size),
            align,
        })
    }
}
