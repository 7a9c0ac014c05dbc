//! Records: each one is sent by one write and received by one read.
//!
//! A record is a packet of the pipe (`O_DIRECT`, pipe(2)): the kernel neither joins it with another
//! one nor divides it between two readers. It ends with a trailer of four bytes, by which a reader
//! recognises packets that [`send`] did not write:
//!
//! | bytes of the trailer | content |
//! |---|---|
//! | 0, 1 | `0x00` and `0xf5`, which do not occur in UTF-8 text |
//! | 2, 3 | the length of the record, little-endian, from 1 to [`LEN_MAX`] |
//!
//! The trailer follows the record, so that every copy of the record, also those of the kernel,
//! begins at an aligned address. For a record of 4 KB that saves a tenth of the time.

use super::reader::open_again;
use super::state::State;
use super::{is_fifo, packets};
use crate::bytes;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::sys::{CancelGuard, packet, pipe};
use nix::fcntl::OFlag;
use nix::poll::PollFlags;
use probe::probe;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// The largest write to a pipe that is atomic (`PIPE_BUF`, 4096 on Linux).
pub(super) const PACKET: usize = libc::PIPE_BUF;
/// The size of the trailer.
const TRAILER: usize = 4;
const MAGIC: [u8; 2] = [0x00, 0xf5];

/// The length of the longest record: `PIPE_BUF` without the trailer.
///
/// cbindgen:ignore
pub const LEN_MAX: usize = PACKET - TRAILER;

/// The number of empty packets that one receive discards before it gives up. On older kernels a
/// write from invalid memory leaves an empty packet, which reads like the end of the file.
pub(super) const EMPTY_MAX: u32 = 16;

/// The buffer for a packet, aligned to a cache line.
#[repr(align(64))]
struct Packet([MaybeUninit<u8>; PACKET]);

impl Packet {
    const fn new() -> Self {
        Self([MaybeUninit::uninit(); PACKET])
    }

    /// Returns the first `len` bytes; `EMSGSIZE` if there are fewer.
    fn first(&mut self, len: usize) -> Result<&mut [MaybeUninit<u8>]> {
        self.0.get_mut(..len).ok_or(errno!(EMSGSIZE))
    }
}

/// A record in bytes from a FIFO.
pub struct Record<'a> {
    /// The record without its trailer.
    pub content: &'a [u8],
}

impl<'a> Record<'a> {
    /// Returns the record at the end of `bytes`.
    pub fn at_end(bytes: &'a [u8]) -> Option<Self> {
        let [before @ .., a, b, low, high] = bytes else {
            return None;
        };
        let len = usize::from(u16::from_le_bytes([*low, *high]));
        if [*a, *b] != MAGIC || !(1..=LEN_MAX).contains(&len) {
            return None;
        }
        let begin = before.len().checked_sub(len)?;
        before.get(begin..).map(|content| Self { content })
    }

    /// Returns the length with the trailer.
    pub fn len_with_trailer(&self) -> usize {
        self.content.len() + TRAILER
    }
}

/// Sends a record.
pub fn send(fd: BorrowedFd, record: &[u8], mut wait: Deadline) -> Result<()> {
    match record.len() {
        0 => return Err(errno!(EINVAL)),
        1..=LEN_MAX => {}
        _ => return Err(errno!(EMSGSIZE)),
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
        // With a time-out the write must not wait, even if the descriptor is blocking.
        let mut written = if wait.may_block() {
            pipe::write_without_signal(fd, packet)
        } else {
            packet::write_without_waiting(fd, packet)
        };
        if written == Err(Errno::EAGAIN) && wait.may_block() {
            written = write_in_turn(fd, packet);
        }
        match written {
            // A write of up to PIPE_BUF is complete.
            Ok(_) => {
                probe!(unixipc, fifo_send, fd.as_raw_fd(), record.len());
                return Ok(());
            }
            Err(error) if error == Errno::EINTR => wait.interrupted()?,
            Err(error) if error == Errno::EAGAIN => wait.ready(fd, PollFlags::POLLOUT)?,
            Err(error) => return Err(error),
        }
    }
}

/// Waits for space in a full FIFO whose descriptor is non-blocking, and writes a packet.
///
/// poll(2) would wake every waiting sender for each packet that a reader takes. A blocking write
/// waits in a queue of the kernel, which wakes one sender. So this function opens the FIFO again,
/// as a blocking descriptor. It fails with `EAGAIN` if that is not possible: there is no /proc, no
/// descriptor is left, or the permissions have changed.
#[cold]
#[inline(never)]
fn write_in_turn(fd: BorrowedFd, packet: &[u8]) -> Result<usize> {
    let uncancelled = CancelGuard::new();
    if !is_fifo(&nix::sys::stat::fstat(fd)?) {
        return Err(errno!(EAGAIN));
    }
    let Ok(blocking) = open_again(fd, OFlag::O_WRONLY) else {
        return Err(errno!(EAGAIN));
    };
    packets(&blocking, OFlag::empty())?;
    loop {
        let write = || pipe::write_without_signal(blocking.as_fd(), packet);
        match uncancelled.lifted(&[blocking.as_raw_fd()], write) {
            Err(error) if error == Errno::EINTR => {}
            written => return written,
        }
    }
}

/// Receives a record. Returns its length, 0 at the end of the session.
pub fn recv(fd: BorrowedFd, record: &mut [MaybeUninit<u8>], mut wait: Deadline) -> Result<usize> {
    if record.is_empty() {
        return Err(errno!(EINVAL));
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
            Ok(0) => match State::of(fd)? {
                State::Ended => return Ok(0),
                // There was no writer yet, so the descriptor is not from `open`.
                State::Empty if empty == EMPTY_MAX => return Ok(0),
                State::Filled if empty == EMPTY_MAX => return Err(errno!(EPROTO)),
                State::Empty | State::Filled => empty += 1,
            },
            Ok(len) => break len,
            Err(error) if error == Errno::EINTR => wait.interrupted()?,
            Err(error) if error == Errno::EAGAIN => wait.ready(fd, PollFlags::POLLIN)?,
            Err(error) => return Err(error),
        }
    };
    // SAFETY: the read has written these bytes.
    let packet = unsafe { bytes::written(packet.first(len)?) };
    let content = match Record::at_end(packet) {
        Some(record) if record.len_with_trailer() == len => record.content,
        _ => return Err(errno!(EPROTO)),
    };
    let buffer = record.get_mut(..content.len()).ok_or(errno!(EMSGSIZE))?;
    bytes::copy(buffer, content);
    probe!(unixipc, fifo_receive, fd.as_raw_fd(), content.len());
    Ok(content.len())
}
