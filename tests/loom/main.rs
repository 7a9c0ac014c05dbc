//! Models of the protocols in shared memory. loom runs their interleavings, with every value that
//! the memory model allows a load to return. `make loom` builds and runs them.
//!
//! The modules under test are included unchanged; their `crate::atomic` is loom's atomics here.
#![cfg(loom)]

mod atomic {
    pub use crate::channel::compiler_fence;
    pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}
mod errno {
    macro_rules! errno {
        ($name:ident) => {
            unixipc::errno::Errno::$name
        };
    }
    pub(crate) use errno;
    pub use unixipc::errno::{Errno, Result};
}
mod sys {
    pub fn processor() -> usize {
        0
    }
}

mod cell;
mod channel;
mod cond;
mod event;
mod feed;
mod lock;
#[path = "../../src/cell/protocol.rs"]
mod protocol;
#[path = "../../src/lock/rw_protocol.rs"]
mod rw_protocol;
mod rwlock;
mod shipped;
#[path = "../../src/lock/signals.rs"]
mod signals;
mod transport;

use unixipc::lock::LockStatus;

/// A point at which loom tries to switch to every other thread.
///
/// loom compares an access only with the last access to the same variable. So it misses that a store
/// could come before an earlier load of another thread if another load came in between. A store to a
/// variable that no thread loads makes loom try all threads, and orders nothing.
struct SwitchPoint(atomic::AtomicU32);

impl SwitchPoint {
    fn new() -> Self {
        Self(atomic::AtomicU32::new(0))
    }

    fn visit(&self) {
        self.0.store(0, atomic::Ordering::Relaxed);
    }
}

/// Runs a model with at most this number of preemptions. A few preemptions suffice to find faults.
fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}
