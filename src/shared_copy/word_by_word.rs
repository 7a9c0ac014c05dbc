//! The copy word by word, for other processors and for tools that must see each access.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

pub use from_shared as short_from_shared;
pub use to_shared as short_to_shared;

const WORD: usize = size_of::<u64>();

/// Copies `len` bytes from shared memory.
///
/// # Safety
///
/// Both are mapped for `len` bytes. `from` is aligned to 8; `to` is writable and not shared.
pub unsafe fn from_shared(from: *const u8, to: *mut u8, len: usize) {
    let mut at = 0;
    while len - at >= WORD {
        // SAFETY: within `len`.
        let source = unsafe { from.add(at) }.cast::<AtomicU64>();
        // SAFETY: mapped and aligned, and used as atomics only.
        let word = unsafe { &*source }.load(Ordering::Relaxed);
        // SAFETY: within `len`.
        let target = unsafe { to.add(at) }.cast::<u64>();
        // SAFETY: writable and not shared.
        unsafe { target.write_unaligned(word) };
        at += WORD;
    }
    while at < len {
        // SAFETY: within `len`.
        let source = unsafe { from.add(at) }.cast::<AtomicU8>();
        // SAFETY: mapped, and used as atomics only.
        let byte = unsafe { &*source }.load(Ordering::Relaxed);
        // SAFETY: within `len`.
        let target = unsafe { to.add(at) };
        // SAFETY: writable and not shared.
        unsafe { target.write(byte) };
        at += 1;
    }
}

/// Copies `len` bytes to shared memory.
///
/// # Safety
///
/// Both are mapped for `len` bytes. `from` is not shared; `to` is writable.
pub unsafe fn to_shared(from: *const u8, to: *mut u8, len: usize) {
    let mut at = 0;
    // A part of a message may begin anywhere.
    let is_aligned = to.cast::<u64>().is_aligned();
    while is_aligned && len - at >= WORD {
        // SAFETY: within `len`.
        let source = unsafe { from.add(at) }.cast::<u64>();
        // SAFETY: mapped and not shared.
        let word = unsafe { source.read_unaligned() };
        // SAFETY: within `len`.
        let target = unsafe { to.add(at) }.cast::<AtomicU64>();
        // SAFETY: mapped and aligned, and used as atomics only.
        unsafe { &*target }.store(word, Ordering::Relaxed);
        at += WORD;
    }
    while at < len {
        // SAFETY: within `len`.
        let source = unsafe { from.add(at) };
        // SAFETY: mapped and not shared.
        let byte = unsafe { source.read() };
        // SAFETY: within `len`.
        let target = unsafe { to.add(at) }.cast::<AtomicU8>();
        // SAFETY: mapped, and used as atomics only.
        unsafe { &*target }.store(byte, Ordering::Relaxed);
        at += 1;
    }
}
