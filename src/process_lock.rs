//! A lock between the threads of one process that does not deadlock after a fork.
//!
//! It records the process of the thread that holds it. If another thread forks, the holder does not
//! exist in the child: there [`ProcessLock::lock`] fails with `EBUSY` instead of waiting. The value
//! may be half changed, and is not used in the child.

use crate::atomic::{AtomicU32, Ordering};
use crate::deadline::Deadline;
use crate::errno::{Result, errno};
use crate::sys::{CancelGuard, futex};
use libc::c_int;
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

/// Set in the lock's word when a thread may sleep on it. Process ids have fewer bits.
const CONTENDED: u32 = 1 << 31;

/// A value and the lock that guards it.
pub struct ProcessLock<T> {
    /// The process whose thread holds it, and [`CONTENDED`]; 0 for none.
    holder: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: only the thread that holds the lock accesses the value.
unsafe impl<T: Send> Sync for ProcessLock<T> {}

/// The held lock. Cancellation of the thread is deferred, because it would leave the lock held.
pub struct ProcessGuard<'a, T> {
    lock: &'a ProcessLock<T>,
    _not_cancelled: CancelGuard,
}

impl<T> ProcessLock<T> {
    /// An unlocked value.
    pub const fn new(value: T) -> Self {
        Self {
            holder: AtomicU32::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// Acquires the lock. Fails with `EBUSY` in a forked child if a thread of the parent held it.
    pub fn lock(&self, wait: &mut Deadline) -> Result<ProcessGuard<'_, T>> {
        let process = std::process::id();
        loop {
            let not_cancelled = CancelGuard::new();
            let (acquire, relaxed) = (Ordering::Acquire, Ordering::Relaxed);
            match self.holder.compare_exchange(0, process, acquire, relaxed) {
                Ok(_) => {
                    return Ok(ProcessGuard {
                        lock: self,
                        _not_cancelled: not_cancelled,
                    });
                }
                Err(holder) if holder & !CONTENDED != process => return Err(errno!(EBUSY)),
                Err(holder) => {
                    drop(not_cancelled);
                    let contended = holder | CONTENDED;
                    let marked = self
                        .holder
                        .compare_exchange(holder, contended, relaxed, relaxed);
                    // Otherwise the holder has changed.
                    if marked.is_ok() {
                        wait.futex(&self.holder, contended)?;
                    }
                }
            }
        }
    }
}

impl<T> Deref for ProcessGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for ProcessGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for ProcessGuard<'_, T> {
    fn drop(&mut self) {
        if self.lock.holder.swap(0, Ordering::Release) & CONTENDED != 0 {
            // All of them: a thread that acquires the lock after this does not mark it.
            futex::wake(&self.lock.holder, c_int::MAX);
        }
    }
}
