//! The locks in shared memory, and the result of a lock call.
//!
//! | module | content |
//! |---|---|
//! | [`mutex`] | the mutex |
//! | [`rwlock`] | the reader-writer lock: its memory |
//! | [`rw_call`] | one call on it: how it takes slots, and how it waits |
//! | [`rw_protocol`] | how readers and writers exclude each other, over atomics alone |
//! | [`cond`] | waiting until the data that a mutex guards has changed |
//! | [`event`] | a flag that threads set, clear and wait for |
//! | [`event_state`] | how an event is set, consumed and waited for, over atomics alone |
//! | [`announce`] | how sleeping threads announce themselves, over atomics alone |
//! | [`signals`] | how a condition misses no signal, over atomics alone |
//! | [`fair_mutex`] | a robust mutex behind which no waiter starves |
//! | [`inheriting`] | waiting for a mutex with priority inheritance |
//! | [`robust_mutex`] | the C library's robust mutex, from which the others are built |
//! | [`attributes`] | how the C library makes one |
//! | [`home`] | the PID namespace and the boot to which a lock belongs |
//! | [`process`] | the calling process as the locks identify it |

pub mod announce;
pub mod attributes;
pub mod cond;
pub mod event;
pub mod event_state;
pub mod fair_mutex;
pub mod home;
pub mod inheriting;
pub mod mutex;
pub mod process;
pub mod raw_mutex;
pub mod robust_mutex;
pub mod robust_wait;
pub mod rw_call;
pub mod rw_protocol;
pub mod rwlock;
pub mod signals;

/// How a lock was acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum LockStatus {
    /// The data that the lock guards is consistent.
    Clean,
    /// The last owner died with it, or unlocked it without marking it consistent.
    OwnerDied,
}

impl LockStatus {
    /// The status of a lock; `died` says whether an owner died with it.
    #[inline]
    pub fn of(died: bool) -> Self {
        if died { Self::OwnerDied } else { Self::Clean }
    }
}
