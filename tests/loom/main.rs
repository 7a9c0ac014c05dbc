//! Models of the protocols in shared memory: loom runs every interleaving of them, with every
//! value that the memory model lets a load see. `make loom` builds and runs them.
//!
//! The protocol modules are taken in as they are; what they find as `crate::atomic` here are
//! loom's atomics.
#![cfg(loom)]

mod atomic {
    pub use crate::channel::compiler_fence;
    pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}
mod errno {
    pub use unixipc::errno::{Errno, Result};
}

mod cell;
mod channel;
mod cond;
#[path = "../../src/cell/protocol.rs"]
mod protocol;
#[path = "../../src/channel/ring.rs"]
#[allow(dead_code)] // the models do without some of it
mod ring;
#[path = "../../src/cond/signals.rs"]
mod signals;
#[path = "../../src/channel/sleep.rs"]
mod sleep;

/// Where it is anybody's turn. loom compares an access with the last one to the same variable
/// only, and so does not see that it could come before an earlier one (load, load by another
/// thread, store by that one: it never tries the store first). A store to a variable that
/// nobody loads makes it try, and orders nothing.
struct Turn(atomic::AtomicU32);

impl Turn {
    fn new() -> Self {
        Self(atomic::AtomicU32::new(0))
    }

    fn anybody(&self) {
        self.0.store(0, atomic::Ordering::Relaxed);
    }
}

/// Runs a model with so many preemptions at most: the first few find what there is to find.
fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}
