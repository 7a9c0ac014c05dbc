//! The C calls with Rust types, and the helpers that the tests share.

pub use common::prelude::*;
use libc::{c_int, c_ushort, key_t};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use unixipc::ffi::lock::IPC_OWNER_DIED;
use unixipc::ffi::pair::IPC_WAIT_INTR;
use unixipc::ffi::semlock::*;

pub const INTR: c_int = IPC_WAIT_INTR;
/// The time-outs with which a call waits without a limit.
pub const WAITING_TIMEOUTS: [c_int; 3] = [-1, LONG, INTR];
/// The results of taking a lock: its data is consistent, or a dead owner may have left it
/// inconsistent.
pub const CLEAN: Outcome = Ok(0);
pub const DIED: Outcome = Ok(IPC_OWNER_DIED as usize);
/// The result of other calls.
pub const DONE: Outcome = Ok(0);

pub const READERS: usize = 0;
pub const WRITER: usize = 1;
pub const NEXT: usize = 2;
pub const MARK: usize = 3;
/// The value of the semaphore that identifies the set as a lock.
pub const IS_LOCK: c_ushort = 0x7569;

pub fn open(key: key_t, mode_flags: c_int) -> Outcome {
    outcome(|| ipc_semlock_open(key, mode_flags) as isize)
}

/// `semget(2)`.
pub fn set_of(key: key_t, count: c_int) -> c_int {
    // SAFETY: no pointers.
    let id = unsafe { libc::semget(key, count, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
    assert_ne!(id, -1, "{}", std::io::Error::last_os_error());
    id
}

/// A lock by its id. Dropping it removes the set, in the process that created it.
pub struct Lock {
    pub id: c_int,
    owner: u32,
}

impl Lock {
    pub fn new() -> Self {
        Self::with_id(open(libc::IPC_PRIVATE, 0o600).unwrap() as c_int)
    }

    pub fn with_id(id: c_int) -> Self {
        let owner = std::process::id();
        Self { id, owner }
    }

    pub fn rd(&self, timeout_ms: c_int) -> Outcome {
        outcome(|| ipc_semlock_rdlock(self.id, timeout_ms) as isize)
    }

    pub fn rd_un(&self) -> Outcome {
        outcome(|| ipc_semlock_rdunlock(self.id) as isize)
    }

    pub fn wr(&self, timeout_ms: c_int) -> Outcome {
        outcome(|| ipc_semlock_wrlock(self.id, timeout_ms) as isize)
    }

    pub fn wr_un(&self) -> Outcome {
        outcome(|| ipc_semlock_wrunlock(self.id) as isize)
    }

    pub fn consistent(&self) -> Outcome {
        outcome(|| ipc_semlock_consistent(self.id) as isize)
    }

    pub fn remove(&self) -> Outcome {
        outcome(|| ipc_semlock_remove(self.id) as isize)
    }

    pub fn lock(&self, side: Side, timeout_ms: c_int) -> Outcome {
        match side {
            Side::Read => self.rd(timeout_ms),
            Side::Write => self.wr(timeout_ms),
        }
    }

    pub fn unlock(&self, side: Side) -> Outcome {
        match side {
            Side::Read => self.rd_un(),
            Side::Write => self.wr_un(),
        }
    }

    /// The values of the semaphores that make the lock.
    pub fn values(&self) -> [c_ushort; 4] {
        let mut values = [0; 5];
        // SAFETY: an element for each semaphore of a lock.
        let done = unsafe { libc::semctl(self.id, 0, libc::GETALL, values.as_mut_ptr()) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
        let [values @ .., is_lock] = values;
        assert_eq!(is_lock, IS_LOCK);
        values
    }

    /// The number of callers that wait for the lock.
    pub fn waiters(&self) -> c_int {
        [READERS, WRITER, NEXT]
            .map(|num| {
                // SAFETY: no pointers.
                unsafe { libc::semctl(self.id, num as c_int, libc::GETZCNT) }
            })
            .iter()
            .sum()
    }

    /// Waits until this many callers wait for the lock.
    #[track_caller]
    pub fn wait_for_waiters(&self, count: c_int) {
        wait_until("waiters", || self.waiters() == count);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            let _ = self.remove();
        }
    }
}

/// The mode in which the lock is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Read,
    Write,
}

pub const SIDES: [Side; 2] = [Side::Read, Side::Write];

/// A child that holds a lock, and releases it when it continues.
#[track_caller]
pub fn hold(lock: &Lock, side: Side) -> PausedChild {
    PausedChild::start(
        || assert_eq!(lock.lock(side, 0), CLEAN),
        || assert_eq!(lock.unlock(side), DONE),
    )
}

/// A writer dies while it holds the lock.
pub fn die_holding(lock: &Lock) {
    let held = PausedChild::start(
        || {
            lock.wr(LONG).unwrap();
        },
        || (),
    );
    kill(held.child);
}

/// TwoNumbers numbers that the lock keeps equal; each access reads or writes one after the other.
pub struct TwoNumbers(&'static [AtomicU64]);

impl TwoNumbers {
    pub fn new() -> Self {
        Self(shared_words(2))
    }

    pub fn get(&self) -> (u64, u64) {
        (self.0[0].load(Relaxed), self.0[1].load(Relaxed))
    }

    /// Adds 1 to both numbers, with a pause between them.
    pub fn add(&self) {
        for number in self.0 {
            let value = number.load(Relaxed);
            for _ in 0..50 {
                std::hint::spin_loop();
            }
            number.store(value + 1, Relaxed);
        }
    }

    pub fn repair(&self) {
        self.0[1].store(self.0[0].load(Relaxed), Relaxed);
    }
}
