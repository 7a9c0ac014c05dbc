//! Where the two sides run, which decides whether spinning can help.

use crate::atomic::{AtomicU32, Ordering};
use crate::sys;

/// The processor on which a side ran last, as its peer sees it. A hint.
#[repr(C, align(128))]
#[derive(Default)]
pub struct CpuHint {
    /// 1 + the number of the processor; 0 if it is not known.
    cpu: AtomicU32,
}

impl CpuHint {
    /// Publishes where the calling thread runs, and returns it.
    pub fn publish(&self) -> u32 {
        let here = (sys::processor() as u32).wrapping_add(1);
        if self.cpu.load(Ordering::Relaxed) != here {
            self.cpu.store(here, Ordering::Relaxed);
        }
        here
    }

    /// Where the side ran last.
    pub fn get(&self) -> u32 {
        self.cpu.load(Ordering::Relaxed)
    }
}
