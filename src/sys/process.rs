//! Memory that a fork clears, and the random bytes of the last exec.

use super::{checked_int, checked_len};
use crate::errno::{Result, preserve_errno};
use std::sync::atomic::{AtomicU64, Ordering};

/// The largest page size on this architecture.
#[cfg(any(target_arch = "x86_64", target_arch = "riscv64"))]
const PAGE: usize = 4096;
#[cfg(not(any(target_arch = "x86_64", target_arch = "riscv64")))]
const PAGE: usize = 65536;

/// A number that is 0 initially, and again in the child of a fork. It is for a static variable, and
/// has its own page, which the kernel clears in the child (`MADV_WIPEONFORK`, Linux 4.14). If the
/// kernel refuses that, it stays 0.
#[repr(C, align(4096))]
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "riscv64")),
    repr(align(65536))
)]
pub struct ForkLocal {
    number: AtomicU64,
    _own_page: [AtomicU64; PAGE / 8 - 1],
}

const _: () = assert!(size_of::<ForkLocal>() == PAGE && align_of::<ForkLocal>() == PAGE);

impl ForkLocal {
    /// The number 0.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            number: AtomicU64::new(0),
            _own_page: [const { AtomicU64::new(0) }; PAGE / 8 - 1],
        }
    }

    /// The number.
    #[inline]
    pub fn load(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    /// Sets the number.
    pub fn store(&'static self, number: u64) {
        if preserve_errno(|| self.clear_on_fork()).is_ok() {
            self.number.store(number, Ordering::Relaxed);
        }
    }

    fn clear_on_fork(&'static self) -> Result<()> {
        let page = self.number.as_ptr().cast();
        // SAFETY: this page is anonymous memory, and contains nothing else.
        checked_int(unsafe { libc::madvise(page, PAGE, libc::MADV_WIPEONFORK) }.into()).map(drop)
    }
}

impl Default for ForkLocal {
    fn default() -> Self {
        Self::new()
    }
}

/// The number of this process, after [`process_id`] was called.
static PROCESS: ForkLocal = ForkLocal::new();

/// The number of this process, without a system call after the first time.
#[inline]
#[must_use]
pub fn process_id() -> u32 {
    match PROCESS.load() {
        0 => first_process_id(),
        id => id as u32,
    }
}

/// Whether `id` is the number of this process. Also false if [`process_id`] was not yet called.
#[inline]
#[must_use]
pub fn is_known_process_id(id: u32) -> bool {
    PROCESS.load() == id.into()
}

#[cold]
fn first_process_id() -> u32 {
    let id = std::process::id();
    PROCESS.store(id.into());
    id
}

/// The number of the PID namespace of this process, after [`pid_namespace`] was called.
static NAMESPACE: ForkLocal = ForkLocal::new();

/// The number of the PID namespace of this process, without a system call after the first time. 0
/// if /proc is not available.
#[must_use]
pub fn pid_namespace() -> u32 {
    match NAMESPACE.load() {
        0 => first_pid_namespace(),
        number => number as u32,
    }
}

#[cold]
fn first_pid_namespace() -> u32 {
    let status = preserve_errno(|| nix::sys::stat::stat(c"/proc/self/ns/pid"));
    // The kernel's number has 32 bits.
    let number = status.map_or(0, |status| status.st_ino as u32);
    NAMESPACE.store(number.into());
    number
}

/// Fills `bytes` with random bytes, without waiting. Fails if the system has none yet.
pub fn random(bytes: &mut [u8]) -> Result<()> {
    let (at, len) = (bytes.as_mut_ptr().cast(), bytes.len());
    // SAFETY: the kernel writes within `bytes`.
    let got = unsafe { libc::getrandom(at, len, libc::GRND_NONBLOCK) };
    // Up to 256 bytes are never delivered in part.
    checked_len(got).map(drop)
}

/// Returns the 16 random bytes that the kernel provides at each exec (`AT_RANDOM`, getauxval(3));
/// zeros if there are none.
#[must_use]
pub fn exec_random() -> [u8; 16] {
    // SAFETY: takes a number.
    let at = unsafe { libc::getauxval(libc::AT_RANDOM) } as *const [u8; 16];
    if at.is_null() {
        return [0; 16];
    }
    // SAFETY: these bytes stay readable as long as the program runs.
    unsafe { at.read_unaligned() }
}
