//! The lock that excludes a cell's writers from each other: the C library's robust mutex, which
//! the kernel releases when its owner dies.

use crate::errno::{Errno, Result};
use crate::object::{Header, Kind};
use crate::wait::Wait;
use libc::{c_int, clockid_t, pthread_mutex_t, pthread_mutexattr_t, timespec};
use std::cell::UnsafeCell;
use std::mem::{MaybeUninit, size_of};

const KIND: Kind = Kind::with_c_types(*b"clck", 1);
const SIZE: usize = 128;

#[allow(unused_doc_comments)] // for cbindgen
/// cbindgen:ignore
unsafe extern "C" {
    fn pthread_mutex_clocklock(
        mutex: *mut pthread_mutex_t,
        clock: clockid_t,
        deadline: *const timespec,
    ) -> c_int;
}

/// The lock, in shared memory.
#[repr(C, align(16))]
pub struct Lock {
    header: Header,
    mutex: UnsafeCell<pthread_mutex_t>,
    _reserved: [u64; (SIZE - size_of::<Header>() - size_of::<pthread_mutex_t>()) / 8],
}

const _: () = assert!(size_of::<Lock>() == SIZE);

/// The lock is held; dropped, it is released.
pub struct Guard<'a>(&'a Lock);

impl Lock {
    /// Makes it a lock that nobody holds.
    pub fn init(&self) -> Result<()> {
        self.header.begin();
        let mut attributes = MaybeUninit::<pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: the attributes are ours, to be written.
        checked(unsafe { libc::pthread_mutexattr_init(attributes) })?;
        // SAFETY: they are initialised, as in the next calls.
        checked(unsafe {
            libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED)
        })?;
        // SAFETY: as above.
        checked(unsafe {
            libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST)
        })?;
        // SAFETY: as above.
        checked(unsafe {
            libc::pthread_mutexattr_settype(attributes, libc::PTHREAD_MUTEX_ERRORCHECK)
        })?;
        // SAFETY: nobody uses the mutex: the header says that it is none.
        checked(unsafe { libc::pthread_mutex_init(self.mutex.get(), attributes) })?;
        // SAFETY: initialised above, not used any more.
        unsafe { libc::pthread_mutexattr_destroy(attributes) };
        self.header.finish(KIND);
        Ok(())
    }

    /// Waits until nobody else holds it. That the last holder died with it is no matter: what
    /// it did not publish is not there.
    #[inline]
    pub fn lock(&self, wait: Wait) -> Result<Guard<'_>> {
        self.header.check(KIND)?;
        // SAFETY: the header says that it is a mutex, and it stays while self does.
        let mut ret = unsafe { libc::pthread_mutex_trylock(self.mutex.get()) };
        if ret == libc::EBUSY {
            ret = self.lock_slowly(wait)?;
        }
        if ret == libc::EOWNERDEAD {
            // SAFETY: as above; it is ours.
            ret = unsafe { libc::pthread_mutex_consistent(self.mutex.get()) };
        }
        checked(ret)?;
        Ok(Guard(self))
    }

    #[cold]
    fn lock_slowly(&self, mut wait: Wait) -> Result<c_int> {
        let mutex = self.mutex.get();
        Ok(match wait.deadline()? {
            // SAFETY: as in `lock`.
            None => unsafe { libc::pthread_mutex_lock(mutex) },
            // SAFETY: as in `lock`; the deadline is ours.
            Some(deadline) => unsafe {
                pthread_mutex_clocklock(mutex, libc::CLOCK_MONOTONIC, &deadline)
            },
        })
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // SAFETY: the mutex is held by this thread.
        unsafe { libc::pthread_mutex_unlock(self.0.mutex.get()) };
    }
}

fn checked(ret: c_int) -> Result<()> {
    if ret == 0 { Ok(()) } else { Err(Errno(ret)) }
}
