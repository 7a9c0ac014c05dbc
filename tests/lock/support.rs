//! The calls in Rust's types, and a space in shared memory that has one object of each type.

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
/// The outcome of a call that succeeds, and of a lock whose data is consistent.
pub const CLEAN: Outcome = Ok(0);
/// The outcome of a lock whose last owner died.
pub const DIED: Outcome = Ok(unixipc::ffi::lock::IPC_OWNER_DIED as usize);

/// The objects and words that the processes of a test share.
#[repr(C)]
pub struct Space {
    /// In the page of the condition.
    mutex: UnsafeCell<ipc_mutex>,
    cond: UnsafeCell<ipc_cond>,
    event: UnsafeCell<ipc_event>,
    rwlock: UnsafeCell<ipc_rwlock>,
    /// The data that the locks guard, and the counters by which the processes synchronise.
    pub words: [AtomicU64; 256],
}

// SAFETY: several threads may use the objects, and only the library reads and writes them.
unsafe impl Sync for Space {}
// SAFETY: zero bytes are objects that are not initialised, and words.
unsafe impl Shareable for Space {}

/// A new space with zero bytes.
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

    /// Increments a word for which another process waits. The new value.
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

    /// Waits until a word has reached a number.
    #[track_caller]
    pub fn wait_for(&self, word: usize, number: u64) {
        let interval = libc::timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        };
        let mut count = self.count(word);
        for _ in 0..LONG / 50 {
            if count >= number {
                return;
            }
            self.futex(word, libc::FUTEX_WAIT, count as u32, Some(interval));
            count = self.count(word);
        }
        assert!(count >= number, "never came: {number} in word {word}");
    }

    /// A child that holds a lock until word 63 is set.
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

    /// Has the holders unlock.
    pub fn let_go(&self) {
        self.arrive(63);
    }
}

fn words<'a, T>(object: *mut T) -> &'a [AtomicU32] {
    // SAFETY: an object of a space, which stays mapped; any bytes are words.
    unsafe { slice::from_raw_parts(object.cast(), size_of::<T>() / 4) }
}

/// Fills memory with random bytes, which are no object except with a probability of 2^-64.
pub fn scribble(words: &[AtomicU32], random: &mut Random) {
    for word in words {
        word.store(random.next_u64() as u32, SeqCst);
    }
}
