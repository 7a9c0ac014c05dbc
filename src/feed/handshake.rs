//! The handshake between a subscriber and the publisher.
//!
//! The subscriber, which connects, sends a [`hello`](crate::transport::hello) first: the request.
//! Its descriptors are the page of the subscriber (`page`), and the read end of the pipe through
//! which it wakes the publisher (`doorbell`). The publisher answers with a hello: the answer. Its
//! descriptors are the memory of the feed, and the read end of the pipe through which it wakes the
//! subscriber. If the publisher refuses the subscriber, the answer has an error, and the descriptors
//! are those of the request.
//!
//! The request:
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 4 | the letters `uifs` |
//! | 4 | 2 | the version of the protocol |
//! | 6 | 2 | bit 0: this process is registered for `membarrier`; bit 1: the subscriber is lossy; bit 2: it begins with the oldest message |
//! | 8 | 8 | reserved, 0 |
//! | 16 | 32 | the name of the subscriber, padded with zeros |
//! | 48 | 16 | reserved, 0 |
//!
//! The answer:
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 4 | the letters `uifp` |
//! | 4 | 2 | the version of the protocol |
//! | 6 | 2 | bit 0: as in the request |
//! | 8 | 4 | 0, or the reason of the refusal: 1: another version; 2: only lossy subscribers; 3: too many subscribers |
//! | 12 | 4 | the alignment of messages |
//! | 16 | 8 | the size of the ring |
//! | 24 | 8 | the cursor at which the subscriber begins |
//! | 32 | 8 | the sequence number of the message there |
//! | 40 | 4 | the number of demotions (`broadcast`) |
//! | 44 | 20 | reserved, 0 |
//!
//! All numbers are little-endian.

use super::control::FeedControl;
use super::page::Page;
use crate::bytes::little_endian;
use crate::errno::{Errno, Result, errno};
use crate::transport::broadcast::{self, Start};
use crate::transport::hello::{self, HELLO_LEN, Hello};
use crate::transport::pipe_ends::ReadEnd;
use crate::transport::ring::is_alignment;
use crate::transport::ring_memory::RingMemory;
use std::os::fd::{AsFd, BorrowedFd};

/// The memory of a feed.
pub type FeedMemory = RingMemory<FeedControl>;

/// The size of a subscriber's name with its terminating zero.
///
/// cbindgen:ignore
pub const NAME_SIZE: usize = 32;

const REQUEST: [u8; 4] = *b"uifs";
const ANSWER: [u8; 4] = *b"uifp";
/// The version of the protocol, which covers the hellos and the memory.
const VERSION: u16 = 1;

/// A flag of both hellos: the side can use `membarrier`.
const MEMBARRIER: u16 = 1;
/// A flag of the request: the subscriber is lossy.
const LOSSY: u16 = 2;
/// A flag of the request: the subscriber begins with the oldest message.
const OLDEST: u16 = 4;

/// The request of a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whether it can use `membarrier`.
    pub membarrier: bool,
    /// Whether it is lossy.
    pub is_lossy: bool,
    /// Whether it begins with the oldest message.
    pub from_oldest: bool,
    /// Its name, padded with zeros.
    pub name: [u8; NAME_SIZE],
}

/// A subscriber that wants to be admitted. It has been checked.
pub struct Applicant {
    /// Its request.
    pub request: Request,
    /// Its page.
    pub page: Page,
    /// The read end of the pipe through which it wakes the publisher.
    pub pipe: ReadEnd,
}

/// The reason why a publisher refuses a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The subscriber uses another version of the protocol.
    Version = 1,
    /// The feed has only lossy subscribers.
    LossyOnly = 2,
    /// The feed has as many subscribers as it may have.
    TooMany = 3,
}

impl Refusal {
    /// The error that the subscriber reports.
    fn error(reason: u64) -> Errno {
        match reason {
            1 => errno!(ESTALE),
            2 => errno!(EOPNOTSUPP),
            3 => errno!(EUSERS),
            _ => errno!(EPROTO),
        }
    }
}

impl Request {
    /// Sends the request.
    pub fn send(&self, socket: BorrowedFd, page: BorrowedFd, pipe: BorrowedFd) -> Result<()> {
        let flags = flag(self.membarrier, MEMBARRIER)
            | flag(self.is_lossy, LOSSY)
            | flag(self.from_oldest, OLDEST);
        let mut bytes = header(REQUEST, flags);
        put(&mut bytes, 16, &self.name);
        hello::send(socket, bytes, [page, pipe])
    }

    /// Decodes a request. `ESTALE` for another version; `EPROTO` for any other fault.
    pub fn from_bytes(bytes: &[u8; HELLO_LEN]) -> Result<Self> {
        let flags = check_header(bytes, REQUEST)?;
        if !is_zero(bytes, 8, 16) || !is_zero(bytes, 48, HELLO_LEN) {
            return Err(errno!(EPROTO));
        }
        let mut name = [0; NAME_SIZE];
        for (to, from) in name.iter_mut().zip(bytes.iter().skip(16)) {
            *to = *from;
        }
        if name.last() != Some(&0) {
            return Err(errno!(EPROTO));
        }
        Ok(Self {
            membarrier: flags & MEMBARRIER != 0,
            is_lossy: flags & LOSSY != 0,
            from_oldest: flags & OLDEST != 0,
            name,
        })
    }
}

impl Applicant {
    /// Maps the page of a subscriber, and checks its descriptors: `EPROTO`.
    pub fn new(hello: Hello, request: Request) -> Result<Self> {
        let [page, pipe] = hello.fds;
        Ok(Self {
            request,
            page: Page::of_peer(page.as_fd())?,
            pipe: ReadEnd::new(pipe)?,
        })
    }
}

/// Refuses a request.
pub fn refuse(socket: BorrowedFd, hello: &Hello, reason: Refusal) -> Result<()> {
    let mut bytes = header(ANSWER, 0);
    put(&mut bytes, 8, &(reason as u32).to_le_bytes());
    let [first, second] = &hello.fds;
    hello::send(socket, bytes, [first.as_fd(), second.as_fd()])
}

/// The answer to a subscriber that is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether the publisher can use `membarrier`.
    pub membarrier: bool,
    /// The alignment of messages.
    pub align: u64,
    /// The size of the ring.
    pub ring_size: u64,
    /// Where the subscriber begins.
    pub start: Start,
}

impl Answer {
    /// Sends the answer.
    pub fn send(&self, socket: BorrowedFd, memory: BorrowedFd, pipe: BorrowedFd) -> Result<()> {
        let mut bytes = header(ANSWER, flag(self.membarrier, MEMBARRIER));
        put(&mut bytes, 12, &(self.align as u32).to_le_bytes());
        put(&mut bytes, 16, &self.ring_size.to_le_bytes());
        put(&mut bytes, 24, &self.start.cursor.to_le_bytes());
        put(&mut bytes, 32, &self.start.sequence.to_le_bytes());
        put(&mut bytes, 40, &self.start.demotions.to_le_bytes());
        hello::send(socket, bytes, [memory, pipe])
    }

    /// Decodes an answer. The error of a refusal; `ESTALE` for another version; `EPROTO` for any
    /// other fault.
    fn from_bytes(bytes: &[u8; HELLO_LEN]) -> Result<Self> {
        let flags = check_header(bytes, ANSWER)?;
        match number(bytes, 8, 12) {
            0 => {}
            reason => return Err(Refusal::error(reason)),
        }
        let align = number(bytes, 12, 16);
        if !is_zero(bytes, 44, HELLO_LEN) || !is_alignment(align) {
            return Err(errno!(EPROTO));
        }
        let start = Start {
            cursor: number(bytes, 24, 32),
            sequence: number(bytes, 32, 40),
            demotions: number(bytes, 40, 44) as u32,
        };
        if start.cursor & (align - 1) != 0 {
            return Err(errno!(EPROTO));
        }
        Ok(Self {
            membarrier: flags & MEMBARRIER != 0,
            align,
            ring_size: number(bytes, 16, 24),
            start,
        })
    }
}

/// An admission, which the subscriber has checked.
pub struct Admission {
    /// The answer.
    pub answer: Answer,
    /// The memory of the feed, which this side can only read.
    pub memory: FeedMemory,
    /// The read end of the pipe through which the publisher wakes this side.
    pub pipe: ReadEnd,
}

impl Admission {
    /// Checks an answer, and maps the memory of the feed. `EPROTO` also for a ring that is larger
    /// than `size_max`.
    pub fn new(hello: Hello, size_max: u64) -> Result<Self> {
        let answer = Answer::from_bytes(&hello.bytes)?;
        let size_max = size_max.min(broadcast::RING_MAX);
        if answer.ring_size > size_max || !answer.ring_size.is_power_of_two() {
            return Err(errno!(EPROTO));
        }
        let [memory, pipe] = hello.fds;
        let geometry = broadcast::geometry(answer.ring_size, answer.align);
        Ok(Self {
            answer,
            pipe: ReadEnd::new(pipe)?,
            memory: FeedMemory::of_peer(memory.as_fd(), geometry)?,
        })
    }
}

fn flag(is_set: bool, flag: u16) -> u16 {
    if is_set { flag } else { 0 }
}

/// The beginning of a hello.
fn header(magic: [u8; 4], flags: u16) -> [u8; HELLO_LEN] {
    let mut bytes = [0; HELLO_LEN];
    put(&mut bytes, 0, &magic);
    put(&mut bytes, 4, &VERSION.to_le_bytes());
    put(&mut bytes, 6, &flags.to_le_bytes());
    bytes
}

/// Checks the beginning of a hello, and returns its flags. Unknown flags are ignored.
fn check_header(bytes: &[u8; HELLO_LEN], magic: [u8; 4]) -> Result<u16> {
    if !bytes.starts_with(&magic) {
        return Err(errno!(EPROTO));
    }
    if number(bytes, 4, 6) != VERSION.into() {
        return Err(errno!(ESTALE));
    }
    Ok(number(bytes, 6, 8) as u16)
}

fn put(bytes: &mut [u8; HELLO_LEN], at: usize, value: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(at).zip(value) {
        *to = *from;
    }
}

fn number(bytes: &[u8; HELLO_LEN], from: usize, to: usize) -> u64 {
    bytes.get(from..to).map_or(0, little_endian)
}

fn is_zero(bytes: &[u8; HELLO_LEN], from: usize, to: usize) -> bool {
    bytes
        .get(from..to)
        .is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0))
}
