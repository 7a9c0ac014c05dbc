//! The attributes of the C library's mutex.

use crate::errno::{Errno, Result};
use libc::{c_int, pthread_mutexattr_t};
use std::mem::MaybeUninit;

/// Converts the result of a pthread function.
pub fn done(error: c_int) -> Result<()> {
    match error {
        0 => Ok(()),
        error => Err(Errno::new(error)),
    }
}

/// Attributes of a mutex that is shared between processes, robust, and checked for errors, except with
/// priority inheritance: if threads wait for each other, the kernel reports that to a waiter (`EDEADLK`),
/// and then glibc would end the process of a mutex that is checked for errors.
pub struct Attributes(pthread_mutexattr_t);

impl Attributes {
    /// Makes the attributes; with priority inheritance if the mutex `inherits`.
    pub fn new(inherits: bool) -> Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the memory has the size of the attributes.
        done(unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: pthread_mutexattr_init has initialised them.
        let mut this = Self(unsafe { attributes.assume_init() });
        // SAFETY: initialised attributes.
        done(unsafe {
            libc::pthread_mutexattr_setpshared(&mut this.0, libc::PTHREAD_PROCESS_SHARED)
        })?;
        // SAFETY: initialised attributes.
        done(unsafe {
            libc::pthread_mutexattr_setrobust(&mut this.0, libc::PTHREAD_MUTEX_ROBUST)
        })?;
        let kind = if inherits {
            libc::PTHREAD_MUTEX_NORMAL
        } else {
            libc::PTHREAD_MUTEX_ERRORCHECK
        };
        // SAFETY: initialised attributes.
        done(unsafe { libc::pthread_mutexattr_settype(&mut this.0, kind) })?;
        if inherits {
            // SAFETY: initialised attributes.
            done(unsafe {
                libc::pthread_mutexattr_setprotocol(&mut this.0, libc::PTHREAD_PRIO_INHERIT)
            })?;
        }
        Ok(this)
    }

    /// The attributes, for the C library.
    pub fn get(&self) -> *const pthread_mutexattr_t {
        &self.0
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised attributes, which nothing uses afterwards.
        unsafe { libc::pthread_mutexattr_destroy(&mut self.0) };
    }
}
