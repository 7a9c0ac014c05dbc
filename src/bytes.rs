//! Memory that may be uninitialised: buffers of a C caller, and scratch space.

use std::mem::MaybeUninit;

/// Copies `from` to the beginning of `to`, which is at least as long.
pub fn copy(to: &mut [MaybeUninit<u8>], from: &[u8]) {
    // SAFETY: every u8 is a valid MaybeUninit<u8>, and the layout is the same.
    let from = unsafe { &*(from as *const [u8] as *const [MaybeUninit<u8>]) };
    to[..from.len()].copy_from_slice(from);
}

/// Returns bytes that have been written as initialised bytes.
///
/// # Safety
///
/// All of them have been written.
pub unsafe fn written(bytes: &[MaybeUninit<u8>]) -> &[u8] {
    // SAFETY: the caller's promise; the layout is the same.
    unsafe { &*(bytes as *const [MaybeUninit<u8>] as *const [u8]) }
}

/// Returns a hash of 64 bits (FNV-1a).
#[must_use]
pub fn hash<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Returns initialised bytes as a buffer for a call that writes to memory.
pub fn to_fill(bytes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: the layout is the same, and the users write only initialised bytes.
    unsafe { &mut *(bytes as *mut [u8] as *mut [MaybeUninit<u8>]) }
}

/// The little-endian number in up to 8 bytes.
#[must_use]
pub fn little_endian(bytes: &[u8]) -> u64 {
    let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    bytes.iter().rev().fold(0, add)
}
