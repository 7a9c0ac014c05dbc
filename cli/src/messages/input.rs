//! Messages from standard input or from the command line.

use super::MESSAGE_MAX;
use super::format::{Format, PREFIX, decode};
use super::stop::{self, Stop};
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};

/// The bytes of one read.
const CHUNK: usize = 1 << 16;

/// Messages that are read from standard input.
pub struct Input {
    format: Format,
    /// Standard input without a buffer. It is not closed.
    stdin: ManuallyDrop<File>,
    buffer: Vec<u8>,
    /// Where the next message begins in the buffer.
    next: usize,
    /// The end of the bytes that contain no newline.
    searched: usize,
    /// The number of bytes of the messages that were taken.
    bytes: u64,
    /// The number of messages that were taken.
    messages: u64,
    has_ended: bool,
}

impl Input {
    /// Messages of this form.
    pub fn new(format: Format) -> Self {
        // SAFETY: the number of standard input; the file is not dropped.
        let stdin = unsafe { File::from_raw_fd(libc::STDIN_FILENO) };
        Self {
            format,
            stdin: ManuallyDrop::new(stdin),
            buffer: Vec::new(),
            next: 0,
            searched: 0,
            bytes: 0,
            messages: 0,
            has_ended: false,
        }
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stdin.as_fd()
    }

    /// The size of the input, if it is a file.
    pub fn size(&self) -> Option<u64> {
        let metadata = self.stdin.metadata().ok()?;
        metadata.is_file().then_some(metadata.len())
    }

    /// Whether the input is not typed by a user.
    pub fn is_bulk(&self) -> bool {
        !io::stdin().is_terminal()
    }

    /// The number of bytes and of messages that were taken.
    pub fn counts(&self) -> (u64, u64) {
        (self.bytes, self.messages)
    }

    /// The next message that has been read; none if more must be read first, or at the end.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let rest = &self.buffer[self.next..];
        let (size, message) = match self.format {
            Format::Prefixed => match split_prefixed(rest)? {
                Some((size, message)) => (size, message.to_vec()),
                None if self.has_ended && !rest.is_empty() => {
                    return Err(Error::new("the input ends within a message"));
                }
                None => return Ok(None),
            },
            format => {
                let unsearched = &self.buffer[self.searched.max(self.next)..];
                let newline = unsearched.iter().position(|byte| *byte == b'\n');
                let size = match newline {
                    Some(at) => self.searched.max(self.next) + at - self.next + 1,
                    None if self.has_ended && !rest.is_empty() => rest.len(),
                    None => {
                        self.searched = self.buffer.len();
                        if rest.len() > 2 * MESSAGE_MAX {
                            return Err(self.wrong("the line is too long"));
                        }
                        return Ok(None);
                    }
                };
                let line = &rest[..size];
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                let message = decode(format, line).map_err(|error| self.wrong(&error))?;
                (size, message)
            }
        };
        if message.is_empty() {
            return Err(self.wrong("a message has at least one byte"));
        }
        self.next += size;
        self.bytes += size as u64;
        self.messages += 1;
        Ok(Some(message))
    }

    fn wrong(&self, what: &str) -> Error {
        Error::new(format!(
            "message {} of the input: {what}",
            self.messages + 1
        ))
    }

    /// Reads more. Returns false at the end of the input. The caller has waited until the input is
    /// readable.
    pub fn read(&mut self) -> std::result::Result<bool, Stop> {
        if self.has_ended {
            return Ok(false);
        }
        self.buffer.drain(..self.next);
        self.searched = self.searched.saturating_sub(self.next);
        self.next = 0;
        let before = self.buffer.len();
        self.buffer.resize(before + CHUNK, 0);
        let len = loop {
            stop::check()?;
            match self.stdin.read(&mut self.buffer[before..]) {
                Ok(len) => break Ok(len),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The input is nonblocking, and another process has taken the bytes.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.buffer.truncate(before);
                    return Ok(true);
                }
                Err(error) => break Err(error),
            }
        };
        self.buffer.truncate(before + *len.as_ref().unwrap_or(&0));
        match len {
            Ok(len) => {
                // At the end, the remaining bytes may be a message.
                self.has_ended = len == 0;
                Ok(true)
            }
            Err(error) => Err(Error::new(format!("standard input: {error}")).into()),
        }
    }
}

/// The size of the first message with its length, and the message.
fn split_prefixed(bytes: &[u8]) -> Result<Option<(usize, &[u8])>> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    let len = u32::from_le_bytes(*prefix) as usize;
    if len > MESSAGE_MAX {
        return Err(Error::new(format!("a message of {len} bytes is too long")));
    }
    Ok(rest.get(..len).map(|message| (PREFIX + len, message)))
}
