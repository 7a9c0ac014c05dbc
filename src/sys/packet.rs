//! Reading and writing one packet of a pipe without waiting, even on a blocking descriptor.
//!
//! The kernel refuses `RWF_NOWAIT` for FIFOs (`EOPNOTSUPP`, at least up to Linux 6.18). vmsplice(2)
//! has a flag not to wait, but it joins packets, and a pipe that it fills refers to memory that
//! changes later. splice(2) from one pipe to another has the same flag, and moves a packet
//! unchanged. So a packet passes through a private pipe that can contain exactly one.
//!
//! tee(2) copies whole buffers of a pipe without removing them; [`peek`] uses it.

use super::memory::page_size;
use super::pipe::{self, is_nonblocking, with_signals_blocked};
use super::{CancelGuard, checked_len};
use crate::errno::{Errno, Result, errno};
use libc::c_int;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::SigSet;
use nix::unistd::pipe2;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

/// Reads a packet, up to the length of `bytes`; 0 if it is empty, or at the end of the file.
pub fn read_without_waiting(fd: BorrowedFd, bytes: &mut [MaybeUninit<u8>]) -> Result<usize> {
    if is_nonblocking(fd)? {
        return pipe::read(fd, bytes);
    }
    read_by(Slot::new, fd, bytes)
}

/// Reads bytes that [`peek`] has shown, in one buffer of the pipe or in two. If they are not all of a
/// packet, its rest stays in the pipe.
pub fn read_peeked(fd: BorrowedFd, bytes: &mut [MaybeUninit<u8>]) -> Result<usize> {
    read_by(Slot::of_two_buffers, fd, bytes)
}

/// Removes the first buffer of a pipe if it is empty: before Linux 6.15, a write whose memory cannot be
/// read leaves such a buffer.
pub fn discard_empty(fd: BorrowedFd) -> Result<()> {
    let _uncancelled = CancelGuard::new();
    let slot = Slot::new()?;
    // The empty buffer occupies the slot, so no byte follows it.
    match splice(&fd, &slot.write, 1) {
        Err(error) if error != Errno::EAGAIN => Err(error),
        _ => Ok(()),
    }
}

/// Reads without waiting, through a slot.
fn read_by(
    new_slot: fn() -> Result<Slot>,
    fd: BorrowedFd,
    bytes: &mut [MaybeUninit<u8>],
) -> Result<usize> {
    let _uncancelled = CancelGuard::new();
    let slot = new_slot()?;
    match splice(&fd, &slot.write, bytes.len()) {
        // The call may block.
        Err(error) if cannot_splice(error) => pipe::read(fd, bytes),
        moved => match pipe::read(slot.read.as_fd(), bytes) {
            Err(error) if error == Errno::EAGAIN => moved, // no packet
            // Also if `moved` is EAGAIN: splice(2) continues after an empty packet, and finds that
            // the slot is occupied.
            read => read,
        },
    }
}

/// Writes a packet of at most `PIPE_BUF` bytes, in one piece and without SIGPIPE.
pub fn write_without_waiting(fd: BorrowedFd, packet: &[u8]) -> Result<usize> {
    if is_nonblocking(fd)? {
        return pipe::write_without_signal(fd, packet);
    }
    let _uncancelled = CancelGuard::new();
    let slot = Slot::new()?;
    nix::unistd::write(&slot.write, packet)?;
    let moved = with_signals_blocked(&SigSet::all(), &|| splice(&slot.read, &fd, packet.len()));
    match moved {
        Err(error) if cannot_splice(error) => pipe::write_without_signal(fd, packet),
        moved => moved,
    }
}

/// Copies the first buffer of a pipe, and the second one if neither is a packet, and removes
/// nothing. A buffer is a page; `bytes` is as large as two. Returns the number of bytes, 0 if there
/// are none. Never waits.
#[inline(never)]
pub fn peek(fd: BorrowedFd, bytes: &mut [MaybeUninit<u8>]) -> Result<usize> {
    let _uncancelled = CancelGuard::new();
    let slot = Slot::of_two_buffers()?;
    let (from, to) = (fd.as_raw_fd(), slot.write.as_raw_fd());
    // SAFETY: no pointers.
    match checked_len(unsafe { libc::tee(from, to, bytes.len(), libc::SPLICE_F_NONBLOCK) }) {
        Err(error) if error.is_missing_call() => Err(errno!(ENOSYS)),
        // A packet stays a packet in the private pipe, and ends the read.
        Ok(1..) => pipe::read(slot.read.as_fd(), bytes),
        nothing => nothing,
    }
}

/// Whether `splice(2)` fails because of a system call filter, or a file that cannot be spliced.
fn cannot_splice(error: Errno) -> bool {
    error.is_missing_call() || error == Errno::EINVAL
}

/// `splice(2)` without waiting.
// Not of `BorrowedFd`, whose creation can panic if the compiler does not see that it cannot. That
// would link the code of a panic, which is larger than the library.
fn splice(from: &impl AsRawFd, to: &impl AsRawFd, len: usize) -> Result<usize> {
    let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
    let flags = libc::SPLICE_F_NONBLOCK;
    // SAFETY: no offsets, which are the only pointers.
    checked_len(unsafe { libc::splice(from, ptr::null_mut(), to, ptr::null_mut(), len, flags) })
}

/// A small private pipe.
struct Slot {
    read: OwnedFd,
    write: OwnedFd,
}

impl Slot {
    /// A pipe in packet mode that can contain one packet.
    fn new() -> Result<Self> {
        // The kernel rounds the size up to one page, which is one packet.
        Self::of(1, OFlag::O_DIRECT)
    }

    /// A pipe that can contain what [`peek`] copies.
    fn of_two_buffers() -> Result<Self> {
        Self::of(2 * page_size(), OFlag::empty())
    }

    fn of(size: usize, mode: OFlag) -> Result<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | mode)?;
        match fcntl(&write, FcntlArg::F_SETPIPE_SZ(size as c_int)) {
            // The user has too many pages in pipes, so that the pipe has one buffer: it suffices.
            Err(nix::errno::Errno::EPERM) => {}
            set => drop(set?),
        }
        Ok(Self { read, write })
    }
}
