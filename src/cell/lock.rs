//! What excludes a cell's writers from each other.

use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::lock::LockStatus;
use crate::lock::mutex::Mutex;
use crate::sys;
use libc::{pid_t, pthread_t};
use std::mem::{self, size_of};

const SIZE: usize = 128;

/// The lock, in shared memory.
#[repr(C, align(16))]
pub struct Lock {
    mutex: Mutex,
    _reserved: [u64; (SIZE - size_of::<Mutex>()) / 8],
}

const _: () = assert!(size_of::<Lock>() == SIZE);

/// The lock is held; dropped, it is released.
pub struct Guard<'a>(&'a Mutex);

impl Lock {
    /// Makes it a lock that nobody holds.
    pub fn init(&self) -> Result<()> {
        self.mutex.init(false)
    }

    /// Waits until nobody else holds it. That the last holder died with it is no matter: what
    /// it did not publish is not there.
    #[inline]
    pub fn lock(&self, wait: Deadline) -> Result<Guard<'_>> {
        let held = self.mutex.lock(wait)?;
        let guard = Guard(&self.mutex);
        if held == LockStatus::OwnerDied {
            self.mutex.consistent()?;
        }
        Ok(guard)
    }
}

impl Lock {
    /// Takes it at once, to keep it: `EBUSY` if anybody has it.
    pub fn keep(&self) -> Result<Keeper> {
        match self.lock(Deadline::new(0)?) {
            Ok(guard) => {
                mem::forget(guard);
                Ok(Keeper {
                    thread: this_thread(),
                    id: sys::thread_id(),
                })
            }
            Err(Errno::EAGAIN | Errno::EDEADLK) => Err(Errno::EBUSY),
            Err(error) => Err(error),
        }
    }

    /// `EPERM` unless this is the thread that keeps it. No system call.
    #[inline]
    pub fn check(&self, keeper: Keeper) -> Result<()> {
        if keeper.thread == this_thread() && self.mutex.is_held_by(keeper.id) {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    /// Gives up what `keep` took. Only its thread can; nothing happens in another, or in the
    /// child after fork.
    pub fn give_up(&self, keeper: Keeper) {
        if self.check(keeper).is_ok() {
            drop(Guard(&self.mutex));
        }
    }
}

/// The thread that keeps the lock. The C library gives `thread` to another one when this one has
/// ended; but the lock is not held by `id` then.
#[derive(Clone, Copy)]
pub struct Keeper {
    thread: pthread_t,
    id: pid_t,
}

#[inline]
fn this_thread() -> pthread_t {
    // SAFETY: has no preconditions.
    unsafe { libc::pthread_self() }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // It fails only if the memory was written over meanwhile, and then nothing helps.
        let _ = self.0.unlock();
    }
}
