//! The atomics of the protocols in shared memory. The models of tests/loom replace them by those of
//! a model checker, so a protocol module must import its atomics from here only.

pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence, fence};
