//! Cancellation points in a call that holds descriptors.

use super::thread::{CancelGuard, PTHREAD_CANCEL_DISABLE, set_cancel_state};
use libc::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;

/// `struct _pthread_cleanup_buffer` of glibc, four words; `struct __ptcb` of musl has three.
type CleanupBuffer = MaybeUninit<[*mut c_void; 4]>;

impl CancelGuard {
    /// Runs `wait` with the cancellation state that the thread had before this guard. If the thread
    /// is cancelled in it, `descriptors` are closed; `wait` must own nothing else.
    pub fn lifted<T>(&self, descriptors: &[c_int], wait: impl FnOnce() -> T) -> T {
        // The macros pthread_cleanup_push(3) and pthread_cleanup_pop(3) call these functions in C
        // without exceptions. The libc crate does not declare them.
        unsafe extern "C" {
            fn _pthread_cleanup_push(
                buffer: *mut c_void,
                routine: extern "C" fn(*mut c_void),
                argument: *mut c_void,
            );
            fn _pthread_cleanup_pop(buffer: *mut c_void, execute: c_int);
        }
        let mut memory = CleanupBuffer::zeroed();
        let buffer = memory.as_mut_ptr().cast();
        let argument = ptr::from_ref(&descriptors).cast_mut().cast();
        // SAFETY: the buffer and the argument are on this stack frame until the pop below, or
        // until the thread is cancelled, which runs the routine first.
        unsafe { _pthread_cleanup_push(buffer, close_all, argument) };
        set_cancel_state(self.before);
        let result = wait();
        set_cancel_state(PTHREAD_CANCEL_DISABLE);
        // SAFETY: the buffer is the one that was pushed last.
        unsafe { _pthread_cleanup_pop(buffer, 0) };
        result
    }
}

/// The cleanup routine: `argument` is a `&&[c_int]`.
extern "C" fn close_all(argument: *mut c_void) {
    // SAFETY: `lifted` passes its own slice, and its stack frame still exists.
    let descriptors = unsafe { *argument.cast::<&[c_int]>() };
    for descriptor in descriptors {
        // SAFETY: the cancelled thread owned it, and no longer uses it.
        unsafe { libc::close(*descriptor) };
    }
}
