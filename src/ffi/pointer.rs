//! What C passes by pointer. NULL where something is needed is `EINVAL`.

use crate::errno::{Errno, Result};
use libc::{c_char, c_void, size_t};
use std::alloc::{self, Layout};
use std::ffi::CStr;
use std::mem::{self, MaybeUninit};
use std::{ptr, slice};

/// Larger than any structure of options will be.
const OPTIONS_MAX: size_t = 4096;

/// `len` elements to read; none need no pointer.
///
/// # Safety
///
/// They are readable for as long as the result is used.
pub unsafe fn elements<'a, T>(at: *const T, len: size_t) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    if at.is_null() || len > isize::MAX as usize / mem::size_of::<T>().max(1) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: not NULL, not too long; the rest is the caller's promise.
    Ok(unsafe { slice::from_raw_parts(at, len) })
}

/// Room for `len` elements; none need no pointer.
///
/// # Safety
///
/// It is writable, and nobody else uses it, for as long as the result is used.
pub unsafe fn uninit_slice<'a, T>(at: *mut T, len: size_t) -> Result<&'a mut [MaybeUninit<T>]> {
    if len == 0 {
        return Ok(&mut []);
    }
    if at.is_null() || len > isize::MAX as usize / mem::size_of::<T>().max(1) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: not NULL, not too long; the rest is the caller's promise.
    Ok(unsafe { slice::from_raw_parts_mut(at.cast(), len) })
}

/// Bytes to send, of which the pointer is needed even if there are none. `EMSGSIZE` for more
/// than there can be.
///
/// # Safety
///
/// As for [`elements`].
pub unsafe fn buffer<'a>(at: *const c_void, len: size_t) -> Result<&'a [u8]> {
    non_null(at)?;
    if len > isize::MAX as usize {
        return Err(Errno::EMSGSIZE);
    }
    // SAFETY: the caller's promise.
    unsafe { elements(at.cast(), len) }
}

/// Room for bytes, of which the pointer is needed even if there are none.
///
/// # Safety
///
/// As for [`uninit_slice`].
pub unsafe fn buffer_room<'a>(at: *mut c_void, len: size_t) -> Result<&'a mut [MaybeUninit<u8>]> {
    non_null(at)?;
    // SAFETY: the caller's promise.
    unsafe { uninit_slice(at.cast(), len) }
}

/// A place for one result.
///
/// # Safety
///
/// As for [`uninit_slice`].
pub unsafe fn out_ptr<'a, T>(at: *mut T) -> Result<&'a mut MaybeUninit<T>> {
    non_null(at)?;
    // SAFETY: not NULL; the rest is the caller's promise.
    Ok(unsafe { &mut *at.cast() })
}

/// A value that is read, and written if there is one.
///
/// # Safety
///
/// NULL, or an initialised value that nobody else uses for as long as the result is used.
pub unsafe fn in_out<'a, T>(at: *mut T) -> Option<&'a mut T> {
    // SAFETY: the caller's promise.
    unsafe { at.as_mut() }
}

/// A string.
///
/// # Safety
///
/// It ends with a NUL, and stays for as long as the result is used.
pub unsafe fn string<'a>(at: *const c_char) -> Result<&'a CStr> {
    non_null(at)?;
    // SAFETY: not NULL; the rest is the caller's promise.
    Ok(unsafe { CStr::from_ptr(at) })
}

/// A string, or NULL.
///
/// # Safety
///
/// As for [`string`].
pub unsafe fn optional_string<'a>(at: *const c_char) -> Option<&'a CStr> {
    // SAFETY: the caller's promise.
    unsafe { string(at) }.ok()
}

/// A handle that an earlier call gave out.
///
/// # Safety
///
/// NULL, or such a handle, which stays for as long as the result is used.
pub unsafe fn handle<'a, T>(at: *const T) -> Result<&'a T> {
    // SAFETY: the caller's promise.
    unsafe { at.as_ref() }.ok_or(Errno::EINVAL)
}

/// Room for a handle to give out, which [`Box::write`] fills. `ENOMEM` if there is none.
pub fn handle_room<T>() -> Result<Box<MaybeUninit<T>>> {
    const { assert!(mem::size_of::<T>() > 0) };
    // SAFETY: the layout has a size.
    let room = unsafe { alloc::alloc(Layout::new::<T>()) };
    if room.is_null() {
        return Err(Errno::ENOMEM);
    }
    // SAFETY: allocated with the layout of a T, and nobody else's.
    Ok(unsafe { Box::from_raw(room.cast()) })
}

/// Takes a handle back, and drops it; NULL is none.
///
/// # Safety
///
/// NULL, or made from [`handle_room`]; nobody uses it any more.
pub unsafe fn drop_handle<T>(at: *mut T) {
    if !at.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(at) });
    }
}

/// Fails for NULL.
pub fn non_null<T>(at: *const T) -> Result<()> {
    if at.is_null() {
        Err(Errno::EINVAL)
    } else {
        Ok(())
    }
}

/// An object in shared memory. `EINVAL` where it is not aligned either.
///
/// # Safety
///
/// It is readable and writable for as long as the result is used, whatever is in it.
#[inline]
pub unsafe fn object<'a, T>(at: *const T) -> Result<&'a T> {
    if at.is_null() || !at.is_aligned() {
        return Err(Errno::EINVAL);
    }
    // SAFETY: not NULL and aligned; the rest is the caller's promise.
    Ok(unsafe { &*at })
}

/// A structure of options of which the caller's version may be shorter or longer.
///
/// # Safety
///
/// All zero bytes are a `T`, and so is whatever the caller's structure has; `at` is NULL or
/// readable for `size` bytes.
pub unsafe fn copy_struct_from<T>(at: *const T, size: size_t) -> Result<T> {
    let mut options = MaybeUninit::<T>::zeroed();
    if !at.is_null() {
        if size > OPTIONS_MAX {
            return Err(Errno::E2BIG);
        }
        // SAFETY: the caller's promise.
        let given = unsafe { elements(at.cast::<u8>(), size) }?;
        let known = given.len().min(mem::size_of::<T>());
        if given[known..].iter().any(|byte| *byte != 0) {
            return Err(Errno::E2BIG);
        }
        // SAFETY: `known` bytes are within both.
        unsafe { ptr::copy_nonoverlapping(given.as_ptr(), options.as_mut_ptr().cast(), known) };
    }
    // SAFETY: zero bytes, with the caller's over them, are a T.
    Ok(unsafe { options.assume_init() })
}

/// Gives out a structure of which the caller's version may be shorter (it gets the beginning)
/// or longer (the rest is zeroed).
///
/// # Safety
///
/// `at` is NULL or writable for `size` bytes; `T` has no padding.
pub unsafe fn copy_struct_to<T>(at: *mut T, size: size_t, value: &T) -> Result<()> {
    if size == 0 {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the caller's promise.
    let room = unsafe { uninit_slice(at.cast::<u8>(), size) }?;
    let known = room.len().min(mem::size_of::<T>());
    room[known..].fill(MaybeUninit::new(0));
    // SAFETY: `known` bytes are within both.
    unsafe {
        ptr::copy_nonoverlapping(ptr::from_ref(value).cast(), room.as_mut_ptr(), known);
    }
    Ok(())
}
