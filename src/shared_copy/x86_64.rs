//! Copying on x86-64.

use crate::shared_copy::SHORT;
use std::arch::asm;

/// Copies the first and the last bytes by one instruction each. The two parts may overlap. All loads
/// come before the stores. `mov`, `modifier` and `class` are the instruction, the modifier of its
/// register, and the class of that; `size` is the number of bytes that it moves.
///
/// The caller's unsafe block covers `len` bytes, from `size` to twice `size`.
macro_rules! copy_both_ends {
    ($from:ident, $to:ident, $len:ident, $mov:literal, $modifier:literal, $class:ident, $size:literal) => {
        asm!(
            concat!($mov, " {a", $modifier, "}, [{from}]"),
            concat!($mov, " {b", $modifier, "}, [{from} + {len} - ", $size, "]"),
            concat!($mov, " [{to}], {a", $modifier, "}"),
            concat!($mov, " [{to} + {len} - ", $size, "], {b", $modifier, "}"),
            from = in(reg) $from,
            to = in(reg) $to,
            len = in(reg) $len,
            a = out($class) _,
            b = out($class) _,
            options(nostack, preserves_flags),
        )
    };
}

/// Copies up to [`SHORT`] bytes. Does nothing for more.
///
/// # Safety
///
/// Both are mapped for `len` bytes, `to` writable.
#[inline]
pub unsafe fn short(from: *const u8, to: *mut u8, len: usize) {
    if len == 8 {
        // SAFETY: the caller's promise, and 8 bytes.
        return unsafe { word(from, to) };
    }
    match len {
        // SAFETY: the caller's promise, and 32 to 64 bytes.
        32..=SHORT => unsafe { halves_of_32(from, to, len) },
        // SAFETY: the caller's promise, and 16 to 32 bytes.
        16..32 => unsafe { copy_both_ends!(from, to, len, "movups", "", xmm_reg, 16) },
        // SAFETY: the caller's promise, and 8 to 16 bytes.
        8..16 => unsafe { copy_both_ends!(from, to, len, "mov", "", reg, 8) },
        // SAFETY: the caller's promise, and 4 to 8 bytes.
        4..8 => unsafe { copy_both_ends!(from, to, len, "mov", ":e", reg, 4) },
        // SAFETY: the caller's promise, and 1 to 3 bytes.
        1..4 => unsafe { up_to_3(from, to, len) },
        _ => {}
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
            "mov {a}, [{from}]",
            "mov [{to}], {a}",
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
            "movups {a}, [{from}]",
            "movups {b}, [{from} + 16]",
            "movups {c}, [{from} + {len} - 32]",
            "movups {d}, [{from} + {len} - 16]",
            "movups [{to}], {a}",
            "movups [{to} + 16], {b}",
            "movups [{to} + {len} - 32], {c}",
            "movups [{to} + {len} - 16], {d}",
            from = in(reg) from,
            to = in(reg) to,
            len = in(reg) len,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack, preserves_flags),
        );
    }
}

/// Copies the first byte, the middle byte and the last byte, which may be the same.
///
/// # Safety
///
/// As [`short`], 1 to 3 bytes.
#[inline]
unsafe fn up_to_3(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "mov {byte:l}, [{from}]",
            "mov [{to}], {byte:l}",
            "mov {byte:l}, [{from} + {middle}]",
            "mov [{to} + {middle}], {byte:l}",
            "mov {byte:l}, [{from} + {len} - 1]",
            "mov [{to} + {len} - 1], {byte:l}",
            from = in(reg) from,
            to = in(reg) to,
            len = in(reg) len,
            middle = in(reg) len / 2,
            byte = out(reg) _,
            options(nostack, preserves_flags),
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
pub unsafe fn call_memcpy(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise. The call follows the C ABI, and changes nothing else.
    unsafe {
        asm!(
            "call {memcpy}@PLT",
            memcpy = sym libc::memcpy,
            inout("rdi") to => _,
            inout("rsi") from => _,
            inout("rdx") len => _,
            clobber_abi("C"),
        );
    }
}
