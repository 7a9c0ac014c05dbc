//! On AArch64.

use super::SHORT;
use std::arch::asm;

pub use copy as from_shared;
pub use copy as to_shared;
pub use short as short_from_shared;
pub use short as short_to_shared;

/// # Safety
///
/// Both are mapped for `len` bytes, `to` writable.
#[inline]
pub unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    if len <= SHORT {
        // SAFETY: the caller's promise.
        unsafe { short(from, to, len) };
    } else {
        // SAFETY: the caller's promise.
        unsafe { call_memcpy(from, to, len) };
    }
}

/// # Safety
///
/// As [`copy`], up to [`SHORT`] bytes.
#[inline]
pub unsafe fn short(from: *const u8, to: *mut u8, len: usize) {
    if len == 8 {
        // SAFETY: the caller's promise, and 8 bytes.
        unsafe { word(from, to) };
    } else if len >= 32 {
        // SAFETY: the caller's promise, and 32 to 64 bytes.
        unsafe { halves_of_32(from, to, len) };
    } else {
        // SAFETY: the caller's promise.
        unsafe { bytewise(from, to, len) };
    }
}

/// # Safety
///
/// As [`copy`], 8 bytes.
#[inline]
unsafe fn word(from: *const u8, to: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "ldr {a}, [{from}]",
            "str {a}, [{to}]",
            from = in(reg) from,
            to = in(reg) to,
            a = out(reg) _,
            options(nostack, preserves_flags),
        );
    }
}

/// The first and the last 32 bytes, which may overlap.
///
/// # Safety
///
/// As [`copy`], 32 to 64 bytes.
#[inline]
unsafe fn halves_of_32(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "ldp {a:q}, {b:q}, [{from}]",
            "ldp {c:q}, {d:q}, [{from_last}]",
            "stp {a:q}, {b:q}, [{to}]",
            "stp {c:q}, {d:q}, [{to_last}]",
            from = in(reg) from,
            from_last = in(reg) from.wrapping_add(len - 32),
            to = in(reg) to,
            to_last = in(reg) to.wrapping_add(len - 32),
            a = out(vreg) _,
            b = out(vreg) _,
            c = out(vreg) _,
            d = out(vreg) _,
            options(nostack, preserves_flags),
        );
    }
}

/// 8 bytes at a time, then 1.
///
/// # Safety
///
/// As [`copy`].
#[inline]
unsafe fn bytewise(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "b 3f",
            "2:",
            "ldr {word}, [{from}], #8",
            "str {word}, [{to}], #8",
            "3:",
            "subs {left}, {left}, #8",
            "b.hs 2b",
            "adds {left}, {left}, #8",
            "b.eq 5f",
            "4:",
            "ldrb {word:w}, [{from}], #1",
            "strb {word:w}, [{to}], #1",
            "subs {left}, {left}, #1",
            "b.ne 4b",
            "5:",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            left = inout(reg) len => _,
            word = out(reg) _,
            options(nostack),
        );
    }
}

/// # Safety
///
/// As [`copy`].
#[inline(never)]
unsafe fn call_memcpy(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise; the call is the C ABI's, and nothing else is changed.
    unsafe {
        asm!(
            "bl {memcpy}",
            memcpy = sym libc::memcpy,
            inout("x0") to => _,
            inout("x1") from => _,
            inout("x2") len => _,
            clobber_abi("C"),
        );
    }
}
