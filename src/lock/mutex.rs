//! A mutex in shared memory that survives the death of its owner, on top of [`RobustMutex`].
//!
//! The death of an owner stays recorded in the object until a later owner marks the guarded data as
//! consistent. Until then each new owner gets [`LockStatus::OwnerDied`]. The mutex never becomes
//! unusable.

use super::LockStatus;
use super::fair_mutex::FairMutex;
use super::home::{Home, Origin};
use super::inheriting;
use super::process::Process;
use super::robust_mutex::RobustMutex;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, errno};
use crate::object::{Header, ObjectType};
use crate::sys::futex;
use libc::{c_int, pid_t};
use std::mem::offset_of;
use std::sync::atomic::{AtomicU32, Ordering};

const OBJECT_TYPE: ObjectType = ObjectType::with_c_types(*b"uimx", 2);

/// The mutex in shared memory. If it begins at a cache line, a call without contention accesses
/// only that line on x86-64; on AArch64 the C library's mutex is 8 bytes larger.
#[repr(C)]
pub struct Mutex {
    header: Header,
    home: AtomicU32,
    starving: AtomicU32,
    robust: RobustMutex,
    origin: Origin,
    /// 1 for a mutex with priority inheritance.
    inherits: AtomicU32,
    owner_checked: AtomicU32,
    held_since: AtomicU32,
}

const _: () = assert!(!cfg!(target_arch = "x86_64") || offset_of!(Mutex, origin) == 64);

impl Mutex {
    /// The type of the object.
    ///
    /// cbindgen:ignore
    pub const TYPE: ObjectType = OBJECT_TYPE;

    /// Offsets of the fields, for the golden file of layouts.
    pub const LAYOUT: [(&str, usize); 8] = [
        ("header", offset_of!(Self, header)),
        ("home", offset_of!(Self, home)),
        ("starving", offset_of!(Self, starving)),
        ("robust", offset_of!(Self, robust)),
        ("origin", offset_of!(Self, origin)),
        ("inherits", offset_of!(Self, inherits)),
        ("owner_checked", offset_of!(Self, owner_checked)),
        ("held_since", offset_of!(Self, held_since)),
    ];

    /// Initialises an unlocked mutex in memory of any content; with priority inheritance if it
    /// `inherits`.
    pub fn init(&self, inherits: bool) -> Result<()> {
        self.header.begin();
        self.starving.store(0, Ordering::Relaxed);
        self.owner_checked.store(0, Ordering::Relaxed);
        self.held_since.store(0, Ordering::Relaxed);
        self.inherits.store(inherits.into(), Ordering::Relaxed);
        self.robust.init(inherits)?;
        self.home().init();
        self.header.finish(OBJECT_TYPE);
        Ok(())
    }

    /// Locks the mutex.
    #[inline]
    pub fn lock(&self, deadline: Deadline) -> Result<LockStatus> {
        match self.lock_fast() {
            Ok(died) => Ok(LockStatus::of(died)),
            Err(tried) => self.lock_slow(deadline, tried),
        }
    }

    /// The fast path of [`Self::lock`]. Returns whether an owner has died with the mutex. The error
    /// is the C library's error number, or 0 if the C library was not called.
    #[inline(always)]
    fn lock_fast(&self) -> core::result::Result<bool, c_int> {
        let Some(process) = Process::cached() else {
            return Err(0);
        };
        if self.header.check(OBJECT_TYPE).is_err()
            || !self.home().is_of(process)
            || self.fair().is_waiter_starving()
        {
            return Err(0);
        }
        self.robust.try_lock_fast(process)
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(&self, mut deadline: Deadline, tried: c_int) -> Result<LockStatus> {
        self.header.check(OBJECT_TYPE)?;
        let process = self
            .home()
            .admit(&mut deadline, || self.robust.declare_owner_dead())?;
        let locked = match tried {
            0 => self.fair().try_lock(process, &mut deadline),
            tried => self.fair().finish_lock(process, tried),
        };
        // The C library does not check whether this thread holds a mutex with priority inheritance.
        let locked = match locked {
            Err(error) if error == Errno::EBUSY && self.inherits() => {
                self.robust.lock_own_id(process)
            }
            locked => locked,
        };
        match locked {
            Err(error) if error == Errno::EBUSY && self.inherits() && !deadline.is_never() => {
                self.fair().record_wait();
                inheriting::wait(&self.robust, process, &mut deadline)?;
                self.fair().record_hold();
            }
            Err(error) if error == Errno::EBUSY => {
                self.fair().wait(process, &mut deadline, || Ok(()))?
            }
            locked => locked?,
        }
        Ok(self.status())
    }

    /// Locks the mutex again after a wait for a condition, without a time-out. With
    /// `waiters_were_moved`, a broadcast may have moved waiters to its futex without setting the
    /// bit for waiters, so this call sets it.
    pub fn lock_again(&self, waiters_were_moved: bool) -> Result<LockStatus> {
        let status = self.lock(Deadline::forever())?;
        if waiters_were_moved {
            self.fair().record_hold();
            self.robust.mark_waiters();
        }
        Ok(status)
    }

    /// Announces to the kernel that this thread locks the mutex after its sleep; see
    /// [`RobustMutex::lock_after_sleep`].
    pub fn announce_waiter(&self) {
        if !self.inherits() {
            futex::robust_pending(self.robust.futex());
        }
    }

    /// The futex on which its waiters sleep. None if this is not a mutex, or if it has priority
    /// inheritance, so that the C library waits.
    pub fn waiters_futex(&self) -> Option<&AtomicU32> {
        let is_mutex = self.header.check(OBJECT_TYPE).is_ok();
        (is_mutex && !self.inherits()).then(|| self.robust.futex())
    }

    fn inherits(&self) -> bool {
        self.inherits.load(Ordering::Relaxed) != 0
    }

    fn status(&self) -> LockStatus {
        LockStatus::of(self.robust.has_died_owner())
    }

    /// Unlocks the mutex. `EPERM` if this thread does not hold it.
    #[inline]
    pub fn unlock(&self) -> Result<()> {
        // The header is not checked: if this thread is the recorded owner, the call that locked
        // the mutex has checked it.
        Process::cached()
            .and_then(|process| self.robust.unlock_fast(process))
            .unwrap_or_else(|| self.unlock_slow())
    }

    #[cold]
    #[inline(never)]
    fn unlock_slow(&self) -> Result<()> {
        self.header.check(OBJECT_TYPE)?;
        self.robust.unlock(Process::current()?)
    }

    /// Marks the guarded data as consistent. `EPERM` if this thread does not hold it.
    pub fn consistent(&self) -> Result<()> {
        self.check_held()?;
        self.robust.mark_consistent();
        Ok(())
    }

    /// `EPERM` if this thread does not hold the mutex.
    pub fn check_held(&self) -> Result<()> {
        self.header.check(OBJECT_TYPE)?;
        if self.robust.held_by_current_thread(Process::current()?) {
            Ok(())
        } else {
            Err(errno!(EPERM))
        }
    }

    /// Whether the thread with this id holds the mutex. For a mutex whose header has been checked.
    #[inline]
    pub fn is_held_by(&self, thread: pid_t) -> bool {
        self.robust.owner_id() == thread
    }

    /// The id of the thread that holds the mutex, or 0.
    pub fn owner(&self) -> Result<pid_t> {
        self.header.check(OBJECT_TYPE)?;
        Ok(self.robust.owner_id())
    }

    #[inline]
    fn fair(&self) -> FairMutex<'_> {
        FairMutex {
            starving: &self.starving,
            owner_checked: &self.owner_checked,
            held_since: &self.held_since,
            robust: &self.robust,
        }
    }

    #[inline]
    fn home(&self) -> Home<'_> {
        Home {
            word: &self.home,
            origin: &self.origin,
        }
    }
}
