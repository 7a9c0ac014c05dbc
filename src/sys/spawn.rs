//! A new process that runs a function until it executes a program: vfork(2) without its pitfalls.
//!
//! The C library's posix_spawn(3) works in the same way, but cannot set limits or credentials.

use super::{checked_int, child};
use crate::errno::{Errno, Result, errno};
use crate::fd::own;
use libc::{c_char, c_int, c_void, pid_t};
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

unsafe extern "C" {
    static environ: *const *mut c_char;
}

/// Returns the environment of this process.
pub fn environment() -> *const *mut c_char {
    // SAFETY: the variable of the C library. A concurrent change would also be a race with
    // getenv(3).
    unsafe { environ }
}

/// The memory of the new process before it executes a program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ChildMemory {
    /// That of the caller. Nothing is copied.
    Shared,
    /// A copy, as after fork(2). Required for a child that changes its user: the kernel then makes
    /// the memory undumpable, and the new user may signal the child. Neither must affect the
    /// caller.
    Copied,
}

/// The function that the child runs. It returns only if it fails.
pub type Run<'a> = dyn FnMut() -> Result<Infallible> + 'a;

/// Starts a process that runs `run`, and waits until it has executed a program or ended. If `run`
/// fails, this call fails with its error and leaves no child. Otherwise returns the process ID
/// and, if `want_pidfd`, a pidfd, which is close-on-exec.
///
/// `run` starts with all signals blocked. It makes only system calls: no allocation, no lock, no
/// panic. With [`ChildMemory::Shared`] it writes to the memory of this process. A caller
/// holds a [`CancelGuard`](super::CancelGuard).
pub fn spawn(
    memory: ChildMemory,
    want_pidfd: bool,
    run: &mut Run,
) -> Result<(pid_t, Option<OwnedFd>)> {
    let mut flags = libc::CLONE_VFORK | libc::SIGCHLD;
    if memory == ChildMemory::Shared {
        flags |= libc::CLONE_VM;
    }
    if want_pidfd {
        flags |= libc::CLONE_PIDFD;
    }
    let block = SharedBlock::new()?;
    let report = block.report();
    let mut child = Child {
        run,
        report,
        want_pidfd,
    };
    // A handler that ran in the child would run in the memory of this process.
    let signals = AllBlocked::new()?;
    // SAFETY: the stack is unused memory, and both it and `child` stay until the child has executed
    // a program or ended, because this thread waits for that. The kernel writes one int to the
    // pidfd.
    let cloned = checked_int(
        unsafe {
            libc::clone(
                enter,
                block.stack_top(),
                flags,
                ptr::from_mut(&mut child).cast(),
                report.pidfd.as_ptr(),
            )
        }
        .into(),
    );
    let result = cloned.and_then(|pid| {
        // SAFETY: the kernel has opened it, or the number is −1.
        let pidfd = unsafe { own(report.pidfd.load(Ordering::Relaxed)) };
        match report.error.load(Ordering::Relaxed) {
            0 => Ok((pid, pidfd.ok())),
            error => {
                reap(pid);
                Err(Errno::new(error))
            }
        }
    });
    drop(signals);
    result
}

/// The values that the child and the kernel return.
struct Report {
    /// The error of the child; 0 after success.
    error: AtomicI32,
    /// The pidfd; −1 if the kernel has not opened one.
    pidfd: AtomicI32,
}

/// The parameters of the child.
struct Child<'a, 'b> {
    run: &'a mut Run<'b>,
    report: &'a Report,
    want_pidfd: bool,
}

/// The first function of the child. `argument` is a [`Child`].
extern "C" fn enter(argument: *mut c_void) -> c_int {
    // SAFETY: `spawn` passes its own object, and does not use it before this process is gone.
    let child = unsafe { &mut *argument.cast::<Child>() };
    let has_pidfd = child.report.pidfd.load(Ordering::Relaxed) >= 0;
    let error = if child.want_pidfd && !has_pidfd {
        errno!(ENOSYS) // a kernel before Linux 5.2 ignores the flag
    } else {
        let Err(error) = (child.run)();
        error
    };
    child.report.error.store(error.code(), Ordering::Relaxed);
    child::exit()
}

/// Waits for a child that ends. If the caller ignores SIGCHLD, the kernel has already removed it.
fn reap(pid: pid_t) {
    loop {
        // SAFETY: a null status is allowed.
        let reaped = checked_int(unsafe { libc::waitpid(pid, ptr::null_mut(), 0) }.into());
        if reaped != Err(Errno::EINTR) {
            return;
        }
    }
}

/// The report and the stack of a child, in memory that both processes write.
struct SharedBlock(ptr::NonNull<Report>);

impl SharedBlock {
    /// The size, with the stack. The child needs some kilobytes: the path of a program, and the
    /// frames of a few functions.
    const SIZE: usize = 64 * 1024;

    fn new() -> Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: new memory, at an address that the kernel chooses.
        let at = unsafe { libc::mmap(ptr::null_mut(), Self::SIZE, protection, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let at = ptr::NonNull::new(at.cast::<Report>()).ok_or(errno!(ENOMEM))?;
        // SAFETY: new memory of this size, aligned to a page.
        unsafe {
            at.write(Report {
                error: AtomicI32::new(0),
                pidfd: AtomicI32::new(-1),
            });
        }
        Ok(Self(at))
    }

    fn report(&self) -> &Report {
        // SAFETY: initialised in `new`, and mapped as long as self exists.
        unsafe { self.0.as_ref() }
    }

    /// The end of the memory. The stack of every supported architecture grows down.
    fn stack_top(&self) -> *mut c_void {
        // SAFETY: the end of the same mapping.
        unsafe { self.0.byte_add(Self::SIZE) }.as_ptr().cast()
    }
}

impl Drop for SharedBlock {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, which nothing uses any longer.
        unsafe { libc::munmap(self.0.as_ptr().cast(), Self::SIZE) };
    }
}

/// All signals of the calling thread are blocked until it is dropped, also those that the C library
/// uses itself.
struct AllBlocked {
    before: u64,
}

impl AllBlocked {
    fn new() -> Result<Self> {
        let mut before = 0;
        child::set_signal_mask(u64::MAX, &mut before)?;
        Ok(Self { before })
    }
}

impl Drop for AllBlocked {
    fn drop(&mut self) {
        let _ = child::set_signal_mask(self.before, &mut 0);
    }
}
