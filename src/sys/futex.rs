//! Futexes in memory that several processes share (futex(2)).

use super::{checked, thread};
use crate::errno::{Errno, Result, preserve_errno};
use libc::{c_int, c_long, c_void, timespec};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SleepEnd {
    /// A [`wake`], or a spurious return.
    Woken,
    /// The word had another value, so the thread did not sleep.
    Changed,
    /// The time passed.
    Expired,
}

/// Sleeps while `word` is `seen`, for at most `time`. The caller checks the word again, however
/// the sleep ended. `EINTR` says that a signal handler ran.
///
/// The word may lie in memory that is mapped read-only.
pub fn wait(word: &AtomicU32, seen: u32, time: Option<timespec>) -> Result<SleepEnd> {
    end_of(preserve_errno(|| wait_call(word, seen, time)))
}

/// [`wait`] as a cancellation point: pthread_cancel(3) ends the calling thread while it sleeps. A
/// thread that is cancelled just after it was woken takes the wake-up with it.
///
/// The caller, and every function of the library that calls it, must hold nothing: a cancelled
/// thread runs no `Drop`.
pub fn wait_cancellable(word: &AtomicU32, seen: u32, time: Option<timespec>) -> Result<SleepEnd> {
    // SAFETY: one system call, which has no effect that could be lost except a wake-up.
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
        Err(Errno::EAGAIN) => Ok(SleepEnd::Changed),
        Err(Errno::ETIMEDOUT) => Ok(SleepEnd::Expired),
        Err(error) => Err(error),
    }
}

/// Wakes up to `count` sleepers. Returns how many it woke, 0 if the system refuses the call.
pub fn wake(word: &AtomicU32, count: c_int) -> u32 {
    let woken = preserve_errno(|| {
        // SAFETY: the kernel uses the address of the word as a name only.
        checked(unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) })
    });
    woken.unwrap_or(0) as u32
}

/// A change of a futex word that the kernel makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Adds 1.
    Increment,
    /// Sets the lowest bit.
    SetLowestBit,
}

/// Changes `word` and wakes up to `count` of the threads that sleep on it, in one system call: a
/// process that is killed has done both or neither. Returns how many it woke. `ENOSYS` if the
/// system refuses the call, and any other error: then nothing has changed.
pub fn update_and_wake(word: &AtomicU32, update: Update, count: c_int) -> Result<u32> {
    let operation = match update {
        Update::Increment => libc::FUTEX_OP_ADD,
        Update::SetLowestBit => libc::FUTEX_OP_OR,
    };
    // If the old value of the second word passes a test, the kernel wakes threads there too: at
    // least one, even for a count of 0.
    const EQUAL_TO_MINUS_1: c_int = libc::FUTEX_OP_CMP_EQ << 24 | 0xfff;
    let woken = preserve_errno(|| {
        // SAFETY: the kernel changes the word atomically; the word outlives the call.
        checked(unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAKE_OP,
                count,
                0, // how many to wake at the second word, which is the first again
                word.as_ptr(),
                operation << 28 | 1 << 12 | EQUAL_TO_MINUS_1,
            )
        })
    });
    match woken {
        Ok(woken) => Ok(woken as u32),
        // To the callers EPERM means that another thread or process has a right.
        Err(Errno::EPERM) => Err(Errno::ENOSYS),
        Err(error) => Err(error),
    }
}

/// [`update_and_wake`]: adds 1 to `word` and wakes up to `count` sleepers. Where a filter refuses
/// that call, it takes two steps. Returns how many it woke.
pub fn increment_and_wake(word: &AtomicU32, count: c_int) -> Result<u32> {
    match update_and_wake(word, Update::Increment, count) {
        Err(Errno::ENOSYS) => {
            word.fetch_add(1, Ordering::SeqCst);
            Ok(wake(word, count))
        }
        done => done,
    }
}

/// Wakes one sleeper at `word` and has the others sleep at `other`, if `word` is still `seen`;
/// `EAGAIN` if not. A sleeper keeps its time limit.
pub fn wake_one_and_requeue(word: &AtomicU32, seen: u32, other: &AtomicU32) -> Result<()> {
    preserve_errno(|| {
        // SAFETY: the kernel reads the first word, and takes the other's address for a name only.
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

/// Says to the kernel that this thread is about to take the lock whose word this is: should the
/// thread be killed now, while the lock is free, the kernel wakes another sleeper in its place
/// (robust-futex-ABI.rst of the kernel's documentation). The C library says the same with each
/// lock and unlock of a robust mutex, and takes it back at their end.
///
/// Where the kernel does not tell the list (a filter of system calls), nothing is announced.
pub fn robust_pending(word: &AtomicU32) {
    let Some(head) = robust_list() else {
        return;
    };
    // SAFETY: this thread's list, which the C library gave to the kernel and only this thread changes.
    let offset = unsafe { (*head.as_ptr()).futex_offset };
    let entry = word
        .as_ptr()
        .wrapping_byte_offset(offset.wrapping_neg() as isize);
    set_pending(head, entry.cast());
}

/// Takes back what [`robust_pending`] says, where the C library has not.
pub fn no_robust_pending() {
    if let Some(head) = robust_list() {
        set_pending(head, ptr::null_mut());
    }
}

fn set_pending(head: NonNull<RobustList>, entry: *mut c_void) {
    // SAFETY: this thread's list, as above.
    let pending = unsafe { &raw mut (*head.as_ptr()).pending };
    // SAFETY: as above. Volatile, because only the kernel reads it.
    unsafe { pending.write_volatile(entry) };
}

/// What the C library gave to the kernel for this thread, if it did so yet.
fn robust_list() -> Option<NonNull<RobustList>> {
    let mut head: *mut RobustList = ptr::null_mut();
    let mut size: libc::size_t = 0;
    let told = preserve_errno(|| {
        // SAFETY: the kernel writes the two values, for which there is room.
        checked(unsafe {
            libc::syscall(
                libc::SYS_get_robust_list,
                0, // of this thread
                &raw mut head,
                &raw mut size,
            )
        })
    });
    told.ok().and(NonNull::new(head))
}

/// `struct robust_list_head` of `<linux/futex.h>`.
#[repr(C)]
struct RobustList {
    list: *mut c_void,
    futex_offset: c_long,
    pending: *mut c_void,
}
