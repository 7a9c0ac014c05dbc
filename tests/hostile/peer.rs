//! A hostile peer after the handshake: its memory and its pipes.

use crate::support::*;
use common::descriptors::pipe;
use libc::*;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

/// A peer whose handshake is complete.
pub struct Peer {
    pub memory: PeerMemory,
    /// The write end of the pipe by which it wakes the channel.
    pub write_end: OwnedFd,
    /// The read end of that pipe, which shares its file description with the channel's descriptor.
    pub read_end: OwnedFd,
    /// The read end of the channel's pipe.
    pub doorbell: OwnedFd,
}

/// The peer's writable mapping of its own memory.
pub struct PeerMemory(*mut u8);

impl PeerMemory {
    const LEN: usize = (CONTROL + RING) as usize;

    /// Makes the memory, and returns its mapping and its sealed descriptor.
    fn new() -> (Self, OwnedFd) {
        let fd = unsealed_memory_of(Self::LEN as u64);
        let (protection, null) = (PROT_READ | PROT_WRITE, ptr::null_mut());
        // SAFETY: a new mapping.
        let at = unsafe { mmap(null, Self::LEN, protection, MAP_SHARED, fd.as_raw_fd(), 0) };
        assert_ne!(at, MAP_FAILED);
        // SAFETY: no pointers.
        assert_eq!(unsafe { fcntl(fd.as_raw_fd(), F_ADD_SEALS, SEALS) }, 0);
        (Self(at.cast()), fd)
    }

    pub fn set32(&self, at: usize, value: u32) {
        assert!(at % 4 == 0 && at < Self::LEN);
        // SAFETY: within the mapping, and aligned.
        unsafe { &*self.0.add(at).cast::<AtomicU32>() }.store(value, SeqCst);
    }

    pub fn get32(&self, at: usize) -> u32 {
        assert!(at % 4 == 0 && at < Self::LEN);
        // SAFETY: within the mapping, and aligned.
        unsafe { &*self.0.add(at).cast::<AtomicU32>() }.load(SeqCst)
    }

    pub fn set64(&self, at: usize, value: u64) {
        assert!(at % 8 == 0 && at < Self::LEN);
        // SAFETY: within the mapping, and aligned.
        unsafe { &*self.0.add(at).cast::<AtomicU64>() }.store(value, SeqCst);
    }
}

impl Drop for PeerMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping, and this is its last use.
        assert_eq!(unsafe { munmap(self.0.cast(), Self::LEN) }, 0);
    }
}

/// A channel and its peer, after the handshake.
pub fn channel() -> (Channel, Peer) {
    let (channel, peer, _) = channel_with(Transport::Stream, 0, 0);
    (channel, peer)
}

/// The same over a socket of this type, whose peer end is returned too. The flags of the options,
/// and those of the peer's hello.
pub fn channel_with(transport: Transport, flags: u32, hello_flags: u8) -> (Channel, Peer, OwnedFd) {
    let (peer_socket, socket) = sockets(transport);
    let (memory, fd) = PeerMemory::new();
    let (read_end, write_end) = pipe();
    let read_end = OwnedFd::from(read_end);
    let own_read_end = read_end.try_clone().unwrap();
    let mut bytes = hello(RING);
    bytes[6] = hello_flags;
    let piece = Piece(bytes, vec![fd, read_end]);
    assert_eq!(send_piece(&peer_socket, &piece), Ok(64));
    let channel = from_fd_with(&socket, flags, 0).unwrap();
    let (_, [_, doorbell]) = recv_hello(&peer_socket).unwrap();
    let peer = Peer {
        memory,
        write_end: write_end.into(),
        read_end: own_read_end,
        doorbell,
    };
    (channel, peer, peer_socket)
}

/// Kills this process when its parent ends.
pub fn end_with_parent() {
    // SAFETY: no pointers.
    let done = unsafe { prctl(PR_SET_PDEATHSIG, SIGKILL) };
    assert_eq!(done, 0);
}
