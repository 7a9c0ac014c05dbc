//! The handshake: each side sends one message of 64 bytes with two descriptors over a local
//! socket, and receives the other's. Neither waits for the other before it sends.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | the letters `uich` |
//! | 4 | 2 | the version of the layout |
//! | 6 | 2 | 1: this side's process has registered for `membarrier`, and can issue one |
//! | 8 | 8 | the size of the ring in the memory that comes with it |
//! | 16 | 48 | 0 |
//!
//! All numbers are little-endian. The descriptors are the memory (`memory`), and the end for
//! writing of a pipe by which this side is woken (`signal`).

use super::memory::{Memory, Wanted};
use super::signal::Rope;
use crate::bytes;
use crate::errno::{Errno, Result};
use crate::message::{RecvControl, SendControl, past_end};
use crate::pair::send_error;
use crate::sys;
use crate::wait::Wait;
use libc::{c_int, iovec};
use nix::poll::PollFlags;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const MAGIC: [u8; 4] = *b"uich";
/// The version of the layout: of this message and of the memory.
///
/// cbindgen:ignore
pub const VERSION: u16 = 1;
const MEMBARRIER: u16 = 1;
const LEN: usize = 64;

/// What a side says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Whether barriers that others issue reach it, and it can issue them.
    pub membarrier: bool,
    /// The size of its ring.
    pub ring_size: u64,
}

/// What a side knows of the other after the handshake.
pub struct Peer {
    /// Its memory, which can only be read.
    pub memory: Memory,
    /// By which it is woken.
    pub rope: Rope,
    /// As in [`Hello`].
    pub membarrier: bool,
}

impl Hello {
    fn to_bytes(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6..8].copy_from_slice(&(u16::from(self.membarrier) * MEMBARRIER).to_le_bytes());
        bytes[8..16].copy_from_slice(&self.ring_size.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; LEN]) -> Result<Self> {
        let (magic, rest) = bytes.split_at(4);
        let (version, rest) = rest.split_at(2);
        let (flags, rest) = rest.split_at(2);
        let (ring_size, reserved) = rest.split_at(8);
        if magic != MAGIC {
            return Err(Errno::EPROTO);
        }
        if version != VERSION.to_le_bytes() {
            return Err(Errno::ESTALE);
        }
        if reserved.iter().any(|byte| *byte != 0) {
            return Err(Errno::EPROTO);
        }
        let mut number = [0; 8];
        number.copy_from_slice(ring_size);
        Ok(Self {
            // What it does not know yet, it does not do.
            membarrier: flags.first().is_some_and(|flags| flags & 1 != 0),
            ring_size: u64::from_le_bytes(number),
        })
    }
}

/// What the other side has sent so far.
pub struct Reply {
    bytes: [u8; LEN],
    len: usize,
    /// Memory and rope.
    fds: [Option<OwnedFd>; 2],
}

/// Says what is to be said. Does not wait: a new socket has room for it.
pub fn send(socket: BorrowedFd, hello: Hello, memory: BorrowedFd, rope: BorrowedFd) -> Result<()> {
    let mut bytes = hello.to_bytes();
    let mut part = iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: LEN,
    };
    let mut control = SendControl::new(&[memory.as_raw_fd(), rope.as_raw_fd()]);
    let mut header = crate::message::empty_header();
    header.msg_iov = &mut part;
    header.msg_iovlen = 1;
    control.attach(&mut header);
    loop {
        // SAFETY: the part and the control data outlive the call, and the lengths are theirs.
        match unsafe { sys::sendmsg(socket, &header, libc::MSG_DONTWAIT) } {
            Ok(LEN) => return Ok(()),
            // A socket that is full of something else.
            Ok(_) | Err(Errno::EAGAIN) => return Err(Errno::EPROTO),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(send_error(error)),
        }
    }
}

impl Reply {
    /// Of which nothing has come yet.
    pub const fn new() -> Self {
        Self {
            bytes: [0; LEN],
            len: 0,
            fds: [None, None],
        }
    }

    /// Receives what there is, and waits for the rest. What has come stays where the time ends
    /// first. `EPIPE` if the other side has said nothing and is gone.
    pub fn receive(&mut self, socket: BorrowedFd, wait: &mut Wait) -> Result<()> {
        while self.len < LEN {
            match past_end(libc::MSG_DONTWAIT, |flags| self.receive_part(socket, flags)) {
                Ok(0) | Err(Errno::ECONNRESET) if self.len == 0 => return Err(Errno::EPIPE),
                Ok(0) | Err(Errno::ECONNRESET) => return Err(Errno::EPROTO),
                Ok(len) => self.len += len,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => wait.ready(socket, PollFlags::POLLIN)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn receive_part(&mut self, socket: BorrowedFd, flags: c_int) -> Result<usize> {
        let room = bytes::to_fill(&mut self.bytes[self.len..]);
        let mut part = iovec {
            iov_base: room.as_mut_ptr().cast(),
            iov_len: room.len(),
        };
        let mut control = RecvControl::new();
        let mut header = crate::message::empty_header();
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        control.attach(&mut header);
        // SAFETY: the part and the control data outlive the call, and the lengths are theirs.
        let len = unsafe { sys::recvmsg(socket, &mut header, flags) }?;
        control.received(&header);
        let mut fds = [MaybeUninit::new(-1); 3]; // room for one too many
        let count = control.store(&mut fds, header.msg_flags)?;
        let mut owned = fds.into_iter().take(count).map(|fd| {
            // SAFETY: initialised, if not by `store`.
            let fd: c_int = unsafe { fd.assume_init() };
            // SAFETY: the kernel has opened it for us.
            unsafe { OwnedFd::from_raw_fd(fd) }
        });
        let fds = [owned.next(), owned.next()];
        owned.for_each(drop);
        // They come with the first byte, both of them and no more; and nothing is cut off.
        let expected = if self.len == 0 && len > 0 { 2 } else { 0 };
        if count != expected || header.msg_flags & libc::MSG_TRUNC != 0 {
            return if len == 0 { Ok(0) } else { Err(Errno::EPROTO) };
        }
        if expected > 0 {
            self.fds = fds;
        }
        Ok(len)
    }

    /// Looks at what has come, and maps the other side's memory.
    pub fn accept(&mut self, size_max: u64, wanted: &Wanted) -> Result<Peer> {
        let hello = Hello::from_bytes(&self.bytes)?;
        let [Some(memory), Some(rope)] = std::mem::take(&mut self.fds) else {
            return Err(Errno::EPROTO);
        };
        if hello.ring_size > size_max {
            return Err(Errno::EPROTO);
        }
        let rope = Rope::new(rope)?;
        Ok(Peer {
            memory: Memory::of_peer(memory.as_fd(), hello.ring_size, wanted)?,
            rope,
            membarrier: hello.membarrier,
        })
    }
}
