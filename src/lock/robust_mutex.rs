//! A robust mutex, shared between processes: the kernel releases it when its owner dies, at any
//! instruction.
//!
//! The C library locks and unlocks the mutex ([`RawMutex`]), and maintains the list of held mutexes
//! that the kernel walks when a thread ends. The kernel knows the futex word in the mutex (see
//! robust-futex-ABI.rst of its documentation): it has the owner's thread id, a bit for waiters, and
//! a bit for an owner that died. [`robust_wait`](super::robust_wait) waits for the mutex.
//!
//! This type adds the identity of the owner, which a thread id does not suffice for (see
//! [`process`](super::process)), and a record that an owner has died.

use super::process::Process;
use super::raw_mutex::RawMutex;
use crate::errno::{Result, errno};
use crate::sys;
use libc::{c_int, pid_t, pthread_mutex_t};
use probe::probe;
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// glibc returns `EDEADLK` to an owner that tries to lock its own mutex, and in any case ends the
/// announcement to the kernel (see [`RobustMutex::lock_after_sleep`]). musl returns `EBUSY` to an
/// owner, as to any other thread, and does not end the announcement then.
pub(super) const IS_GLIBC: bool = cfg!(target_env = "gnu");

/// A robust mutex, its owner, and whether an owner has died with it.
#[repr(C)]
pub struct RobustMutex {
    raw: RawMutex,
    /// [`Process::thread`] of the owner, and [`DIED`]. Only the owner writes it, after it has
    /// locked the mutex and before it unlocks it.
    owner: AtomicU64,
}

/// A bit of the owner word: an owner died with the mutex, and no later owner has marked the guarded
/// data as consistent.
const DIED: u64 = 1;

impl RobustMutex {
    /// Offsets of the fields, for the golden file of layouts.
    pub const LAYOUT: [(&str, usize); 2] = [
        ("robust.raw", std::mem::offset_of!(Self, raw)),
        ("robust.owner", std::mem::offset_of!(Self, owner)),
    ];

    /// Makes an unlocked mutex.
    pub fn new_unlocked() -> Result<Self> {
        let this = Self {
            raw: RawMutex::uninitialised(),
            owner: AtomicU64::new(0),
        };
        this.init(false)?;
        Ok(this)
    }

    /// Initialises the mutex, unlocked; with priority inheritance if it `inherits`.
    #[inline(never)] // large, with several callers
    pub fn init(&self, inherits: bool) -> Result<()> {
        self.owner.store(0, Ordering::Relaxed);
        self.raw.init(inherits)
    }

    /// Locks the mutex if it is unlocked. `EBUSY` if another thread holds it, `EDEADLK` if this
    /// thread does.
    #[inline]
    pub fn try_lock(&self, process: Process) -> Result<()> {
        match self.try_lock_fast(process) {
            Ok(_) => Ok(()),
            Err(tried) => self.finish_lock(process, tried),
        }
    }

    /// The fast path of [`RobustMutex::try_lock`]. Returns whether an owner has died with the
    /// mutex, or the C library's error number for [`RobustMutex::finish_lock`].
    #[inline(always)]
    pub fn try_lock_fast(&self, process: Process) -> core::result::Result<bool, c_int> {
        match self.raw.try_lock() {
            0 => Ok(self.record_owner(process)),
            tried => Err(tried),
        }
    }

    /// Completes a call that locks, for which the C library returned the error number `tried`.
    #[cold]
    #[inline(never)]
    pub fn finish_lock(&self, process: Process, tried: c_int) -> Result<()> {
        match tried {
            libc::EOWNERDEAD => self.adopt_dead_owner()?,
            // With musl, thread_id() makes no system call.
            libc::EBUSY if IS_GLIBC || self.owner_id() != sys::thread_id() => {
                return Err(errno!(EBUSY));
            }
            libc::EBUSY | libc::EDEADLK => return self.lock_own_id(process),
            _ => return Err(errno!(EPROTO)),
        }
        self.record_owner(process);
        Ok(())
    }

    /// Records this thread as the owner. Returns whether an owner has died with the mutex.
    #[inline]
    fn record_owner(&self, process: Process) -> bool {
        let died = self.owner.load(Ordering::Relaxed) & DIED;
        self.owner.store(process.thread() | died, Ordering::Relaxed);
        died != 0
    }

    /// Whether this thread is recorded as the owner.
    #[inline]
    fn is_recorded_owner(&self, process: Process) -> bool {
        self.owner.load(Ordering::Relaxed) & !DIED == process.thread()
    }

    /// Locks a mutex that the C library has found locked, if its futex word has this thread's id; `EBUSY`
    /// if it has not. `EDEADLK` if this thread holds the mutex. Otherwise an earlier thread with the
    /// same id held it and has ended.
    pub fn lock_own_id(&self, process: Process) -> Result<()> {
        if self.owner_id() != sys::thread_id() {
            return Err(errno!(EBUSY));
        }
        if self.is_recorded_owner(process) || !process.can_check_threads() {
            return Err(errno!(EDEADLK));
        }
        // No other thread changes the owner: the id in the word is this thread's.
        self.set_owner_died(self.futex().load(Ordering::Relaxed));
        match self.raw.try_lock() {
            libc::EOWNERDEAD => self.adopt_dead_owner()?,
            libc::EBUSY => return Err(errno!(EBUSY)),
            _ => return Err(errno!(EPROTO)),
        }
        self.record_owner(process);
        Ok(())
    }

    /// Records the death of the last owner, and makes the mutex usable again. If this thread is
    /// killed in between, the kernel reports its own death to the next owner.
    fn adopt_dead_owner(&self) -> Result<()> {
        probe!(unixipc, owner_died, ptr::from_ref(self.futex()));
        self.owner.store(DIED, Ordering::Relaxed);
        match self.raw.make_consistent() {
            0 => Ok(()),
            _ => Err(errno!(EPROTO)),
        }
    }

    /// Locks the mutex by a blocking function of the C library. `ETIMEDOUT` if its time-out has
    /// expired.
    pub fn lock_by(
        &self,
        process: Process,
        call: impl FnOnce(*mut pthread_mutex_t) -> c_int,
    ) -> Result<()> {
        match call(self.raw.get()) {
            0 => {
                self.record_owner(process);
                Ok(())
            }
            libc::ETIMEDOUT => Err(errno!(ETIMEDOUT)),
            tried => self.finish_lock(process, tried),
        }
    }

    /// Unlocks the mutex. `EPERM` if this thread does not hold it.
    #[inline]
    pub fn unlock(&self, process: Process) -> Result<()> {
        let owner = self.owner.load(Ordering::Relaxed);
        if owner & !DIED != process.thread() {
            return Err(errno!(EPERM));
        }
        self.owner.store(owner & DIED, Ordering::Relaxed);
        self.unlock_raw()
    }

    /// The fast path of [`RobustMutex::unlock`]. None, without any change, if this thread does not
    /// hold the mutex, or if an owner has died with it.
    #[inline(always)]
    pub fn unlock_fast(&self, process: Process) -> Option<Result<()>> {
        if self.owner.load(Ordering::Relaxed) != process.thread() {
            return None;
        }
        self.owner.store(0, Ordering::Relaxed);
        Some(self.unlock_raw())
    }

    #[inline(always)]
    fn unlock_raw(&self) -> Result<()> {
        match self.raw.unlock() {
            0 => Ok(()),
            libc::EPERM => Err(errno!(EPERM)),
            _ => Err(errno!(EPROTO)),
        }
    }

    /// Whether an owner has died since [`RobustMutex::mark_consistent`]. For the owner.
    #[inline]
    pub fn has_died_owner(&self) -> bool {
        // Relaxed: the mutex orders it.
        self.owner.load(Ordering::Relaxed) & DIED != 0
    }

    /// Marks the guarded data as consistent. For the owner.
    pub fn mark_consistent(&self) {
        // Relaxed: the mutex orders it.
        let owner = self.owner.load(Ordering::Relaxed);
        self.owner.store(owner & !DIED, Ordering::Relaxed);
    }

    /// Changes the futex word as the kernel does at the death of the owner in `seen`, unless the
    /// word is no longer `seen`.
    pub(super) fn set_owner_died(&self, seen: u32) {
        let dead = seen & libc::FUTEX_WAITERS | libc::FUTEX_OWNER_DIED;
        // Relaxed: the lock operation that follows orders it.
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        let _ = self.futex().compare_exchange(seen, dead, success, failure);
    }

    /// Declares the owner dead, if there is one. For a mutex that no thread of this boot uses.
    pub fn declare_owner_dead(&self) {
        let seen = self.futex().load(Ordering::Relaxed);
        if seen & libc::FUTEX_TID_MASK != 0 {
            self.set_owner_died(seen);
        }
    }

    /// The id of the thread that holds the mutex, or 0. It can change at any time.
    #[inline]
    #[must_use]
    pub fn owner_id(&self) -> pid_t {
        self.raw.owner_id()
    }

    /// The id that the C library has for this thread. For a mutex that no other thread uses.
    pub fn id_for_owner(&self) -> Result<pid_t> {
        self.raw.id_for_owner()
    }

    /// Whether this thread holds the mutex. No other thread can change the answer.
    #[inline]
    #[must_use]
    pub fn held_by_current_thread(&self, process: Process) -> bool {
        self.is_recorded_owner(process) && self.owner_id() != 0
    }

    /// Whether no thread holds the mutex. If so, the caller sees all changes by the last owner.
    #[inline]
    #[must_use]
    pub fn is_unlocked(&self) -> bool {
        // Pairs with the release in the C library's unlock.
        self.futex().load(Ordering::Acquire) & libc::FUTEX_TID_MASK == 0
    }

    /// Whether the futex word says that other threads may sleep.
    #[must_use]
    pub fn has_waiters(&self) -> bool {
        self.futex().load(Ordering::Relaxed) & libc::FUTEX_WAITERS != 0
    }

    /// The futex word, which the C library and the kernel share.
    #[inline]
    pub fn futex(&self) -> &AtomicU32 {
        self.raw.futex()
    }
}
