//! Layer 3: the cell.

use super::pointer::{buffer, drop_handle, handle, out_ptr, recv_buffer, return_handle};
use crate::cell::{self, Cell, Use, Wake};
use crate::deadline::Deadline;
use crate::errno::{Result, errno, or_errno, or_errno_of};
use libc::{c_int, c_uint, c_void, size_t, ssize_t};
use std::ptr::NonNull;

/// Flag of ipc_cell_init: processes that can write to the memory may wait with ipc_cell_wait. A
/// store makes a system call only if a thread waits.
pub const IPC_CELL_F_WAITABLE: c_uint = 1;
/// Flag of ipc_cell_open: the handle does not store, so the memory may be mapped read-only.
pub const IPC_CELL_F_RDONLY: c_uint = 2;
/// Flag of ipc_cell_init and ipc_cell_open: no other handle stores while this one exists. Its
/// stores need no lock.
pub const IPC_CELL_F_SOLE_WRITER: c_uint = 4;
/// Flag of ipc_cell_init: handles with IPC_CELL_F_RDONLY may wait too. They cannot announce
/// themselves, so each store makes a system call. Includes IPC_CELL_F_WAITABLE.
pub const IPC_CELL_F_WAITABLE_RDONLY: c_uint = 8;

#[cfg(cbindgen)]
/// A handle of a cell in this process. The memory of the cell belongs to the caller.
pub struct ipc_cell;

/// Returns the memory of a cell; `EINVAL` for NULL.
fn memory(mem: *const c_void) -> Result<NonNull<u8>> {
    NonNull::new(mem.cast_mut().cast()).ok_or(errno!(EINVAL))
}

/// Returns the size of the shared memory that a cell needs for values of up to value_size bytes. It
/// is several times value_size, because old values stay while readers may copy them.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns the number of bytes, or 0 if value_size is 0 or too large for any memory. Does not
/// change errno.
#[unsafe(no_mangle)]
pub extern "C" fn ipc_cell_memory_size(value_size: size_t) -> size_t {
    cell::memory_size(value_size).unwrap_or(0)
}

/// Makes a cell: a value of 1 to value_size bytes that processes share. A new cell has no value.
///
/// mem is aligned to 16 bytes and has mem_size bytes, at least ipc_cell_memory_size(value_size). It
/// may contain anything except a cell that is still used. No other process should be able to
/// truncate the memory (use System V shared memory, or a sealed memfd): an access to a truncated
/// mapping raises SIGBUS. The memory belongs to the caller, and stays mapped until ipc_cell_close.
/// flags is 0 or a combination of IPC_CELL_F_WAITABLE, IPC_CELL_F_WAITABLE_RDONLY and
/// IPC_CELL_F_SOLE_WRITER (see ipc_cell_open). *ret_cell becomes a handle for this process; another
/// process opens the same memory with ipc_cell_open. If the process is killed during the call, the
/// memory contains no cell, and ipc_cell_open fails with EPROTO.
///
/// Does not block. Not a cancellation point. May be called from any thread and in the child after
/// fork; not from a signal handler.
///
/// Returns 0, or -1 with errno and ret_cell unchanged:
///   EINVAL  mem or ret_cell is NULL, mem is not aligned, flags has an unknown flag, or value_size
///           is 0 or too large for any memory
///   ENOMEM  no memory for the handle, or for a lock in the C library
///   ENOSPC  mem_size is less than ipc_cell_memory_size(value_size)
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cell_init(
    mem: *mut c_void,
    mem_size: size_t,
    value_size: size_t,
    flags: c_uint,
    ret_cell: *mut *mut Cell,
) -> c_int {
    let init = || -> Result<Cell> {
        let wake = if flags & IPC_CELL_F_WAITABLE_RDONLY != 0 {
            Wake::Always
        } else if flags & IPC_CELL_F_WAITABLE != 0 {
            Wake::Announced
        } else {
            Wake::Never
        };
        let is_for = match flags & !(IPC_CELL_F_WAITABLE | IPC_CELL_F_WAITABLE_RDONLY) {
            0 => Use::Store,
            IPC_CELL_F_SOLE_WRITER => Use::StoreAlone,
            _ => return Err(errno!(EINVAL)),
        };
        // SAFETY: the caller's memory of mem_size bytes.
        unsafe { Cell::init(memory(mem)?, mem_size, value_size, wake, is_for) }
    };
    // SAFETY: the caller's output parameter.
    or_errno_of(|| unsafe { return_handle(ret_cell, init) }, -1)
}

/// Opens a cell that a process has made with ipc_cell_init.
///
/// mem is the address at which this process has mapped the memory, aligned to 16 bytes and with
/// mem_size bytes. flags is 0, IPC_CELL_F_RDONLY or IPC_CELL_F_SOLE_WRITER. With IPC_CELL_F_RDONLY
/// the memory may be mapped read-only, and no call writes to it. Without it, only ipc_cell_store
/// and ipc_cell_wait write. The memory may contain anything, and may change at any time: the call
/// checks the sizes once and keeps them in the handle. Whatever another process writes,
/// ipc_cell_load and ipc_cell_wait stay within mem_size bytes.
///
/// With IPC_CELL_F_SOLE_WRITER the calling thread becomes the only writer of the cell, until it
/// closes the handle or ends, or its process dies. It holds the lock between the writers all that
/// time, so its stores need no lock, and are several times as fast while others read. Stores by
/// other handles wait until then. Only this thread may store with the handle, and only this thread
/// closes it.
///
/// The memory belongs to the caller, and stays mapped until ipc_cell_close (for a sole writer:
/// until its own thread has closed the handle, or ends). After fork the child has its own copy of
/// the handle, which works, and which the child closes. The parent stays the sole writer: a store
/// with its handle in the child fails with EPERM.
///
/// Does not block. Not a cancellation point. May be called from any thread and in the child after
/// fork; not from a signal handler.
///
/// Returns 0, or -1 with errno and ret_cell unchanged:
///   EBUSY   flags is IPC_CELL_F_SOLE_WRITER, and the cell has a sole writer, or a store is in
///           progress
///   EINVAL  mem or ret_cell is NULL, mem is not aligned, or flags has an unknown flag, or both
///           IPC_CELL_F_RDONLY and IPC_CELL_F_SOLE_WRITER
///   ENOMEM  no memory for the handle
///   EPROTO  the memory contains no complete cell, or one that is larger than mem_size
///   ESTALE  another version of the library has made the cell with another layout; or, with
///           IPC_CELL_F_SOLE_WRITER, its lock is that of another C library
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
            _ => return Err(errno!(EINVAL)),
        };
        // SAFETY: the caller's memory of mem_size bytes.
        unsafe { Cell::open(memory(mem)?, mem_size, is_for) }
    };
    // SAFETY: the caller's output parameter.
    or_errno_of(|| unsafe { return_handle(ret_cell, open) }, -1)
}

/// Replaces the value by len bytes, from 1 to ipc_cell_value_size.
///
/// A reader gets the old value until the new one is complete, then the new one, and never a part of
/// either, even if this process is killed at any instruction of the call. Each store gives the
/// value a version: 1 for the first value, incremented by 1 for each further one. Several threads
/// and processes may store, one after the other. timeout_ms is the time to wait for other writers,
/// in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits until a signal
/// handler has run. A writer that dies does not stop the others. A sole writer
/// (IPC_CELL_F_SOLE_WRITER) never waits.
///
/// In a cell made with IPC_CELL_F_WAITABLE the store wakes the waiting threads, and makes a system
/// call only if there are any, or if one was killed while it waited. If a process is killed between
/// the publication and the wake-up, the waiting threads see the value up to 100 ms late. In a cell
/// made with IPC_CELL_F_WAITABLE_RDONLY each store makes one system call, which publishes and
/// wakes. If a system call filter refuses that call, the store makes two calls, and the delay can
/// be a second.
///
/// A process that stores must trust all processes that can write to the memory, because the lock
/// between the writers is in it. A process that only loads and waits does not need to.
///
/// Blocks as timeout_ms says, and only while another writer stores. Not a cancellation point. May
/// be called from any thread, by several at once, and in the child after fork; with the handle of a
/// sole writer only from its thread; not from a signal handler.
///
/// Returns 0, or -1 with errno and nothing stored:
///   EAGAIN     timeout_ms is 0, and another thread is storing
///   EBADF      the handle is for reading only (IPC_CELL_F_RDONLY)
///   EDEADLK    this thread is the sole writer with another handle
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     c or value is NULL, len is 0, or timeout_ms is below -2
///   EMSGSIZE   len is greater than ipc_cell_value_size
///   EPERM      the handle is that of a sole writer, which is another thread, or the parent of this
///              process
///   EPROTO     another process has overwritten the cell
///   ESTALE     the lock in the cell is that of another C library
///   ETIMEDOUT  the time-out expired, and another thread is still storing
///
/// The algorithm is a row of seqlocks (Lameter, "Effective synchronization on Linux/NUMA systems",
/// 2005): the writer fills the next slot, and readers copy the last complete one.
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

/// Copies the current value, all bytes from the same store, to a buffer of cap bytes.
///
/// *ret_version becomes its version; ret_version may be NULL. The call writes nothing to the shared
/// memory and takes no lock: readers do not disturb each other, and delay no writer. After the
/// value, within cap bytes, the buffer can contain parts of a value that writers have replaced
/// during the call. After EAGAIN or EPROTO the buffer can contain anything; after another error
/// too, if writers stored during the call. *ret_version is unchanged after any error.
///
/// Does not block, whatever the writers do. Not a cancellation point. May be called from any
/// thread, by several at once, from a signal handler, and in the child after fork.
///
/// Returns the length of the value, or -1 with errno:
///   EAGAIN    during each of 64 attempts, writers replaced the value more often than the cell has
///             slots (at least four). This was observed only with hostile writers
///   EINVAL    c or value is NULL, or cap is 0
///   EMSGSIZE  the value is longer than cap
///   ENODATA   the cell has no value yet
///   EPROTO    another process has overwritten the cell
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
        let buffer = unsafe { recv_buffer(value, cap) }?;
        // SAFETY: the caller's output parameter, or NULL.
        let ret_version = unsafe { out_ptr(ret_version) }.ok();
        Ok(cell.load(buffer, ret_version)? as ssize_t)
    };
    or_errno(load(), -1)
}

/// Waits until the version of the value differs from seen: a version from ipc_cell_load, or 0 to
/// wait for the first value.
///
/// The thread sleeps during the wait. Several values may have been stored when the call returns.
/// timeout_ms is as for ipc_cell_store. The cell must have been made with IPC_CELL_F_WAITABLE or
/// IPC_CELL_F_WAITABLE_RDONLY. With the former the call announces the waiting thread in the memory,
/// so the handle must not have IPC_CELL_F_RDONLY; with the latter it writes nothing.
///
/// The call checks the version itself every 100 ms (IPC_CELL_F_WAITABLE_RDONLY: every second),
/// because a process that can read the memory can intercept its wake-up, and a writer can be killed
/// just before it wakes the waiting threads. This interval is the longest delay. If a process is
/// killed while it waits, the next store makes one unnecessary system call.
///
/// Blocks as timeout_ms says. A cancellation point unless timeout_ms is 0. May be called from any
/// thread, by several at once, from a signal handler, and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EAGAIN      timeout_ms is 0, and the version is still seen
///   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL      c is NULL, or timeout_ms is below -2
///   EOPNOTSUPP  the cell was made without a flag that allows this handle to wait. A handle with
///               IPC_CELL_F_RDONLY cannot announce itself to stores, and needs
///               IPC_CELL_F_WAITABLE_RDONLY
///   EPROTO      another process has overwritten the cell
///   ETIMEDOUT   the time-out expired, and the version is still seen
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

/// Returns the size of the largest value of a cell: the value_size with which it was made.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns the number of bytes, or 0 if c is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cell_value_size(c: *const Cell) -> size_t {
    // SAFETY: the caller's handle.
    unsafe { handle(c) }.map_or(0, Cell::value_size)
}

/// Frees a handle. The cell and its memory stay unchanged. NULL does nothing.
///
/// The thread that opened a handle with IPC_CELL_F_SOLE_WRITER closes it, and is no longer the sole
/// writer then. If another thread closes it, the handle is freed, and the first thread stays the
/// sole writer until it ends. The memory must stay mapped until then, because it is linked into the
/// list of locks that the thread holds.
///
/// Does not block. Not a cancellation point. May be called from any thread, once no thread uses the
/// handle, and in the child after fork; not from a signal handler. Cannot fail.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_cell_close(c: *mut Cell) {
    // SAFETY: the caller's handle, which is no longer used.
    unsafe { drop_handle(c) };
}
