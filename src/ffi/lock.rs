//! Return values of the locks of layers 2 and 3.

use crate::lock::LockStatus;
use libc::c_int;

/// Returned by a lock call that acquired the lock, if the last owner died while it held the lock,
/// or unlocked it without declaring the protected data consistent.
pub const IPC_OWNER_DIED: c_int = 1;

/// 0, or `IPC_OWNER_DIED`.
pub(super) fn held(held: LockStatus) -> c_int {
    match held {
        LockStatus::Clean => 0,
        LockStatus::OwnerDied => IPC_OWNER_DIED,
    }
}
