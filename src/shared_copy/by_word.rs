//! Word by word, for other processors and for tools that must see each access.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

pub use from_shared as short_from_shared;
pub use to_shared as short_to_shared;

const WORD: usize = size_of::<u64>();

/// # Safety
///
/// Both are mapped for `len` bytes, `to` writable and not shared; `from` is aligned.
pub unsafe fn from_shared(from: *const u8, to: *mut u8, len: usize) {
    let mut at = 0;
    while len - at >= WORD {
        // SAFETY: within `len`.
        let source = unsafe { from.add(at) }.cast::<AtomicU64>();
        // SAFETY: mapped and aligned, and used as atomics only.
        let word = unsafe { &*source }.load(Ordering::Relaxed);
        // SAFETY: within `len`.
        let place = unsafe { to.add(at) }.cast::<u64>();
        // SAFETY: writable, and ours.
        unsafe { place.write_unaligned(word) };
        at += WORD;
    }
    while at < len {
        // SAFETY: within `len`.
        let source = unsafe { from.add(at) }.cast::<AtomicU8>();
        // SAFETY: mapped, and used as atomics only.
        let byte = unsafe { &*source }.load(Ordering::Relaxed);
        // SAFETY: within `len`.
        let place = unsafe { to.add(at) };
        // SAFETY: writable, and ours.
        unsafe { place.write(byte) };
        at += 1;
    }
}

/// # Safety
///
/// Both are mapped for `len` bytes, `from` not shared; `to` is writable and aligned.
pub unsafe fn to_shared(from: *const u8, to: *mut u8, len: usize) {
    let mut at = 0;
    while len - at >= WORD {
        // SAFETY: within `len`.
        let source = unsafe { from.add(at) }.cast::<u64>();
        // SAFETY: readable.
        let word = unsafe { source.read_unaligned() };
        // SAFETY: within `len`.
        let place = unsafe { to.add(at) }.cast::<AtomicU64>();
        // SAFETY: mapped and aligned, and used as atomics only.
        unsafe { &*place }.store(word, Ordering::Relaxed);
        at += WORD;
    }
    while at < len {
        // SAFETY: within `len`.
        let source = unsafe { from.add(at) };
        // SAFETY: readable.
        let byte = unsafe { source.read() };
        // SAFETY: within `len`.
        let place = unsafe { to.add(at) }.cast::<AtomicU8>();
        // SAFETY: mapped, and used as atomics only.
        unsafe { &*place }.store(byte, Ordering::Relaxed);
        at += 1;
    }
}
