//! The atomics of the protocols in shared memory, which the models of tests/loom replace by
//! those of a model checker. A protocol module takes its atomics from here and from nowhere else.

pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence, fence};
