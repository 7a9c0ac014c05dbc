//! Receiving records and text from one FIFO.
//!
//! A program that writes to the FIFO without this library writes text: bytes without a trailer, of
//! which each line is an item. The kernel appends a record to text that has not been read yet. One
//! read then returns both, and may split the record. So a receive first copies the first bytes
//! ([`peek`]), finds the length of the first item, and then reads exactly these bytes.

use super::record::{EMPTY_MAX, PACKET, Record};
use super::state::State;
use crate::bytes;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::sys::memory::Scratch;
use crate::sys::packet::{discard_empty, peek, read_peeked, read_without_waiting};
use crate::sys::{CancelGuard, page_size};
use nix::poll::PollFlags;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

/// The result of a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The number of bytes; 0 at the end of the session.
    pub len: usize,
    /// Whether the bytes are text.
    pub is_text: bool,
}

/// Receives a record, or a line of text with its newline. Text that exceeds `buffer`, or has no
/// newline yet, is received in pieces.
pub fn recv(
    fd: BorrowedFd,
    buffer: &mut [MaybeUninit<u8>],
    mut wait: Deadline,
) -> Result<Received> {
    if buffer.is_empty() {
        return Err(errno!(EINVAL));
    }
    let mut empty = 0;
    loop {
        match attempt(fd, buffer) {
            Err(error) if error == Errno::EINTR => wait.interrupted()?,
            Err(error) if error == Errno::EAGAIN => wait.ready(fd, PollFlags::POLLIN)?,
            Err(error) => return Err(error),
            Ok(Attempt::Received(received)) => return Ok(received),
            Ok(Attempt::TakenByAnother) => {}
            Ok(Attempt::Nothing) => match State::of(fd)? {
                State::Filled if empty == EMPTY_MAX => return Err(errno!(EPROTO)),
                State::Filled => {
                    // Something may have been written after the attempt. But if the FIFO was filled
                    // before it, the first buffer is empty.
                    if empty > 0 {
                        discard_empty(fd)?;
                    }
                    empty += 1;
                }
                State::Empty | State::Ended => {
                    return Ok(Received {
                        len: 0,
                        is_text: false,
                    });
                }
            },
        }
    }
}

/// The result of an attempt to receive, which does not wait.
enum Attempt {
    Received(Received),
    /// Another reader has read the item.
    TakenByAnother,
    /// There are no bytes.
    Nothing,
}

/// Receives without waiting.
fn attempt(fd: BorrowedFd, buffer: &mut [MaybeUninit<u8>]) -> Result<Attempt> {
    /// Space for two buffers of a pipe, once for the peek and once for the read.
    const BUFFERS: usize = 4;
    let page = page_size();
    if page <= PACKET {
        let mut memory = [MaybeUninit::uninit(); BUFFERS * PACKET];
        return attempt_in(&mut memory, fd, buffer);
    }
    let _uncancelled = CancelGuard::new();
    let mut memory = Scratch::new(BUFFERS * page)?;
    attempt_in(memory.bytes(), fd, buffer)
}

#[inline(never)]
fn attempt_in(
    memory: &mut [MaybeUninit<u8>],
    fd: BorrowedFd,
    buffer: &mut [MaybeUninit<u8>],
) -> Result<Attempt> {
    let (peeked, taken) = memory.split_at_mut(memory.len() / 2);
    let len = peek(fd, peeked)?;
    if len == 0 {
        return Ok(Attempt::Nothing);
    }
    // SAFETY: the peek has written these bytes.
    let peeked = unsafe { bytes::written(peeked.get_mut(..len).unwrap_or_default()) };
    let received = take(fd, peeked, first_item(peeked), taken, buffer)?;
    Ok(received.map_or(Attempt::TakenByAnother, Attempt::Received))
}

/// The first item in a FIFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    /// A record, of this length with its trailer.
    Record(usize),
    /// Text of this length, before a record or the end of the peeked bytes.
    Text(usize),
}

/// Returns the first item of bytes that end with an item.
///
/// Only the end of a record can be recognised: by its trailer, whose first byte does not occur in
/// text. So the search begins at the end of the bytes and continues from record to record.
fn first_item(bytes: &[u8]) -> Item {
    let (mut rest, mut text) = (bytes, bytes.len());
    while let Some((_, before)) = rest.split_last() {
        match Record::at_end(rest) {
            None => rest = before,
            Some(record) => {
                text = rest.len() - record.len_with_trailer();
                if text == 0 {
                    return Item::Record(rest.len());
                }
                rest = rest.get(..text).unwrap_or_default();
            }
        }
    }
    Item::Text(text)
}

/// Reads an item from the FIFO into `taken`, and copies its content to `buffer`. None if another
/// reader has read it.
fn take(
    fd: BorrowedFd,
    peeked: &[u8],
    item: Item,
    taken: &mut [MaybeUninit<u8>],
    buffer: &mut [MaybeUninit<u8>],
) -> Result<Option<Received>> {
    let (len, is_text) = match item {
        Item::Record(len) => (len, false),
        Item::Text(len) => {
            let line = peeked.iter().take(len).position(|byte| *byte == b'\n');
            let len = line.map_or(len, |newline| newline + 1);
            (len.min(buffer.len()), true)
        }
    };
    let taken = taken.get_mut(..len).unwrap_or_default();
    let read = if is_text {
        read_peeked
    } else {
        read_without_waiting
    };
    let got = match read(fd, taken) {
        Ok(0) => return Ok(None),
        Err(error) if error.is_one_of(&[Errno::EAGAIN, Errno::EINTR]) => return Ok(None),
        got => got?,
    };
    // SAFETY: the read has written these bytes.
    let taken = unsafe { bytes::written(taken.get_mut(..got).unwrap_or_default()) };
    if Some(taken) != peeked.get(..len) {
        // Another thread receives at the same time, and this one has read other bytes.
        return Err(errno!(EPROTO));
    }
    let content = if is_text {
        taken
    } else {
        Record::at_end(taken).ok_or(errno!(EPROTO))?.content
    };
    let buffer = buffer.get_mut(..content.len()).ok_or(errno!(EMSGSIZE))?;
    bytes::copy(buffer, content);
    Ok(Some(Received {
        len: content.len(),
        is_text,
    }))
}

#[cfg(test)]
mod tests {
    use super::{Item, first_item};

    #[test]
    fn the_first_item_is_found_from_the_end() {
        let record = b"ab\0\xf5\x02\0";
        let (text, end) = (b"text\n", [0xf5, 2, 0]);
        assert_eq!(first_item(record), Item::Record(6));
        assert_eq!(first_item(text), Item::Text(5));
        assert_eq!(first_item(&[&text[..], record].concat()), Item::Text(5));
        assert_eq!(first_item(&[&record[..], text].concat()), Item::Record(6));
        assert_eq!(first_item(&[&record[..], record].concat()), Item::Record(6));
        let mixed = [&text[..], record, text, record, text].concat();
        assert_eq!(first_item(&mixed), Item::Text(5));
        assert_eq!(first_item(&mixed[5..]), Item::Record(6));
        assert_eq!(first_item(&end), Item::Text(3));
        // A record in a record, and one that would begin before the bytes.
        assert_eq!(first_item(b"ab\0\xf5\x02\0\0\xf5\x06\0"), Item::Record(10));
        assert_eq!(first_item(b"a\0\xf5\x02\0"), Item::Text(5));
    }
}
