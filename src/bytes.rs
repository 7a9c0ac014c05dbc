//! Memory that need not be initialised: what a C caller gives to be filled, and scratch space.

use std::mem::MaybeUninit;

/// Copies `from` to the beginning of `to`, which has room for it.
pub fn copy(to: &mut [MaybeUninit<u8>], from: &[u8]) {
    // SAFETY: an initialised byte is a MaybeUninit one too.
    let from = unsafe { &*(from as *const [u8] as *const [MaybeUninit<u8>]) };
    to[..from.len()].copy_from_slice(from);
}

/// Bytes that have been written.
///
/// # Safety
///
/// All of them have been.
pub unsafe fn written(bytes: &[MaybeUninit<u8>]) -> &[u8] {
    // SAFETY: the caller's promise; the layout is the same.
    unsafe { &*(bytes as *const [MaybeUninit<u8>] as *const [u8]) }
}

/// A hash of 64 bits (FNV-1a).
#[must_use]
pub fn hash<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Initialised bytes, for a call that fills memory.
pub fn to_fill(bytes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: the layout is the same, and what fills it writes initialised bytes only.
    unsafe { &mut *(bytes as *mut [u8] as *mut [MaybeUninit<u8>]) }
}
