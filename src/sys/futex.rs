//! Futexes in memory that several processes share (futex(2)).

use super::checked;
use crate::errno::{Errno, Result};
use libc::{c_int, timespec};
use std::ptr;
use std::sync::atomic::AtomicU32;

/// Sleeps while `word` is `seen`, for at most `time`. It is not an error if it is not `seen`
/// any more, if nobody has called [`wake`], or if the time is over: the caller looks again.
/// `EINTR` says that a signal handler ran.
///
/// The word may lie in memory that is mapped read-only.
pub fn wait(word: &AtomicU32, seen: u32, time: Option<timespec>) -> Result<()> {
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the kernel reads the word, which outlives the call, and the time.
    let ret = checked(unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, time)
    });
    match ret {
        Ok(_) | Err(Errno::EAGAIN | Errno::ETIMEDOUT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Wakes up to `count` sleepers.
pub fn wake(word: &AtomicU32, count: c_int) {
    // SAFETY: the kernel takes the word's address for a name only.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
}

/// Adds 1 to `word` and wakes all who sleep on it, in one system call: a process that is killed
/// has done both or neither.
pub fn increment_and_wake(word: &AtomicU32) -> Result<()> {
    const INCREMENT: c_int = (libc::FUTEX_OP_ADD << 28) | (1 << 12);
    // SAFETY: the kernel adds to the word, atomically; it outlives the call.
    checked(unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE_OP,
            c_int::MAX,
            0, // how many to wake at the second word, which is the first again
            word.as_ptr(),
            INCREMENT,
        )
    })
    .map(drop)
}
