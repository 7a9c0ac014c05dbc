//! Checks of the pointers that C passes. A required pointer that is NULL fails with `EINVAL`.

use crate::errno::{Result, errno, preserve_errno};
use crate::iovec::{Source, Target};
use crate::sys::CancelGuard;
use libc::{c_char, c_int, c_void, iovec, size_t};
use std::alloc::{self, Layout};
use std::ffi::CStr;
use std::mem::{self, MaybeUninit};
use std::{ptr, slice};

/// Maximum size of an option structure, in this version and in later ones.
const OPTIONS_SIZE_MAX: size_t = 4096;

/// Returns an array of `len` elements. `at` may be NULL if `len` is 0.
///
/// # Safety
///
/// The array is readable while the result is used.
pub unsafe fn elements<'a, T>(at: *const T, len: size_t) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    if at.is_null() || len > isize::MAX as usize / mem::size_of::<T>().max(1) {
        return Err(errno!(EINVAL));
    }
    // SAFETY: not NULL, not too long; the rest is the caller's promise.
    Ok(unsafe { slice::from_raw_parts(at, len) })
}

/// Returns an array of `len` elements that may be uninitialised. `at` may be NULL if `len` is 0.
///
/// # Safety
///
/// The array is writable, and only the result accesses it, while the result is used.
pub unsafe fn uninit_slice<'a, T>(at: *mut T, len: size_t) -> Result<&'a mut [MaybeUninit<T>]> {
    if len == 0 {
        return Ok(&mut []);
    }
    if at.is_null() || len > isize::MAX as usize / mem::size_of::<T>().max(1) {
        return Err(errno!(EINVAL));
    }
    // SAFETY: not NULL, not too long; the rest is the caller's promise.
    Ok(unsafe { slice::from_raw_parts_mut(at.cast(), len) })
}

/// Returns the bytes to send. `at` must not be NULL, even if `len` is 0. A length that exceeds the
/// size of any buffer fails with `EMSGSIZE`.
///
/// # Safety
///
/// As for [`elements`].
pub unsafe fn buffer<'a>(at: *const c_void, len: size_t) -> Result<&'a [u8]> {
    non_null(at)?;
    if len > isize::MAX as usize {
        return Err(errno!(EMSGSIZE));
    }
    // SAFETY: the caller's promise.
    unsafe { elements(at.cast(), len) }
}

/// Returns a buffer to receive into. `at` must not be NULL, even if `len` is 0.
///
/// # Safety
///
/// As for [`uninit_slice`].
pub unsafe fn recv_buffer<'a>(at: *mut c_void, len: size_t) -> Result<&'a mut [MaybeUninit<u8>]> {
    non_null(at)?;
    // SAFETY: the caller's promise.
    unsafe { uninit_slice(at.cast(), len) }
}

/// Returns the bytes of a message. `EINVAL` for NULL and for an empty message; a length that exceeds
/// the size of any buffer fails with `EMSGSIZE`.
///
/// # Safety
///
/// As for [`elements`].
#[inline(always)]
pub unsafe fn message<'a>(at: *const c_void, len: size_t) -> Result<&'a [u8]> {
    non_null(at)?;
    if (len as isize) <= 0 {
        return Err(if len == 0 {
            errno!(EINVAL)
        } else {
            errno!(EMSGSIZE)
        });
    }
    // SAFETY: not NULL, not too long; the rest is the caller's promise.
    Ok(unsafe { slice::from_raw_parts(at.cast(), len) })
}

/// Returns a buffer for a message. `EINVAL` for NULL, for a buffer without bytes, and for a length
/// that exceeds the size of any buffer.
///
/// # Safety
///
/// As for [`uninit_slice`].
#[inline(always)]
pub unsafe fn message_buffer<'a>(
    at: *mut c_void,
    cap: size_t,
) -> Result<&'a mut [MaybeUninit<u8>]> {
    if at.is_null() || (cap as isize) <= 0 {
        return Err(errno!(EINVAL));
    }
    // SAFETY: not NULL, not too long; the rest is the caller's promise.
    Ok(unsafe { slice::from_raw_parts_mut(at.cast(), cap) })
}

/// Returns the buffers of an array, whose bytes are sent.
///
/// # Safety
///
/// As for [`elements`], and [`Source::array`].
pub unsafe fn sources<'a>(at: *const iovec, count: size_t) -> Result<&'a [Source]> {
    // SAFETY: the caller's promise.
    let parts = unsafe { elements(at, count) }?;
    // SAFETY: the caller's promise.
    Ok(unsafe { Source::array(parts) })
}

/// Returns the parts of one message. `EINVAL` unless there are from 1 to `IOV_MAX`.
///
/// # Safety
///
/// As for [`sources`].
pub unsafe fn parts<'a>(iov: *const iovec, iovcnt: c_int) -> Result<&'a [Source]> {
    if !(1..=libc::UIO_MAXIOV).contains(&iovcnt) {
        return Err(errno!(EINVAL));
    }
    // SAFETY: the caller's promise.
    unsafe { sources(iov, iovcnt as usize) }
}

/// Returns the buffers of an array, which receive messages.
///
/// # Safety
///
/// The array is initialised and writable, and only the result accesses it, while the result is
/// used; and as for [`Target::array`].
pub unsafe fn targets<'a>(at: *mut iovec, count: size_t) -> Result<&'a mut [Target]> {
    if at.is_null() || count > isize::MAX as usize / mem::size_of::<iovec>() {
        return Err(errno!(EINVAL));
    }
    // SAFETY: not NULL, not too long; the rest is the caller's promise.
    let targets = unsafe { slice::from_raw_parts_mut(at, count) };
    // SAFETY: the caller's promise.
    Ok(unsafe { Target::array(targets) })
}

/// Returns the output parameter that `at` points to.
///
/// # Safety
///
/// As for [`uninit_slice`].
pub unsafe fn out_ptr<'a, T>(at: *mut T) -> Result<&'a mut MaybeUninit<T>> {
    non_null(at)?;
    // SAFETY: not NULL; the rest is the caller's promise.
    Ok(unsafe { &mut *at.cast() })
}

/// Returns an optional parameter that the call reads and writes.
///
/// # Safety
///
/// `at` is NULL or points to an initialised value, which only the result accesses while it is
/// used.
pub unsafe fn in_out<'a, T>(at: *mut T) -> Option<&'a mut T> {
    // SAFETY: the caller's promise.
    unsafe { at.as_mut() }
}

/// Returns a string.
///
/// # Safety
///
/// The string ends with a NUL and does not change while the result is used.
pub unsafe fn string<'a>(at: *const c_char) -> Result<&'a CStr> {
    non_null(at)?;
    // SAFETY: not NULL; the rest is the caller's promise.
    Ok(unsafe { CStr::from_ptr(at) })
}

/// Returns a string, or `None` for NULL.
///
/// # Safety
///
/// As for [`string`].
pub unsafe fn optional_string<'a>(at: *const c_char) -> Option<&'a CStr> {
    // SAFETY: the caller's promise.
    unsafe { string(at) }.ok()
}

/// Returns the object of a handle.
///
/// # Safety
///
/// `at` is NULL or a handle that an earlier call returned and that stays open while the result is
/// used.
pub unsafe fn handle<'a, T>(at: *const T) -> Result<&'a T> {
    // SAFETY: the caller's promise.
    unsafe { at.as_ref() }.ok_or(errno!(EINVAL))
}

/// Returns the object of a handle that one thread at a time uses.
///
/// # Safety
///
/// As for [`handle`], and only the result accesses the object while it is used.
pub unsafe fn handle_mut<'a, T>(at: *mut T) -> Result<&'a mut T> {
    // SAFETY: the caller's promise.
    unsafe { at.as_mut() }.ok_or(errno!(EINVAL))
}

/// Allocates the memory of a new handle's object, for [`into_handle`]. `ENOMEM` if the allocation
/// fails.
pub fn handle_memory<T>() -> Result<Box<MaybeUninit<T>>> {
    const { assert!(mem::size_of::<T>() > 0) };
    // SAFETY: the layout has a size.
    let memory = unsafe { alloc::alloc(Layout::new::<T>()) };
    if memory.is_null() {
        return Err(errno!(ENOMEM));
    }
    // SAFETY: allocated with the layout of a T, and not shared.
    Ok(unsafe { Box::from_raw(memory.cast()) })
}

/// Stores a new object in the memory of [`handle_memory`], and returns its handle.
pub fn into_handle<T>(mut memory: Box<MaybeUninit<T>>, object: T) -> *mut T {
    memory.write(object);
    Box::into_raw(memory).cast()
}

/// Writes the handle of the object that `open` makes to `ret_handle`, and returns 0. It allocates
/// the memory first, so that nothing can fail after `open` has succeeded.
///
/// # Safety
///
/// `ret_handle` is NULL or writable.
pub unsafe fn return_handle<T>(
    ret_handle: *mut *mut T,
    open: impl FnOnce() -> Result<T>,
) -> Result<c_int> {
    // SAFETY: the caller's promise.
    let ret_handle = unsafe { out_ptr(ret_handle) }?;
    let memory = handle_memory()?;
    ret_handle.write(into_handle(memory, open()?));
    Ok(0)
}

/// Drops the object of a handle; NULL does nothing.
///
/// # Safety
///
/// `at` is NULL or came from [`handle_memory`], and is no longer used.
pub unsafe fn drop_handle<T>(at: *mut T) {
    if !at.is_null() {
        // close(2) is a cancellation point: a thread that is cancelled in one close would leave the
        // other descriptors open.
        let _uncancelled = CancelGuard::new();
        // Calls that fail on old kernels, and have a replacement, set errno.
        preserve_errno(|| {
            // SAFETY: the caller's promise.
            drop(unsafe { Box::from_raw(at) });
        });
    }
}

/// Fails with `EINVAL` for NULL.
pub fn non_null<T>(at: *const T) -> Result<()> {
    if at.is_null() {
        Err(errno!(EINVAL))
    } else {
        Ok(())
    }
}

/// A type of object in shared memory, as C declares it: opaque bytes.
pub trait SharedObject {
    /// The object in these bytes. It accepts any bytes, because other processes can write them.
    type Object;
}

/// Returns an object in shared memory. `EINVAL` if `at` is NULL or not aligned.
///
/// # Safety
///
/// The object is readable and writable while the result is used. It may contain any bytes.
#[inline]
pub unsafe fn object<'a, T: SharedObject>(at: *const T) -> Result<&'a T::Object> {
    const { assert!(mem::size_of::<T::Object>() <= mem::size_of::<T>()) };
    const { assert!(mem::align_of::<T::Object>() <= mem::align_of::<T>()) };
    if at.is_null() || !at.is_aligned() {
        return Err(errno!(EINVAL));
    }
    // SAFETY: not NULL, aligned, and large enough; the rest is the caller's promise.
    Ok(unsafe { &*at.cast() })
}

/// A structure that C passes with its size, so that later versions can append members.
///
/// # Safety
///
/// The type is `repr(C)` and has no padding, and all combinations of bytes are valid values.
pub unsafe trait ExtensibleStruct: Sized {
    /// Size of the first released version. No caller has a smaller structure: a smaller size is
    /// nearly always `sizeof` of a pointer.
    const FIRST_SIZE: usize;
}

/// Copies an option structure from the caller, whose version may be older (smaller) or newer
/// (larger) than `T`. Members that the caller's version lacks become zero. NULL gives all zeros,
/// whatever the size. Fails with `EINVAL` if `size` is smaller than the first version, and with
/// `E2BIG` if a byte behind the last member of `T` is not zero.
///
/// # Safety
///
/// `at` is NULL or readable for `size` bytes.
pub unsafe fn copy_struct_from<T: ExtensibleStruct>(at: *const T, size: size_t) -> Result<T> {
    const { assert!(T::FIRST_SIZE > 0 && T::FIRST_SIZE <= mem::size_of::<T>()) };
    let mut options = MaybeUninit::<T>::zeroed();
    if !at.is_null() {
        if size < T::FIRST_SIZE {
            return Err(errno!(EINVAL));
        }
        if size > OPTIONS_SIZE_MAX {
            return Err(errno!(E2BIG));
        }
        // SAFETY: the caller's promise.
        let given = unsafe { elements(at.cast::<u8>(), size) }?;
        let known = given.len().min(mem::size_of::<T>());
        if given[known..].iter().any(|byte| *byte != 0) {
            return Err(errno!(E2BIG));
        }
        // SAFETY: both have at least `known` bytes.
        unsafe { ptr::copy_nonoverlapping(given.as_ptr(), options.as_mut_ptr().cast(), known) };
    }
    // SAFETY: every byte is initialised, and all bytes are a T.
    Ok(unsafe { options.assume_init() })
}

/// Copies a structure to the caller. A caller with an older version gets the beginning; for a newer
/// version the rest becomes zero. Fails with `EINVAL` for NULL, or if `size` is smaller than the
/// first version.
///
/// # Safety
///
/// `at` is NULL or writable for `size` bytes.
pub unsafe fn copy_struct_to<T: ExtensibleStruct>(
    at: *mut T,
    size: size_t,
    value: &T,
) -> Result<()> {
    const { assert!(T::FIRST_SIZE > 0 && T::FIRST_SIZE <= mem::size_of::<T>()) };
    if size < T::FIRST_SIZE {
        return Err(errno!(EINVAL));
    }
    // SAFETY: the caller's promise.
    let target = unsafe { uninit_slice(at.cast::<u8>(), size) }?;
    let known = target.len().min(mem::size_of::<T>());
    target[known..].fill(MaybeUninit::new(0));
    // SAFETY: both have at least `known` bytes, and `value` has no padding.
    unsafe {
        ptr::copy_nonoverlapping(ptr::from_ref(value).cast(), target.as_mut_ptr(), known);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errno::Errno;

    /// A structure to which later versions have appended a member twice.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Grown([u32; 3]);

    // SAFETY: numbers of one size have no padding, and any bytes are numbers.
    unsafe impl ExtensibleStruct for Grown {
        const FIRST_SIZE: usize = 4;
    }

    #[test]
    fn from_all_versions() {
        let bytes = [7, 8, 9, 0, 1];
        let from = |size| {
            // SAFETY: five numbers are readable.
            unsafe { copy_struct_from(bytes.as_ptr().cast::<Grown>(), size) }
        };
        assert_eq!(from(3), Err(Errno::EINVAL));
        assert_eq!(from(4), Ok(Grown([7, 0, 0])));
        assert_eq!(from(8), Ok(Grown([7, 8, 0])));
        assert_eq!(from(12), Ok(Grown([7, 8, 9])));
        assert_eq!(from(16), Ok(Grown([7, 8, 9])));
        assert_eq!(from(20), Err(Errno::E2BIG));
    }

    #[test]
    fn to_all_versions() {
        let to = |size| {
            let mut bytes = [5; 4];
            // SAFETY: four numbers are writable.
            unsafe { copy_struct_to(bytes.as_mut_ptr().cast(), size, &Grown([7, 8, 9])) }?;
            Ok(bytes)
        };
        assert_eq!(to(3), Err(Errno::EINVAL));
        assert_eq!(to(4), Ok([7, 5, 5, 5]));
        assert_eq!(to(8), Ok([7, 8, 5, 5]));
        assert_eq!(to(12), Ok([7, 8, 9, 5]));
        assert_eq!(to(16), Ok([7, 8, 9, 0]));
    }
}
