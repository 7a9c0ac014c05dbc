//! The C library's robust mutex, shared between processes: the kernel itself gives it up when
//! its owner dies, whichever instruction that was.
//!
//! The kernel knows the futex word inside (robust-futex-ABI.rst of its documentation): the
//! owner's thread id, a bit that says that somebody sleeps, one that says that the owner died.
//! Taking and giving up the mutex, and with it the list that the kernel walks at a thread's
//! death, is the C library's part. Sleeping is done here: the C library's own sleep does not
//! end with a signal handler, and it is not over when a wake-up is lost (see
//! [`RobustMutex::lock_after_sleep`]).

use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::sys::{self, futex};
use libc::{c_int, pid_t, pthread_mutex_t, pthread_mutexattr_t};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Where in the C library's mutex the kernel's word is.
const WORD: usize = if cfg!(target_env = "musl") { 4 } else { 0 };

/// glibc says `EDEADLK` to an owner that tries its own mutex, and so ends what was announced to the
/// kernel (see [`RobustMutex::lock_after_sleep`]) in any case. musl says `EBUSY`, as of a mutex that
/// another has, and leaves an announcement alone then.
const IS_GLIBC: bool = cfg!(target_env = "gnu");

/// How long a sleeper waits before it looks by itself.
///
/// cbindgen:ignore
pub const MAX_SLEEP: Duration = Duration::from_millis(100);

/// A robust mutex, and whether an owner has died with it.
#[repr(C)]
pub struct RobustMutex {
    /// Not 0 since an owner died with the mutex. Only its owner reads and writes it.
    died: AtomicU32,
    raw: UnsafeCell<pthread_mutex_t>,
}

// SAFETY: `raw` is only handed to the C library and the kernel, which share it between processes.
unsafe impl Sync for RobustMutex {}

impl RobustMutex {
    /// Offsets of the fields, for the golden file of layouts.
    pub const LAYOUT: [(&str, usize); 2] = [
        ("robust.died", std::mem::offset_of!(Self, died)),
        ("robust.raw", std::mem::offset_of!(Self, raw)),
    ];

    /// Makes it a mutex that is free.
    pub fn init(&self) -> Result<()> {
        self.died.store(0, Ordering::Relaxed);
        let attributes = Attributes::new()?;
        // SAFETY: the memory is as large and aligned as the type, and nobody uses it as a mutex.
        done(unsafe { libc::pthread_mutex_init(self.raw.get(), &attributes.0) })
    }

    /// Locks it if it is free. `EBUSY` if somebody has it, `EDEADLK` if that is this thread.
    #[inline]
    pub fn try_lock(&self) -> Result<()> {
        // SAFETY: a mutex by `init`.
        match unsafe { libc::pthread_mutex_trylock(self.raw.get()) } {
            0 => Ok(()),
            // No system call there: musl keeps a thread's id at hand.
            libc::EBUSY if !IS_GLIBC && self.held_by_current_thread() => Err(Errno::EDEADLK),
            libc::EBUSY => Err(Errno::EBUSY),
            libc::EOWNERDEAD => self.adopt_dead_owner(),
            libc::EDEADLK => Err(Errno::EDEADLK),
            _ => Err(Errno::EPROTO),
        }
    }

    /// Takes a mutex for consistent whose owner died: whether what it guards is so is noted
    /// before. Whoever is killed up to here still dies as an owner, of which the next one is
    /// told by the kernel; whoever is killed later too, and `died` stays besides.
    #[cold]
    fn adopt_dead_owner(&self) -> Result<()> {
        self.died.store(1, Ordering::Relaxed);
        // SAFETY: a mutex by `init`, and this thread's.
        match unsafe { libc::pthread_mutex_consistent(self.raw.get()) } {
            0 => Ok(()),
            _ => Err(Errno::EPROTO),
        }
    }

    /// Locks it, and sleeps until it can. `EDEADLK` if this thread has it.
    #[inline]
    pub fn lock(&self, wait: &mut Deadline) -> Result<()> {
        match self.try_lock() {
            Err(Errno::EBUSY) => self.lock_busy(wait),
            tried => tried,
        }
    }

    #[cold]
    fn lock_busy(&self, wait: &mut Deadline) -> Result<()> {
        // For a call that may not wait nothing is to be left in the word.
        wait.remaining()?;
        loop {
            match self.lock_after_sleep(wait, MAX_SLEEP) {
                Err(Errno::EBUSY) => {}
                tried => return tried,
            }
        }
    }

    /// Sleeps until the mutex is given up or its owner dies, for at most `most`, and tries once
    /// more. `EBUSY` says that somebody has it still, or again.
    ///
    /// Who gives it up wakes one sleeper if the word says that there is one, and so does the
    /// kernel for a dead owner. A wake-up must not end with whom it woke:
    ///
    /// - One that takes the mutex sets the bit for those who sleep on: its own unlock wakes the
    ///   next.
    /// - One that finds it taken again sets the bit before it sleeps on.
    /// - For one that is killed in between, the kernel wakes another if the mutex is free: that
    ///   is what `futex::robust_pending` announces. `try_lock` ends the announcement, or what
    ///   follows it does.
    ///
    /// What is left is one that is killed when somebody else has taken the mutex meanwhile, or
    /// just before it sets the bit. Nobody wakes another then; so no sleep lasts longer than
    /// `most`.
    pub fn lock_after_sleep(&self, wait: &mut Deadline, most: Duration) -> Result<()> {
        let waited = self.sleep(wait, most);
        match self.try_lock() {
            Err(Errno::EBUSY) => {
                if !IS_GLIBC {
                    futex::no_robust_pending();
                }
                waited.and(Err(Errno::EBUSY))
            }
            Ok(()) => {
                // Ordered by the kernel's own lock, as all that is done to this bit.
                self.word().fetch_or(libc::FUTEX_WAITERS, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn sleep(&self, wait: &mut Deadline, most: Duration) -> Result<()> {
        let word = self.word();
        // Only a hint: FUTEX_WAIT looks again.
        let seen = word.load(Ordering::Relaxed);
        if seen & libc::FUTEX_TID_MASK == 0 {
            return wait.remaining().map(drop); // free, or its owner is dead
        }
        let asleep = seen | libc::FUTEX_WAITERS;
        // The bit has no meaning beyond the word.
        let set = word.compare_exchange(seen, asleep, Ordering::Relaxed, Ordering::Relaxed);
        if seen != asleep && set.is_err() {
            return wait.remaining().map(drop); // it has changed
        }
        futex::robust_pending(word);
        wait.futex_for(word, asleep, most)
    }

    /// Gives it up. `EPERM` if this thread does not have it.
    #[inline]
    pub fn unlock(&self) -> Result<()> {
        // SAFETY: a mutex by `init`.
        match unsafe { libc::pthread_mutex_unlock(self.raw.get()) } {
            0 => Ok(()),
            libc::EPERM => Err(Errno::EPERM),
            _ => Err(Errno::EPROTO),
        }
    }

    /// Whether an owner has died with it since [`RobustMutex::mark_consistent`]. For its owner.
    #[inline]
    pub fn died(&self) -> bool {
        // Ordered by the mutex itself.
        self.died.load(Ordering::Relaxed) != 0
    }

    /// For its owner: what the mutex guards is consistent.
    pub fn mark_consistent(&self) {
        // Ordered by the mutex itself.
        self.died.store(0, Ordering::Relaxed);
    }

    /// The id of the thread that has it, 0 if none has; old by the time it is looked at.
    #[inline]
    #[must_use]
    pub fn owner(&self) -> pid_t {
        (self.word().load(Ordering::Relaxed) & libc::FUTEX_TID_MASK) as pid_t
    }

    /// Whether this thread has it: an answer that holds.
    #[must_use]
    pub fn held_by_current_thread(&self) -> bool {
        self.owner() == sys::thread_id()
    }

    /// The word that the kernel knows.
    #[inline]
    fn word(&self) -> &AtomicU32 {
        let word = self.raw.get().wrapping_byte_add(WORD).cast::<u32>();
        // SAFETY: inside the mutex and aligned; all that share it use it atomically.
        unsafe { AtomicU32::from_ptr(word) }
    }
}

/// The result of a pthread function.
fn done(error: c_int) -> Result<()> {
    match error {
        0 => Ok(()),
        error => Err(Errno(error)),
    }
}

/// Shared, robust, and with its owner checked at every lock and unlock.
struct Attributes(pthread_mutexattr_t);

impl Attributes {
    fn new() -> Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: room for the attributes.
        done(unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: initialised by the call before.
        let mut this = Self(unsafe { attributes.assume_init() });
        // SAFETY: initialised attributes.
        done(unsafe {
            libc::pthread_mutexattr_setpshared(&mut this.0, libc::PTHREAD_PROCESS_SHARED)
        })?;
        // SAFETY: initialised attributes.
        done(unsafe {
            libc::pthread_mutexattr_setrobust(&mut this.0, libc::PTHREAD_MUTEX_ROBUST)
        })?;
        // SAFETY: initialised attributes.
        done(unsafe {
            libc::pthread_mutexattr_settype(&mut this.0, libc::PTHREAD_MUTEX_ERRORCHECK)
        })?;
        Ok(this)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised attributes, which nobody uses any more.
        unsafe { libc::pthread_mutexattr_destroy(&mut self.0) };
    }
}
