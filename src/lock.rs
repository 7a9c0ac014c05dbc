//! How a lock was acquired.

/// A lock that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Held {
    /// What the lock guards is consistent.
    Clean,
    /// The last owner died with it, or unlocked it without saying that it is consistent again.
    OwnerDied,
}
