//! The time-outs of all layers.

use crate::deadline;
use libc::c_int;

/// A time-out: wait without limit, but fail with EINTR after a signal handler has run. A handler
/// that runs before the call starts to wait does not end the call. Nor does a handler that runs
/// between two waits of one call; the lock functions wait in several steps.
pub const IPC_WAIT_INTR: c_int = -2;
const _: () = assert!(IPC_WAIT_INTR == deadline::WAIT_INTR);
