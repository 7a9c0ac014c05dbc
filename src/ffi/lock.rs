//! Return values of all locks.

use crate::lock::LockStatus;
use libc::c_int;

/// Returned by a lock function that acquired the lock, if the last owner died while it held the
/// lock, or released it without marking the data as consistent.
pub const IPC_OWNER_DIED: c_int = 1;

/// Converts the status of an acquired lock: 0, or `IPC_OWNER_DIED`.
pub(super) fn acquired(status: LockStatus) -> c_int {
    match status {
        LockStatus::Clean => 0,
        LockStatus::OwnerDied => IPC_OWNER_DIED,
    }
}
