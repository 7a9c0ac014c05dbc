//! Copying on AArch64.

use std::arch::asm;

/// Copies up to [`SHORT`](crate::shared_copy::SHORT) bytes.
///
/// # Safety
///
/// Both are mapped for `len` bytes, `to` writable.
#[inline(always)]
pub unsafe fn short(from: *const u8, to: *mut u8, len: usize) {
    if len == 8 {
        // SAFETY: the caller's promise, and 8 bytes.
        unsafe { word(from, to) };
    } else if len >= 32 {
        // SAFETY: the caller's promise, and 32 to 64 bytes.
        unsafe { halves_of_32(from, to, len) };
    } else {
        // SAFETY: the caller's promise.
        unsafe { words_and_bytes(from, to, len) };
    }
}

/// Copies 8 bytes.
///
/// # Safety
///
/// As [`short`], 8 bytes.
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

/// Copies the first and the last 32 bytes, which may overlap.
///
/// # Safety
///
/// As [`short`], 32 to 64 bytes.
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

/// Copies words of 8 bytes, and then single bytes.
///
/// # Safety
///
/// As [`short`].
#[inline]
unsafe fn words_and_bytes(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "b 3f",
            "2:",
            "ldr {word}, [{from}], #8",
            "str {word}, [{to}], #8",
            "3:",
            "subs {rest}, {rest}, #8",
            "b.hs 2b",
            "adds {rest}, {rest}, #8",
            "b.eq 5f",
            "4:",
            "ldrb {word:w}, [{from}], #1",
            "strb {word:w}, [{to}], #1",
            "subs {rest}, {rest}, #1",
            "b.ne 4b",
            "5:",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            rest = inout(reg) len => _,
            word = out(reg) _,
            options(nostack),
        );
    }
}

/// Copies any number of bytes by memcpy(3). Not inlined: each caller would have to save its
/// registers.
///
/// # Safety
///
/// As [`short`].
#[inline(never)]
pub unsafe fn long(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise. The call follows the C ABI, and changes nothing else.
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
