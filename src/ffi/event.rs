//! Layer 3: the event.

use super::pointer::object;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, or_errno};
use crate::lock::event::Event;
use crate::lock::event_state::Reset;
use libc::{c_int, c_uint};

/// A flag of ipc_event_init: a wait that finds the event set clears it, so each set releases one
/// waiter.
pub const IPC_EVENT_F_AUTO_RESET: c_uint = 1;
/// A flag of ipc_event_init: the event is set from the beginning.
pub const IPC_EVENT_F_SET: c_uint = 2;

/// An event in shared memory, made by ipc_event_init. One cache line; the library alone accesses
/// the content.
#[repr(C, align(16))]
#[allow(non_camel_case_types)]
pub struct ipc_event {
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<Event>() <= size_of::<ipc_event>());
const _: () = assert!(align_of::<Event>() <= align_of::<ipc_event>());

/// The event in an ipc_event of C's.
///
/// # Safety
///
/// As for [`object`].
unsafe fn event<'a>(at: *const ipc_event) -> Result<&'a Event> {
    // SAFETY: the caller's promise; an Event is in the same place, and not larger.
    unsafe { object(at) }.map(|event| unsafe { &*std::ptr::from_ref(event).cast::<Event>() })
}

/// Makes an event in memory of any content.
///
/// An event is a flag that threads of all processes set, clear and wait for. e is in memory that
/// they share and can write, aligned to 16. flags is 0 or a combination of IPC_EVENT_F_AUTO_RESET
/// and IPC_EVENT_F_SET. Without the former, the event stays set until ipc_event_clear, and each set
/// releases all threads that wait. With it, a set releases one thread, which clears the event. The
/// event lives as long as the memory and is not destroyed. The call is made once, before any other
/// process uses the event.
///
/// Does not block, and is not a cancellation point. May be called from any thread, from a signal
/// handler, and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EINVAL     e is NULL or not aligned to 16, or flags has an unknown flag
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_event_init(e: *mut ipc_event, flags: c_uint) -> c_int {
    let init = || -> Result<c_int> {
        // SAFETY: the caller's object.
        let event = unsafe { event(e) }?;
        if flags & !(IPC_EVENT_F_AUTO_RESET | IPC_EVENT_F_SET) != 0 {
            return Err(Errno::EINVAL);
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
/// With manual reset the call releases all threads that wait, even if the event is cleared before
/// they run. With automatic reset it releases one thread: one that waits now, or the next one that
/// waits. To set an event that is set changes nothing. What the calling thread wrote before is
/// visible to the threads that it releases.
///
/// Does not block, and is not a cancellation point. Makes a system call only if a thread waits, or
/// if a thread stopped waiting without having been woken: it was killed or cancelled, or its
/// time-out expired. A process that is killed in the call has set the event and woken a waiter, or
/// neither; or it has set the event, and waiters that began to wait during the call see it up to 100
/// ms late. May be called from any thread, from a signal handler, and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EINVAL     e is NULL or not aligned to 16
///   EPROTO     e is not an event that ipc_event_init made
///   ESTALE     another version of the library made it
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_event_set(e: *mut ipc_event) -> c_int {
    // SAFETY: the caller's object.
    let set = unsafe { event(e) }.and_then(Event::set);
    or_errno(set.map(|()| 0), -1)
}

/// Clears an event. If the event was set, the calling thread sees what was written before.
///
/// Does not block, makes no system call, and is not a cancellation point. May be called from any
/// thread, from a signal handler, and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EINVAL     e is NULL or not aligned to 16
///   EPROTO     e is not an event that ipc_event_init made
///   ESTALE     another version of the library made it
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_event_clear(e: *mut ipc_event) -> c_int {
    // SAFETY: the caller's object.
    let clear = unsafe { event(e) }.and_then(Event::clear);
    or_errno(clear.map(|()| 0), -1)
}

/// Waits until an event is set. With automatic reset, the call clears the event.
///
/// Returns at once if the event is set. timeout_ms is in milliseconds; -1 waits without limit, 0
/// does not wait, IPC_WAIT_INTR waits until a signal handler has run. What was written before the
/// event was set is visible to the calling thread. With manual reset the call also returns if the
/// event was set and cleared again while it waited.
///
/// A process that is killed while it waits consumes nothing: with automatic reset the waiting
/// thread itself clears the event, just before the call returns. If it is killed or cancelled
/// after it was woken and before that, the event stays set, and another thread that waits sees it
/// at most 100 ms later: each waiter checks the event that often.
///
/// Blocks as timeout_ms says; is a cancellation point unless timeout_ms is 0. May be called from any
/// thread, from a signal handler, and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EAGAIN     timeout_ms is 0, and the event is not set
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     e is NULL or not aligned to 16, or timeout_ms is below -2
///   EPROTO     e is not an event that ipc_event_init made
///   ESTALE     another version of the library made it
///   ETIMEDOUT  the time-out expired
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_event_wait(e: *mut ipc_event, timeout_ms: c_int) -> c_int {
    let wait = || -> Result<c_int> {
        // SAFETY: the caller's object.
        let event = unsafe { event(e) }?;
        event.wait(Deadline::new(timeout_ms)?)?;
        Ok(0)
    };
    or_errno(wait(), -1)
}

/// Tells whether an event is set. Does not clear it. The answer can be outdated when the call
/// returns.
///
/// Does not block, makes no system call, and is not a cancellation point. May be called from any
/// thread, from a signal handler, and in the child after fork.
///
/// Returns 1 if it is set, 0 if not, or -1 with errno:
///   EINVAL     e is NULL or not aligned to 16
///   EPROTO     e is not an event that ipc_event_init made
///   ESTALE     another version of the library made it
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_event_is_set(e: *const ipc_event) -> c_int {
    // SAFETY: the caller's object.
    let set = unsafe { event(e) }.and_then(Event::is_set);
    or_errno(set.map(c_int::from), -1)
}
