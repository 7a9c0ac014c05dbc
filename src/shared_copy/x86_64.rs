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
#[inline(always)]
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

/// The largest number of bytes that are copied by AVX instead of memcpy(3). From 2 KiB on, memcpy of
/// glibc uses a string instruction on many processors. Some of these copy by it several times slower
/// unless the target is aligned to a cache line, or while another core has the target's lines. For
/// long messages memcpy is as fast, and does not replace the whole cache.
const AVX_MAX: usize = 256 << 10;

/// Copies any number of bytes that [`short`] does not copy. Not inlined: each caller would have to
/// save its registers, and AVX clears the upper halves of all vector registers.
///
/// # Safety
///
/// As [`short`], more than [`SHORT`] bytes.
#[inline(never)]
pub unsafe fn long(from: *const u8, to: *mut u8, len: usize) {
    if len > AVX_MAX || !is_x86_feature_detected!("avx") {
        // SAFETY: the caller's promise.
        unsafe { call_memcpy(from, to, len) };
    } else if len > 128 {
        // SAFETY: the caller's promise; the processor has AVX.
        unsafe { blocks_of_128(from, to, len) };
    } else {
        // SAFETY: the caller's promise, 64 to 128 bytes; the processor has AVX.
        unsafe { halves_of_64(from, to, len) };
    }
}

/// Copies the first and the last 64 bytes, which may overlap.
///
/// # Safety
///
/// As [`short`], 64 to 128 bytes. The processor has AVX.
#[inline(always)]
unsafe fn halves_of_64(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "vmovups {a:y}, [{from}]",
            "vmovups {b:y}, [{from} + 32]",
            "vmovups {c:y}, [{from} + {len} - 64]",
            "vmovups {d:y}, [{from} + {len} - 32]",
            "vmovups [{to}], {a:y}",
            "vmovups [{to} + 32], {b:y}",
            "vmovups [{to} + {len} - 64], {c:y}",
            "vmovups [{to} + {len} - 32], {d:y}",
            "vzeroupper",
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

/// Copies blocks of 128 bytes, and then the last 128 bytes, which may overlap the last block.
///
/// # Safety
///
/// As [`short`], more than 128 bytes. The processor has AVX.
#[inline(always)]
unsafe fn blocks_of_128(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "2:",
            "vmovups {a:y}, [{from}]",
            "vmovups {b:y}, [{from} + 32]",
            "vmovups {c:y}, [{from} + 64]",
            "vmovups {d:y}, [{from} + 96]",
            "vmovups [{to}], {a:y}",
            "vmovups [{to} + 32], {b:y}",
            "vmovups [{to} + 64], {c:y}",
            "vmovups [{to} + 96], {d:y}",
            "sub {from}, -128",
            "sub {to}, -128",
            "sub {rest}, 128",
            "ja 2b",
            // `rest` is now 128 less than the number of bytes that are left.
            "vmovups {a:y}, [{from} + {rest}]",
            "vmovups {b:y}, [{from} + {rest} + 32]",
            "vmovups {c:y}, [{from} + {rest} + 64]",
            "vmovups {d:y}, [{from} + {rest} + 96]",
            "vmovups [{to} + {rest}], {a:y}",
            "vmovups [{to} + {rest} + 32], {b:y}",
            "vmovups [{to} + {rest} + 64], {c:y}",
            "vmovups [{to} + {rest} + 96], {d:y}",
            "vzeroupper",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            rest = inout(reg) len - 128 => _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack),
        );
    }
}

/// Copies any number of bytes by memcpy(3).
///
/// # Safety
///
/// As [`short`].
unsafe fn call_memcpy(from: *const u8, to: *mut u8, len: usize) {
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
