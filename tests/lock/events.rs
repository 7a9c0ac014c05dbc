//! Two events in shared memory, and typed wrappers of their calls.

use crate::support::*;
use libc::{c_int, c_uint};
use std::cell::UnsafeCell;
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use unixipc::ffi::event::*;

pub const AUTO: c_uint = IPC_EVENT_F_AUTO_RESET;
pub const IS_SET: Outcome = Ok(1);
pub const IS_CLEAR: Outcome = Ok(0);
/// The 32-bit words of an event that a test reads or overwrites.
pub const STATE: usize = 3;
pub const WAITERS: usize = 4;

/// Two events, and counters by which the processes of a test synchronise.
#[repr(C)]
pub struct Events {
    events: [UnsafeCell<ipc_event>; 2],
    pub words: [AtomicU64; 64],
}

// SAFETY: several threads may use the events, and only the library accesses their content.
unsafe impl Sync for Events {}
// SAFETY: zero bytes are uninitialised events, and words.
unsafe impl Shareable for Events {}

/// New events in memory that this process and its children share until they end.
pub fn events(flags: c_uint) -> &'static Events {
    let events: &Events = shared_one();
    for index in [0, 1] {
        // SAFETY: one of the events.
        let made = outcome(|| unsafe { ipc_event_init(events.at(index), flags) } as isize);
        assert_eq!(made, CLEAN);
    }
    events
}

impl Events {
    pub fn at(&self, index: usize) -> *mut ipc_event {
        self.events[index].get()
    }

    #[track_caller]
    pub fn init(&self, flags: c_uint) -> Outcome {
        // SAFETY: one of the events.
        outcome(|| unsafe { ipc_event_init(self.at(0), flags) } as isize)
    }

    #[track_caller]
    pub fn set(&self, index: usize) {
        // SAFETY: one of the events.
        let set = outcome(|| unsafe { ipc_event_set(self.at(index)) } as isize);
        assert_eq!(set, CLEAN);
    }

    #[track_caller]
    pub fn clear(&self) {
        // SAFETY: one of the events.
        let clear = outcome(|| unsafe { ipc_event_clear(self.at(0)) } as isize);
        assert_eq!(clear, CLEAN);
    }

    #[track_caller]
    pub fn is_set(&self) -> Outcome {
        // SAFETY: one of the events.
        outcome(|| unsafe { ipc_event_is_set(self.at(0)) } as isize)
    }

    #[track_caller]
    pub fn wait_at(&self, index: usize, timeout_ms: c_int) -> Outcome {
        // SAFETY: one of the events.
        outcome(|| unsafe { ipc_event_wait(self.at(index), timeout_ms) } as isize)
    }

    #[track_caller]
    pub fn wait(&self, timeout_ms: c_int) -> Outcome {
        self.wait_at(0, timeout_ms)
    }

    /// The 32-bit words of the first event.
    pub fn event_words(&self) -> &[AtomicU32] {
        // SAFETY: an event, which stays mapped; any bytes are words.
        unsafe { slice::from_raw_parts(self.at(0).cast(), size_of::<ipc_event>() / 4) }
    }

    /// Whether a waiter has announced itself since the last set.
    pub fn is_announced(&self) -> bool {
        self.event_words()[WAITERS].load(SeqCst) % 2 != 0
    }

    pub fn count(&self, word: usize) -> u64 {
        self.words[word].load(SeqCst)
    }

    pub fn arrive(&self, word: usize) {
        self.words[word].fetch_add(1, SeqCst);
    }

    #[track_caller]
    pub fn wait_for(&self, word: usize, value: u64) {
        wait_until("a count", || self.count(word) >= value);
    }

    /// A child that waits once, and then increments word 0. It sleeps when this returns.
    pub fn waiter(&'static self, timeout_ms: c_int) -> Child {
        let child = fork(|| {
            assert_eq!(self.wait(timeout_ms), CLEAN);
            self.arrive(0);
        });
        child.wait_asleep();
        child
    }
}
