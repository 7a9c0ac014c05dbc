//! The semaphore lock: a process is killed that opens it, takes it, waits for it, gives it back,
//! repairs the data it guards, or removes it.

use crate::check;
use crate::child::{self, Child};
use crate::harness::{End, Finished, Scenario, Verdict};
use crate::library::{self, Library};
use crate::message::outcome;
use common::isolated::apply;
use libc::{c_int, key_t};
use std::cell::Cell;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use unixipc::ffi::lock::IPC_OWNER_DIED;

/// How long a survivor waits, in milliseconds.
const WAIT: c_int = 4000;
const CREATE: c_int = libc::IPC_CREAT | 0o600;
/// A lock that is held.
const CLEAN: Locked = Ok(0);
const DIED: Locked = Ok(IPC_OWNER_DIED as usize);

type Locked = Result<usize, c_int>;

/// The start of a point's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// There is no lock.
    Nothing,
    Free,
    /// A writer has died with it.
    Marked,
    /// Another process reads; it dies after the victim.
    Read,
    /// Another process writes; it dies after the victim.
    Written,
}

struct Semlock<const SLEEPS: bool> {
    library: Library,
    key: key_t,
    id: Cell<c_int>,
    /// Two words that the lock keeps the same, in a page that all processes share.
    words: *mut [AtomicU64; 2],
    before: Before,
    /// The victim's preparation, and the call in which it is killed.
    first: fn(&Self),
    operate: fn(&Self),
    survive: fn(&Self, finished: bool) -> Verdict,
}

impl<const SLEEPS: bool> Semlock<SLEEPS> {
    fn check(
        name: &str,
        before: Before,
        first: fn(&Self),
        operate: fn(&Self),
        survive: fn(&Self, bool) -> Verdict,
    ) {
        let scenario = Self {
            library: library::load(),
            // In a namespace of the test's own, or at least no other test's.
            key: 0x5e3a_0000 ^ child::pid(),
            id: Cell::new(-1),
            words: child::shared_page().cast(),
            before,
            first,
            operate,
            survive,
        };
        check(name, &scenario);
    }

    fn words(&self) -> &[AtomicU64; 2] {
        // SAFETY: the page stays mapped as long as self; zeros are such words.
        unsafe { &*self.words }
    }

    fn torn(&self) -> bool {
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

    fn open(&self, flags: c_int) -> Locked {
        // SAFETY: no pointers.
        outcome(unsafe { (self.library.ipc_semlock_open)(self.key, flags) } as isize)
    }

    fn rdlock(&self, timeout_ms: c_int) -> Locked {
        // SAFETY: no pointers.
        outcome(unsafe { (self.library.ipc_semlock_rdlock)(self.id.get(), timeout_ms) } as isize)
    }

    fn wrlock(&self, timeout_ms: c_int) -> Locked {
        // SAFETY: no pointers.
        outcome(unsafe { (self.library.ipc_semlock_wrlock)(self.id.get(), timeout_ms) } as isize)
    }

    fn rdunlock(&self) -> Locked {
        // SAFETY: no pointers.
        outcome(unsafe { (self.library.ipc_semlock_rdunlock)(self.id.get()) } as isize)
    }

    fn wrunlock(&self) -> Locked {
        // SAFETY: no pointers.
        outcome(unsafe { (self.library.ipc_semlock_wrunlock)(self.id.get()) } as isize)
    }

    fn consistent(&self) -> Locked {
        // SAFETY: no pointers.
        outcome(unsafe { (self.library.ipc_semlock_consistent)(self.id.get()) } as isize)
    }

    fn remove(&self) -> Locked {
        // SAFETY: no pointers.
        outcome(unsafe { (self.library.ipc_semlock_remove)(self.id.get()) } as isize)
    }

    fn value(&self, num: c_int) -> c_int {
        // SAFETY: no pointers.
        unsafe { libc::semctl(self.id.get(), num, libc::GETVAL) }
    }

    /// Removes the lock of the point before.
    fn clear(&self) {
        if let Ok(id) = self.open(0) {
            self.id.set(id as c_int);
            assert_eq!(self.remove(), Ok(0));
        }
        for word in self.words() {
            word.store(0, Relaxed);
        }
    }

    /// Another process takes the lock, and holds it until it dies.
    fn holder(&self) -> Child {
        let (locked, num) = match self.before {
            Before::Read => (Self::rdlock as fn(&Self, c_int) -> Locked, 0),
            _ => (Self::wrlock as fn(&Self, c_int) -> Locked, 1),
        };
        let child = Child::fork(|| {
            assert_eq!(locked(self, 0), CLEAN);
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

    /// Readers and a writer that comes after them all work, and say the same of what the lock
    /// guards; the writer repairs it if need be, and everything is as in a new lock.
    fn use_it(&self, allowed: &[Locked]) -> Verdict {
        let read = self.rdlock(WAIT);
        if !allowed.contains(&read) {
            return Err(format!("rdlock: {read:?} instead of {allowed:?}"));
        }
        if self.torn() && read == CLEAN {
            return Err("torn, and nobody is told".into());
        }
        expect("rdunlock", self.rdunlock(), Ok(0))?;
        expect("wrlock after rdlock", self.wrlock(WAIT), read)?;
        if read == DIED {
            self.repair();
            expect("consistent", self.consistent(), Ok(0))?;
        }
        expect("wrunlock", self.wrunlock(), Ok(0))?;
        expect("wrlock after all", self.wrlock(WAIT), CLEAN)?;
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
    /// Dropped, and with that killed, when the survivor is at work.
    type State = Option<Child>;
    const END: End = if SLEEPS { End::Sleeps } else { End::Returns };

    fn set_up(&self) -> Option<Child> {
        self.clear();
        if self.before == Before::Nothing {
            return None;
        }
        self.id.set(self.open(CREATE).unwrap() as c_int);
        match self.before {
            Before::Read | Before::Written => Some(self.holder()),
            Before::Marked => {
                drop(self.holder());
                self.words()[0].store(1, Relaxed);
                None
            }
            _ => None,
        }
    }

    fn become_victim(&self, _: &mut Option<Child>) {
        (self.first)(self);
    }

    fn operate(&self, _: &mut Option<Child>) {
        (self.operate)(self);
    }

    fn survive(&self, _: &mut Option<Child>, finished: &Finished) -> Verdict {
        (self.survive)(self, finished.get())
    }
}

fn expect<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Verdict {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: {found:?} instead of {expected:?}"))
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

/// Whether the victim died with the write lock, if it did not come to its end, is not known.
fn either(finished: bool, at_the_end: Locked) -> &'static [Locked] {
    match (finished, at_the_end) {
        (false, _) => &[CLEAN, DIED],
        (true, CLEAN) => &[CLEAN],
        (true, _) => &[DIED],
    }
}

/// Opens the existing lock, and uses it.
fn opens<const SLEEPS: bool>(lock: &Semlock<SLEEPS>, _: bool) -> Verdict {
    let id = lock
        .open(CREATE)
        .map_err(|error| format!("errno {error}"))?;
    lock.id.set(id as c_int);
    lock.use_it(&[CLEAN])
}

#[apply(scenario)]
fn open_that_creates() {
    Semlock::<false>::check(
        "ipc_semlock_open, creating",
        Before::Nothing,
        |lock| assert_eq!(lock.open(0), Err(libc::ENOENT)),
        |lock| assert!(lock.open(CREATE).is_ok()),
        opens,
    );
}

#[apply(scenario)]
fn open_an_existing_one() {
    Semlock::<false>::check(
        "ipc_semlock_open, existing",
        Before::Free,
        |lock| assert!(lock.open(CREATE).is_ok()),
        |lock| assert!(lock.open(CREATE).is_ok()),
        opens,
    );
}

#[apply(scenario)]
fn rdlock() {
    Semlock::<false>::check(
        "ipc_semlock_rdlock",
        Before::Free,
        read_and_unlock,
        |lock| assert_eq!(lock.rdlock(-1), CLEAN),
        |lock, _| lock.use_it(&[CLEAN]),
    );
}

#[apply(scenario)]
fn rdlock_that_is_told() {
    Semlock::<false>::check(
        "ipc_semlock_rdlock, owner died",
        Before::Marked,
        |lock| {
            assert_eq!(lock.rdlock(-1), DIED);
            assert_eq!(lock.rdunlock(), Ok(0));
        },
        |lock| assert_eq!(lock.rdlock(-1), DIED),
        |lock, _| lock.use_it(&[DIED]),
    );
}

#[apply(scenario)]
fn rdlock_that_waits() {
    Semlock::<true>::check(
        "ipc_semlock_rdlock, waits",
        Before::Written,
        |lock| assert_eq!(lock.rdlock(0), Err(libc::EAGAIN)),
        |lock| assert_eq!(lock.rdlock(-1), CLEAN),
        |lock, _| lock.use_it(&[DIED]),
    );
}

#[apply(scenario)]
fn rdunlock() {
    Semlock::<false>::check(
        "ipc_semlock_rdunlock",
        Before::Free,
        |lock| {
            read_and_unlock(lock);
            assert_eq!(lock.rdlock(-1), CLEAN);
        },
        |lock| assert_eq!(lock.rdunlock(), Ok(0)),
        |lock, _| lock.use_it(&[CLEAN]),
    );
}

#[apply(scenario)]
fn wrlock() {
    Semlock::<false>::check(
        "ipc_semlock_wrlock",
        Before::Free,
        write_and_unlock,
        |lock| assert_eq!(lock.wrlock(-1), CLEAN),
        |lock, finished| lock.use_it(either(finished, DIED)),
    );
}

#[apply(scenario)]
fn wrlock_that_is_told() {
    Semlock::<false>::check(
        "ipc_semlock_wrlock, owner died",
        Before::Marked,
        |lock| {
            assert_eq!(lock.wrlock(-1), DIED);
            assert_eq!(lock.wrunlock(), Ok(0));
        },
        |lock| assert_eq!(lock.wrlock(-1), DIED),
        |lock, _| lock.use_it(&[DIED]),
    );
}

#[apply(scenario)]
fn wrlock_that_times_out() {
    Semlock::<false>::check(
        "ipc_semlock_wrlock, times out",
        Before::Read,
        |lock| assert_eq!(lock.wrlock(1), Err(libc::ETIMEDOUT)),
        |lock| assert_eq!(lock.wrlock(1), Err(libc::ETIMEDOUT)),
        |lock, _| lock.use_it(&[CLEAN]),
    );
}

#[apply(scenario)]
fn wrlock_that_waits_for_a_reader() {
    Semlock::<true>::check(
        "ipc_semlock_wrlock, waits for a reader",
        Before::Read,
        |lock| assert_eq!(lock.wrlock(1), Err(libc::ETIMEDOUT)),
        |lock| assert_eq!(lock.wrlock(-1), CLEAN),
        |lock, _| lock.use_it(&[CLEAN]),
    );
}

#[apply(scenario)]
fn wrlock_that_waits_for_a_writer() {
    Semlock::<true>::check(
        "ipc_semlock_wrlock, waits for a writer",
        Before::Written,
        |lock| assert_eq!(lock.wrlock(1), Err(libc::ETIMEDOUT)),
        |lock| assert_eq!(lock.wrlock(-1), CLEAN),
        |lock, _| lock.use_it(&[DIED]),
    );
}

#[apply(scenario)]
fn wrunlock() {
    Semlock::<false>::check(
        "ipc_semlock_wrunlock",
        Before::Free,
        |lock| {
            write_and_unlock(lock);
            assert_eq!(lock.wrlock(-1), CLEAN);
        },
        |lock| assert_eq!(lock.wrunlock(), Ok(0)),
        |lock, finished| lock.use_it(either(finished, CLEAN)),
    );
}

#[apply(scenario)]
fn wrunlock_without_repair() {
    Semlock::<false>::check(
        "ipc_semlock_wrunlock, not repaired",
        Before::Marked,
        |lock| {
            for _ in 0..2 {
                assert_eq!(lock.wrlock(-1), DIED);
                assert_eq!(lock.wrunlock(), Ok(0));
            }
            assert_eq!(lock.wrlock(-1), DIED);
        },
        |lock| assert_eq!(lock.wrunlock(), Ok(0)),
        |lock, _| lock.use_it(&[DIED]),
    );
}

/// Takes the lock, changes the guarded data, and gives it back.
#[apply(scenario)]
fn write_section() {
    Semlock::<false>::check(
        "ipc_semlock_wrlock, change, wrunlock",
        Before::Free,
        write_and_unlock,
        |lock| {
            assert_eq!(lock.wrlock(-1), CLEAN);
            lock.change();
            assert_eq!(lock.wrunlock(), Ok(0));
        },
        |lock, finished| lock.use_it(either(finished, CLEAN)),
    );
}

#[apply(scenario)]
fn consistent() {
    Semlock::<false>::check(
        "ipc_semlock_consistent",
        Before::Marked,
        |lock| {
            assert_eq!(lock.consistent(), Err(libc::EPERM));
            assert_eq!(lock.wrlock(-1), DIED);
        },
        |lock| assert_eq!(lock.consistent(), Ok(0)),
        // The victim dies with the lock in any case.
        |lock, _| lock.use_it(&[DIED]),
    );
}

/// Repairs the guarded data, says so, and gives the lock back.
#[apply(scenario)]
fn repair_section() {
    Semlock::<false>::check(
        "ipc_semlock_consistent, wrunlock, after a repair",
        Before::Marked,
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
        |lock, finished| {
            lock.use_it(if finished {
                &[CLEAN]
            } else {
                either(false, CLEAN)
            })
        },
    );
}

#[apply(scenario)]
fn remove() {
    Semlock::<false>::check(
        "ipc_semlock_remove",
        Before::Free,
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
            lock.use_it(&[CLEAN])
        },
    );
}
