//! Layer 3: the cell.

use super::pointer::{buffer, buffer_room, out_ptr};
use crate::cell::{self, Cell, Use};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, or_errno, or_errno_of};
use libc::{c_int, c_uint, c_void, size_t, ssize_t};
use std::ptr::NonNull;

/// A flag of ipc_cell_init: a store wakes those who wait in ipc_cell_wait, for the price of a
/// system call.
pub const IPC_CELL_F_WAITABLE: c_uint = 1;
/// A flag of ipc_cell_open: nothing is stored, so that the memory may be mapped read-only.
pub const IPC_CELL_F_RDONLY: c_uint = 2;
/// A flag of ipc_cell_init and ipc_cell_open: nobody else stores as long as there is this handle,
/// whose stores need no lock then.
pub const IPC_CELL_F_SOLE_WRITER: c_uint = 4;

/// Memory of C's in which a cell is, or is to be.
fn memory(mem: *const c_void) -> Result<NonNull<u8>> {
    NonNull::new(mem.cast_mut().cast()).ok_or(Errno::EINVAL)
}

/// A handle of C's.
///
/// # Safety
///
/// NULL, or from `give_handle` and not closed for as long as the result is used.
unsafe fn handle<'a>(cell: *const Cell) -> Result<&'a Cell> {
    // SAFETY: the caller's promise.
    unsafe { cell.as_ref() }.ok_or(Errno::EINVAL)
}

/// Gives C a handle.
///
/// # Safety
///
/// `ret_cell` is NULL or a place for a pointer.
unsafe fn give_handle(
    ret_cell: *mut *mut Cell,
    cell: impl FnOnce() -> Result<Cell>,
) -> Result<c_int> {
    // SAFETY: the caller's promise.
    let place = unsafe { out_ptr(ret_cell) }?;
    place.write(cell()?.into_heap()?.as_ptr());
    Ok(0)
}

/// How much shared memory a cell takes for values of up to value_size bytes: several times
/// that, since old values stay while they may be read.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child
/// after fork.
///
/// Returns the number of bytes, or 0 if value_size is 0 or larger than there can be memory for.
/// errno is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn ipc_cell_bytes(value_size: size_t) -> size_t {
    cell::bytes(value_size).unwrap_or(0)
}

/// Makes a cell: a value of 1 to value_size bytes that processes share, still without a value.
///
/// mem is aligned to 16 bytes, has mem_size bytes, at least ipc_cell_bytes(value_size), and may
/// have anything in them, but no cell that is still used. It should be memory that no other
/// process can truncate (System V, or a sealed memfd): a truncated mapping is SIGBUS for who
/// touches it. It belongs to the caller, and stays mapped until ipc_cell_close. flags is 0 or of
/// IPC_CELL_F_WAITABLE and IPC_CELL_F_SOLE_WRITER (see ipc_cell_open). *ret_cell becomes a handle, which is this process's: another process
/// opens the same memory with ipc_cell_open. A process that is killed before the cell is made
/// leaves none (EPROTO for who opens it).
///
/// Does not block. May be called from any thread and in the child after fork; not from a
/// signal handler.
///
/// Returns 0, or -1 with errno:
///   EINVAL  mem or ret_cell is NULL, mem is not aligned, flags has an unknown one, or
///           value_size is 0 or larger than there can be memory for
///   ENOMEM  no memory is left for the handle, or for a lock in the C library
///   ENOSPC  mem_size is less than ipc_cell_bytes(value_size)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cell_init(
    mem: *mut c_void,
    mem_size: size_t,
    value_size: size_t,
    flags: c_uint,
    ret_cell: *mut *mut Cell,
) -> c_int {
    let init = || -> Result<Cell> {
        let is_for = match flags & !IPC_CELL_F_WAITABLE {
            0 => Use::Store,
            IPC_CELL_F_SOLE_WRITER => Use::StoreAlone,
            _ => return Err(Errno::EINVAL),
        };
        let waitable = flags & IPC_CELL_F_WAITABLE != 0;
        // SAFETY: the caller's memory of mem_size bytes.
        unsafe { Cell::init(memory(mem)?, mem_size, value_size, waitable, is_for) }
    };
    // SAFETY: the caller's place.
    or_errno_of(|| unsafe { give_handle(ret_cell, init) }, -1)
}

/// Opens a cell that a process has made with ipc_cell_init.
///
/// mem is where the same memory is mapped here, aligned to 16 bytes and with mem_size bytes.
/// flags is 0, or IPC_CELL_F_RDONLY for memory that is mapped read-only: then, and before the
/// first ipc_cell_store in any case, nothing is written to it. What is there may be anything,
/// and may change at any time: the sizes are checked once and kept in the handle, and whatever
/// another process writes, ipc_cell_load and ipc_cell_wait stay within mem_size bytes.
///
/// With IPC_CELL_F_SOLE_WRITER the calling thread becomes the cell's only writer, until it
/// closes the handle or ends, or its process dies: it keeps the lock between the writers, so
/// that its stores need none and are several times as fast while others read. Stores by other
/// handles wait for its end. Only this thread may store by the handle, and it closes it.
///
/// The memory belongs to the caller, and stays mapped until ipc_cell_close (a sole writer's: by
/// its own thread, or until that ends). The handle works in the child after fork, where it is a
/// second one to be closed; but who is the sole writer is still the parent, and the child must
/// not store by that handle.
///
/// Does not block. May be called from any thread and in the child after fork; not from a
/// signal handler.
///
/// Returns 0, or -1 with errno:
///   EBUSY   flags is IPC_CELL_F_SOLE_WRITER, and there is one already, or somebody just stores
///   EINVAL  mem or ret_cell is NULL, mem is not aligned, or flags has an unknown one, or both
///           IPC_CELL_F_RDONLY and IPC_CELL_F_SOLE_WRITER
///   ENOMEM  no memory is left for the handle
///   EPROTO  there is no cell, or not yet, or it is larger than mem_size
///   ESTALE  it is a cell of another version of the library, with another layout; or, with
///           IPC_CELL_F_SOLE_WRITER, its lock is another C library's
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cell_open(
    mem: *const c_void,
    mem_size: size_t,
    flags: c_uint,
    ret_cell: *mut *mut Cell,
) -> c_int {
    let open = || -> Result<Cell> {
        let is_for = match flags {
            0 => Use::Store,
            IPC_CELL_F_RDONLY => Use::Load,
            IPC_CELL_F_SOLE_WRITER => Use::StoreAlone,
            _ => return Err(Errno::EINVAL),
        };
        // SAFETY: the caller's memory of mem_size bytes.
        unsafe { Cell::open(memory(mem)?, mem_size, is_for) }
    };
    // SAFETY: the caller's place.
    or_errno_of(|| unsafe { give_handle(ret_cell, open) }, -1)
}

/// Replaces the value by len bytes, from 1 to ipc_cell_size.
///
/// Readers see the old value until all of the new one is there, then the new one, and never
/// a part of either; so it is too if this process is killed meanwhile, at whatever instruction.
/// Each store gives the value a version: the first 1, each other one more than the one before.
/// Several may store, one after the other: timeout_ms is how long to wait for the others, in
/// milliseconds; -1 waits for ever, 0 not at all, IPC_WAIT_INTR until a signal handler ran. A
/// writer that dies does not stop the others. A sole writer (IPC_CELL_F_SOLE_WRITER) waits for
/// nobody. A cell made with IPC_CELL_F_WAITABLE wakes those who wait for it, with one system call.
///
/// Those who store to a cell have to trust all who can write to its memory, because the lock
/// between them is there; those who only load and wait need not.
///
/// Blocks as timeout_ms says, and only while another writer stores. May be called from any
/// thread, by several at once, and in the child after fork, but by the handle of a sole writer
/// only in its thread; not from a signal handler.
///
/// Returns 0, or -1 with errno and nothing stored:
///   EAGAIN     timeout_ms is 0, and another one is storing
///   EBADF      the handle is for reading only (IPC_CELL_F_RDONLY)
///   EDEADLK    this thread is the sole writer by another handle
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     c or value is NULL, len is 0, or timeout_ms is below -2
///   EMSGSIZE   len is larger than ipc_cell_size
///   ENOSYS     a filter on system calls forbids the one that wakes those who wait
///   EPERM      the handle is another thread's, who is the sole writer
///   EPROTO     this is no cell any more: somebody has overwritten it
///   ESTALE     the lock in the cell is another C library's than this process's
///   ETIMEDOUT  the time is over, and another one is still storing
///
/// The algorithm is a row of seqlocks (Lameter, "Effective synchronization on Linux/NUMA
/// systems", 2005) of which the next in turn is written and the last complete one is read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cell_store(
    c: *mut Cell,
    value: *const c_void,
    len: size_t,
    timeout_ms: c_int,
) -> c_int {
    let store = || -> Result<c_int> {
        // SAFETY: the caller's handle.
        let cell = unsafe { handle(c) }?;
        // SAFETY: the caller's buffer of len bytes.
        let value = unsafe { buffer(value, len) }?;
        cell.store(value, Deadline::new(timeout_ms)?)?;
        Ok(0)
    };
    or_errno(store(), -1)
}

/// Copies the current value, all of one version, to a buffer of cap bytes.
///
/// *ret_version becomes its version; ret_version may be NULL. Nothing is written to the shared
/// memory, and no lock is taken: readers do not disturb each other, and hinder no writer.
/// Behind the value, within cap bytes, there can be traces of another one that writers replaced
/// meanwhile. After EAGAIN or EPROTO the buffer can have anything in it; after another error
/// likewise, if writers were at work. *ret_version is untouched after any error.
///
/// Does not block, whatever the writers do. May be called from any thread, by several at once,
/// from a signal handler, and in the child after fork.
///
/// Returns the value's length, or -1 with errno:
///   EAGAIN    writers replaced the value more often during each of 64 tries than the cell has
///             slots (at least four): not seen to happen, except with hostile writers
///   EINVAL    c or value is NULL, or cap is 0
///   EMSGSIZE  the value is longer than cap
///   ENODATA   nothing has been stored yet
///   EPROTO    this is no cell any more: somebody has overwritten it
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cell_load(
    c: *const Cell,
    value: *mut c_void,
    cap: size_t,
    ret_version: *mut u64,
) -> ssize_t {
    let load = || -> Result<ssize_t> {
        // SAFETY: the caller's handle.
        let cell = unsafe { handle(c) }?;
        // SAFETY: the caller's buffer of cap bytes.
        let room = unsafe { buffer_room(value, cap) }?;
        // SAFETY: the caller's place, if there is one.
        let ret_version = unsafe { out_ptr(ret_version) }.ok();
        Ok(cell.load(room, ret_version)? as ssize_t)
    };
    or_errno(load(), -1)
}

/// Waits until the value's version is another than seen: what ipc_cell_load gave as
/// *ret_version, or 0 to wait for the first value.
///
/// It sleeps meanwhile, and may do so where the memory is mapped read-only. The cell has to be
/// made with IPC_CELL_F_WAITABLE. There may have been several stores when it returns.
/// timeout_ms is as for ipc_cell_store. It looks by itself once a second, because whoever can
/// read the memory can take its wake-up away: that is the most by which it is late.
///
/// Blocks as timeout_ms says. May be called from any thread, by several at once, from a signal
/// handler, and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EAGAIN      timeout_ms is 0, and the version is still seen
///   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL      c is NULL, or timeout_ms is below -2
///   EOPNOTSUPP  the cell was made without IPC_CELL_F_WAITABLE
///   EPROTO      this is no cell any more: somebody has overwritten it
///   ETIMEDOUT   the time is over, and the version is still seen
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cell_wait(c: *const Cell, seen: u64, timeout_ms: c_int) -> c_int {
    let wait = || -> Result<c_int> {
        // SAFETY: the caller's handle.
        let cell = unsafe { handle(c) }?;
        cell.wait(seen, Deadline::new(timeout_ms)?)?;
        Ok(0)
    };
    or_errno(wait(), -1)
}

/// The largest value of a cell: the value_size with which it was made.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child
/// after fork.
///
/// Returns the number of bytes, or 0 if c is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cell_size(c: *const Cell) -> size_t {
    // SAFETY: the caller's handle.
    unsafe { handle(c) }.map_or(0, Cell::value_size)
}

/// Frees a handle, and so ends being the sole writer. The cell and its memory stay as they are.
/// NULL is allowed. A handle with IPC_CELL_F_SOLE_WRITER is closed by the thread that opened it;
/// closed by another one, it is freed, and its thread stays the sole writer until it ends. The
/// memory stays mapped until then: what the thread holds is a list that goes through it.
///
/// Does not block. May be called from any thread, once nobody uses the handle any more, and in
/// the child after fork; not from a signal handler. Cannot fail.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cell_close(c: *mut Cell) {
    if let Some(cell) = NonNull::new(c) {
        // SAFETY: the caller's handle, which is not used any more.
        unsafe { cell::free(cell) };
    }
}
