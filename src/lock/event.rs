//! An event in shared memory: a flag that threads set, clear and wait for. [`event_state`] is the
//! protocol.

use super::announce::{MAX_SLEEP, Waiters};
use super::event_state::{self, EventMemory, Reset};
use crate::atomic::{AtomicU32, Ordering};
use crate::deadline::Deadline;
use crate::errno::{Result, errno};
use crate::object::{Header, ObjectType};
use crate::sys::{self, futex};
use libc::c_int;
use std::mem::offset_of;

const OBJECT_TYPE: ObjectType = ObjectType::new(*b"uiev", 1);
/// A flag in the memory: a waiter consumes the event.
const AUTO_RESET: u32 = 1;

/// The event in shared memory.
#[repr(C)]
pub struct Event {
    header: Header,
    flags: AtomicU32,
    state: AtomicU32,
    waiters: Waiters,
}

impl Event {
    /// The type of the object.
    ///
    /// cbindgen:ignore
    pub const TYPE: ObjectType = OBJECT_TYPE;

    /// Offsets of the fields, for the golden file of layouts.
    pub const LAYOUT: [(&str, usize); 4] = [
        ("header", offset_of!(Self, header)),
        ("flags", offset_of!(Self, flags)),
        ("state", offset_of!(Self, state)),
        ("waiters", offset_of!(Self, waiters)),
    ];

    /// Initialises an event in memory of any content.
    pub fn init(&self, reset: Reset, set: bool) {
        self.header.begin();
        let flags = match reset {
            Reset::Manual => 0,
            Reset::Automatic => AUTO_RESET,
        };
        self.flags.store(flags, Ordering::Relaxed);
        self.state
            .store(event_state::initial(set), Ordering::Relaxed);
        self.waiters.init();
        self.header.finish(OBJECT_TYPE);
    }

    /// Sets the event. Wakes all waiters with manual reset, one waiter with automatic reset.
    #[inline]
    pub fn set(&self) -> Result<()> {
        self.header.check(OBJECT_TYPE)?;
        event_state::set(self);
        Ok(())
    }

    /// Clears the event.
    #[inline]
    pub fn clear(&self) -> Result<()> {
        self.header.check(OBJECT_TYPE)?;
        event_state::clear(self);
        Ok(())
    }

    /// Whether the event is set.
    #[inline]
    pub fn is_set(&self) -> Result<bool> {
        self.header.check(OBJECT_TYPE)?;
        Ok(event_state::is_set(self))
    }

    /// Waits until the event is set, and consumes it with automatic reset. A cancellation point,
    /// unless `wait` is a zero time-out.
    #[inline]
    pub fn wait(&self, wait: Deadline) -> Result<()> {
        self.header.check(OBJECT_TYPE)?;
        if !wait.is_never() {
            sys::test_cancel();
        }
        if event_state::try_wait(self, None).is_none() {
            return Ok(());
        }
        self.wait_asleep(wait)
    }

    #[cold]
    fn wait_asleep(&self, mut wait: Deadline) -> Result<()> {
        if wait.is_never() {
            return Err(errno!(EAGAIN));
        }
        event_state::wait(self, |state| {
            wait.futex_for_cancellable(&self.state, state, MAX_SLEEP)
                .map(drop)
        })
    }
}

impl EventMemory for Event {
    #[inline]
    fn state(&self) -> &AtomicU32 {
        &self.state
    }

    #[inline]
    fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    #[inline]
    fn reset(&self) -> Reset {
        if self.flags.load(Ordering::Relaxed) & AUTO_RESET == 0 {
            Reset::Manual
        } else {
            Reset::Automatic
        }
    }

    fn wake(&self, limit: u32) -> u32 {
        futex::wake(&self.state, count(limit))
    }

    fn set_and_wake(&self, limit: u32) -> Result<u32> {
        futex::update_and_wake(&self.state, futex::Update::SetLowestBit, count(limit))
    }
}

/// A number of threads, as the kernel takes it.
fn count(limit: u32) -> c_int {
    limit.try_into().unwrap_or(c_int::MAX)
}
