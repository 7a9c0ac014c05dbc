//! Copying memory that another process may write or read at the same time.
//!
//! A cell's reader may copy a value while its writer overwrites it; the cell's protocol detects
//! that afterwards and discards the copy. A channel's receiver copies a message that a hostile peer
//! may overwrite at any time; it checks nothing afterwards, and its caller receives whatever bytes
//! the peer has chosen. In Rust's memory model even such a read is a data race, and so undefined
//! behaviour, unless each access is atomic. Copying word by word is several times slower than the
//! machine. So the copy is assembly: to the compiler it is a black box that accesses this memory,
//! as a system call is. Short values are copied by a few instructions here. Longer ones are copied
//! by the C library's memcpy, which is assembly itself and suits the processor; it is called from
//! assembly.
//!
//! The effect of a copy is then defined by the processor's memory model. x86 keeps loads in order
//! among themselves, and stores among themselves. It keeps the stores of a string instruction in
//! order with the stores before and after it, and memcpy puts a fence behind stores that bypass
//! the caches. AArch64 keeps both in order with the fences of the protocols, which are instructions
//! there. The order of the bytes within one copy does not matter.
//!
//! On other processors, and under `--cfg atomic_copy` (for sanitizers, which must see each access),
//! the copy is word by word.

#[cfg(all(target_arch = "x86_64", not(atomic_copy)))]
#[path = "x86_64.rs"]
mod imp;
#[cfg(all(target_arch = "aarch64", not(atomic_copy)))]
#[path = "aarch64.rs"]
mod imp;
#[cfg(any(not(any(target_arch = "x86_64", target_arch = "aarch64")), atomic_copy))]
#[path = "by_word.rs"]
mod imp;

use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// Up to this number of bytes are copied without a call.
///
/// cbindgen:ignore
pub const SHORT: usize = 64;

/// Copies from memory that may be overwritten at the same time.
///
/// # Safety
///
/// `from` is aligned to 8 and mapped for the length of `to`.
#[inline]
pub unsafe fn from_shared(from: NonNull<u8>, to: &mut [MaybeUninit<u8>]) {
    // SAFETY: the caller's promise; `to` has that length.
    unsafe { imp::from_shared(from.as_ptr(), to.as_mut_ptr().cast(), to.len()) };
}

/// [`from_shared`] for up to [`SHORT`] bytes, inlined. More are not copied.
///
/// # Safety
///
/// As [`from_shared`].
#[inline]
pub unsafe fn short_from_shared(from: NonNull<u8>, to: &mut [MaybeUninit<u8>]) {
    // SAFETY: the caller's promise; `to` has that length.
    unsafe { imp::short_from_shared(from.as_ptr(), to.as_mut_ptr().cast(), to.len()) };
}

/// Copies to memory that may be read at the same time.
///
/// # Safety
///
/// `to` is aligned to 8, and mapped and writable for the length of `from`.
#[inline]
pub unsafe fn to_shared(from: &[u8], to: NonNull<u8>) {
    // SAFETY: the caller's promise.
    unsafe { imp::to_shared(from.as_ptr(), to.as_ptr(), from.len()) };
}

/// [`to_shared`] for up to [`SHORT`] bytes, inlined. More are not copied.
///
/// # Safety
///
/// As [`to_shared`].
#[inline]
pub unsafe fn short_to_shared(from: &[u8], to: NonNull<u8>) {
    // SAFETY: the caller's promise.
    unsafe { imp::short_to_shared(from.as_ptr(), to.as_ptr(), from.len()) };
}
