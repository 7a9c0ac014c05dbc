//! The control words of an end, in shared memory. The end writes them; its peer only reads them.

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::errno::{Result, errno};
use crate::transport::cpu_hint::CpuHint;

/// A cursor, and the state of the direction to which it belongs.
#[repr(C, align(128))]
#[derive(Default)]
pub struct Cursor {
    /// The position, in bytes.
    pub at: AtomicU64,
    /// 1 while the cursor is published with the asymmetric fence (`event_count`).
    pub asymmetric: AtomicU32,
    /// The process that advances the cursor; 0 if none has yet.
    pub owner: AtomicU32,
    /// In the head: 1 + the cursor of the message whose descriptors were received last.
    pub taken: AtomicU64,
}

impl Cursor {
    /// Makes `process` the owner of the cursor. `EBUSY` if it has another owner which `is_alive`.
    /// After a fork two processes have the same end; the first to use a direction owns it.
    pub fn acquire(&self, process: u32, is_alive: impl Fn(u32) -> bool) -> Result<()> {
        let relaxed = Ordering::Relaxed;
        let mut owner = 0;
        loop {
            match self
                .owner
                .compare_exchange(owner, process, relaxed, relaxed)
            {
                Ok(_) => return Ok(()),
                Err(found) if found == process => return Ok(()),
                Err(found) if is_alive(found) => return Err(errno!(EBUSY)),
                Err(found) => owner = found,
            }
        }
    }
}

/// The directions that have ended.
#[repr(C)]
#[derive(Default)]
pub struct Ended {
    /// 1 when this side will send nothing from now on.
    pub sending: AtomicU32,
    /// 1 when this side will receive nothing from now on.
    pub receiving: AtomicU32,
}

/// An event count; see `event_count`.
#[repr(C)]
#[derive(Default)]
pub struct EventCount {
    /// The counter.
    pub word: AtomicU32,
}

/// The control words of an end. A busy side writes only its cursors, so all other words share a cache
/// line. With many channels each line that a message needs is a cache miss.
#[repr(C)]
#[derive(Default)]
pub struct Control {
    /// The end of the messages that it has written to its own ring.
    pub tail: Cursor,
    /// The end of the messages that it has read from the peer's ring.
    pub head: Cursor,
    /// The event count of its receiver.
    pub receiver: EventCount,
    /// The event count of its sender.
    pub sender: EventCount,
    /// The processor on which it ran last.
    pub cpu: CpuHint,
    /// The directions that have ended.
    pub ended: Ended,
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<Control>() == 384);
    assert!(std::mem::offset_of!(Control, head) == 128);
    assert!(std::mem::offset_of!(Control, receiver) == 256);
    assert!(std::mem::offset_of!(Control, sender) == 260);
    assert!(std::mem::offset_of!(Control, cpu) == 264);
    assert!(std::mem::offset_of!(Control, ended) == 268);
    assert!(std::mem::offset_of!(Cursor, asymmetric) == 8);
    assert!(std::mem::offset_of!(Cursor, owner) == 12);
    assert!(std::mem::offset_of!(Cursor, taken) == 16);
    assert!(std::mem::offset_of!(Ended, receiving) == 4);
};
