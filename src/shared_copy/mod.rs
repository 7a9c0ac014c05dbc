//! Copying memory that another process may write or read at the same time.
//!
//! The reader of a cell may copy a value while the writer overwrites it. The cell's protocol detects
//! that after the copy, and discards the copy. The receiver of a channel copies a message that a
//! hostile peer may overwrite at any time. It does not check the bytes, so its caller receives any
//! bytes that the peer has chosen.
//!
//! In Rust's memory model such a copy is a data race, and so undefined behaviour, unless each access
//! is atomic. But an atomic copy, word by word, is several times slower than the machine allows. So
//! the copy is in assembly. To the compiler, assembly is opaque code that accesses this memory, like
//! a system call. A few instructions here copy short values. On x86-64 a loop here copies longer
//! values. Otherwise, and for very long values, the assembly calls the C library's memcpy, which is
//! optimised for the processor.
//!
//! The memory model of the processor then defines the effect of a copy. x86 keeps loads in order
//! with each other, and stores in order with each other. It keeps the stores of a string instruction
//! in order with the stores before and after it, and memcpy executes a fence after non-temporal
//! stores. On AArch64 the fences of the protocols, which are instructions there, order the copy. The
//! order of the bytes within one copy does not matter.
//!
//! On other processors, and with `--cfg atomic_copy` (for sanitizers, which must see each access),
//! the copy is atomic, word by word.

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(atomic_copy)))]
#[path = "assembly.rs"]
mod imp;
#[cfg(any(not(any(target_arch = "x86_64", target_arch = "aarch64")), atomic_copy))]
#[path = "word_by_word.rs"]
mod imp;

use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// The largest number of bytes that the inlined copy copies.
///
/// cbindgen:ignore
pub const SHORT: usize = 64;

/// Copies from memory that another process may overwrite at the same time.
///
/// # Safety
///
/// `from` is aligned to 8 and mapped for the length of `to`.
#[inline]
pub unsafe fn from_shared(from: NonNull<u8>, to: &mut [MaybeUninit<u8>]) {
    // SAFETY: the caller's promise; `to` has that length.
    unsafe { imp::from_shared(from.as_ptr(), to.as_mut_ptr().cast(), to.len()) };
}

/// [`from_shared`] for up to [`SHORT`] bytes, inlined. Of more bytes it does not copy
/// all.
///
/// # Safety
///
/// As [`from_shared`].
#[inline]
pub unsafe fn short_from_shared(from: NonNull<u8>, to: &mut [MaybeUninit<u8>]) {
    // SAFETY: the caller's promise; `to` has that length.
    unsafe { imp::short_from_shared(from.as_ptr(), to.as_mut_ptr().cast(), to.len()) };
}

/// Copies to memory that another process may read at the same time.
///
/// # Safety
///
/// `to` is mapped and writable for the length of `from`.
#[inline]
pub unsafe fn to_shared(from: &[u8], to: NonNull<u8>) {
    // SAFETY: the caller's promise.
    unsafe { imp::to_shared(from.as_ptr(), to.as_ptr(), from.len()) };
}

/// [`to_shared`] for up to [`SHORT`] bytes, inlined. Of more bytes it does not copy
/// all.
///
/// # Safety
///
/// As [`to_shared`].
#[inline]
pub unsafe fn short_to_shared(from: &[u8], to: NonNull<u8>) {
    // SAFETY: the caller's promise.
    unsafe { imp::short_to_shared(from.as_ptr(), to.as_ptr(), from.len()) };
}
