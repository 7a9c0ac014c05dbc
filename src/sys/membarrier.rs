//! Barriers that one process has the others execute (membarrier(2)).

use super::checked;
use libc::c_int;

const GLOBAL_EXPEDITED: c_int = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: c_int = 1 << 2;

/// Lets [`issue`] in other processes reach the threads of this one, and of its children. To do
/// so again costs one short system call. False where the system refuses it.
pub fn register() -> bool {
    call(REGISTER_GLOBAL_EXPEDITED)
}

/// A full barrier in each running thread of the processes that have registered, before this
/// returns. False where the system refuses it.
pub fn issue() -> bool {
    call(GLOBAL_EXPEDITED)
}

fn call(command: c_int) -> bool {
    // SAFETY: no pointers.
    checked(unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }).is_ok()
}
