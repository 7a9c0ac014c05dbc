//! Layer 3: the event.

use super::pointer::{SharedObject, object};
use crate::deadline::Deadline;
use crate::errno::{Result, errno, or_errno};
use crate::lock::event::Event;
use crate::lock::event_state::Reset;
use libc::{c_int, c_uint};

/// Flag of ipc_event_init: a wait that finds the event set clears it, so each set releases one
/// waiting thread.
pub const IPC_EVENT_F_AUTO_RESET: c_uint = 1;
/// Flag of ipc_event_init: the event is set initially.
pub const IPC_EVENT_F_SET: c_uint = 2;

/// An event in shared memory, made by ipc_event_init. It occupies one cache line. Only the library
/// accesses the content.
#[repr(C, align(16))]
pub struct ipc_event {
    reserved: [u64; 8],
}

impl SharedObject for ipc_event {
    type Object = Event;
}

/// Makes an event. The memory may contain anything before.
///
/// An event is a flag that threads of all processes set, clear and wait for. e is in memory that
/// they share and can write, and is aligned to 16 bytes. flags is 0 or a combination of
/// IPC_EVENT_F_AUTO_RESET and IPC_EVENT_F_SET. Without IPC_EVENT_F_AUTO_RESET, the event stays set
/// until ipc_event_clear, and each set releases all waiting threads. With it, a set releases one
/// thread, which clears the event. The event lives as long as the memory, and is not destroyed.
/// Call this function once, before any other process uses the event.
///
/// Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
/// and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EINVAL  e is NULL or not aligned to 16, or flags has an unknown flag
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_event_init(e: *mut ipc_event, flags: c_uint) -> c_int {
    let init = || -> Result<c_int> {
        // SAFETY: the caller's object.
        let event = unsafe { object(e) }?;
        if flags & !(IPC_EVENT_F_AUTO_RESET | IPC_EVENT_F_SET) != 0 {
            return Err(errno!(EINVAL));
        }
        let reset = if flags & IPC_EVENT_F_AUTO_RESET == 0 {
            Reset::Manual
        } else {
            Reset::Automatic
        };
        event.init(reset, flags & IPC_EVENT_F_SET != 0);
        Ok(0)
    };
    or_errno(init(), -1)
}

/// Sets an event.
///
/// With manual reset the call releases all waiting threads, even if the event is cleared before
/// they run. With automatic reset it releases one thread: one that waits now, or the next one to
/// wait. Setting an event that is already set has no effect. Everything that the calling thread
/// wrote before is visible to the threads that the call releases.
///
/// Does not block. Not a cancellation point. The call makes a system call only if a thread waits,
/// or if a thread stopped waiting without having been woken: it was killed or cancelled, or its
/// time-out expired. If the process is killed in the call, it has set the event and woken a waiting
/// thread, or neither; or it has set the event, and threads that began to wait during the call see
/// it up to 100 ms late. May be called from any thread, from a signal handler, and in the child
/// after fork.
///
/// Returns 0, or -1 with errno:
///   EINVAL  e is NULL or not aligned to 16
///   EPROTO  e is not an event made by ipc_event_init
///   ESTALE  it was made by another version of the library
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_event_set(e: *mut ipc_event) -> c_int {
    // SAFETY: the caller's object.
    let set = unsafe { object(e) }.and_then(Event::set);
    or_errno(set.map(|()| 0), -1)
}

/// Clears an event. If the event was set, the calling thread sees everything that was written
/// before it was set.
///
/// Does not block, and makes no system call. Not a cancellation point. May be called from any
/// thread, from a signal handler, and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EINVAL  e is NULL or not aligned to 16
///   EPROTO  e is not an event made by ipc_event_init
///   ESTALE  it was made by another version of the library
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_event_clear(e: *mut ipc_event) -> c_int {
    // SAFETY: the caller's object.
    let clear = unsafe { object(e) }.and_then(Event::clear);
    or_errno(clear.map(|()| 0), -1)
}

/// Waits until an event is set. With automatic reset, the call clears the event.
///
/// If the event is set, the call returns at once. timeout_ms is in milliseconds: -1 waits without
/// limit, 0 does not wait, IPC_WAIT_INTR waits until a signal handler has run. Everything that was
/// written before the event was set is visible to the calling thread. With manual reset the call
/// also returns if the event was set and cleared again while it waited.
///
/// A process that is killed while it waits consumes no set: with automatic reset the waiting thread
/// itself clears the event, just before the call returns. If the thread is killed or cancelled
/// between its wake-up and that moment, the event stays set. Another waiting thread sees it at most
/// 100 ms later, because each waiting thread checks the event that often.
///
/// Blocks as timeout_ms says. A cancellation point unless timeout_ms is 0. May be called from any
/// thread, from a signal handler, and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EAGAIN     timeout_ms is 0, and the event is not set
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     e is NULL or not aligned to 16, or timeout_ms is below -2
///   EPROTO     e is not an event made by ipc_event_init
///   ESTALE     it was made by another version of the library
///   ETIMEDOUT  the time-out expired
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_event_wait(e: *mut ipc_event, timeout_ms: c_int) -> c_int {
    let wait = || -> Result<c_int> {
        // SAFETY: the caller's object.
        let event = unsafe { object(e) }?;
        event.wait(Deadline::new(timeout_ms)?)?;
        Ok(0)
    };
    or_errno(wait(), -1)
}

/// Checks whether an event is set, and does not clear it. The result can be outdated when the call
/// returns.
///
/// Does not block, and makes no system call. Not a cancellation point. May be called from any
/// thread, from a signal handler, and in the child after fork.
///
/// Returns 1 if it is set, 0 if not, or -1 with errno:
///   EINVAL  e is NULL or not aligned to 16
///   EPROTO  e is not an event made by ipc_event_init
///   ESTALE  it was made by another version of the library
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_event_is_set(e: *const ipc_event) -> c_int {
    // SAFETY: the caller's object.
    let set = unsafe { object(e) }.and_then(Event::is_set);
    or_errno(set.map(c_int::from), -1)
}
