//! Prefetching.

/// Starts to fetch a cache line for writing. Changes no memory; the address does not need to be
/// mapped.
#[inline]
pub fn prefetch_write(at: *const u8) {
    let at = at.addr();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which reads nothing and cannot fault. Processors without it ignore it.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at, options(nomem, nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("prfm pstl1keep, [{}]", in(reg) at, options(nomem, nostack, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = at;
}
