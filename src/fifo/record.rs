//! Records: each is one write and one read.
//!
//! A record is a packet of the pipe (`O_DIRECT`, pipe(2)): the kernel neither joins it with
//! another nor gives it to two readers. It ends with a trailer of four bytes, by which a
//! reader recognises packets that [`send`] did not write:
//!
//! | bytes of the trailer | content |
//! |---|---|
//! | 0, 1 | the letters `uf` |
//! | 2, 3 | the length of the record, little-endian, from 1 to [`LEN_MAX`] |
//!
//! Behind the record and not before it, so that every copy of the record, the kernel's too, is
//! one between aligned places: at 4 KB that is a tenth of the whole.

use super::state::State;
use crate::bytes;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::sys::{packet, pipe};
use nix::poll::PollFlags;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

/// What a pipe takes in one piece (`PIPE_BUF`, 4096 on Linux).
const PACKET: usize = libc::PIPE_BUF;
const TRAILER: usize = 4;
const MAGIC: [u8; 2] = *b"uf";

/// The longest record: with its trailer it is `PIPE_BUF`.
///
/// cbindgen:ignore
pub const LEN_MAX: usize = PACKET - TRAILER;

/// How many packets without content are passed over in one receive. On older kernels a write of
/// memory that is not there leaves one, which reads as the end does.
const EMPTY_MAX: u32 = 16;

/// A packet on its way, on a cache line's border.
#[repr(align(64))]
struct Packet([MaybeUninit<u8>; PACKET]);

impl Packet {
    const fn new() -> Self {
        Self([MaybeUninit::uninit(); PACKET])
    }

    /// Its first bytes; `EMSGSIZE` for more than it has.
    fn first(&mut self, len: usize) -> Result<&mut [MaybeUninit<u8>]> {
        self.0.get_mut(..len).ok_or(Errno::EMSGSIZE)
    }
}

/// Sends a record.
pub fn send(fd: BorrowedFd, record: &[u8], mut wait: Deadline) -> Result<()> {
    match record.len() {
        0 => return Err(Errno::EINVAL),
        1..=LEN_MAX => {}
        _ => return Err(Errno::EMSGSIZE),
    }
    let mut packet = Packet::new();
    let len = record.len() + TRAILER;
    let (content, trailer) = packet.first(len)?.split_at_mut(record.len());
    let [len_low, len_high] = (record.len() as u16).to_le_bytes();
    bytes::copy(content, record);
    bytes::copy(trailer, &[MAGIC[0], MAGIC[1], len_low, len_high]);
    // SAFETY: all of it has been written.
    let packet = unsafe { bytes::written(packet.first(len)?) };
    loop {
        // Under a time-out the write itself must not wait, whatever the descriptor's mode.
        let written = if wait.may_block() {
            pipe::write_without_signal(fd, packet)
        } else {
            packet::write_without_waiting(fd, packet)
        };
        match written {
            Ok(_) => return Ok(()), // up to PIPE_BUF a write is whole
            Err(Errno::EINTR) => wait.interrupted()?,
            Err(Errno::EAGAIN) => wait.ready(fd, PollFlags::POLLOUT)?,
            Err(error) => return Err(error),
        }
    }
}

/// Receives a record; its length, 0 at the end of the session.
pub fn recv(fd: BorrowedFd, record: &mut [MaybeUninit<u8>], mut wait: Deadline) -> Result<usize> {
    if record.is_empty() {
        return Err(Errno::EINVAL);
    }
    let mut packet = Packet::new();
    let mut empty = 0;
    let len = loop {
        let read = if wait.may_block() {
            pipe::read(fd, &mut packet.0)
        } else {
            packet::read_without_waiting(fd, &mut packet.0)
        };
        match read {
            Ok(0) => match State::of(fd, &Deadline::forever())? {
                State::Ended => return Ok(0),
                // No writer was there yet: the descriptor is not from `open`.
                State::Empty if empty == EMPTY_MAX => return Ok(0),
                State::Filled if empty == EMPTY_MAX => return Err(Errno::EPROTO),
                State::Empty | State::Filled => empty += 1,
            },
            Ok(len) => break len,
            Err(Errno::EINTR) => wait.interrupted()?,
            Err(Errno::EAGAIN) => wait.ready(fd, PollFlags::POLLIN)?,
            Err(error) => return Err(error),
        }
    };
    // SAFETY: the read has written these bytes.
    let packet = unsafe { bytes::written(packet.first(len)?) };
    let [content @ .., a, b, len_low, len_high] = packet else {
        return Err(Errno::EPROTO);
    };
    let told = usize::from(u16::from_le_bytes([*len_low, *len_high]));
    if [*a, *b] != MAGIC || told != content.len() || content.is_empty() {
        return Err(Errno::EPROTO);
    }
    let room = record.get_mut(..content.len()).ok_or(Errno::EMSGSIZE)?;
    bytes::copy(room, content);
    Ok(content.len())
}
