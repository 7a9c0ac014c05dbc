//! Memory that a test and its children share.

use crate::clock::wait_until;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::{ptr, slice};

/// A type that several processes may share, and for which all zero bytes are a valid value.
///
/// # Safety
/// Both must be true.
pub unsafe trait Shareable: Sync {}

// SAFETY: zero bytes are a number, and all accesses are atomic.
unsafe impl Shareable for AtomicU64 {}
// SAFETY: as above.
unsafe impl Shareable for std::sync::atomic::AtomicU32 {}

/// Zeroed memory that this process and its children share until they end.
pub fn shared<T: Shareable>(count: usize) -> &'static [T] {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let len = count * size_of::<T>();
    // SAFETY: a new mapping.
    let at = unsafe { libc::mmap(ptr::null_mut(), len, access, flags, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    // SAFETY: the mapping has this length and stays mapped; zero bytes are a T.
    unsafe { slice::from_raw_parts(at.cast(), count) }
}

/// Shared 64-bit words, all 0.
pub fn shared_words(count: usize) -> &'static [AtomicU64] {
    shared(count)
}

/// One zeroed value in shared memory.
pub fn shared_one<T: Shareable>() -> &'static T {
    &shared(1)[0]
}

/// Counters that this process and its children share until they end.
#[derive(Clone, Copy)]
pub struct Counters(&'static [AtomicU64]);

impl Counters {
    pub fn new() -> Self {
        Self(shared(512))
    }

    pub fn get(&self, index: usize) -> u64 {
        self.0[index].load(SeqCst)
    }

    pub fn set(&self, index: usize, value: u64) {
        self.0[index].store(value, SeqCst);
    }

    /// Adds 1. Returns the new value.
    pub fn add(&self, index: usize) -> u64 {
        self.0[index].fetch_add(1, SeqCst) + 1
    }

    /// Waits until a counter has reached a value.
    #[track_caller]
    pub fn wait_for(&self, index: usize, value: u64) {
        wait_until("a shared counter", || self.get(index) >= value);
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

/// The size of a page.
pub fn page_size() -> usize {
    // SAFETY: no pointers.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// A mapping: its address range, and its offset in the file.
pub struct Mapping {
    pub begin: usize,
    pub end: usize,
    pub offset: usize,
}

/// The writable shared mappings of this process.
pub fn shared_mappings() -> Vec<Mapping> {
    let hex = |digits: &str| usize::from_str_radix(digits, 16).unwrap();
    std::fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[1] == "rw-s")
        .map(|fields| {
            let (begin, end) = fields[0].split_once('-').unwrap();
            Mapping {
                begin: hex(begin),
                end: hex(end),
                offset: hex(fields[2]),
            }
        })
        .collect()
}
