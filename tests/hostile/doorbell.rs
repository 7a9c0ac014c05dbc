//! Peers that misuse the pipes that serve as doorbells.

use crate::peer::*;
use crate::support::*;
use common::child::fork;
use common::filter;
use libc::*;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

const RECEIVER: usize = 256;

/// Sets the status flags of an open file description.
fn set_flags(fd: &OwnedFd, flags: c_int) {
    // SAFETY: no pointers.
    assert_eq!(unsafe { fcntl(fd.as_raw_fd(), F_SETFL, flags) }, 0);
}

/// Fills a pipe.
fn fill(write_end: &OwnedFd) {
    set_flags(write_end, O_NONBLOCK);
    let bytes = [0u8; 4096];
    let fd = write_end.as_raw_fd();
    // SAFETY: the buffer, with its length.
    let write = || outcome(|| unsafe { write(fd, bytes.as_ptr().cast(), bytes.len()) });
    while write().is_ok() {}
    assert_eq!(write(), Err(EAGAIN));
}

/// Empties a pipe.
fn drain(read_end: &OwnedFd) {
    let mut bytes = [0u8; 4096];
    let fd = read_end.as_raw_fd();
    // SAFETY: the buffer, with its length.
    while unsafe { read(fd, bytes.as_mut_ptr().cast(), bytes.len()) } > 0 {}
}

/// A peer that repeatedly wakes this side, makes the shared file description nonblocking, and reads
/// the wake-ups from the pipe.
fn steal(peer: &Peer) -> Child {
    fork(|| {
        end_with_parent();
        set_flags(&peer.write_end, O_NONBLOCK);
        loop {
            let fd = peer.write_end.as_raw_fd();
            // SAFETY: one byte.
            unsafe { write(fd, [0u8].as_ptr().cast(), 1) };
            set_flags(&peer.read_end, O_NONBLOCK);
            drain(&peer.read_end);
            set_flags(&peer.read_end, 0);
        }
    })
}

fn check_stolen_wake_ups(polled: bool) {
    let (channel, peer) = channel();
    let thief = steal(&peer);
    drop(peer);
    if polled {
        channel.is_readable();
    }
    for timeout_ms in [0, 1, 5, 50, 200] {
        let begin = Instant::now();
        let expected = if timeout_ms == 0 { EAGAIN } else { ETIMEDOUT };
        assert_eq!(channel.recv(&mut [0; 8], timeout_ms), Err(expected));
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
    thief.signal(SIGKILL);
    thief.reap();
    // A call without a time limit detects the peer's death.
    assert_eq!(channel.recv(&mut [0; 8], -1), Ok(0));
    assert_eq!(channel.send(b"x", -1), Err(EPIPE));
}

#[apply(isolated)]
fn stolen_wake_ups() {
    check_stolen_wake_ups(false);
    check_stolen_wake_ups(true);
}

/// On kernels before Linux 6.5, preadv2(2) cannot read a pipe without waiting.
#[apply(isolated)]
fn stolen_wake_ups_without_preadv2() {
    filter::refuse(SYS_preadv2, EOPNOTSUPP);
    check_stolen_wake_ups(false);
    check_stolen_wake_ups(true);
}

/// A peer that wakes this side in each call, and reads the byte back after a random delay. This can
/// fall between this side's poll, which finds the pipe readable, and its read.
fn check_stolen_before_read(before_calls: fn()) {
    /// The offset of the number of finished calls, in a word that the library does not use.
    const CALLS_DONE: usize = 4096;
    let calls = scaled(4000) as u32;
    let (channel, peer) = channel();
    let thief = fork(|| {
        let mut random = Random(1);
        let mut byte = 0u8;
        let part = iovec {
            iov_base: (&raw mut byte).cast(),
            iov_len: 1,
        };
        for call in 1..=calls {
            // SAFETY: one byte.
            unsafe { write(peer.write_end.as_raw_fd(), [0u8].as_ptr().cast(), 1) };
            let end = Instant::now() + Duration::from_nanos(random.below(100_000));
            while Instant::now() < end {}
            // SAFETY: one part of one byte.
            unsafe { preadv2(peer.read_end.as_raw_fd(), &part, 1, -1, RWF_NOWAIT) };
            wait_until("the end of a call", || {
                peer.memory.get32(CALLS_DONE) >= call
            });
        }
    });
    let Peer {
        memory,
        write_end,
        read_end,
        doorbell,
    } = peer;
    // If the thief fails, its death ends a call that hangs.
    drop((write_end, read_end, doorbell));
    before_calls();
    for call in 1..=calls {
        assert_eq!(channel.recv(&mut [0; 8], 1), Err(ETIMEDOUT));
        memory.set32(CALLS_DONE, call);
    }
    thief.join();
}

#[apply(isolated)]
fn stolen_before_read() {
    check_stolen_before_read(|| {});
}

#[apply(isolated)]
fn stolen_before_read_without_preadv2() {
    check_stolen_before_read(|| filter::refuse(SYS_preadv2, EOPNOTSUPP));
}

/// The peer makes the pipe nonblocking while this side sleeps without a time limit.
#[apply(isolated)]
fn nonblocking_while_asleep() {
    for flags in [O_NONBLOCK, 0] {
        let (channel, peer) = channel();
        set_flags(&peer.read_end, flags);
        // SAFETY: takes nothing.
        let parent = unsafe { getpid() };
        let child = fork(|| {
            for flags in [O_NONBLOCK, 0, O_NONBLOCK] {
                wait_asleep(parent);
                set_flags(&peer.read_end, flags);
                let fd = peer.write_end.as_raw_fd();
                // SAFETY: one byte.
                assert_eq!(unsafe { write(fd, [0u8].as_ptr().cast(), 1) }, 1);
                wait_until("an empty pipe", || !has_unread_bytes(&peer.read_end));
            }
        });
        drop(peer);
        assert_eq!(channel.recv(&mut [0; 8], -1), Ok(0));
        child.join();
    }
}

/// Whether a pipe holds unread bytes.
fn has_unread_bytes(fd: &OwnedFd) -> bool {
    let mut count: c_int = 0;
    // SAFETY: one number.
    assert_eq!(unsafe { ioctl(fd.as_raw_fd(), FIONREAD, &mut count) }, 0);
    count > 0
}

/// Another process has a copy of the write end. The peer's death is not detected, but no call
/// outlasts its time-out.
#[apply(isolated)]
fn write_end_in_another_process() {
    let (channel, peer) = channel();
    let keeper = fork(|| {
        end_with_parent();
        loop {
            // SAFETY: takes nothing.
            unsafe { pause() };
        }
    });
    drop(peer);
    assert_eq!(channel.recv(&mut [0; 8], 0), Err(EAGAIN));
    assert_eq!(channel.recv(&mut [0; 8], 20), Err(ETIMEDOUT));
    let sent = (0..100).find_map(|_| channel.send(&[0; 4000], 20).err());
    assert_eq!(sent, Some(ETIMEDOUT));
    assert!(!channel.is_readable());
    keeper.signal(SIGKILL);
    keeper.reap();
    assert!(channel.is_readable());
    assert_eq!(channel.recv(&mut [0; 8], -1), Ok(0));
    assert_eq!(channel.send(b"x", -1), Err(EPIPE));
}

/// Both pipes are full.
#[apply(isolated)]
fn full_pipes() {
    // The peer's receiver counts as asleep, so a send must wake it.
    let (channel, peer) = channel();
    peer.memory.set32(RECEIVER, 1);
    fill(&reopen(&peer.doorbell, O_WRONLY));
    fill(&peer.write_end);
    assert_eq!(channel.send(b"x", -1), Ok(0));
    assert_eq!(channel.recv(&mut [0; 8], 0), Err(EAGAIN));
    assert_eq!(channel.recv(&mut [0; 8], 50), Err(ETIMEDOUT));
    fill(&peer.write_end);
    // After enough receives the pipe is empty, and the descriptor is not readable.
    let calls = (0..65536).find(|_| {
        let is_readable = channel.is_readable();
        assert_eq!(channel.recv(&mut [0; 8], 0), Err(EAGAIN));
        !is_readable
    });
    assert!(calls.is_some());
    drop(peer);
    assert_eq!(channel.recv(&mut [0; 8], -1), Ok(0));
}

/// The peer closes its pipe, and opens it again through the read end. The channel stays closed.
#[apply(isolated)]
fn reopened() {
    let (channel, peer) = channel();
    let Peer {
        write_end,
        read_end,
        doorbell: _doorbell,
        memory: _memory,
    } = peer;
    drop(write_end);
    assert_eq!(channel.recv(&mut [0; 8], -1), Ok(0));
    let again = reopen(&read_end, O_WRONLY);
    // SAFETY: one byte.
    let written = unsafe { write(again.as_raw_fd(), [0u8].as_ptr().cast(), 1) };
    assert_eq!(written, 1);
    for timeout_ms in [0, 10, -1] {
        assert_eq!(channel.recv(&mut [0; 8], timeout_ms), Ok(0));
        assert_eq!(channel.send(b"x", timeout_ms), Err(EPIPE));
    }
}
