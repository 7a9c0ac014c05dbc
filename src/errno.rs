//! Errors: a [`Result`] inside the library, −1 and `errno` at the C boundary.

use crate::place::Place;
use libc::c_int;
use std::fmt;

/// A system error number, such as `EINVAL`, and the place in the source where the library has found
/// the reason for it. Two errors are equal if their numbers are.
///
/// One word has both: 12 bits of the number, and the place above them. So a place costs nothing: it
/// is a part of a constant.
#[derive(Clone, Copy)]
pub struct Errno(u32);

/// The kernel returns no number that needs more (`MAX_ERRNO`).
///
/// cbindgen:ignore
const CODE_BITS: u32 = 12;

/// The result of a function inside the library.
pub type Result<T> = core::result::Result<T, Errno>;

macro_rules! known {
    ($($name:ident)*) => {
        #[allow(missing_docs)]
        impl Errno {
            $(pub const $name: Self = Self::new(libc::$name);)*
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

/// An [`Errno`] that has the place of this line: `errno!(EINVAL)`. For every error that the library
/// itself returns; `Errno::EINVAL` is for comparisons.
macro_rules! errno {
    ($name:ident) => {
        $crate::errno::Errno::$name.at(const { $crate::place::Place::new(file!(), line!()) })
    };
}
pub(crate) use errno;

impl From<nix::errno::Errno> for Errno {
    fn from(errno: nix::errno::Errno) -> Self {
        Self::new(errno as c_int)
    }
}

impl PartialEq for Errno {
    fn eq(&self, other: &Self) -> bool {
        self.code() == other.code()
    }
}

impl Eq for Errno {}

impl fmt::Debug for Errno {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        to.debug_tuple("Errno").field(&self.code()).finish()
    }
}

impl Errno {
    /// The error with this number, from a system call.
    #[must_use]
    pub const fn new(code: c_int) -> Self {
        Self(code as u32 & ((1 << CODE_BITS) - 1))
    }

    /// The same error with a place. Called by `errno!`.
    #[must_use]
    pub const fn at(self, place: Place) -> Self {
        Self(self.0 | place.bits() << CODE_BITS)
    }

    /// Its number.
    #[must_use]
    pub const fn code(self) -> c_int {
        (self.0 & ((1 << CODE_BITS) - 1)) as c_int
    }

    /// Its place.
    const fn place(self) -> Place {
        Place::from_bits(self.0 >> CODE_BITS)
    }

    /// The calling thread's `errno`, after a system call has failed.
    #[must_use]
    pub fn last() -> Self {
        Self::new(load())
    }

    /// Whether it is one of these errors.
    #[inline(always)]
    #[must_use]
    pub fn is_one_of(self, others: &[Self]) -> bool {
        others.contains(&self)
    }

    /// Whether the error means that the system call is not available: `ENOSYS` from a kernel
    /// without it, or `EPERM`, with which some system call filters refuse a call.
    #[must_use]
    pub fn is_missing_call(self) -> bool {
        self.is_one_of(&[Self::ENOSYS, Self::EPERM])
    }

    /// Reports this error to the caller of the library, and to tracers.
    // Not inlined, so that the path of success saves no registers for it.
    #[cold]
    #[inline(never)]
    fn report(self) {
        store(self.code());
        let place = self.place();
        probe::probe!(unixipc, error, self.code(), place.file(), place.line());
    }
}

/// The calling thread's `errno`, which may have any value.
#[inline(always)]
fn load() -> c_int {
    // SAFETY: __errno_location returns a pointer that is valid for the calling thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above; no other thread uses this address.
    unsafe { *errno }
}

/// Sets `errno`. It is called last, after all code that could overwrite `errno`, such as the `close`
/// of a guard.
#[inline(always)]
fn store(value: c_int) {
    // SAFETY: __errno_location returns a pointer that is valid for the calling thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above; no other thread uses this address.
    unsafe { *errno = value };
}

/// The `errno` of a program, which a call must not change.
#[derive(Clone, Copy)]
pub(crate) struct SavedErrno(c_int);

impl SavedErrno {
    /// Saves it.
    pub(crate) fn new() -> Self {
        Self(load())
    }

    /// Restores it.
    // Not inlined, as above.
    #[cold]
    #[inline(never)]
    pub(crate) fn restore(self) {
        store(self.0);
    }
}

/// The number of the error of a result, for probes; 0 for a success.
pub(crate) fn code_of<T>(result: &Result<T>) -> c_int {
    match result {
        Ok(_) => 0,
        Err(error) => error.code(),
    }
}

/// Converts a result to C: the value, or `failed` with `errno` set. A success does not change
/// `errno`.
pub(crate) fn or_errno<T>(result: Result<T>, failed: T) -> T {
    result.unwrap_or_else(|errno| {
        errno.report();
        failed
    })
}

/// Runs `run` and restores `errno`; the result of `run` reports its errors.
pub(crate) fn preserve_errno<T>(run: impl FnOnce() -> T) -> T {
    let before = SavedErrno::new();
    let result = run();
    before.restore();
    result
}

/// Runs `run`, and restores `errno` if it succeeds, even if calls inside it have failed.
pub(crate) fn preserve_errno_on_success<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = SavedErrno::new();
    let result = run();
    if result.is_ok() {
        before.restore();
    }
    result
}

/// Applies [`or_errno`] to the result of `run`, which [`preserve_errno_on_success`] runs.
pub(crate) fn or_errno_of<T>(run: impl FnOnce() -> Result<T>, failed: T) -> T {
    or_errno(preserve_errno_on_success(run), failed)
}
