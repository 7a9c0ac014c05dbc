//! The C library's mutex, and the futex word inside it that the kernel knows.

use super::attributes::{Attributes, done};
use crate::errno::Result;
use libc::{c_int, pid_t, pthread_mutex_t};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, Ordering};

/// The offset of the futex word in the C library's mutex.
const FUTEX_OFFSET: usize = if cfg!(target_env = "musl") { 4 } else { 0 };

/// A mutex of the C library with [`Attributes`].
///
/// Its functions return the error numbers of the C library.
#[repr(transparent)]
pub struct RawMutex(UnsafeCell<pthread_mutex_t>);

// SAFETY: only the C library and the kernel access the mutex, and both share it between threads and
// processes.
unsafe impl Sync for RawMutex {}

impl RawMutex {
    /// Makes a mutex that [`Self::init`] must initialise.
    pub const fn uninitialised() -> Self {
        Self(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER))
    }

    /// Initialises the mutex, unlocked; with priority inheritance if it `inherits`.
    pub fn init(&self, inherits: bool) -> Result<()> {
        let attributes = Attributes::new(inherits)?;
        // SAFETY: the memory has the size and alignment of the type, and no thread uses it as a
        // mutex.
        done(unsafe { libc::pthread_mutex_init(self.0.get(), attributes.get()) })
    }

    /// Locks the mutex if it is unlocked.
    pub fn try_lock(&self) -> c_int {
        // SAFETY: `init` has initialised the mutex.
        unsafe { libc::pthread_mutex_trylock(self.0.get()) }
    }

    /// Unlocks the mutex.
    #[inline(always)]
    pub fn unlock(&self) -> c_int {
        // SAFETY: `init` has initialised the mutex.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) }
    }

    /// Makes the mutex usable again after its owner has died. For its new owner.
    pub fn make_consistent(&self) -> c_int {
        // SAFETY: `init` has initialised the mutex.
        unsafe { libc::pthread_mutex_consistent(self.0.get()) }
    }

    /// The mutex, for another function of the C library.
    pub fn get(&self) -> *mut pthread_mutex_t {
        self.0.get()
    }

    /// The id that the C library has for this thread. For a mutex that no other thread uses.
    pub fn id_for_owner(&self) -> Result<pid_t> {
        done(self.try_lock())?;
        let id = self.owner_id();
        done(self.unlock())?;
        Ok(id)
    }

    /// The id of the thread that holds the mutex, or 0. It can change at any time.
    #[inline]
    #[must_use]
    pub fn owner_id(&self) -> pid_t {
        (self.futex().load(Ordering::Relaxed) & libc::FUTEX_TID_MASK) as pid_t
    }

    /// The futex word.
    #[inline]
    pub fn futex(&self) -> &AtomicU32 {
        let word = self.0.get().wrapping_byte_add(FUTEX_OFFSET).cast::<u32>();
        // SAFETY: inside the mutex and aligned. The C library, the kernel and this library all
        // access it atomically.
        unsafe { AtomicU32::from_ptr(word) }
    }
}
