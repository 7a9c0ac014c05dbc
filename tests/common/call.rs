//! Calls of the C interface.

use libc::{c_int, ssize_t};
use std::fmt::Display;
use std::{io, thread};

/// The return value of a call, or the errno that it set.
pub type Outcome = Result<usize, c_int>;

/// The value of errno before each call; no call sets it to this.
pub const SENTINEL: c_int = 7777;

pub fn set_errno(errno: c_int) {
    // SAFETY: the address is the calling thread's own.
    unsafe { *libc::__errno_location() = errno };
}

/// The present value of errno.
pub fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap()
}

/// The errno of a call that has just failed; the call must have set it.
#[track_caller]
pub fn failure() -> c_int {
    let errno = errno();
    assert_ne!(errno, SENTINEL, "a failure that does not set errno");
    errno
}

/// Makes one call that returns -1 on failure.
#[track_caller]
pub fn outcome(call: impl FnOnce() -> ssize_t) -> Outcome {
    set_errno(SENTINEL);
    let ret = call();
    if ret >= 0 {
        assert_eq!(errno(), SENTINEL, "errno after success");
        return Ok(ret as usize);
    }
    assert_eq!(ret, -1);
    Err(failure())
}

/// The name of a case, which is printed if the test panics in that case.
pub struct Case<T: Display>(pub T);

impl<T: Display> Drop for Case<T> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("in the case: {}", self.0);
        }
    }
}
