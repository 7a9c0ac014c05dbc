//! The lock that excludes writers of a cell from each other.

use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::lock::LockStatus;
use crate::lock::mutex::Mutex;
use crate::lock::process::Process;
use crate::sys;
use libc::pid_t;
use std::mem::{self, size_of};

const SIZE: usize = 128;

/// The lock, in shared memory.
#[repr(C, align(16))]
pub struct Lock {
    mutex: Mutex,
    _reserved: [u64; (SIZE - size_of::<Mutex>()) / 8],
}

const _: () = assert!(size_of::<Lock>() == SIZE);

/// The lock, held until this is dropped.
pub struct Guard<'a>(&'a Mutex);

impl Lock {
    /// Initialises the lock. No thread holds it.
    pub fn init(&self) -> Result<()> {
        self.mutex.init(false)
    }

    /// Acquires the lock. The death of the last owner is ignored: it left no partial change, since
    /// a value that it did not publish does not exist.
    #[inline]
    pub fn lock(&self, wait: Deadline) -> Result<Guard<'_>> {
        let status = self.mutex.lock(wait)?;
        let guard = Guard(&self.mutex);
        if status == LockStatus::OwnerDied {
            self.mutex.consistent()?;
        }
        Ok(guard)
    }

    /// Acquires the lock for a sole writer, without waiting. `EBUSY` if any thread holds it.
    pub fn acquire(&self) -> Result<SoleWriter> {
        let thread = Process::current()?.thread();
        match self.lock(Deadline::never()) {
            Ok(guard) => {
                mem::forget(guard);
                Ok(SoleWriter {
                    id: sys::thread_id(),
                    thread,
                })
            }
            Err(error) if error.is_one_of(&[Errno::EAGAIN, Errno::EDEADLK]) => Err(errno!(EBUSY)),
            Err(error) => Err(error),
        }
    }

    /// `EPERM` unless the calling thread is the sole writer. Makes no system call on a kernel that
    /// has `MADV_WIPEONFORK`.
    #[inline]
    pub fn check(&self, writer: SoleWriter) -> Result<()> {
        let process = Process::current()?;
        if process.thread() == writer.thread && self.mutex.is_held_by(writer.id) {
            Ok(())
        } else {
            Err(errno!(EPERM))
        }
    }

    /// Releases the lock that [`Self::acquire`] acquired. Does nothing in another thread or in a
    /// forked child.
    pub fn release(&self, writer: SoleWriter) {
        if self.check(writer).is_ok() {
            drop(Guard(&self.mutex));
        }
    }
}

/// Identifies the thread that holds the lock as the sole writer.
#[derive(Clone, Copy)]
pub struct SoleWriter {
    /// The thread id in the lock.
    id: pid_t,
    /// [`Process::thread`]: it differs in a forked child. A later thread of the process can have the
    /// same number, but only after this thread has ended and the kernel has released the lock.
    thread: u64,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // It fails only if another process has overwritten the memory. The error is ignored because
        // nothing can repair that.
        let _ = self.0.unlock();
    }
}
