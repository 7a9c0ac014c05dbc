//! Locks in shared memory: an owner, a reader, a writer, a waiter or a signaller is killed.

use crate::check;
use crate::child;
use crate::harness::{End, Finished, Scenario, Verdict};
use crate::library::{self, Library};
use crate::support::{Outcome, expect, expect_one_of, outcome};
use common::isolated::apply;
use libc::c_int;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use unixipc::ffi::cond::ipc_cond;
use unixipc::ffi::lock::IPC_OWNER_DIED;
use unixipc::ffi::mutex::{IPC_MUTEX_F_PRIO_INHERIT, ipc_mutex};
use unixipc::ffi::pair::IPC_WAIT_INTR;
use unixipc::ffi::rwlock::ipc_rwlock;

const CLEAN: Outcome = Ok(0);
const DIED: Outcome = Ok(IPC_OWNER_DIED as usize);
/// The time-out of a survivor's calls, in milliseconds.
const WAIT: c_int = 4000;
/// The time-out of a victim that times out, in milliseconds: longer than stepping to the sleep.
const SHORT: c_int = 8;

/// The shared memory: the objects, and a pair of words that must be equal.
#[repr(C)]
struct Objects {
    mutex: UnsafeCell<ipc_mutex>,
    rwlock: UnsafeCell<ipc_rwlock>,
    cond: UnsafeCell<ipc_cond>,
    pair: [AtomicU64; 2],
    /// 1 when the survivor is about to wait, 2 when the victim has signalled.
    progress: AtomicU64,
}

/// The objects of the test, and others for the victim's warm-up.
struct Shared {
    library: &'static Library,
    at: *mut [Objects; 2],
    /// The harness's action after the victim's death.
    release: fn(&Calls),
}

impl Shared {
    fn calls(&self) -> Calls {
        self.calls_of(0)
    }

    fn calls_of(&self, which: usize) -> Calls {
        Calls {
            library: self.library,
            // SAFETY: the page stays mapped, and zero bytes are Objects.
            objects: unsafe { &(&*self.at)[which] },
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        (self.release)(&self.calls());
        child::unmap_page(self.at.cast());
    }
}

/// The calls on the objects.
struct Calls {
    library: &'static Library,
    objects: &'static Objects,
}

macro_rules! calls {
    ($($name:ident = $call:ident($object:ident $(, $arg:ident)*);)*) => {
        impl Calls {$(
            fn $name(&self $(, $arg: c_int)*) -> Outcome {
                let object = self.objects.$object.get();
                // SAFETY: an object of the page.
                outcome(unsafe { (self.library.$call)(object $(, $arg)*) } as isize)
            }
        )*}
    };
}

calls! {
    lock = ipc_mutex_lock(mutex, timeout);
    unlock = ipc_mutex_unlock(mutex);
    consistent = ipc_mutex_consistent(mutex);
    rdlock = ipc_rwlock_rdlock(rwlock, timeout);
    rdunlock = ipc_rwlock_rdunlock(rwlock);
    wrlock = ipc_rwlock_wrlock(rwlock, timeout);
    wrunlock = ipc_rwlock_wrunlock(rwlock);
    rw_consistent = ipc_rwlock_consistent(rwlock);
    signal = ipc_cond_signal(cond);
    broadcast = ipc_cond_broadcast(cond);
}

impl Calls {
    fn mutex_init(&self) -> Outcome {
        // SAFETY: an object of the page.
        outcome(unsafe { (self.library.ipc_mutex_init)(self.objects.mutex.get(), 0) } as isize)
    }

    /// Initialises the mutex again, with priority inheritance.
    fn inheriting_mutex_init(&self) {
        let (mutex, flags) = (self.objects.mutex.get(), IPC_MUTEX_F_PRIO_INHERIT);
        // SAFETY: an object of the page.
        let made = unsafe { (self.library.ipc_mutex_init)(mutex, flags) };
        assert_eq!(made, 0);
    }

    fn rwlock_init(&self) -> Outcome {
        // SAFETY: an object of the page.
        outcome(unsafe { (self.library.ipc_rwlock_init)(self.objects.rwlock.get(), 0) } as isize)
    }

    fn cond_init(&self) -> Outcome {
        // SAFETY: an object of the page.
        outcome(unsafe { (self.library.ipc_cond_init)(self.objects.cond.get(), 0) } as isize)
    }

    fn wait(&self, timeout: c_int) -> Outcome {
        let (cond, mutex) = (self.objects.cond.get(), self.objects.mutex.get());
        // SAFETY: objects of the page.
        outcome(unsafe { (self.library.ipc_cond_wait)(cond, mutex, timeout) } as isize)
    }

    fn init(&self) {
        assert_eq!(self.mutex_init(), CLEAN);
        assert_eq!(self.rwlock_init(), CLEAN);
        assert_eq!(self.cond_init(), CLEAN);
    }

    /// Makes every call once, in one process.
    fn warm_up(&self) {
        self.init();
        assert_eq!(self.lock(-1), CLEAN);
        assert_eq!(self.consistent(), CLEAN);
        assert_eq!(self.wait(1), Err(libc::ETIMEDOUT));
        assert_eq!(self.unlock(), CLEAN);
        assert_eq!(self.signal(), CLEAN);
        assert_eq!(self.rdlock(-1), CLEAN);
        assert_eq!(self.rdunlock(), CLEAN);
        assert_eq!(self.wrlock(-1), CLEAN);
        assert_eq!(self.rw_consistent(), CLEAN);
        assert_eq!(self.wrunlock(), CLEAN);
        self.write();
    }

    /// Increments the two words, one after the other.
    fn write(&self) {
        for word in &self.objects.pair {
            word.fetch_add(1, SeqCst);
        }
    }

    /// The two words are equal, unless the lock call has reported a death.
    fn read(&self, held: Outcome) -> Verdict {
        let [a, b] = self.objects.pair.each_ref().map(|word| word.load(SeqCst));
        match held {
            DIED => Ok(()),
            CLEAN if a == b => Ok(()),
            held => Err(format!("{a} and {b}, {held:?}")),
        }
    }

    /// Locks the mutex twice, and repairs the guarded data in between.
    fn use_mutex(&self, expected: &[Outcome]) -> Verdict {
        let held = self.lock(WAIT);
        expect_one_of("the mutex", held, expected)?;
        self.read(held)?;
        if held == DIED {
            expect("the unlock", self.unlock(), CLEAN)?;
            expect("the mutex, not repaired", self.lock(WAIT), DIED)?;
        }
        self.repair();
        expect("consistent", self.consistent(), CLEAN)?;
        expect("the unlock", self.unlock(), CLEAN)?;
        expect("the next lock", self.lock(WAIT), CLEAN)?;
        expect("the unlock", self.unlock(), CLEAN)
    }

    /// Locks for reading and writing, and repairs.
    fn use_rwlock(&self, expected: &[Outcome]) -> Verdict {
        let held = self.rdlock(WAIT);
        expect_one_of("the lock for reading", held, expected)?;
        self.read(held)?;
        expect("the unlock", self.rdunlock(), CLEAN)?;
        expect("the lock for writing", self.wrlock(WAIT), held)?;
        self.repair();
        expect("consistent", self.rw_consistent(), CLEAN)?;
        expect("the unlock", self.wrunlock(), CLEAN)?;
        // The maximum of readers: no slot is lost.
        for _ in 0..unixipc::lock::rwlock::READERS_MAX {
            expect("each slot", self.rdlock(0), CLEAN)?;
        }
        for _ in 0..unixipc::lock::rwlock::READERS_MAX {
            expect("the unlock", self.rdunlock(), CLEAN)?;
        }
        expect("the lock for writing", self.wrlock(0), CLEAN)?;
        expect("the unlock", self.wrunlock(), CLEAN)
    }

    fn repair(&self) {
        for word in &self.objects.pair {
            word.store(9, SeqCst);
        }
    }

    /// Uses the mutex, waits on the condition until a time-out, and signals.
    fn use_cond(&self, expected: &[Outcome]) -> Verdict {
        self.use_mutex(expected)?;
        expect("the mutex", self.lock(WAIT), CLEAN)?;
        expect("the wait", self.wait(1), Err(libc::ETIMEDOUT))?;
        expect("the unlock", self.unlock(), CLEAN)?;
        expect("the signal", self.signal(), CLEAN)
    }
}

/// Another process locks, and ends without an unlock.
fn die_with(lock: impl FnOnce() -> Outcome) {
    let child = child::Child::fork(|| {
        assert_eq!(lock(), CLEAN);
        child::exit(0);
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    assert_eq!(child.wait(deadline), Some(0));
}

/// A scenario. By default, only the operation and the survivor do anything.
struct Case<const SLEEPS: bool> {
    library: &'static Library,
    /// Runs in the harness, after the objects are initialised. It may acquire a lock.
    arrange: fn(&Calls),
    /// Runs in the harness after the victim's death. It releases the lock.
    release: fn(&Calls),
    /// Runs in the victim, before its operation.
    prepare: fn(&Calls),
    operate: fn(&Calls),
    /// Runs in the survivor. The flag says whether the victim's operation returned.
    survive: fn(&Calls, bool) -> Verdict,
}

impl<const SLEEPS: bool> Case<SLEEPS> {
    fn new(operate: fn(&Calls), survive: fn(&Calls, bool) -> Verdict) -> Self {
        Self {
            library: Box::leak(Box::new(library::load())),
            arrange: |_| {},
            release: |_| {},
            prepare: |_| {},
            operate,
            survive,
        }
    }
}

impl<const SLEEPS: bool> Scenario for Case<SLEEPS> {
    type State = Shared;
    const END: End = if SLEEPS { End::Sleeps } else { End::Returns };

    fn set_up(&self) -> Shared {
        const { assert!(size_of::<[Objects; 2]>() <= child::PAGE) };
        let shared = Shared {
            library: self.library,
            at: child::shared_page().cast(),
            release: self.release,
        };
        let calls = shared.calls();
        calls.init();
        (self.arrange)(&calls);
        shared
    }

    fn become_victim(&self, shared: &mut Shared) {
        shared.calls_of(1).warm_up();
        (self.prepare)(&shared.calls());
    }

    fn operate(&self, shared: &mut Shared) {
        (self.operate)(&shared.calls());
    }

    fn survive(&self, shared: &mut Shared, finished: &Finished) -> Verdict {
        (self.survive)(&shared.calls(), finished.get())
    }
}

/// The outcomes of a lock call after the victim has been killed while it acquired the lock.
fn after_acquire(finished: bool) -> &'static [Outcome] {
    if finished { &[DIED] } else { &[CLEAN, DIED] }
}

/// The outcomes of a lock call after the victim has been killed while it released the lock.
fn after_release(finished: bool) -> &'static [Outcome] {
    if finished { &[CLEAN] } else { &[CLEAN, DIED] }
}

/// Overwrites the magic number, so that the memory holds no object. The rest is still an object
/// that a dead process has locked. This would show if an init set the magic number too early.
fn overwrite_magic<T>(object: &UnsafeCell<T>) {
    // SAFETY: the shared page, which no other process uses yet.
    unsafe { object.get().cast::<u8>().write_bytes(0xa5, 8) };
}

/// An object whose init was interrupted is no object, and can be initialised again.
fn check_init(found: Outcome, finished: bool, init: impl Fn() -> Outcome) -> Verdict {
    if finished || found != Err(libc::EPROTO) {
        expect("a finished object", found, CLEAN)?;
    }
    expect("the init", init(), CLEAN)
}

#[apply(scenario)]
fn mutex_init() {
    let case = Case::<false> {
        arrange: |calls| {
            dead_owner(calls);
            overwrite_magic(&calls.objects.mutex);
        },
        ..Case::new(
            |calls| assert_eq!(calls.mutex_init(), CLEAN),
            |calls, finished| {
                calls.repair();
                check_init(calls.lock(0), finished, || calls.mutex_init())?;
                calls.use_mutex(&[CLEAN])
            },
        )
    };
    check("ipc_mutex_init", &case);
}

#[apply(scenario)]
fn mutex_lock() {
    let case = Case::<false>::new(
        |calls| assert_eq!(calls.lock(-1), CLEAN),
        |calls, finished| calls.use_mutex(after_acquire(finished)),
    );
    check("ipc_mutex_lock", &case);
}

#[apply(scenario)]
fn mutex_lock_write_unlock() {
    let case = Case::<false>::new(
        |calls| {
            assert_eq!(calls.lock(1000), CLEAN);
            calls.write();
            assert_eq!(calls.unlock(), CLEAN);
        },
        |calls, finished| calls.use_mutex(after_release(finished)),
    );
    check("ipc_mutex_lock, two words, ipc_mutex_unlock", &case);
}

#[apply(scenario)]
fn mutex_unlock() {
    let case = Case::<false> {
        prepare: |calls| assert_eq!(calls.lock(-1), CLEAN),
        ..Case::new(
            |calls| assert_eq!(calls.unlock(), CLEAN),
            |calls, finished| calls.use_mutex(after_release(finished)),
        )
    };
    check("ipc_mutex_unlock", &case);
}

/// The harness holds the mutex until the victim is dead.
fn locked_by_harness<const SLEEPS: bool>(operate: fn(&Calls)) -> Case<SLEEPS> {
    Case {
        arrange: |calls| assert_eq!(calls.lock(0), CLEAN),
        release: |calls| assert_eq!(calls.unlock(), CLEAN),
        ..Case::new(operate, |calls, _| calls.use_mutex(&[CLEAN]))
    }
}

#[apply(scenario)]
fn mutex_that_is_busy() {
    let case = locked_by_harness::<false>(|calls| assert_eq!(calls.lock(0), Err(libc::EAGAIN)));
    check("ipc_mutex_lock, EAGAIN", &case);
}

#[apply(scenario)]
fn mutex_timed_out() {
    let case =
        locked_by_harness::<false>(|calls| assert_eq!(calls.lock(SHORT), Err(libc::ETIMEDOUT)));
    check("ipc_mutex_lock, ETIMEDOUT", &case);
}

#[apply(scenario)]
fn mutex_asleep() {
    let case = locked_by_harness::<true>(|calls| assert_eq!(calls.lock(-1), CLEAN));
    check("ipc_mutex_lock, asleep", &case);
}

#[apply(scenario)]
fn mutex_asleep_until_signal() {
    let case = locked_by_harness::<true>(|calls| assert_eq!(calls.lock(IPC_WAIT_INTR), CLEAN));
    check("ipc_mutex_lock, asleep until a signal", &case);
}

/// The previous owner has died while it changed the guarded data.
fn dead_owner(calls: &Calls) {
    die_with(|| {
        let locked = calls.lock(-1);
        calls.objects.pair[0].fetch_add(1, SeqCst);
        locked
    });
}

#[apply(scenario)]
fn mutex_of_a_dead_owner() {
    let case = Case::<false> {
        arrange: dead_owner,
        ..Case::new(
            |calls| assert_eq!(calls.lock(-1), DIED),
            |calls, _| calls.use_mutex(&[DIED]),
        )
    };
    check("ipc_mutex_lock, IPC_OWNER_DIED", &case);
}

#[apply(scenario)]
fn mutex_that_inherits() {
    let case = Case::<false> {
        arrange: Calls::inheriting_mutex_init,
        ..Case::new(
            |calls| {
                assert_eq!(calls.lock(-1), CLEAN);
                assert_eq!(calls.unlock(), CLEAN);
            },
            |calls, finished| calls.use_mutex(after_release(finished)),
        )
    };
    check(
        "ipc_mutex_lock, ipc_mutex_unlock, priority inheritance",
        &case,
    );
}

#[apply(scenario)]
fn mutex_consistent() {
    let case = Case::<false> {
        arrange: dead_owner,
        prepare: |calls| assert_eq!(calls.lock(-1), DIED),
        // The victim dies while it owns the mutex, even if it has marked the data consistent.
        ..Case::new(
            |calls| assert_eq!(calls.consistent(), CLEAN),
            |calls, _| calls.use_mutex(&[DIED]),
        )
    };
    check("ipc_mutex_consistent", &case);
}

#[apply(scenario)]
fn mutex_repair_and_unlock() {
    let case = Case::<false> {
        arrange: dead_owner,
        prepare: |calls| assert_eq!(calls.lock(-1), DIED),
        ..Case::new(
            |calls| {
                calls.repair();
                assert_eq!(calls.consistent(), CLEAN);
                assert_eq!(calls.unlock(), CLEAN);
            },
            |calls, finished| calls.use_mutex(after_release(finished)),
        )
    };
    check("repair, ipc_mutex_consistent, ipc_mutex_unlock", &case);
}

#[apply(scenario)]
fn rwlock_init() {
    let case = Case::<false> {
        arrange: |calls| {
            dead_writer(calls);
            overwrite_magic(&calls.objects.rwlock);
        },
        ..Case::new(
            |calls| assert_eq!(calls.rwlock_init(), CLEAN),
            |calls, finished| {
                calls.repair();
                check_init(calls.wrlock(0), finished, || calls.rwlock_init())?;
                calls.use_rwlock(&[CLEAN])
            },
        )
    };
    check("ipc_rwlock_init", &case);
}

#[apply(scenario)]
fn rwlock_rdlock() {
    let case = Case::<false>::new(
        |calls| assert_eq!(calls.rdlock(-1), CLEAN),
        |calls, _| calls.use_rwlock(&[CLEAN]),
    );
    check("ipc_rwlock_rdlock", &case);
}

#[apply(scenario)]
fn rwlock_rdunlock() {
    let case = Case::<false> {
        prepare: |calls| assert_eq!(calls.rdlock(-1), CLEAN),
        ..Case::new(
            |calls| assert_eq!(calls.rdunlock(), CLEAN),
            |calls, _| calls.use_rwlock(&[CLEAN]),
        )
    };
    check("ipc_rwlock_rdunlock", &case);
}

/// The harness holds the write lock until the victim is dead.
fn write_locked_by_harness<const SLEEPS: bool>(operate: fn(&Calls)) -> Case<SLEEPS> {
    Case {
        arrange: |calls| assert_eq!(calls.wrlock(0), CLEAN),
        release: |calls| assert_eq!(calls.wrunlock(), CLEAN),
        ..Case::new(operate, |calls, _| calls.use_rwlock(&[CLEAN]))
    }
}

#[apply(scenario)]
fn rwlock_rdlock_that_is_busy() {
    let case =
        write_locked_by_harness::<false>(|calls| assert_eq!(calls.rdlock(0), Err(libc::EAGAIN)));
    check("ipc_rwlock_rdlock, EAGAIN", &case);
}

#[apply(scenario)]
fn rwlock_rdlock_asleep() {
    let case = write_locked_by_harness::<true>(|calls| assert_eq!(calls.rdlock(-1), CLEAN));
    check("ipc_rwlock_rdlock, asleep", &case);
}

#[apply(scenario)]
fn rwlock_wrlock() {
    let case = Case::<false>::new(
        |calls| assert_eq!(calls.wrlock(-1), CLEAN),
        |calls, finished| calls.use_rwlock(after_acquire(finished)),
    );
    check("ipc_rwlock_wrlock", &case);
}

#[apply(scenario)]
fn rwlock_wrlock_write_unlock() {
    let case = Case::<false>::new(
        |calls| {
            assert_eq!(calls.wrlock(1000), CLEAN);
            calls.write();
            assert_eq!(calls.wrunlock(), CLEAN);
        },
        |calls, finished| calls.use_rwlock(after_release(finished)),
    );
    check("ipc_rwlock_wrlock, two words, ipc_rwlock_wrunlock", &case);
}

#[apply(scenario)]
fn rwlock_wrunlock() {
    let case = Case::<false> {
        prepare: |calls| assert_eq!(calls.wrlock(-1), CLEAN),
        ..Case::new(
            |calls| assert_eq!(calls.wrunlock(), CLEAN),
            |calls, finished| calls.use_rwlock(after_release(finished)),
        )
    };
    check("ipc_rwlock_wrunlock", &case);
}

/// The harness holds a read lock until the victim is dead.
fn read_locked_by_harness<const SLEEPS: bool>(operate: fn(&Calls)) -> Case<SLEEPS> {
    Case {
        arrange: |calls| assert_eq!(calls.rdlock(0), CLEAN),
        release: |calls| assert_eq!(calls.rdunlock(), CLEAN),
        ..Case::new(operate, |calls, _| {
            // A writer that is dead or has timed out does not keep other processes out.
            expect("another reader", calls.rdlock(WAIT), CLEAN)?;
            expect("its unlock", calls.rdunlock(), CLEAN)?;
            // After the harness has unlocked, all slots are free.
            expect("a writer", calls.wrlock(WAIT), CLEAN)?;
            expect("its unlock", calls.wrunlock(), CLEAN)?;
            calls.use_rwlock(&[CLEAN])
        })
    }
}

#[apply(scenario)]
fn rwlock_wrlock_timed_out() {
    let case = read_locked_by_harness::<false>(|calls| {
        assert_eq!(calls.wrlock(SHORT), Err(libc::ETIMEDOUT))
    });
    check("ipc_rwlock_wrlock, ETIMEDOUT", &case);
}

#[apply(scenario)]
fn rwlock_wrlock_asleep() {
    let case = read_locked_by_harness::<true>(|calls| assert_eq!(calls.wrlock(-1), CLEAN));
    check("ipc_rwlock_wrlock, asleep", &case);
}

/// The previous writer has died while it changed the guarded data.
fn dead_writer(calls: &Calls) {
    die_with(|| {
        let locked = calls.wrlock(-1);
        calls.objects.pair[0].fetch_add(1, SeqCst);
        locked
    });
}

#[apply(scenario)]
fn rwlock_of_a_dead_writer() {
    let case = Case::<false> {
        arrange: dead_writer,
        ..Case::new(
            |calls| assert_eq!(calls.wrlock(-1), DIED),
            |calls, _| calls.use_rwlock(&[DIED]),
        )
    };
    check("ipc_rwlock_wrlock, IPC_OWNER_DIED", &case);
}

#[apply(scenario)]
fn rwlock_rdlock_of_a_dead_writer() {
    let case = Case::<false> {
        arrange: dead_writer,
        ..Case::new(
            |calls| assert_eq!(calls.rdlock(-1), DIED),
            |calls, _| calls.use_rwlock(&[DIED]),
        )
    };
    check("ipc_rwlock_rdlock, IPC_OWNER_DIED", &case);
}

#[apply(scenario)]
fn rwlock_repair_and_unlock() {
    let case = Case::<false> {
        arrange: dead_writer,
        prepare: |calls| assert_eq!(calls.wrlock(-1), DIED),
        ..Case::new(
            |calls| {
                calls.repair();
                assert_eq!(calls.rw_consistent(), CLEAN);
                assert_eq!(calls.wrunlock(), CLEAN);
            },
            |calls, finished| calls.use_rwlock(after_release(finished)),
        )
    };
    check("repair, ipc_rwlock_consistent, ipc_rwlock_wrunlock", &case);
}

#[apply(scenario)]
fn cond_init() {
    let case = Case::<false> {
        arrange: |calls| overwrite_magic(&calls.objects.cond),
        ..Case::new(
            |calls| assert_eq!(calls.cond_init(), CLEAN),
            |calls, finished| {
                check_init(calls.signal(), finished, || calls.cond_init())?;
                calls.use_cond(&[CLEAN])
            },
        )
    };
    check("ipc_cond_init", &case);
}

#[apply(scenario)]
fn cond_wait_asleep() {
    let case = Case::<true> {
        prepare: |calls| assert_eq!(calls.lock(-1), CLEAN),
        ..Case::new(
            |calls| assert_eq!(calls.wait(-1), CLEAN),
            |calls, _| calls.use_cond(&[CLEAN, DIED]),
        )
    };
    check("ipc_cond_wait, asleep", &case);
}

#[apply(scenario)]
fn cond_wait_timed_out() {
    let case = Case::<false> {
        prepare: |calls| assert_eq!(calls.lock(-1), CLEAN),
        ..Case::new(
            |calls| assert_eq!(calls.wait(SHORT), Err(libc::ETIMEDOUT)),
            |calls, finished| calls.use_cond(after_acquire(finished)),
        )
    };
    check("ipc_cond_wait, ETIMEDOUT", &case);
}

/// The victim signals while the survivor waits. If the victim does not finish, the harness signals
/// instead.
struct Signal(Case<false>);

impl Scenario for Signal {
    type State = Shared;
    const CONCURRENT: bool = true;

    fn set_up(&self) -> Shared {
        self.0.set_up()
    }

    fn become_victim(&self, shared: &mut Shared) {
        self.0.become_victim(shared);
        let calls = shared.calls();
        while calls.objects.progress.load(SeqCst) == 0 {
            std::thread::yield_now();
        }
        // The mutex is free once the survivor waits.
        assert_eq!(calls.lock(WAIT), CLEAN);
        assert_eq!(calls.unlock(), CLEAN);
    }

    fn operate(&self, shared: &mut Shared) {
        self.0.operate(shared);
    }

    fn survive(&self, shared: &mut Shared, _: &Finished) -> Verdict {
        let calls = shared.calls();
        expect("the mutex", calls.lock(WAIT), CLEAN)?;
        calls.objects.progress.store(1, SeqCst);
        let begin = Instant::now();
        expect("the wait", calls.wait(WAIT), CLEAN)?;
        // A waiter that is not woken notices a counted signal only when its time-out expires.
        if begin.elapsed() > Duration::from_millis(WAIT as u64 / 2) {
            return Err("a signal did not wake the waiter".into());
        }
        expect("the unlock", calls.unlock(), CLEAN)?;
        calls.use_mutex(&[CLEAN])
    }
}

#[apply(scenario)]
fn cond_signal() {
    check_signal("ipc_cond_signal", |calls| {
        assert_eq!(calls.signal(), CLEAN);
        calls.objects.progress.store(2, SeqCst);
    });
}

#[apply(scenario)]
fn cond_broadcast() {
    check_signal("ipc_cond_broadcast", |calls| {
        assert_eq!(calls.broadcast(), CLEAN);
        calls.objects.progress.store(2, SeqCst);
    });
}

fn check_signal(what: &str, signal: fn(&Calls)) {
    let case = Case {
        release: |calls| {
            if calls.objects.progress.load(SeqCst) < 2 {
                assert_eq!(calls.signal(), CLEAN);
            }
        },
        ..Case::new(signal, |_, _| Ok(())) // not called
    };
    check(what, &Signal(case));
}
