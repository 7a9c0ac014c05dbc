//! Errors: [`Result`] inside, −1 and `errno` outside.

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
    E2BIG EACCES EADDRINUSE EAGAIN EBADF EBUSY ECANCELED ECONNABORTED ECONNREFUSED ECONNRESET
    EDEADLK EDESTADDRREQ EEXIST EFAULT EFBIG EIDRM EINTR EINVAL EIO EISCONN EISDIR ELOOP EMFILE EMSGSIZE ENAMETOOLONG ENFILE ENODATA ENOENT
    ENOMEM ENOSPC ENOSYS ENOTCONN ENOTRECOVERABLE ENXIO EOPNOTSUPP EOVERFLOW EOWNERDEAD EPERM EPIPE
    EPROTO EPROTOTYPE ERANGE ESRCH ESTALE ETIMEDOUT EXDEV
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

    /// True if the error says that this system has no such call: `ENOSYS` of a kernel without it,
    /// or `EPERM`, with which some filters refuse a call.
    #[must_use]
    pub fn is_missing_call(self) -> bool {
        matches!(self, Self::ENOSYS | Self::EPERM)
    }

    /// The only place that sets `errno`. It is called last, after everything
    /// that could overwrite it (a guard's `close`) is gone.
    // Not inlined, so that a success saves no registers for it.
    #[cold]
    #[inline(never)]
    fn set(self) {
        // SAFETY: __errno_location returns a pointer that is valid for the calling thread.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: as above; no other thread uses this address.
        unsafe { *errno = self.0 };
    }
}

/// Converts a result to C: the value, or `failed` with `errno` set.
/// A success leaves `errno` alone.
pub(crate) fn or_errno<T>(result: Result<T>, failed: T) -> T {
    result.unwrap_or_else(|errno| {
        errno.set();
        failed
    })
}

/// Leaves `errno` as it was; the result of `run` reports its errors.
pub(crate) fn preserve_errno<T>(run: impl FnOnce() -> T) -> T {
    let before = Errno::last();
    let result = run();
    before.set();
    result
}

/// Leaves `errno` as it was if `run` succeeds, whatever failed on its way.
pub(crate) fn preserve_errno_on_success<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = Errno::last();
    let result = run();
    if result.is_ok() {
        before.set();
    }
    result
}

/// Sets `errno` back to an earlier value, after a success.
pub(crate) fn restore_errno(before: Errno) {
    before.set();
}

/// [`or_errno`] of what `run` returns, with `errno` preserved by [`preserve_errno_on_success`].
pub(crate) fn or_errno_of<T>(run: impl FnOnce() -> Result<T>, failed: T) -> T {
    or_errno(preserve_errno_on_success(run), failed)
}
