//! Typed wrappers of the calls, and a shared mapping with one object of each type.

pub use common::prelude::*;
use libc::c_int;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::{ptr, slice};
use unixipc::ffi::cond::*;
use unixipc::ffi::event::{ipc_event, ipc_event_init, ipc_event_set, ipc_event_wait};
use unixipc::ffi::mutex::*;
use unixipc::ffi::pair::IPC_WAIT_INTR;
use unixipc::ffi::rwlock::*;

pub const INTR: c_int = IPC_WAIT_INTR;
pub const READERS_MAX: usize = IPC_RWLOCK_READERS_MAX;
/// A call succeeded; of a lock call: the guarded data is consistent.
pub const CLEAN: Outcome = Ok(0);
/// The lock is acquired, and its previous owner died.
pub const DIED: Outcome = Ok(unixipc::ffi::lock::IPC_OWNER_DIED as usize);

/// The objects and words that the processes of a test share.
#[repr(C)]
pub struct Space {
    /// In the same page as the condition.
    mutex: UnsafeCell<ipc_mutex>,
    cond: UnsafeCell<ipc_cond>,
    event: UnsafeCell<ipc_event>,
    rwlock: UnsafeCell<ipc_rwlock>,
    /// The data that the locks guard, and the counters by which the processes synchronise.
    pub words: [AtomicU64; 256],
}

// SAFETY: several threads may use the objects, and only the library reads and writes them.
unsafe impl Sync for Space {}
// SAFETY: zero bytes are uninitialised objects, and words.
unsafe impl Shareable for Space {}

/// A new space, all zero: its objects are not initialised.
pub fn raw_space() -> &'static Space {
    shared_one()
}

/// A new space with its objects initialised.
pub fn space() -> &'static Space {
    let space = raw_space();
    assert_eq!(space.mutex_init(0), CLEAN);
    assert_eq!(space.rwlock_init(0), CLEAN);
    assert_eq!(space.cond_init(0), CLEAN);
    space
}

macro_rules! calls {
    ($($name:ident = $call:ident($object:ident $(, $arg:ident: $type:ty)*);)*) => {
        impl Space {$(
            #[track_caller]
            pub fn $name(&self $(, $arg: $type)*) -> Outcome {
                // SAFETY: an object of the space.
                outcome(|| unsafe { $call(self.$object.get() $(, $arg)*) } as isize)
            }
        )*}
    };
}

calls! {
    mutex_init = ipc_mutex_init(mutex, flags: u32);
    lock = ipc_mutex_lock(mutex, timeout_ms: c_int);
    unlock = ipc_mutex_unlock(mutex);
    consistent = ipc_mutex_consistent(mutex);
    owner = ipc_mutex_owner(mutex);
    rwlock_init = ipc_rwlock_init(rwlock, flags: u32);
    rdlock = ipc_rwlock_rdlock(rwlock, timeout_ms: c_int);
    rdunlock = ipc_rwlock_rdunlock(rwlock);
    wrlock = ipc_rwlock_wrlock(rwlock, timeout_ms: c_int);
    wrunlock = ipc_rwlock_wrunlock(rwlock);
    rw_consistent = ipc_rwlock_consistent(rwlock);
    cond_init = ipc_cond_init(cond, flags: u32);
    signal = ipc_cond_signal(cond);
    broadcast = ipc_cond_broadcast(cond);
    event_init = ipc_event_init(event, flags: u32);
    event_set = ipc_event_set(event);
    event_wait = ipc_event_wait(event, timeout_ms: c_int);
}

impl Space {
    pub fn wait(&self, timeout_ms: c_int) -> Outcome {
        // SAFETY: objects of the space.
        outcome(|| unsafe { ipc_cond_wait(self.cond.get(), self.mutex.get(), timeout_ms) } as isize)
    }

    /// Removes the mapping from this process, which does not use the space again.
    pub fn unmap(&self) {
        let at = ptr::from_ref(self).cast_mut().cast();
        // SAFETY: a mapping of this process's own, which it does not use again.
        assert_eq!(unsafe { libc::munmap(at, size_of::<Self>()) }, 0);
    }

    pub fn mutex(&self) -> *mut ipc_mutex {
        self.mutex.get()
    }

    pub fn rwlock(&self) -> *mut ipc_rwlock {
        self.rwlock.get()
    }

    pub fn cond(&self) -> *mut ipc_cond {
        self.cond.get()
    }

    /// The 32-bit words of the mutex.
    pub fn mutex_words(&self) -> &[AtomicU32] {
        words(self.mutex.get())
    }

    pub fn rwlock_words(&self) -> &[AtomicU32] {
        words(self.rwlock.get())
    }

    pub fn cond_words(&self) -> &[AtomicU32] {
        words(self.cond.get())
    }

    /// Increments a word, and wakes the processes that wait for it. Returns the new value.
    pub fn arrive(&self, word: usize) -> u64 {
        let number = self.words[word].fetch_add(1, SeqCst) + 1;
        self.futex(word, libc::FUTEX_WAKE, c_int::MAX as u32, None);
        number
    }

    /// futex(2) on the low half of a word.
    fn futex(&self, word: usize, call: c_int, value: u32, time: Option<libc::timespec>) {
        let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the kernel reads the word and the time, which outlive the call.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.words[word].as_ptr(),
                call,
                value,
                time,
            )
        };
    }

    pub fn count(&self, word: usize) -> u64 {
        self.words[word].load(SeqCst)
    }

    /// Waits until a word has reached a value.
    #[track_caller]
    pub fn wait_for(&self, word: usize, value: u64) {
        let interval = libc::timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        };
        let mut count = self.count(word);
        for _ in 0..LONG / 50 {
            if count >= value {
                return;
            }
            self.futex(word, libc::FUTEX_WAIT, count as u32, Some(interval));
            count = self.count(word);
        }
        assert!(
            count >= value,
            "timed out waiting for {value} in word {word}"
        );
    }

    /// A child that holds a lock until [`Space::release_holders`].
    pub fn holder(
        &'static self,
        lock: impl FnOnce(&Space) -> Outcome,
        unlock: impl FnOnce(&Space) -> Outcome,
    ) -> Child {
        let before = self.count(62);
        let child = fork(|| {
            lock(self).unwrap();
            self.arrive(62);
            self.wait_for(63, 1);
            assert_eq!(unlock(self), CLEAN);
        });
        self.wait_for(62, before + 1);
        child
    }

    /// Makes the holders unlock.
    pub fn release_holders(&self) {
        self.arrive(63);
    }

    /// A child that waits on the condition until a word is not 0. It sleeps when this returns.
    pub fn cond_waiter(&'static self, word: usize, timeout_ms: c_int) -> Child {
        let before = self.count(61);
        let child = fork(|| {
            assert_eq!(self.lock(-1), CLEAN);
            self.arrive(61);
            while self.count(word) == 0 {
                assert_eq!(self.wait(timeout_ms), CLEAN);
            }
            assert_eq!(self.unlock(), CLEAN);
        });
        self.wait_for(61, before + 1);
        // The mutex is free once the child waits on the condition.
        assert_eq!(self.lock(LONG), CLEAN);
        assert_eq!(self.unlock(), CLEAN);
        child.wait_asleep();
        child
    }

    /// A child for each slot of the reader-writer lock. Child `i` reads until word `10 + i` is 1.
    pub fn fill_with_readers(&'static self) -> Vec<Child> {
        (0..READERS_MAX)
            .map(|number| {
                let child = fork(|| {
                    assert_eq!(self.rdlock(0), CLEAN);
                    self.arrive(0);
                    self.wait_for(10 + number, 1);
                    assert_eq!(self.rdunlock(), CLEAN);
                });
                self.wait_for(0, number as u64 + 1);
                child
            })
            .collect()
    }
}

/// New spaces, whose mutexes one process locks before it ends.
pub fn spaces_of_dead_owner(count: usize) -> Vec<&'static Space> {
    let spaces: Vec<_> = (0..count).map(|_| space()).collect();
    fork(|| {
        for space in &spaces {
            assert_eq!(space.lock(-1), CLEAN);
        }
    })
    .join();
    spaces
}

/// Checks that a call reaches this time-out, and not much later.
#[track_caller]
pub fn check_timeout(timeout_ms: c_int, call: impl FnOnce(c_int) -> Outcome) {
    let (returned, took) = timed_ms(|| call(timeout_ms));
    assert_eq!(returned, Err(libc::ETIMEDOUT));
    let expected = timeout_ms as u128..timeout_ms as u128 + 5000;
    assert!(expected.contains(&took), "{took} ms");
}

/// Checks that calls return `true` in a process that is killed at its first system call.
pub fn check_no_system_call(calls: impl FnOnce() -> bool) {
    fork(|| check_no_system_call_here(calls)).join();
}

/// Like [`check_no_system_call`], in this process, which then exits. Status 0 means success.
pub fn check_no_system_call_here(calls: impl FnOnce() -> bool) {
    // SAFETY: no pointers; from here on, any system call except exit kills the process.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
    assert_eq!(done, 0);
    let status = if calls() { 0 } else { 1 };
    // SAFETY: exit, not exit_group, which strict mode does not permit.
    unsafe { libc::syscall(libc::SYS_exit, status) };
}

/// Checks that all calls fail with EPROTO if memory holds no object, and with ESTALE if it holds
/// an object of another layout version, C library or word size.
pub fn check_header<const N: usize>(
    words: &[AtomicU32],
    seed: u64,
    init: impl Fn() -> Outcome,
    all_calls: impl Fn() -> [Outcome; N],
) {
    assert_eq!(all_calls(), [Err(libc::EPROTO); N]);
    let mut random = Random(seed);
    for _ in 0..100 {
        scribble(words, &mut random);
        assert_eq!(all_calls(), [Err(libc::EPROTO); N]);
    }
    assert_eq!(init(), CLEAN);
    for bit in [0, 15, 16, 23, 24, 31] {
        words[1].fetch_xor(1 << bit, SeqCst);
        assert_eq!(all_calls(), [Err(libc::ESTALE); N], "bit {bit}");
        words[1].fetch_xor(1 << bit, SeqCst);
    }
}

/// Gives this process the scheduling policy SCHED_IDLE: it runs only if no other process does.
pub fn run_only_when_idle() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters are ours.
    let done = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &parameters) };
    assert_eq!(done, 0);
}

/// The number of times that a process has gone to sleep.
pub fn voluntary_switches(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.0)).unwrap();
    let mut lines = status.lines();
    let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

fn words<'a, T>(object: *mut T) -> &'a [AtomicU32] {
    // SAFETY: an object of a space, which stays mapped; any bytes are words.
    unsafe { slice::from_raw_parts(object.cast(), size_of::<T>() / 4) }
}

/// Fills memory with random bytes. They form a valid object with a probability of 2^-64.
pub fn scribble(words: &[AtomicU32], random: &mut Random) {
    for word in words {
        word.store(random.next_u64() as u32, SeqCst);
    }
}
