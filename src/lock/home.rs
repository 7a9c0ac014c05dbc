//! The home of a lock: the boot and the PID namespace in which its thread ids are valid.
//!
//! A process of another PID namespace cannot use the lock (`EXDEV`). A lock in a file survives a
//! reboot: the first process that uses it after that declares all its owners dead.

use super::process::{self, Process};
use crate::deadline::Deadline;
use crate::errno::{Result, errno};
use crate::sys::{self, CancelGuard};
use libc::pid_t;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How often to check whether another process has adopted the lock.
const PAUSE: Duration = Duration::from_millis(1);

/// The two parts of a lock's home, in shared memory. Each call compares [`Home::word`], which is
/// near the lock's own words; it reads the origin only if the word differs.
#[repr(C)]
pub struct Origin {
    /// The boot to which the lock belongs; 0 if unknown.
    boot: AtomicU32,
    /// The PID namespace; 0 if unknown.
    namespace: AtomicU32,
    /// The thread that adopts the lock after a reboot: its boot (high half) and its id; 0 for none.
    adopter: AtomicU64,
}

/// The home of a lock: the word that each call compares, and the origin.
#[derive(Clone, Copy)]
pub struct Home<'a> {
    /// [`Process::home()`] of the processes that may use the lock; 0 if unknown.
    pub word: &'a AtomicU32,
    /// The boot and the namespace, of which the word is a hash.
    pub origin: &'a Origin,
}

impl Home<'_> {
    /// Initialises the home of a new lock as that of this process.
    pub fn init(&self) {
        let boot = process::boot().unwrap_or(0);
        let namespace = process::namespace();
        self.origin.boot.store(boot, Ordering::Relaxed);
        self.origin.namespace.store(namespace, Ordering::Relaxed);
        self.origin.adopter.store(0, Ordering::Relaxed);
        let home = process::home_of(boot, namespace);
        self.word.store(home, Ordering::Relaxed);
    }

    /// Whether the lock belongs to the home of a process.
    #[inline]
    #[must_use]
    pub fn is_of(&self, process: Process) -> bool {
        // Pairs with the release of the word in `adopt`.
        self.word.load(Ordering::Acquire) == process.home()
    }

    /// Admits the calling process to the lock. `EXDEV` if it is of another PID namespace. After a
    /// reboot, `declare_owners_dead` declares the owners of the earlier boot dead.
    pub fn admit(
        &self,
        deadline: &mut Deadline,
        declare_owners_dead: impl Fn(),
    ) -> Result<Process> {
        let process = Process::current()?;
        if self.is_of(process) {
            return Ok(process);
        }
        self.admit_slow(process, deadline, declare_owners_dead)
    }

    #[cold]
    #[inline(never)]
    fn admit_slow(
        &self,
        process: Process,
        deadline: &mut Deadline,
        declare_owners_dead: impl Fn(),
    ) -> Result<Process> {
        let _no_cancel = CancelGuard::new();
        let unknown = process.without_home();
        if process.home() == 0 || self.word.load(Ordering::Acquire) == 0 {
            return Ok(unknown);
        }
        let Ok(boot) = process::boot() else {
            return Ok(unknown);
        };
        self.adopt(process, boot, deadline, declare_owners_dead)?;
        Ok(process)
    }

    /// Adopts a lock of an earlier boot. One thread at a time does it; if that is killed, another
    /// one does.
    fn adopt(
        &self,
        process: Process,
        boot: u32,
        deadline: &mut Deadline,
        declare_owners_dead: impl Fn(),
    ) -> Result<()> {
        let own = u64::from(boot) << 32 | sys::thread_id() as u64;
        let namespace = process::namespace();
        loop {
            let adopter = self.origin.adopter.load(Ordering::Acquire);
            if self.word.load(Ordering::Acquire) == process.home() {
                return Ok(());
            }
            // Pairs with the release of the boot below: the namespace belongs to that boot.
            if self.origin.boot.load(Ordering::Acquire) == boot
                && self.origin.namespace.load(Ordering::Relaxed) != namespace
            {
                return Err(errno!(EXDEV));
            }
            let id = adopter as u32 as pid_t;
            let is_of_boot = adopter >> 32 == u64::from(boot);
            if is_of_boot && adopter != own && sys::is_thread_alive(id) {
                deadline.any(&mut [], Some(PAUSE))?;
                continue;
            }
            let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
            let word = &self.origin.adopter;
            if word
                .compare_exchange(adopter, own, success, failure)
                .is_ok()
            {
                break;
            }
        }
        declare_owners_dead();
        // No process of this boot uses the lock before the last store; see `admit`.
        self.origin.namespace.store(namespace, Ordering::Relaxed);
        self.origin.boot.store(boot, Ordering::Release);
        self.word.store(process.home(), Ordering::Release);
        Ok(())
    }
}
