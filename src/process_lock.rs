//! A lock between the threads of one process, which a fork cannot leave held.
//!
//! It records the process whose thread holds it. In the child of a fork made by another thread, that
//! thread does not exist: there [`ProcessLock::lock`] fails with `EBUSY` instead of waiting for it.
//! The value may be half changed then, and stays unused.

use crate::atomic::{AtomicU32, Ordering};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::sys::{CancelGuard, futex};
use libc::c_int;
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

/// A value and the lock that guards it.
pub struct ProcessLock<T> {
    /// The process whose thread holds it; 0 for none.
    holder: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: only the thread that holds the lock accesses the value.
unsafe impl<T: Send> Sync for ProcessLock<T> {}

/// The lock, held. The thread that holds it cannot be cancelled, or the lock would stay held.
pub struct ProcessGuard<'a, T> {
    lock: &'a ProcessLock<T>,
    _not_cancelled: CancelGuard,
}

impl<T> ProcessLock<T> {
    /// A lock that is free.
    pub const fn new(value: T) -> Self {
        Self {
            holder: AtomicU32::new(0),
            value: UnsafeCell::new(value),
        }
    }

    /// Waits for the lock. `EBUSY` in a forked child if a thread of its parent held it.
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
                Err(holder) if holder != process => return Err(Errno::EBUSY),
                Err(holder) => {
                    drop(not_cancelled);
                    wait.futex(&self.holder, holder)?;
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
        self.lock.holder.store(0, Ordering::Release);
        futex::wake(&self.lock.holder, c_int::MAX);
    }
}
