//! The calls in Rust's types, and memory that processes share.

pub use crate::common::process::{
    Child, Outcome, Random, fork, is_asleep, outcome, scaled, wait_until,
};
use libc::{c_int, c_long};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use std::{ptr, slice, thread};
use unixipc::ffi::cond::*;
use unixipc::ffi::event::{ipc_event, ipc_event_init, ipc_event_set, ipc_event_wait};
use unixipc::ffi::mutex::*;
use unixipc::ffi::pair::IPC_WAIT_INTR;
use unixipc::ffi::rwlock::*;

pub const INTR: c_int = IPC_WAIT_INTR;
pub const READERS_MAX: usize = IPC_RWLOCK_READERS_MAX;
/// Longer than anything takes that works.
pub const LONG: c_int = 60_000;
/// What a lock returns that is clean.
pub const CLEAN: Outcome = Ok(0);
/// What it returns if its last owner died.
pub const DIED: Outcome = Ok(unixipc::ffi::lock::IPC_OWNER_DIED as usize);

/// What a test's processes share.
#[repr(C)]
pub struct Space {
    /// In one page with the condition.
    mutex: UnsafeCell<ipc_mutex>,
    cond: UnsafeCell<ipc_cond>,
    event: UnsafeCell<ipc_event>,
    rwlock: UnsafeCell<ipc_rwlock>,
    /// What the locks guard, and how the processes agree.
    pub words: [AtomicU64; 256],
}

// SAFETY: the objects are for several threads, and only the library looks into them.
unsafe impl Sync for Space {}

/// A new space, zeroed, which this process and its children have until they end.
pub fn raw_space() -> &'static Space {
    let len = size_of::<Space>();
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping.
    let at = unsafe { libc::mmap(ptr::null_mut(), len, access, flags, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    // SAFETY: zero bytes are a Space, which stays mapped.
    unsafe { &*at.cast::<Space>() }
}

/// A new space with its objects made.
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

    /// Counts a word up, which another process waits for.
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

    /// Waits until a word has come to a number.
    #[track_caller]
    pub fn wait_for(&self, word: usize, number: u64) {
        let look = libc::timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        };
        let mut count = self.count(word);
        for _ in 0..LONG / 50 {
            if count >= number {
                return;
            }
            self.futex(word, libc::FUTEX_WAIT, count as u32, Some(look));
            count = self.count(word);
        }
        assert!(count >= number, "never came: {number} in word {word}");
    }

    /// A child that holds a lock until word 63 says that it may unlock.
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

    /// Lets the holders go.
    pub fn let_go(&self) {
        self.arrive(63);
    }
}

fn words<'a, T>(object: *mut T) -> &'a [AtomicU32] {
    // SAFETY: an object of a space, which stays mapped; all its bytes may be anything.
    unsafe { slice::from_raw_parts(object.cast(), size_of::<T>() / 4) }
}

/// Kills a child, and waits for its end.
pub fn kill(child: Child) {
    child.signal(libc::SIGKILL);
    let status = child.reap();
    assert!(
        libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL,
        "{status:#x}"
    );
}

/// Has this process run on one processor.
pub fn stay_on(cpu: usize) {
    // SAFETY: all zero bytes are a set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: a set of ours.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: a set of ours, and its size.
    let done = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
    assert_eq!(done, 0);
}

/// The processors that this process may run on.
pub fn processors() -> Vec<usize> {
    // SAFETY: all zero bytes are a set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: a set of ours, and its size.
    let done = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) };
    assert_eq!(done, 0);
    // SAFETY: a set of ours.
    (0..libc::CPU_SETSIZE as usize)
        .filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) })
        .collect()
}

pub fn thread_id() -> usize {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() as usize }
}

/// What ran, and how many milliseconds it took.
pub fn timed<T>(run: impl FnOnce() -> T) -> (T, u128) {
    let start = Instant::now();
    let result = run();
    (result, start.elapsed().as_millis())
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

/// How often the handler of [`handle`] ran.
pub fn handled() -> u32 {
    HANDLED.load(SeqCst)
}

/// Counts SIGUSR1 and SIGALRM in a handler from now on.
pub fn handle(flags: c_int) {
    extern "C" fn count(_: c_int) {
        HANDLED.fetch_add(1, SeqCst);
    }
    for signal in [libc::SIGUSR1, libc::SIGALRM] {
        // SAFETY: all zero bytes are a sigaction.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = count as extern "C" fn(c_int) as usize;
        action.sa_flags = flags;
        // SAFETY: the action is ours; the handler only counts.
        let done = unsafe { libc::sigaction(signal, &action, ptr::null_mut()) };
        assert_eq!(done, 0);
    }
}

/// A SIGALRM every so many microseconds; 0 ends it. It replaces the alarm of a child.
pub fn storm(microseconds: c_long) {
    let every = libc::timeval {
        tv_sec: 0,
        tv_usec: microseconds,
    };
    let timer = libc::itimerval {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: the timer is ours.
    let done = unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut()) };
    assert_eq!(done, 0);
}

/// A child that makes a call with IPC_WAIT_INTR, which a handler with and without SA_RESTART
/// ends. A handler that runs before the call sleeps does not end it, so there is more than one.
pub fn ends_with_signal(call: impl Fn() -> Outcome) {
    for flags in [0, libc::SA_RESTART] {
        handle(flags);
        let child = fork(|| assert_eq!(call(), Err(libc::EINTR), "flags {flags:#x}"));
        child.wait_asleep();
        wait_until("the end of the child", || {
            child.signal(libc::SIGUSR1);
            thread::sleep(Duration::from_millis(5));
            child.has_ended()
        });
        child.join();
    }
}

/// Memory of random bytes makes no object of any call, but for one chance in 2^32.
pub fn scribble(words: &[AtomicU32], random: &mut Random) {
    for word in words {
        word.store(random.next() as u32, SeqCst);
    }
}
