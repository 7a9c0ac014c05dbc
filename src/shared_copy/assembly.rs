//! The copy in assembly.

use super::SHORT;

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
mod arch;

pub use arch::short as short_from_shared;
pub use arch::short as short_to_shared;
pub use copy as from_shared;
pub use copy as to_shared;

/// Copies `len` bytes.
///
/// # Safety
///
/// Both are mapped for `len` bytes, `to` writable.
#[inline]
pub unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    if len <= SHORT {
        // SAFETY: the caller's promise.
        unsafe { arch::short(from, to, len) };
    } else {
        // SAFETY: the caller's promise.
        unsafe { arch::long(from, to, len) };
    }
}
