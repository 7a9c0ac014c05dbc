//! Errors: a [`Result`] inside the library, −1 and `errno` at the C boundary.

use libc::c_int;

/// A system error number, such as `EINVAL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub c_int);

/// The result of a function inside the library.
pub type Result<T> = core::result::Result<T, Errno>;

macro_rules! known {
    ($($name:ident)*) => {
        #[allow(missing_docs)]
        impl Errno {
            $(pub const $name: Self = Self(libc::$name);)*
        }
    };
}

known! {
    E2BIG EACCES EADDRINUSE EAGAIN EBADF EBADMSG EBUSY ECANCELED ECONNABORTED ECONNREFUSED
    ECONNRESET EDEADLK EDESTADDRREQ EEXIST EFAULT EFBIG EIDRM EINTR EINVAL EIO EISCONN EISDIR ELOOP
    EMFILE EMSGSIZE ENAMETOOLONG ENFILE ENODATA ENOENT ENOMEM ENOSPC ENOSYS ENOTCONN
    ENOTRECOVERABLE ENXIO EOPNOTSUPP EOVERFLOW EOWNERDEAD EPERM EPIPE EPROTO EPROTOTYPE ERANGE
    ESRCH ESTALE ETIMEDOUT EUSERS EXDEV
}

impl From<nix::errno::Errno> for Errno {
    fn from(errno: nix::errno::Errno) -> Self {
        Self(errno as c_int)
    }
}

impl Errno {
    /// The calling thread's `errno`, after a system call has failed.
    #[must_use]
    pub fn last() -> Self {
        // SAFETY: __errno_location returns a pointer that is valid for the calling thread.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: as above; no other thread uses this address.
        Self(unsafe { *errno })
    }

    /// Whether the error means that the system call is not available: `ENOSYS` from a kernel
    /// without it, or `EPERM`, with which some system call filters refuse a call.
    #[must_use]
    pub fn is_missing_call(self) -> bool {
        matches!(self, Self::ENOSYS | Self::EPERM)
    }

    /// Sets `errno`. Only this function does. It is called last, after all code that could
    /// overwrite
    /// `errno`, such as the `close` of a guard.
    // Not inlined, so that the path of success saves no registers for it.
    #[cold]
    #[inline(never)]
    fn set(self) {
        // SAFETY: __errno_location returns a pointer that is valid for the calling thread.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: as above; no other thread uses this address.
        unsafe { *errno = self.0 };
    }
}

/// Converts a result to C: the value, or `failed` with `errno` set. A success does not change
/// `errno`.
pub(crate) fn or_errno<T>(result: Result<T>, failed: T) -> T {
    result.unwrap_or_else(|errno| {
        errno.set();
        failed
    })
}

/// Runs `run` and restores `errno`; the result of `run` reports its errors.
pub(crate) fn preserve_errno<T>(run: impl FnOnce() -> T) -> T {
    let before = Errno::last();
    let result = run();
    before.set();
    result
}

/// Runs `run`, and restores `errno` if it succeeds, even if calls inside it have failed.
pub(crate) fn preserve_errno_on_success<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = Errno::last();
    let result = run();
    if result.is_ok() {
        before.set();
    }
    result
}

/// Restores an earlier value of `errno`, after a success.
pub(crate) fn restore_errno(before: Errno) {
    before.set();
}

/// Applies [`or_errno`] to the result of `run`, which [`preserve_errno_on_success`] runs.
pub(crate) fn or_errno_of<T>(run: impl FnOnce() -> Result<T>, failed: T) -> T {
    or_errno(preserve_errno_on_success(run), failed)
}
