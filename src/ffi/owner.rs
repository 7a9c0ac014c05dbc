//! What the locks of layers 2 and 3 return.

use crate::lock::Held;
use libc::c_int;

/// What a lock returns that is held, and whose last owner died with it, or unlocked it without
/// saying that what it guards is consistent again.
pub const IPC_OWNER_DIED: c_int = 1;

/// 0, or IPC_OWNER_DIED.
pub(super) fn held(held: Held) -> c_int {
    match held {
        Held::Clean => 0,
        Held::OwnerDied => IPC_OWNER_DIED,
    }
}
