//! Pipes: reads that do not wait, and writes that raise no SIGPIPE.

use super::checked_len;
use crate::errno::{Errno, Result, errno};
use libc::{c_int, iovec};
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `RWF_NOSIGNAL` of linux/fs.h (Linux 6.18).
const RWF_NOSIGNAL: c_int = 0x100;

/// The size of the kernel's signal set: 64 signals.
const KERNEL_SIGSET: usize = 8;

/// `read(2)`.
pub fn read(fd: BorrowedFd, bytes: &mut [MaybeUninit<u8>]) -> Result<usize> {
    // SAFETY: the kernel writes within `bytes`.
    checked_len(unsafe { libc::read(fd.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len()) })
}

/// `read(2)` that does not wait, even on a blocking descriptor. `EAGAIN` if the pipe is empty.
#[inline(never)]
pub fn read_without_waiting(fd: BorrowedFd, bytes: &mut [MaybeUninit<u8>]) -> Result<usize> {
    let part = iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: one part, which the kernel writes within `bytes`.
    match unsafe { preadv2(fd, &part, libc::RWF_NOWAIT) } {
        // A kernel before Linux 6.5, or a system call filter.
        Err(error) if is_flag_refused(error) => {}
        read => return read,
    }
    // From a pipe to memory, splicing never waits with this flag.
    // SAFETY: one part, which the kernel writes within `bytes`.
    let spliced =
        checked_len(unsafe { libc::vmsplice(fd.as_raw_fd(), &part, 1, libc::SPLICE_F_NONBLOCK) });
    match spliced {
        Err(error) if error.is_missing_call() => read_if_ready(fd, bytes),
        spliced => spliced,
    }
}

/// For a system call filter that refuses both: polls before it reads. If another process that
/// shares the pipe takes the bytes in between, this call waits.
fn read_if_ready(fd: BorrowedFd, bytes: &mut [MaybeUninit<u8>]) -> Result<usize> {
    if is_readable(fd)? {
        read(fd, bytes)
    } else {
        Err(errno!(EAGAIN))
    }
}

/// Whether a read would return at once, with bytes or the end of the file.
pub fn is_readable(fd: BorrowedFd) -> Result<bool> {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    Ok(nix::poll::poll(&mut fds, PollTimeout::ZERO)? > 0)
}

/// The number of bytes in a pipe (`FIONREAD`), from either end.
pub fn bytes_in(fd: BorrowedFd) -> Result<usize> {
    let mut len: c_int = 0;
    // SAFETY: the kernel writes one int, to `len`.
    let asked = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &mut len) };
    checked_len(asked as isize)?;
    Ok(len as usize)
}

/// Writes to a pipe in one call. Without a reader it fails with `EPIPE` and raises no SIGPIPE.
pub fn write_without_signal(fd: BorrowedFd, bytes: &[u8]) -> Result<usize> {
    let part = iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    match pwritev2(fd, &part, RWF_NOSIGNAL) {
        // A kernel before Linux 6.18, an old C library, or a system call filter.
        Err(error) if is_flag_refused(error) => {
            // A signal must still be able to interrupt a write that waits.
            let blocked = if is_nonblocking(fd) == Ok(true) {
                SigSet::all()
            } else {
                Signal::SIGPIPE.into()
            };
            with_signals_blocked(&blocked, &|| {
                let (at, len) = (bytes.as_ptr().cast(), bytes.len());
                // SAFETY: the kernel reads within `bytes`.
                checked_len(unsafe { libc::write(fd.as_raw_fd(), at, len) })
            })
        }
        other => other,
    }
}

/// Whether `preadv2(2)` or `pwritev2(2)` fails because the kernel, the C library or a system call
/// filter does not know the call or its flag.
fn is_flag_refused(error: Errno) -> bool {
    error.is_missing_call() || error.is_one_of(&[Errno::EOPNOTSUPP, Errno::EINVAL])
}

/// Arguments of the system calls: one part, at the current position.
#[cfg(not(target_env = "gnu"))]
const ONE: libc::c_long = 1;
#[cfg(not(target_env = "gnu"))]
const HERE: libc::c_long = -1;

/// `preadv2(2)` at the current position.
///
/// # Safety
///
/// The part is writable.
unsafe fn preadv2(fd: BorrowedFd, part: &iovec, flags: c_int) -> Result<usize> {
    let fd = fd.as_raw_fd();
    #[cfg(target_env = "gnu")]
    // SAFETY: the caller's promise.
    let read = unsafe { libc::preadv2(fd, part, 1, -1, flags) };
    #[cfg(not(target_env = "gnu"))]
    // SAFETY: the caller's promise. musl has the function since version 1.2.5.
    let read =
        unsafe { libc::syscall(libc::SYS_preadv2, fd, part, ONE, HERE, HERE, flags) } as isize;
    checked_len(read)
}

/// `pwritev2(2)` at the current position. `ENOSYS` if the C library has no such function and the
/// write may wait: `syscall(2)` is not a cancellation point.
fn pwritev2(fd: BorrowedFd, part: &iovec, flags: c_int) -> Result<usize> {
    #[cfg(target_env = "gnu")]
    // SAFETY: the kernel checks the part, and only reads it.
    let written = unsafe { libc::pwritev2(fd.as_raw_fd(), part, 1, -1, flags) };
    #[cfg(not(target_env = "gnu"))]
    let written = {
        if !is_nonblocking(fd)? {
            return Err(errno!(ENOSYS));
        }
        let fd = fd.as_raw_fd();
        // SAFETY: the kernel checks the part, and only reads it.
        unsafe { libc::syscall(libc::SYS_pwritev2, fd, part, ONE, HERE, HERE, flags) as isize }
    };
    checked_len(written)
}

/// Whether the descriptor is non-blocking.
pub(super) fn is_nonblocking(fd: BorrowedFd) -> Result<bool> {
    Ok(fcntl(fd, FcntlArg::F_GETFL)? & libc::O_NONBLOCK != 0)
}

/// Writes without SIGPIPE on any kernel. The write sends the signal to the calling thread. So this
/// function blocks SIGPIPE in the thread, and removes the pending signal if the write raised it. A
/// SIGPIPE that was pending before stays pending.
///
/// The caller blocks all signals if it can: otherwise a signal handler that also writes here,
/// before the signal is removed, would find it pending, and raise another one in its place.
pub(super) fn with_signals_blocked(
    blocked: &SigSet,
    write: &dyn Fn() -> Result<usize>,
) -> Result<usize> {
    let mask = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    // If it was not blocked, none can have been pending.
    let was_pending = blocks_sigpipe(&mask) && sigpipe_is_pending();
    let written = write();
    if written == Err(Errno::EPIPE) {
        // At most one SIGPIPE is pending for a thread. If one was pending for the thread, it has
        // just been removed. One that was pending for the process is still pending.
        let sent_by_thread = take_sigpipe(&Signal::SIGPIPE.into());
        if sent_by_thread || (was_pending && !sigpipe_is_pending()) {
            nix::sys::signal::raise(Signal::SIGPIPE)?;
        }
    }
    mask.thread_set_mask()?;
    written
}

fn blocks_sigpipe(mask: &SigSet) -> bool {
    // SAFETY: the set is initialised.
    unsafe { libc::sigismember(mask.as_ref(), libc::SIGPIPE) == 1 }
}

fn sigpipe_is_pending() -> bool {
    let mut pending = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigpending writes one set, to `pending`.
    if unsafe { libc::sigpending(pending.as_mut_ptr()) } == -1 {
        return false;
    }
    // SAFETY: sigpending succeeded, so the set is initialised.
    unsafe { libc::sigismember(pending.as_ptr(), libc::SIGPIPE) == 1 }
}

/// Removes a pending SIGPIPE, without waiting for one; that of the thread before that of the
/// process. Returns true if it was sent to the thread by tgkill(2), and so not by a write.
fn take_sigpipe(sigpipe: &SigSet) -> bool {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let no_time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    loop {
        // Not with the C library's function, which reports SI_TKILL as SI_USER.
        // SAFETY: the kernel reads the set and the time, and writes one siginfo_t.
        let taken = unsafe {
            libc::syscall(
                libc::SYS_rt_sigtimedwait,
                sigpipe.as_ref(),
                info.as_mut_ptr(),
                &no_time,
                KERNEL_SIGSET,
            )
        };
        if taken != -1 {
            // SAFETY: the call succeeded, so it has filled `info`.
            return unsafe { info.assume_init() }.si_code == libc::SI_TKILL;
        }
        if Errno::last() != Errno::EINTR {
            return false;
        }
    }
}
