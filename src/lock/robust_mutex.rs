//! The C library's robust mutex, shared between processes: the kernel releases it when its owner
//! dies, at whichever instruction.
//!
//! The kernel knows the futex word inside (robust-futex-ABI.rst of its documentation): the
//! owner's thread id, a bit for waiters, a bit for an owner that died. Locking and unlocking,
//! and the list of held mutexes that the kernel walks when a thread ends, are the C library's
//! part. Sleeping is done here: the C library's own sleep does not end with a signal handler,
//! and has no bound where a wake-up is lost (see [`RobustMutex::lock_after_sleep`]).
//!
//! The kernel does not find every mutex of a thread that ended: not after an execve(2) by a
//! thread other than the main one, which gets another id first; not in a mapping that the
//! process had removed; not beyond 2,048 mutexes; not after a reboot. A thread that waits
//! therefore checks every [`MAX_SLEEP`] whether the owner still exists.

use super::attributes::{Attributes, done};
use super::process::Process;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::sys::futex::{self, SleepEnd};
use crate::sys::{self, is_thread_alive};
use libc::{c_int, pid_t, pthread_mutex_t};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Where in the C library's mutex the kernel's word is.
const WORD: usize = if cfg!(target_env = "musl") { 4 } else { 0 };

/// glibc returns `EDEADLK` to an owner that tries its own mutex, and so ends what was announced
/// to the kernel (see [`RobustMutex::lock_after_sleep`]) in any case. musl returns `EBUSY`, as
/// for a mutex of another owner, and leaves an announcement alone then.
const IS_GLIBC: bool = cfg!(target_env = "gnu");

/// How long a waiter sleeps before it checks by itself.
///
/// cbindgen:ignore
pub const MAX_SLEEP: Duration = Duration::from_millis(100);

/// A robust mutex, its owner, and whether an owner has died with it.
#[repr(C)]
pub struct RobustMutex {
    raw: UnsafeCell<pthread_mutex_t>,
    /// [`Process::thread`] of the owner, and [`DIED`]. Only the owner writes it, after it has locked
    /// the mutex and before it unlocks it.
    owner: AtomicU64,
}

/// A bit of the owner: an owner died with the mutex, and no later one has marked the guarded data
/// as consistent.
const DIED: u64 = 1;

// SAFETY: `raw` is only handed to the C library and the kernel, which share it between processes.
unsafe impl Sync for RobustMutex {}

impl RobustMutex {
    /// Offsets of the fields, for the golden file of layouts.
    pub const LAYOUT: [(&str, usize); 2] = [
        ("robust.raw", std::mem::offset_of!(Self, raw)),
        ("robust.owner", std::mem::offset_of!(Self, owner)),
    ];

    /// A mutex that is unlocked.
    pub fn new_unlocked() -> Result<Self> {
        let this = Self {
            raw: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
            owner: AtomicU64::new(0),
        };
        this.init(false)?;
        Ok(this)
    }

    /// Initialises it, unlocked; with priority inheritance if its owner is to have that.
    pub fn init(&self, inherits: bool) -> Result<()> {
        self.owner.store(0, Ordering::Relaxed);
        let attributes = Attributes::new(inherits)?;
        // SAFETY: the memory is as large and aligned as the type, and no thread uses it as a mutex.
        done(unsafe { libc::pthread_mutex_init(self.raw.get(), attributes.get()) })
    }

    /// Locks it if it is unlocked. `EBUSY` if another thread holds it, `EDEADLK` if this one does.
    #[inline]
    pub fn try_lock(&self, process: Process) -> Result<()> {
        match self.try_lock_at_once(process) {
            Ok(_) => Ok(()),
            Err(tried) => self.conclude(process, tried),
        }
    }

    /// The most frequent case of [`RobustMutex::try_lock`]: whether an owner has died with it. The
    /// error is for [`RobustMutex::conclude`].
    #[inline(always)]
    pub fn try_lock_at_once(&self, process: Process) -> core::result::Result<bool, c_int> {
        match self.try_raw() {
            0 => Ok(self.note_owner(process)),
            tried => Err(tried),
        }
    }

    /// Ends a [`RobustMutex::try_lock`] for which the C library returned an error number.
    #[cold]
    #[inline(never)]
    pub fn conclude(&self, process: Process, tried: c_int) -> Result<()> {
        match tried {
            libc::EOWNERDEAD => self.adopt_dead_owner()?,
            // No system call there: musl keeps a thread's id at hand.
            libc::EBUSY if IS_GLIBC || self.owner_id() != sys::thread_id() => {
                return Err(Errno::EBUSY);
            }
            libc::EBUSY | libc::EDEADLK => return self.lock_of_own_id(process),
            _ => return Err(Errno::EPROTO),
        }
        self.note_owner(process);
        Ok(())
    }

    /// Returns whether an owner has died with it.
    #[inline]
    fn note_owner(&self, process: Process) -> bool {
        let died = self.owner.load(Ordering::Relaxed) & DIED;
        self.owner.store(process.thread() | died, Ordering::Relaxed);
        died != 0
    }

    /// Whether this thread is noted as the owner.
    #[inline]
    fn is_noted(&self, process: Process) -> bool {
        self.owner.load(Ordering::Relaxed) & !DIED == process.thread()
    }

    fn try_raw(&self) -> c_int {
        // SAFETY: a mutex by `init`.
        unsafe { libc::pthread_mutex_trylock(self.raw.get()) }
    }

    /// For a mutex whose word has this thread's id: `EDEADLK` if this thread holds it. Otherwise
    /// an earlier thread of this id held it, and ended.
    fn lock_of_own_id(&self, process: Process) -> Result<()> {
        if self.is_noted(process) || !process.knows_threads() {
            return Err(Errno::EDEADLK);
        }
        // No other thread can lock it: the id is this thread's.
        self.declare_dead(self.word().load(Ordering::Relaxed));
        match self.try_raw() {
            libc::EOWNERDEAD => self.adopt_dead_owner()?,
            libc::EBUSY => return Err(Errno::EBUSY),
            _ => return Err(Errno::EPROTO),
        }
        self.note_owner(process);
        Ok(())
    }

    /// Makes a mutex whose owner died usable again, and records the death before: a thread that
    /// is killed up to here dies as an owner, which the kernel reports to the next one.
    fn adopt_dead_owner(&self) -> Result<()> {
        self.owner.store(DIED, Ordering::Relaxed);
        // SAFETY: a mutex by `init`, and this thread's.
        match unsafe { libc::pthread_mutex_consistent(self.raw.get()) } {
            0 => Ok(()),
            _ => Err(Errno::EPROTO),
        }
    }

    /// Sleeps until the mutex is unlocked or its owner dies, for at most `most`, and tries once
    /// more. `EBUSY` if another thread holds it still, or again.
    ///
    /// A thread that unlocks it wakes one waiter if the word says that there is one, and so does
    /// the kernel for a dead owner. The wake-up must not end with the thread that it woke:
    ///
    /// - One that locks the mutex sets the bit for the other waiters: its own unlock wakes the
    ///   next.
    /// - One that finds it locked again sets the bit before it sleeps on.
    /// - For one that is killed in between, the kernel wakes another if the mutex is unlocked:
    ///   `futex::robust_pending` announces this. `try_lock` or the code after it ends the
    ///   announcement.
    ///
    /// What remains is a thread that is killed after another one has locked the mutex, or just
    /// before it sets the bit. Then no thread is woken; so no sleep lasts longer than `most`.
    pub fn lock_after_sleep(
        &self,
        process: Process,
        deadline: &mut Deadline,
        most: Duration,
    ) -> Result<()> {
        let slept = self.sleep(process, deadline, most, true);
        match self.try_lock(process) {
            Err(Errno::EBUSY) => {
                if !IS_GLIBC {
                    futex::no_robust_pending();
                }
                slept.and(Err(Errno::EBUSY))
            }
            Ok(()) => {
                self.mark_waiters();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// For its owner: other threads may sleep, and the unlock wakes one.
    pub fn mark_waiters(&self) {
        // Ordered by the kernel's own lock, as all that is done to this bit.
        self.word().fetch_or(libc::FUTEX_WAITERS, Ordering::Relaxed);
    }

    /// Sleeps until the mutex is unlocked or its owner dies, for at most `most`, without locking
    /// it. For the only thread that waits for it.
    pub fn sleep_until_unlocked(
        &self,
        process: Process,
        deadline: &mut Deadline,
        most: Duration,
    ) -> Result<()> {
        self.sleep(process, deadline, most, false)
    }

    fn sleep(
        &self,
        process: Process,
        deadline: &mut Deadline,
        most: Duration,
        will_lock: bool,
    ) -> Result<()> {
        let word = self.word();
        // Only a hint: FUTEX_WAIT compares again.
        let seen = word.load(Ordering::Relaxed);
        if seen & libc::FUTEX_TID_MASK == 0 {
            return deadline.remaining().map(drop); // unlocked, or its owner is dead
        }
        let asleep = seen | libc::FUTEX_WAITERS;
        // The bit has no meaning beyond the word.
        let set = word.compare_exchange(seen, asleep, Ordering::Relaxed, Ordering::Relaxed);
        if seen != asleep && set.is_err() {
            return deadline.remaining().map(drop); // it has changed
        }
        if will_lock {
            futex::robust_pending(word);
        }
        let end = deadline.futex_for(word, asleep, most)?;
        if end == SleepEnd::Expired && most >= MAX_SLEEP {
            self.release_if_dead(process, asleep);
        }
        Ok(())
    }

    /// Declares the owner dead that `seen` names if its thread no longer exists.
    ///
    /// Between the check and the exchange the word can only change to a value other than `seen`,
    /// unless another waiter declares the owner dead and a new thread of the same id locks the
    /// mutex in between: the kernel would have to use all other ids first.
    fn release_if_dead(&self, process: Process, seen: u32) {
        let owner = (seen & libc::FUTEX_TID_MASK) as pid_t;
        if process.knows_threads() && !is_thread_alive(owner) {
            self.declare_dead(seen);
        }
    }

    /// Declares the present owner dead if its thread no longer exists.
    pub fn release_if_lost(&self, process: Process) {
        let seen = self.word().load(Ordering::Relaxed);
        if seen & libc::FUTEX_TID_MASK != 0 {
            self.release_if_dead(process, seen);
        }
    }

    /// Locks it by a call of the C library that waits. `ETIMEDOUT` if its time passed.
    pub fn lock_within(
        &self,
        process: Process,
        call: impl FnOnce(*mut pthread_mutex_t) -> c_int,
    ) -> Result<()> {
        match call(self.raw.get()) {
            0 => {
                self.note_owner(process);
                Ok(())
            }
            libc::ETIMEDOUT => Err(Errno::ETIMEDOUT),
            tried => self.conclude(process, tried),
        }
    }

    /// Changes the word as the kernel does at the death of the owner that `seen` names.
    fn declare_dead(&self, seen: u32) {
        let dead = seen & libc::FUTEX_WAITERS | libc::FUTEX_OWNER_DIED;
        let word = self.word();
        // Ordered by the lock operation that follows.
        let _ = word.compare_exchange(seen, dead, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Declares its owner dead, if it has one. For a mutex that no thread of this boot uses.
    pub fn bury_owner(&self) {
        let seen = self.word().load(Ordering::Relaxed);
        if seen & libc::FUTEX_TID_MASK != 0 {
            self.declare_dead(seen);
        }
    }

    /// Unlocks it. `EPERM` if this thread does not hold it.
    #[inline]
    pub fn unlock(&self, process: Process) -> Result<()> {
        let owner = self.owner.load(Ordering::Relaxed);
        if owner & !DIED != process.thread() {
            return Err(Errno::EPERM);
        }
        self.owner.store(owner & DIED, Ordering::Relaxed);
        self.unlock_raw()
    }

    /// The most frequent case of [`RobustMutex::unlock`]: None, and nothing has changed, if this
    /// thread does not hold it, or an owner died with it.
    #[inline(always)]
    pub fn unlock_at_once(&self, process: Process) -> Option<Result<()>> {
        if self.owner.load(Ordering::Relaxed) != process.thread() {
            return None;
        }
        self.owner.store(0, Ordering::Relaxed);
        Some(self.unlock_raw())
    }

    #[inline(always)]
    fn unlock_raw(&self) -> Result<()> {
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
        self.owner.load(Ordering::Relaxed) & DIED != 0
    }

    /// For its owner: marks the guarded data as consistent.
    pub fn mark_consistent(&self) {
        // Ordered by the mutex itself.
        let owner = self.owner.load(Ordering::Relaxed);
        self.owner.store(owner & !DIED, Ordering::Relaxed);
    }

    /// The id of the thread that holds it, 0 if none does; it can change at any time.
    #[inline]
    #[must_use]
    pub fn owner_id(&self) -> pid_t {
        (self.word().load(Ordering::Relaxed) & libc::FUTEX_TID_MASK) as pid_t
    }

    /// Whether this thread holds it: an answer that stays true.
    #[inline]
    #[must_use]
    pub fn held_by_current_thread(&self, process: Process) -> bool {
        self.is_noted(process) && self.owner_id() != 0
    }

    /// Whether no thread holds it. The caller then sees all changes by the last owner.
    #[inline]
    #[must_use]
    pub fn is_unlocked(&self) -> bool {
        // Pairs with the C library's unlock.
        self.word().load(Ordering::Acquire) & libc::FUTEX_TID_MASK == 0
    }

    /// The id that the C library has for this thread. For a mutex that no other thread uses.
    pub fn id_for_owner(&self) -> Result<pid_t> {
        done(self.try_raw())?;
        let id = self.owner_id();
        // SAFETY: a mutex by `init`, and this thread's.
        done(unsafe { libc::pthread_mutex_unlock(self.raw.get()) })?;
        Ok(id)
    }

    /// The word that the kernel knows.
    #[inline]
    pub fn word(&self) -> &AtomicU32 {
        let word = self.raw.get().wrapping_byte_add(WORD).cast::<u32>();
        // SAFETY: inside the mutex and aligned; all that share it use it atomically.
        unsafe { AtomicU32::from_ptr(word) }
    }
}
