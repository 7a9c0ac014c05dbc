//! Copying bytes that another process may be overwriting, or reading, at the same time.
//!
//! What was read so may be torn; the protocol finds that out afterwards and throws it away.
//! In Rust's memory model even the reading is a data race, unless each access is atomic, and
//! word by word that is several times slower than the machine. So the copy is assembly: to the
//! compiler a black box that touches this memory, as a system call would be. Short values are
//! copied by a few instructions here, longer ones by the C library's memcpy, called from
//! assembly: it is assembly itself, made for the processor at hand.
//!
//! What a copy does is then what the processor's own model says. x86 keeps loads in order
//! among themselves, and stores among themselves; also the stores of a string instruction
//! against those before and after it, while memcpy puts a fence behind stores that bypass the
//! caches. AArch64 keeps both in order against the fences of [`super::protocol`], which are
//! instructions there. The order of the bytes within one copy does not matter.
//!
//! Elsewhere, and under `--cfg atomic_copy` (for tools that have to see each access:
//! sanitizers), it is word by word.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

/// So many bytes are copied without a call.
pub(super) const SHORT: usize = 64;

/// Copies what may be overwritten meanwhile.
///
/// # Safety
///
/// `from` is aligned to 16, and as many bytes as `to` has are mapped there.
#[inline]
pub unsafe fn from_shared(from: NonNull<u8>, to: &mut [MaybeUninit<u8>]) {
    // SAFETY: the caller's promise; `to` is a room of that length.
    unsafe { imp::from_shared(from.as_ptr(), to.as_mut_ptr().cast(), to.len()) };
}

/// The same for up to [`SHORT`] bytes; more are not copied.
///
/// # Safety
///
/// As for [`from_shared`].
#[inline]
pub unsafe fn short_from_shared(from: NonNull<u8>, to: &mut [MaybeUninit<u8>]) {
    // SAFETY: the caller's promise; `to` is a room of that length.
    unsafe { imp::short_from_shared(from.as_ptr(), to.as_mut_ptr().cast(), to.len()) };
}

/// Copies to where it may be read meanwhile.
///
/// # Safety
///
/// `to` is aligned to 16, and as many bytes as `from` has are mapped there and writable.
#[inline]
pub unsafe fn to_shared(from: &[u8], to: NonNull<u8>) {
    // SAFETY: the caller's promise.
    unsafe { imp::to_shared(from.as_ptr(), to.as_ptr(), from.len()) };
}

#[cfg(all(target_arch = "x86_64", not(atomic_copy)))]
mod imp {
    use super::SHORT;
    use std::arch::asm;

    pub use copy as from_shared;
    pub use copy as to_shared;
    pub use short as short_from_shared;

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
}

#[cfg(all(target_arch = "aarch64", not(atomic_copy)))]
mod imp {
    use super::SHORT;
    use std::arch::asm;

    pub use copy as from_shared;
    pub use copy as to_shared;
    pub use short as short_from_shared;

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
        if len >= 32 {
            // SAFETY: the caller's promise, and 32 to 64 bytes.
            unsafe { halves_of_32(from, to, len) };
        } else {
            // SAFETY: the caller's promise.
            unsafe { bytewise(from, to, len) };
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
}

#[cfg(any(not(any(target_arch = "x86_64", target_arch = "aarch64")), atomic_copy))]
mod imp {
    use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

    pub use from_shared as short_from_shared;

    const WORD: usize = size_of::<u64>();

    /// # Safety
    ///
    /// Both are mapped for `len` bytes, `to` writable and nobody else's; `from` is aligned.
    pub unsafe fn from_shared(from: *const u8, to: *mut u8, len: usize) {
        let mut at = 0;
        while len - at >= WORD {
            // SAFETY: within `len`.
            let source = unsafe { from.add(at) }.cast::<AtomicU64>();
            // SAFETY: mapped and aligned, and used as atomics only.
            let word = unsafe { &*source }.load(Ordering::Relaxed);
            // SAFETY: within `len`.
            let place = unsafe { to.add(at) }.cast::<u64>();
            // SAFETY: writable, and ours.
            unsafe { place.write_unaligned(word) };
            at += WORD;
        }
        while at < len {
            // SAFETY: within `len`.
            let source = unsafe { from.add(at) }.cast::<AtomicU8>();
            // SAFETY: mapped, and used as atomics only.
            let byte = unsafe { &*source }.load(Ordering::Relaxed);
            // SAFETY: within `len`.
            let place = unsafe { to.add(at) };
            // SAFETY: writable, and ours.
            unsafe { place.write(byte) };
            at += 1;
        }
    }

    /// # Safety
    ///
    /// Both are mapped for `len` bytes, `from` nobody's to write; `to` is writable and aligned.
    pub unsafe fn to_shared(from: *const u8, to: *mut u8, len: usize) {
        let mut at = 0;
        while len - at >= WORD {
            // SAFETY: within `len`.
            let source = unsafe { from.add(at) }.cast::<u64>();
            // SAFETY: readable.
            let word = unsafe { source.read_unaligned() };
            // SAFETY: within `len`.
            let place = unsafe { to.add(at) }.cast::<AtomicU64>();
            // SAFETY: mapped and aligned, and used as atomics only.
            unsafe { &*place }.store(word, Ordering::Relaxed);
            at += WORD;
        }
        while at < len {
            // SAFETY: within `len`.
            let source = unsafe { from.add(at) };
            // SAFETY: readable.
            let byte = unsafe { source.read() };
            // SAFETY: within `len`.
            let place = unsafe { to.add(at) }.cast::<AtomicU8>();
            // SAFETY: mapped, and used as atomics only.
            unsafe { &*place }.store(byte, Ordering::Relaxed);
            at += 1;
        }
    }
}
