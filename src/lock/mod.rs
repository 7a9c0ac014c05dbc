//! The locks in shared memory, and what a lock call reports.
//!
//! | module | what it is |
//! |---|---|
//! | [`mutex`] | the mutex |
//! | [`rwlock`] | the reader-writer lock |
//! | [`cond`] | waiting until what a mutex guards has changed |
//! | [`event`] | a flag that threads set, clear and wait for |
//! | [`event_state`] | how an event is set, consumed and waited for, over atomics alone |
//! | [`robust_mutex`] | the C library's robust mutex, from which the others are built |
//! | [`announce`] | how sleeping threads announce themselves, over atomics alone |
//! | [`signals`] | how a condition misses no signal, over atomics alone |

pub mod announce;
pub mod cond;
pub mod event;
pub mod event_state;
pub mod mutex;
pub mod robust_mutex;
pub mod rwlock;
pub mod signals;

/// How a lock was acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum LockStatus {
    /// What the lock guards is consistent.
    Clean,
    /// The last owner died with it, or unlocked it without marking it consistent.
    OwnerDied,
}
