//! The control words of an end, in shared memory. The end writes them, its peer only reads them.

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::transport::cpu_hint::CpuHint;

/// A cursor and the state of its direction.
#[repr(C, align(128))]
#[derive(Default)]
pub struct Cursor {
    /// The position, in bytes.
    pub at: AtomicU64,
    /// 1 while it is published without fences (`event_count`).
    pub asymmetric: AtomicU32,
    /// The process that moves it; 0 for none yet.
    pub owner: AtomicU32,
}

impl Cursor {
    /// Makes `process` its owner. False if another process is, which `is_alive`. After a fork two
    /// processes have the same end; the first that uses a direction owns it.
    pub fn claim(&self, process: u32, is_alive: impl Fn(u32) -> bool) -> bool {
        let relaxed = Ordering::Relaxed;
        let mut owner = 0;
        loop {
            match self
                .owner
                .compare_exchange(owner, process, relaxed, relaxed)
            {
                Ok(_) => return true,
                Err(found) if found == process => return true,
                Err(found) if is_alive(found) => return false,
                Err(found) => owner = found,
            }
        }
    }
}

/// The directions that have ended. They are apart from the cursors: a side may check often whether
/// its peer has ended, and must not take the cache lines that the peer writes.
#[repr(C, align(128))]
#[derive(Default)]
pub struct Ended {
    /// 1 when this side will send nothing from now on.
    pub sending: AtomicU32,
    /// 1 when this side will receive nothing from now on.
    pub receiving: AtomicU32,
}

/// An event count.
#[repr(C, align(128))]
#[derive(Default)]
pub struct EventCount {
    /// See `event_count`.
    pub word: AtomicU32,
}

/// The control words of an end.
#[repr(C)]
#[derive(Default)]
pub struct Control {
    /// How far it has written its ring.
    pub tail: Cursor,
    /// How far it has read its peer's ring.
    pub head: Cursor,
    /// Its receiver's event count.
    pub receiver: EventCount,
    /// Its sender's event count.
    pub sender: EventCount,
    /// Where it ran last.
    pub cpu: CpuHint,
    /// The directions that have ended.
    pub ended: Ended,
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<Control>() == 768);
    assert!(std::mem::offset_of!(Control, head) == 128);
    assert!(std::mem::offset_of!(Control, receiver) == 256);
    assert!(std::mem::offset_of!(Control, sender) == 384);
    assert!(std::mem::offset_of!(Control, cpu) == 512);
    assert!(std::mem::offset_of!(Control, ended) == 640);
    assert!(std::mem::offset_of!(Cursor, asymmetric) == 8);
    assert!(std::mem::offset_of!(Cursor, owner) == 12);
    assert!(std::mem::offset_of!(Ended, receiving) == 4);
};
