//! What excludes a cell's writers from each other.

use crate::errno::{Errno, Result};
use crate::lock::Held;
use crate::mutex::Mutex;
use crate::wait::Wait;
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
        self.mutex.init()
    }

    /// Waits until nobody else holds it. That the last holder died with it is no matter: what
    /// it did not publish is not there.
    #[inline]
    pub fn lock(&self, wait: Wait) -> Result<Guard<'_>> {
        let held = self.mutex.lock(wait)?;
        let guard = Guard(&self.mutex);
        if held == Held::OwnerDied {
            self.mutex.consistent()?;
        }
        Ok(guard)
    }
}

impl Lock {
    /// Takes it at once, to keep it: `EBUSY` if anybody has it.
    pub fn keep(&self) -> Result<Keeper> {
        match self.lock(Wait::new(0)?) {
            Ok(guard) => {
                mem::forget(guard);
                Ok(Keeper::this_thread())
            }
            Err(Errno::EAGAIN | Errno::EDEADLK) => Err(Errno::EBUSY),
            Err(error) => Err(error),
        }
    }

    /// Gives up what `keep` took. Only its thread can; nothing happens in another, or in the
    /// child after fork.
    pub fn give_up(&self, keeper: Keeper) {
        if keeper.check().is_ok() {
            drop(Guard(&self.mutex));
        }
    }
}

/// The thread that keeps the lock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Keeper(libc::pthread_t);

impl Keeper {
    #[inline]
    fn this_thread() -> Self {
        // SAFETY: has no preconditions.
        Self(unsafe { libc::pthread_self() })
    }

    /// `EPERM` in another thread.
    #[inline]
    pub fn check(self) -> Result<()> {
        if self == Self::this_thread() {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // It fails only if the memory was written over meanwhile, and then nothing helps.
        let _ = self.0.unlock();
    }
}
