//! Peers that misuse the pipes.

use crate::support::*;
use common::child::fork;
use common::filter;
use libc::*;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

const RECEIVER: usize = 256;

/// Sets the flags of a description.
fn set_flags(fd: &OwnedFd, flags: c_int) {
    // SAFETY: no pointers.
    assert_eq!(unsafe { fcntl(fd.as_raw_fd(), F_SETFL, flags) }, 0);
}

/// Writes until the pipe is full.
fn fill(write_end: &OwnedFd) {
    set_flags(write_end, O_NONBLOCK);
    let bytes = [0u8; 4096];
    let fd = write_end.as_raw_fd();
    let write = || outcome(|| unsafe { write(fd, bytes.as_ptr().cast(), bytes.len()) });
    while write().is_ok() {}
    assert_eq!(write(), Err(EAGAIN));
}

/// Takes everything out of a pipe.
fn drain(read_end: &OwnedFd) {
    let mut bytes = [0u8; 4096];
    let fd = read_end.as_raw_fd();
    // SAFETY: the buffer, with its length.
    while unsafe { read(fd, bytes.as_mut_ptr().cast(), bytes.len()) } > 0 {}
}

/// A peer that wakes this side, changes the mode of the description that both share, and takes the
/// wake-ups back, all the time.
fn steal(peer: &Peer) -> Child {
    fork(|| {
        // SAFETY: no pointers.
        let die = unsafe { prctl(PR_SET_PDEATHSIG, SIGKILL) };
        assert_eq!(die, 0);
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
    // Its death is noticed in a sleep without a time limit.
    assert_eq!(channel.recv(&mut [0; 8], -1), Ok(0));
    assert_eq!(channel.send(b"x", -1), Err(EPIPE));
}

#[apply(isolated)]
fn stolen_wake_ups() {
    check_stolen_wake_ups(false);
    check_stolen_wake_ups(true);
}

/// On a kernel that cannot read a pipe without waiting by preadv2.
#[apply(isolated)]
fn stolen_wake_ups_before_6_5() {
    filter::refuse(SYS_preadv2, EOPNOTSUPP);
    check_stolen_wake_ups(false);
    check_stolen_wake_ups(true);
}

/// A peer that wakes this side once a call, and takes the byte back a little later: perhaps after
/// this side has found the pipe readable, and before it reads.
fn check_stolen_before_read(before_calls: fn()) {
    /// The offset of the number of calls that have returned. The library does not use that word.
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
        bell,
    } = peer;
    // The thief's failure ends a call that hangs.
    drop((write_end, read_end, bell));
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
fn stolen_before_read_before_6_5() {
    check_stolen_before_read(|| filter::refuse(SYS_preadv2, EOPNOTSUPP));
}

/// This side sleeps without a time limit while its pipe is made nonblocking.
#[apply(isolated)]
fn nonblocking_while_asleep() {
    for flags in [O_NONBLOCK, 0] {
        let (channel, peer) = channel();
        set_flags(&peer.read_end, flags);
        // SAFETY: takes nothing.
        let parent = unsafe { getpid() };
        let child = fork(|| {
            let asleep = || is_asleep(parent);
            for flags in [O_NONBLOCK, 0, O_NONBLOCK] {
                wait_until("a sleep", asleep);
                set_flags(&peer.read_end, flags);
                let fd = peer.write_end.as_raw_fd();
                // SAFETY: one byte.
                assert_eq!(unsafe { write(fd, [0u8].as_ptr().cast(), 1) }, 1);
                wait_until("no wake-up", || !unread(&peer.read_end));
            }
        });
        drop(peer);
        assert_eq!(channel.recv(&mut [0; 8], -1), Ok(0));
        child.join();
    }
}

fn unread(fd: &OwnedFd) -> bool {
    let mut count: c_int = 0;
    // SAFETY: one number.
    assert_eq!(unsafe { ioctl(fd.as_raw_fd(), FIONREAD, &mut count) }, 0);
    count > 0
}

/// Another process keeps the write end: the peer's death goes unnoticed, but no call outlasts its
/// time-out.
#[apply(isolated)]
fn write_end_elsewhere() {
    let (channel, peer) = channel();
    let keeper = fork(|| {
        // SAFETY: no pointers.
        let die = unsafe { prctl(PR_SET_PDEATHSIG, SIGKILL) };
        assert_eq!(die, 0);
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
    // Its receiver announces a sleep, so it must be woken.
    let (channel, peer) = channel();
    peer.memory.set32(RECEIVER, 1);
    fill(&reopen(&peer.bell, O_WRONLY));
    fill(&peer.write_end);
    assert_eq!(channel.send(b"x", -1), Ok(0));
    assert_eq!(channel.recv(&mut [0; 8], 0), Err(EAGAIN));
    assert_eq!(channel.recv(&mut [0; 8], 50), Err(ETIMEDOUT));
    fill(&peer.write_end);
    // A poller finds the pipe empty at some time.
    let calls = (0..65536).find(|_| {
        let is_readable = channel.is_readable();
        assert_eq!(channel.recv(&mut [0; 8], 0), Err(EAGAIN));
        !is_readable
    });
    assert!(calls.is_some());
    drop(peer);
    assert_eq!(channel.recv(&mut [0; 8], -1), Ok(0));
}

/// The peer closes its pipe, and opens it again by the read end: the end remains.
#[apply(isolated)]
fn reopened() {
    let (channel, peer) = channel();
    let Peer {
        write_end,
        read_end,
        bell: _bell,
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
