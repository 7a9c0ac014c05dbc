//! Futexes in memory that several processes share (futex(2)), and the robust list of a thread.

use super::{checked, thread};
use crate::errno::{Errno, Result, errno, preserve_errno};
use libc::{c_int, c_long, c_void, timespec};
use probe::probe;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SleepEnd {
    /// By a [`wake`], or spuriously.
    Woken,
    /// The word had another value, so the thread did not sleep.
    Changed,
    /// The time limit expired.
    Expired,
}

/// Sleeps while `word` is `seen`, for at most `time`. The caller must check the word again after
/// any result. `EINTR` means that a signal handler ran.
///
/// The word may lie in memory that is mapped read-only.
pub fn wait(word: &AtomicU32, seen: u32, time: Option<timespec>) -> Result<SleepEnd> {
    end_of(preserve_errno(|| wait_call(word, seen, time)))
}

/// [`wait`] as a cancellation point: pthread_cancel(3) ends the calling thread while it sleeps. A
/// thread that is cancelled just after it was woken loses the wake-up.
///
/// The caller, and every function of the library that calls it, must hold nothing: a cancelled
/// thread runs no `Drop`.
pub fn wait_cancellable(word: &AtomicU32, seen: u32, time: Option<timespec>) -> Result<SleepEnd> {
    // SAFETY: one system call; the only effect that can be lost is a wake-up.
    end_of(preserve_errno(|| unsafe {
        thread::cancellable(|| wait_call(word, seen, time))
    }))
}

#[inline(always)]
fn wait_call(word: &AtomicU32, seen: u32, time: Option<timespec>) -> Result<c_long> {
    let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the kernel reads the word, which outlives the call, and the time.
    checked(unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, time) })
}

fn end_of(waited: Result<c_long>) -> Result<SleepEnd> {
    match waited {
        Ok(_) => Ok(SleepEnd::Woken),
        Err(error) if error == Errno::EAGAIN => Ok(SleepEnd::Changed),
        Err(error) if error == Errno::ETIMEDOUT => Ok(SleepEnd::Expired),
        Err(error) => Err(error),
    }
}

/// Wakes up to `count` threads. Returns the number that it woke, 0 if the system refuses the call.
pub fn wake(word: &AtomicU32, count: c_int) -> u32 {
    probe!(unixipc, futex_wake, ptr::from_ref(word), count);
    let woken = preserve_errno(|| {
        // SAFETY: the kernel uses the address of the word only as an identifier.
        checked(unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) })
    });
    woken.unwrap_or(0) as u32
}

/// A change of a futex word by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Adds 1.
    Increment,
    /// Sets the lowest bit.
    SetLowestBit,
}

/// Changes `word` and wakes up to `count` of the threads that sleep on it, in one system call: a
/// process that is killed has done both or neither. Returns the number of threads that it woke. On
/// failure nothing has changed; `ENOSYS` if the system refuses the call.
pub fn update_and_wake(word: &AtomicU32, update: Update, count: c_int) -> Result<u32> {
    probe!(unixipc, futex_wake, ptr::from_ref(word), count);
    let operation = match update {
        Update::Increment => libc::FUTEX_OP_ADD,
        Update::SetLowestBit => libc::FUTEX_OP_OR,
    };
    // If the old value of the second word passes a test, the kernel wakes threads at that word too:
    // at least one, even for a count of 0. A test for −1 makes that rare.
    const EQUAL_TO_MINUS_1: c_int = libc::FUTEX_OP_CMP_EQ << 24 | 0xfff;
    let woken = preserve_errno(|| {
        // SAFETY: the kernel changes the word atomically; the word outlives the call.
        checked(unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAKE_OP,
                count,
                0, // the count for the second word, which is the same as the first
                word.as_ptr(),
                operation << 28 | 1 << 12 | EQUAL_TO_MINUS_1,
            )
        })
    });
    match woken {
        Ok(woken) => Ok(woken as u32),
        // From a system call filter. The callers use EPERM with another meaning.
        Err(error) if error == Errno::EPERM => Err(errno!(ENOSYS)),
        Err(error) => Err(error),
    }
}

/// Adds 1 to `word` and wakes up to `count` threads with [`update_and_wake`], or in two steps if a
/// system call filter refuses that. Returns the number of threads that it woke.
pub fn increment_and_wake(word: &AtomicU32, count: c_int) -> Result<u32> {
    match update_and_wake(word, Update::Increment, count) {
        Err(error) if error == Errno::ENOSYS => {
            word.fetch_add(1, Ordering::SeqCst);
            Ok(wake(word, count))
        }
        done => done,
    }
}

/// Wakes one thread that sleeps on `word`, and moves the others to `other`, if `word` is still
/// `seen`; fails with `EAGAIN` if not. The threads keep their time limits.
pub fn wake_one_and_requeue(word: &AtomicU32, seen: u32, other: &AtomicU32) -> Result<()> {
    preserve_errno(|| {
        // SAFETY: the kernel reads the first word, and uses the address of the other as an
        // identifier.
        checked(unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_CMP_REQUEUE,
                1,
                c_int::MAX,
                other.as_ptr(),
                seen,
            )
        })
    })
    .map(drop)
}

/// Announces to the kernel that this thread is about to acquire the lock with this word. If the
/// thread is killed while the lock is free, the kernel wakes another waiting thread in its place
/// (robust-futex-ABI.rst in the documentation of the kernel). The C library does the same in each
/// lock and unlock of a robust mutex, and cancels the announcement at their end.
///
/// If a system call filter hides the robust list, nothing is announced.
pub fn robust_pending(word: &AtomicU32) {
    let Some(head) = robust_list() else {
        return;
    };
    // SAFETY: the list of this thread, which the C library registered and only this thread changes.
    let offset = unsafe { (*head.as_ptr()).futex_offset };
    let entry = word
        .as_ptr()
        .wrapping_byte_offset(offset.wrapping_neg() as isize);
    set_pending(head, entry.cast());
}

/// Cancels the announcement of [`robust_pending`], if the C library has not done so.
pub fn no_robust_pending() {
    if let Some(head) = robust_list() {
        set_pending(head, ptr::null_mut());
    }
}

fn set_pending(head: NonNull<RobustList>, entry: *mut c_void) {
    // SAFETY: the list of this thread, as above.
    let pending = unsafe { &raw mut (*head.as_ptr()).pending };
    // SAFETY: as above. Volatile, because only the kernel reads it.
    unsafe { pending.write_volatile(entry) };
}

/// The robust list that the C library has registered for this thread, if any.
fn robust_list() -> Option<NonNull<RobustList>> {
    let mut head: *mut RobustList = ptr::null_mut();
    let mut size: libc::size_t = 0;
    let found = preserve_errno(|| {
        // SAFETY: the kernel writes the two values.
        checked(unsafe {
            libc::syscall(
                libc::SYS_get_robust_list,
                0, // of this thread
                &raw mut head,
                &raw mut size,
            )
        })
    });
    found.ok().and(NonNull::new(head))
}

/// `struct robust_list_head` of `<linux/futex.h>`.
#[repr(C)]
struct RobustList {
    list: *mut c_void,
    futex_offset: c_long,
    pending: *mut c_void,
}
