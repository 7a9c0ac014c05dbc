//! On x86-64.

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
/// As [`copy`].
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
        16..32 => unsafe { halves_of_16(from, to, len) },
        // SAFETY: the caller's promise, and 8 to 16 bytes.
        8..16 => unsafe { halves_of_8(from, to, len) },
        // SAFETY: the caller's promise, and 4 to 8 bytes.
        4..8 => unsafe { halves_of_4(from, to, len) },
        // SAFETY: the caller's promise, and 1 to 3 bytes.
        1..4 => unsafe { up_to_3(from, to, len) },
        _ => {}
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
            "mov {a}, [{from}]",
            "mov [{to}], {a}",
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

/// # Safety
///
/// As [`copy`], 16 to 32 bytes.
#[inline]
unsafe fn halves_of_16(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "movups {a}, [{from}]",
            "movups {b}, [{from} + {len} - 16]",
            "movups [{to}], {a}",
            "movups [{to} + {len} - 16], {b}",
            from = in(reg) from,
            to = in(reg) to,
            len = in(reg) len,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            options(nostack, preserves_flags),
        );
    }
}

/// # Safety
///
/// As [`copy`], 8 to 16 bytes.
#[inline]
unsafe fn halves_of_8(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "mov {a}, [{from}]",
            "mov {b}, [{from} + {len} - 8]",
            "mov [{to}], {a}",
            "mov [{to} + {len} - 8], {b}",
            from = in(reg) from,
            to = in(reg) to,
            len = in(reg) len,
            a = out(reg) _,
            b = out(reg) _,
            options(nostack, preserves_flags),
        );
    }
}

/// # Safety
///
/// As [`copy`], 4 to 8 bytes.
#[inline]
unsafe fn halves_of_4(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "mov {a:e}, [{from}]",
            "mov {b:e}, [{from} + {len} - 4]",
            "mov [{to}], {a:e}",
            "mov [{to} + {len} - 4], {b:e}",
            from = in(reg) from,
            to = in(reg) to,
            len = in(reg) len,
            a = out(reg) _,
            b = out(reg) _,
            options(nostack, preserves_flags),
        );
    }
}

/// The first byte, the one in the middle, and the last.
///
/// # Safety
///
/// As [`copy`], 1 to 3 bytes.
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

/// Not inlined: the call would have every caller save its registers.
///
/// # Safety
///
/// As [`copy`].
#[inline(never)]
unsafe fn call_memcpy(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: the caller's promise; the call is the C ABI's, and nothing else is changed.
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
