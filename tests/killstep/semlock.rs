//! The semaphore lock: a process is killed that opens, locks, waits for, unlocks, repairs or removes
//! it.

use crate::check;
use crate::child::{self, Child};
use crate::harness::{End, Finished, Scenario, Verdict};
use crate::library::{self, Library};
use crate::support::{Outcome, expect, outcome};
use common::isolated::apply;
use libc::{c_int, key_t};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use unixipc::ffi::lock::IPC_OWNER_DIED;

/// The time-out of a survivor's calls, in milliseconds.
const WAIT: c_int = 4000;
const CREATE: c_int = libc::IPC_CREAT | 0o600;
/// The lock is acquired, and its data is consistent.
const CLEAN: Outcome = Ok(0);
/// The lock is acquired, and a writer has died.
const DIED: Outcome = Ok(IPC_OWNER_DIED as usize);

/// The state of the lock before the victim's operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InitialState {
    /// There is no lock.
    Nothing,
    Free,
    /// A writer has died while it held the lock.
    OwnerDied,
    /// Another process holds a read lock, and dies after the victim.
    ReadLocked,
    /// Another process holds the write lock, and dies after the victim.
    WriteLocked,
}

struct Semlock<const SLEEPS: bool> {
    library: Library,
    key: key_t,
    id: Cell<c_int>,
    /// Two words that the lock guards and that must be equal, in a page that all processes share.
    words: *mut [AtomicU64; 2],
    initial: InitialState,
    /// The victim's preparation.
    prepare: fn(&Self),
    /// The call in which the victim is killed.
    operate: fn(&Self),
    survive: fn(&Self, finished: bool) -> Verdict,
}

impl<const SLEEPS: bool> Semlock<SLEEPS> {
    fn check(
        name: &str,
        initial: InitialState,
        prepare: fn(&Self),
        operate: fn(&Self),
        survive: fn(&Self, bool) -> Verdict,
    ) {
        let scenario = Self {
            library: library::load(),
            // No other test uses this key, even without an own namespace.
            key: 0x5e3a_0000 ^ child::pid(),
            id: Cell::new(-1),
            words: child::shared_page().cast(),
            initial,
            prepare,
            operate,
            survive,
        };
        check(name, &scenario);
    }

    fn words(&self) -> &[AtomicU64; 2] {
        // SAFETY: the page stays mapped as long as self exists; zero bytes are words.
        unsafe { &*self.words }
    }

    fn is_torn(&self) -> bool {
        let [a, b] = self.words().each_ref().map(|word| word.load(Relaxed));
        a != b
    }

    fn change(&self) {
        for word in self.words() {
            word.fetch_add(1, Relaxed);
        }
    }

    fn repair(&self) {
        let [a, b] = self.words();
        b.store(a.load(Relaxed), Relaxed);
    }

    fn open(&self, flags: c_int) -> Outcome {
        // SAFETY: no pointers.
        outcome(unsafe { (self.library.ipc_semlock_open)(self.key, flags) } as isize)
    }

    fn rdlock(&self, timeout_ms: c_int) -> Outcome {
        // SAFETY: no pointers.
        outcome(unsafe { (self.library.ipc_semlock_rdlock)(self.id.get(), timeout_ms) } as isize)
    }

    fn wrlock(&self, timeout_ms: c_int) -> Outcome {
        // SAFETY: no pointers.
        outcome(unsafe { (self.library.ipc_semlock_wrlock)(self.id.get(), timeout_ms) } as isize)
    }

    fn rdunlock(&self) -> Outcome {
        // SAFETY: no pointers.
        outcome(unsafe { (self.library.ipc_semlock_rdunlock)(self.id.get()) } as isize)
    }

    fn wrunlock(&self) -> Outcome {
        // SAFETY: no pointers.
        outcome(unsafe { (self.library.ipc_semlock_wrunlock)(self.id.get()) } as isize)
    }

    fn consistent(&self) -> Outcome {
        // SAFETY: no pointers.
        outcome(unsafe { (self.library.ipc_semlock_consistent)(self.id.get()) } as isize)
    }

    fn remove(&self) -> Outcome {
        // SAFETY: no pointers.
        outcome(unsafe { (self.library.ipc_semlock_remove)(self.id.get()) } as isize)
    }

    fn value(&self, num: c_int) -> c_int {
        // SAFETY: no pointers.
        unsafe { libc::semctl(self.id.get(), num, libc::GETVAL) }
    }

    /// Removes the lock of the previous point.
    fn clear(&self) {
        if let Ok(id) = self.open(0) {
            self.id.set(id as c_int);
            assert_eq!(self.remove(), Ok(0));
        }
        for word in self.words() {
            word.store(0, Relaxed);
        }
    }

    /// Another process acquires the lock, and holds it until it dies.
    fn holder(&self) -> Child {
        let (lock, num) = match self.initial {
            InitialState::ReadLocked => (Self::rdlock as fn(&Self, c_int) -> Outcome, 0),
            _ => (Self::wrlock as fn(&Self, c_int) -> Outcome, 1),
        };
        let child = Child::fork(|| {
            assert_eq!(lock(self, 0), CLEAN);
            loop {
                // SAFETY: takes nothing.
                unsafe { libc::pause() };
            }
        });
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.value(num) == 0 {
            assert!(
                Instant::now() < deadline,
                "the holder does not get the lock"
            );
            std::thread::yield_now();
        }
        child
    }

    /// Checks that a read lock and a write lock work, and report the same state. The writer repairs
    /// the data if necessary. After that, the lock is like a new one.
    fn check_usable(&self, allowed: &[Outcome]) -> Verdict {
        let read = self.rdlock(WAIT);
        if !allowed.contains(&read) {
            return Err(format!("rdlock: {read:?} instead of {allowed:?}"));
        }
        if self.is_torn() && read == CLEAN {
            return Err("inconsistent data, and no death reported".into());
        }
        expect("rdunlock", self.rdunlock(), Ok(0))?;
        expect("wrlock after rdlock", self.wrlock(WAIT), read)?;
        if read == DIED {
            self.repair();
            expect("consistent", self.consistent(), Ok(0))?;
        }
        expect("wrunlock", self.wrunlock(), Ok(0))?;
        expect("the last wrlock", self.wrlock(WAIT), CLEAN)?;
        expect("wrunlock", self.wrunlock(), Ok(0))?;
        expect(
            "the values",
            [0, 1, 2, 3].map(|num| self.value(num)),
            [0; 4],
        )
    }
}

impl<const SLEEPS: bool> Drop for Semlock<SLEEPS> {
    fn drop(&mut self) {
        self.clear();
        child::unmap_page(self.words.cast());
    }
}

impl<const SLEEPS: bool> Scenario for Semlock<SLEEPS> {
    /// The holder of the lock. The harness drops it, which kills it, while the survivor runs.
    type State = Option<Child>;
    const END: End = if SLEEPS { End::Sleeps } else { End::Returns };

    fn set_up(&self) -> Option<Child> {
        self.clear();
        if self.initial == InitialState::Nothing {
            return None;
        }
        self.id.set(self.open(CREATE).unwrap() as c_int);
        match self.initial {
            InitialState::ReadLocked | InitialState::WriteLocked => Some(self.holder()),
            InitialState::OwnerDied => {
                drop(self.holder());
                self.words()[0].store(1, Relaxed);
                None
            }
            _ => None,
        }
    }

    fn become_victim(&self, _: &mut Option<Child>) {
        (self.prepare)(self);
    }

    fn operate(&self, _: &mut Option<Child>) {
        (self.operate)(self);
    }

    fn survive(&self, _: &mut Option<Child>, finished: &Finished) -> Verdict {
        (self.survive)(self, finished.get())
    }
}

fn read_and_unlock<const SLEEPS: bool>(lock: &Semlock<SLEEPS>) {
    assert_eq!(lock.rdlock(WAIT), CLEAN);
    assert_eq!(lock.rdunlock(), Ok(0));
}

fn write_and_unlock<const SLEEPS: bool>(lock: &Semlock<SLEEPS>) {
    assert_eq!(lock.wrlock(WAIT), CLEAN);
    assert_eq!(lock.wrunlock(), Ok(0));
}

/// The outcomes of a lock call: `when_finished` if the victim's call returned. Otherwise the victim
/// may or may not have died as the owner.
fn outcomes(finished: bool, when_finished: Outcome) -> &'static [Outcome] {
    match (finished, when_finished) {
        (false, _) => &[CLEAN, DIED],
        (true, CLEAN) => &[CLEAN],
        (true, _) => &[DIED],
    }
}

/// The survivor opens the lock, and uses it.
fn open_and_check<const SLEEPS: bool>(lock: &Semlock<SLEEPS>, _: bool) -> Verdict {
    let id = lock
        .open(CREATE)
        .map_err(|error| format!("errno {error}"))?;
    lock.id.set(id as c_int);
    lock.check_usable(&[CLEAN])
}

#[apply(scenario)]
fn open_that_creates() {
    Semlock::<false>::check(
        "ipc_semlock_open, creating",
        InitialState::Nothing,
        |lock| assert_eq!(lock.open(0), Err(libc::ENOENT)),
        |lock| assert!(lock.open(CREATE).is_ok()),
        open_and_check,
    );
}

#[apply(scenario)]
fn open_an_existing_lock() {
    Semlock::<false>::check(
        "ipc_semlock_open, existing",
        InitialState::Free,
        |lock| assert!(lock.open(CREATE).is_ok()),
        |lock| assert!(lock.open(CREATE).is_ok()),
        open_and_check,
    );
}

#[apply(scenario)]
fn rdlock() {
    Semlock::<false>::check(
        "ipc_semlock_rdlock",
        InitialState::Free,
        read_and_unlock,
        |lock| assert_eq!(lock.rdlock(-1), CLEAN),
        |lock, _| lock.check_usable(&[CLEAN]),
    );
}

#[apply(scenario)]
fn rdlock_after_owner_died() {
    Semlock::<false>::check(
        "ipc_semlock_rdlock, owner died",
        InitialState::OwnerDied,
        |lock| {
            assert_eq!(lock.rdlock(-1), DIED);
            assert_eq!(lock.rdunlock(), Ok(0));
        },
        |lock| assert_eq!(lock.rdlock(-1), DIED),
        |lock, _| lock.check_usable(&[DIED]),
    );
}

#[apply(scenario)]
fn rdlock_that_waits() {
    Semlock::<true>::check(
        "ipc_semlock_rdlock, waits",
        InitialState::WriteLocked,
        |lock| assert_eq!(lock.rdlock(0), Err(libc::EAGAIN)),
        |lock| assert_eq!(lock.rdlock(-1), CLEAN),
        |lock, _| lock.check_usable(&[DIED]),
    );
}

#[apply(scenario)]
fn rdunlock() {
    Semlock::<false>::check(
        "ipc_semlock_rdunlock",
        InitialState::Free,
        |lock| {
            read_and_unlock(lock);
            assert_eq!(lock.rdlock(-1), CLEAN);
        },
        |lock| assert_eq!(lock.rdunlock(), Ok(0)),
        |lock, _| lock.check_usable(&[CLEAN]),
    );
}

#[apply(scenario)]
fn wrlock() {
    Semlock::<false>::check(
        "ipc_semlock_wrlock",
        InitialState::Free,
        write_and_unlock,
        |lock| assert_eq!(lock.wrlock(-1), CLEAN),
        |lock, finished| lock.check_usable(outcomes(finished, DIED)),
    );
}

#[apply(scenario)]
fn wrlock_after_owner_died() {
    Semlock::<false>::check(
        "ipc_semlock_wrlock, owner died",
        InitialState::OwnerDied,
        |lock| {
            assert_eq!(lock.wrlock(-1), DIED);
            assert_eq!(lock.wrunlock(), Ok(0));
        },
        |lock| assert_eq!(lock.wrlock(-1), DIED),
        |lock, _| lock.check_usable(&[DIED]),
    );
}

#[apply(scenario)]
fn wrlock_that_times_out() {
    Semlock::<false>::check(
        "ipc_semlock_wrlock, times out",
        InitialState::ReadLocked,
        |lock| assert_eq!(lock.wrlock(1), Err(libc::ETIMEDOUT)),
        |lock| assert_eq!(lock.wrlock(1), Err(libc::ETIMEDOUT)),
        |lock, _| lock.check_usable(&[CLEAN]),
    );
}

#[apply(scenario)]
fn wrlock_that_waits_for_a_reader() {
    Semlock::<true>::check(
        "ipc_semlock_wrlock, waits for a reader",
        InitialState::ReadLocked,
        |lock| assert_eq!(lock.wrlock(1), Err(libc::ETIMEDOUT)),
        |lock| assert_eq!(lock.wrlock(-1), CLEAN),
        |lock, _| lock.check_usable(&[CLEAN]),
    );
}

#[apply(scenario)]
fn wrlock_that_waits_for_a_writer() {
    Semlock::<true>::check(
        "ipc_semlock_wrlock, waits for a writer",
        InitialState::WriteLocked,
        |lock| assert_eq!(lock.wrlock(1), Err(libc::ETIMEDOUT)),
        |lock| assert_eq!(lock.wrlock(-1), CLEAN),
        |lock, _| lock.check_usable(&[DIED]),
    );
}

#[apply(scenario)]
fn wrunlock() {
    Semlock::<false>::check(
        "ipc_semlock_wrunlock",
        InitialState::Free,
        |lock| {
            write_and_unlock(lock);
            assert_eq!(lock.wrlock(-1), CLEAN);
        },
        |lock| assert_eq!(lock.wrunlock(), Ok(0)),
        |lock, finished| lock.check_usable(outcomes(finished, CLEAN)),
    );
}

#[apply(scenario)]
fn wrunlock_without_repair() {
    Semlock::<false>::check(
        "ipc_semlock_wrunlock, not repaired",
        InitialState::OwnerDied,
        |lock| {
            for _ in 0..2 {
                assert_eq!(lock.wrlock(-1), DIED);
                assert_eq!(lock.wrunlock(), Ok(0));
            }
            assert_eq!(lock.wrlock(-1), DIED);
        },
        |lock| assert_eq!(lock.wrunlock(), Ok(0)),
        |lock, _| lock.check_usable(&[DIED]),
    );
}

/// Acquires the lock, changes the guarded data, and releases the lock.
#[apply(scenario)]
fn write_section() {
    Semlock::<false>::check(
        "ipc_semlock_wrlock, change, wrunlock",
        InitialState::Free,
        write_and_unlock,
        |lock| {
            assert_eq!(lock.wrlock(-1), CLEAN);
            lock.change();
            assert_eq!(lock.wrunlock(), Ok(0));
        },
        |lock, finished| lock.check_usable(outcomes(finished, CLEAN)),
    );
}

#[apply(scenario)]
fn consistent() {
    Semlock::<false>::check(
        "ipc_semlock_consistent",
        InitialState::OwnerDied,
        |lock| {
            assert_eq!(lock.consistent(), Err(libc::EPERM));
            assert_eq!(lock.wrlock(-1), DIED);
        },
        |lock| assert_eq!(lock.consistent(), Ok(0)),
        // The victim dies as the owner in any case.
        |lock, _| lock.check_usable(&[DIED]),
    );
}

/// Repairs the guarded data, marks it consistent, and releases the lock.
#[apply(scenario)]
fn repair_section() {
    Semlock::<false>::check(
        "ipc_semlock_consistent, wrunlock, after a repair",
        InitialState::OwnerDied,
        |lock| {
            assert_eq!(lock.wrlock(-1), DIED);
            assert_eq!(lock.wrunlock(), Ok(0));
            assert_eq!(lock.wrlock(-1), DIED);
        },
        |lock| {
            lock.repair();
            assert_eq!(lock.consistent(), Ok(0));
            assert_eq!(lock.wrunlock(), Ok(0));
        },
        |lock, finished| lock.check_usable(outcomes(finished, CLEAN)),
    );
}

#[apply(scenario)]
fn remove() {
    Semlock::<false>::check(
        "ipc_semlock_remove",
        InitialState::Free,
        |lock| {
            let id = lock.id.replace(-1);
            assert_eq!(lock.remove(), Err(libc::EINVAL));
            lock.id.set(id);
        },
        |lock| assert_eq!(lock.remove(), Ok(0)),
        |lock, finished| {
            match lock.remove() {
                Ok(_) if !finished => {}
                Err(libc::EINVAL) => {}
                other => return Err(format!("ipc_semlock_remove: {other:?}")),
            }
            let id = lock.open(CREATE | libc::IPC_EXCL);
            lock.id
                .set(id.map_err(|error| format!("errno {error}"))? as c_int);
            lock.check_usable(&[CLEAN])
        },
    );
}
