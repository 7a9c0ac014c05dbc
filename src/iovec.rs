//! Buffers that C describes by `struct iovec`.

use crate::errno::{Result, errno};
use libc::iovec;
use std::mem::MaybeUninit;
use std::slice;

/// A buffer whose bytes are sent.
#[repr(transparent)]
pub struct Source(iovec);

/// A buffer that receives a message.
#[repr(transparent)]
pub struct Target(iovec);

impl Source {
    /// The buffers of an array.
    ///
    /// # Safety
    ///
    /// Each buffer that is not NULL is readable for its length while the result is used.
    pub const unsafe fn array(parts: &[iovec]) -> &[Self] {
        // SAFETY: the same layout; the rest is the caller's promise.
        unsafe { slice::from_raw_parts(parts.as_ptr().cast(), parts.len()) }
    }

    /// The buffers for a system call, in which the kernel checks them.
    pub const fn raw(parts: &[Self]) -> &[iovec] {
        // SAFETY: the same layout.
        unsafe { slice::from_raw_parts(parts.as_ptr().cast(), parts.len()) }
    }

    /// The bytes. `EINVAL` for NULL with a length other than 0; `EMSGSIZE` for a length that exceeds
    /// the size of any buffer.
    #[inline]
    pub fn bytes(&self) -> Result<&[u8]> {
        let Self(iovec { iov_base, iov_len }) = *self;
        if iov_len == 0 {
            return Ok(&[]);
        }
        if iov_base.is_null() {
            return Err(errno!(EINVAL));
        }
        if iov_len > isize::MAX as usize {
            return Err(errno!(EMSGSIZE));
        }
        // SAFETY: not NULL, not too long; the rest is the promise of `array`.
        Ok(unsafe { slice::from_raw_parts(iov_base.cast(), iov_len) })
    }

    /// The length, which has not been checked.
    #[inline(always)]
    pub fn unchecked_len(&self) -> usize {
        self.0.iov_len
    }

    /// The first `len` bytes; none for NULL.
    ///
    /// # Safety
    ///
    /// [`Source::unchecked_len`] has returned `len`, which is from 1 to `isize::MAX`.
    #[inline(always)]
    pub unsafe fn checked_bytes(&self, len: usize) -> Option<&[u8]> {
        let at = self.0.iov_base;
        // SAFETY: not NULL, not too long; the rest is the promise of `array`.
        (!at.is_null()).then(|| unsafe { slice::from_raw_parts(at.cast(), len) })
    }
}

impl Target {
    /// The buffers of an array.
    ///
    /// # Safety
    ///
    /// Each buffer that is not NULL is writable for its length, and only the result accesses it,
    /// while the result is used.
    pub const unsafe fn array(targets: &mut [iovec]) -> &mut [Self] {
        // SAFETY: the same layout; the rest is the caller's promise.
        unsafe { slice::from_raw_parts_mut(targets.as_mut_ptr().cast(), targets.len()) }
    }

    /// The buffer. `EINVAL` if it is NULL, has no bytes, or is longer than any buffer.
    #[inline]
    pub fn buffer(&mut self) -> Result<&mut [MaybeUninit<u8>]> {
        let Self(iovec { iov_base, iov_len }) = *self;
        if iov_base.is_null() || iov_len == 0 || iov_len > isize::MAX as usize {
            return Err(errno!(EINVAL));
        }
        // SAFETY: not NULL, not too long; the rest is the promise of `array`.
        Ok(unsafe { slice::from_raw_parts_mut(iov_base.cast(), iov_len) })
    }

    /// The first `len` bytes of the buffer, for a message of that length. None if the buffer is
    /// shorter, or not valid as [`Target::buffer`] says. `len` is from 1 to `isize::MAX`.
    #[inline(always)]
    pub fn message(&mut self, len: usize) -> Option<&mut [MaybeUninit<u8>]> {
        let Self(iovec { iov_base, iov_len }) = *self;
        // With a sign, a length that exceeds that of any buffer is shorter too.
        if (iov_len as isize) < len as isize || iov_base.is_null() {
            return None;
        }
        // SAFETY: not NULL, not too long; the rest is the promise of `array`.
        Some(unsafe { slice::from_raw_parts_mut(iov_base.cast(), len) })
    }

    /// Sets the length to that of the message which the buffer has received.
    #[inline]
    pub fn set_len(&mut self, len: usize) {
        self.0.iov_len = len;
    }
}
