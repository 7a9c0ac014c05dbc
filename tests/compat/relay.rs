//! A relay between the two sides of a handshake, which can change the version and the flags in a
//! hello.

use crate::support::*;
use common::connection::{Hello, SEALS, recv_hello, send_with_fds};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// The bytes of a hello.
pub type Bytes = [u8; 64];

/// The offset of the version in every hello.
pub const VERSION: usize = 4;
/// The offset of the flags.
pub const FLAGS: usize = 6;
/// A flag of every hello: the process is registered for membarrier(2), which depends on the kernel.
pub const MEMBARRIER: u8 = 1;

/// Receives a hello, within a time limit.
#[track_caller]
pub fn receive(from: &OwnedFd) -> Hello {
    assert_ne!(poll(from.as_raw_fd(), LONG), 0, "no hello");
    recv_hello(from)
}

/// Passes a hello on. Returns it, with the descriptors.
#[track_caller]
pub fn forward(from: &OwnedFd, to: &OwnedFd, change: impl Fn(&mut Bytes)) -> Hello {
    let hello = receive(from);
    let mut bytes = hello.bytes;
    change(&mut bytes);
    send_with_fds(to, &bytes, &hello.raw_fds());
    hello
}

/// Changes nothing.
pub fn unchanged(_: &mut Bytes) {}

/// Makes a hello one of the next version.
pub fn next_version(bytes: &mut Bytes) {
    bytes[VERSION] += 1;
}

/// A memfd with these bytes and the seals of a side.
pub fn sealed_copy(bytes: &[u8]) -> File {
    let file = memfd_with(bytes.len(), libc::MFD_ALLOW_SEALING);
    file.write_all_at(bytes, 0).unwrap();
    // SAFETY: no pointers.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS) };
    assert_eq!(done, 0);
    file
}

/// The bytes of a memory that a hello has carried.
pub fn memory_of(hello: &Hello) -> Vec<u8> {
    let file = File::from(hello.fds[0].try_clone().unwrap());
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// The bytes of a hello that do not depend on the kernel.
pub fn constant_bytes(hello: &Hello) -> Bytes {
    let mut bytes = hello.bytes;
    bytes[FLAGS] &= !MEMBARRIER;
    bytes
}

/// Sets all bytes outside these ranges, which the protocol does not use.
pub fn fill_unused(bytes: &mut [u8], used: &[std::ops::Range<usize>]) {
    for (at, byte) in bytes.iter_mut().enumerate() {
        if !used.iter().any(|range| range.contains(&at)) {
            *byte = 0xff;
        }
    }
}
