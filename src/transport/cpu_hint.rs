//! The processors on which the two sides run, from which a caller decides whether to spin.

use crate::atomic::{AtomicU32, Ordering};
use crate::sys;

/// The processor on which a side ran last, as its peer sees it. It may be out of date.
#[repr(C)]
#[derive(Default)]
pub struct CpuHint {
    /// 1 + the number of the processor; 0 if unknown.
    cpu: AtomicU32,
}

impl CpuHint {
    /// Publishes the processor on which the calling thread runs, and returns the published value.
    pub fn publish(&self) -> u32 {
        let here = (sys::processor() as u32).wrapping_add(1);
        if self.cpu.load(Ordering::Relaxed) != here {
            self.cpu.store(here, Ordering::Relaxed);
        }
        here
    }

    /// A hint of its own with the same value.
    pub fn copy(&self) -> Self {
        Self {
            cpu: AtomicU32::new(self.get()),
        }
    }

    /// The published value; 0 if unknown.
    pub fn get(&self) -> u32 {
        self.cpu.load(Ordering::Relaxed)
    }
}
