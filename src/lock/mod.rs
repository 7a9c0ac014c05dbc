//! The locks in shared memory, and the result of a lock call.
//!
//! | module | content |
//! |---|---|
//! | [`mutex`] | the mutex |
//! | [`rwlock`] | the reader-writer lock: its memory |
//! | [`rw_call`] | one call on a reader-writer lock: taking slots, and waiting |
//! | [`rw_protocol`] | how readers and writers exclude each other, over atomics alone |
//! | [`cond`] | the condition: waiting until the data that a mutex guards has changed |
//! | [`event`] | the event: a flag that threads set, clear and wait for |
//! | [`event_state`] | how an event is set, consumed and waited for, over atomics alone |
//! | [`announce`] | how waiters of an event or a cell announce themselves, over atomics alone |
//! | [`signals`] | how waiters of a condition miss no signal, over atomics alone |
//! | [`fair_mutex`] | a robust mutex whose waiters do not starve |
//! | [`inheriting`] | waiting for a mutex with priority inheritance |
//! | [`robust_mutex`] | a robust mutex, from which the locks are built |
//! | [`robust_wait`] | waiting for a robust mutex |
//! | [`raw_mutex`] | the C library's mutex |
//! | [`attributes`] | the attributes of the C library's mutex |
//! | [`home`] | the PID namespace and the boot to which a lock belongs |
//! | [`process`] | the identity of the calling process |

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

/// The state of the guarded data when a lock is acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum LockStatus {
    /// The data that the lock guards is consistent.
    Clean,
    /// An owner died with the lock, and no later owner has marked the data as consistent.
    OwnerDied,
}

impl LockStatus {
    /// The status of a lock; `died` says whether an owner died with it.
    #[inline]
    pub fn of(died: bool) -> Self {
        if died { Self::OwnerDied } else { Self::Clean }
    }
}
