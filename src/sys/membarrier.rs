//! Memory barriers that one process executes in the threads of others (membarrier(2)).

use super::checked;
use libc::c_int;

const GLOBAL_EXPEDITED: c_int = 1 << 1;
const REGISTER_GLOBAL_EXPEDITED: c_int = 1 << 2;

/// Registers this process and its children, so that [`issue`] in other processes reaches their
/// threads. A repeated registration costs one short system call. False if the system refuses it.
pub fn register() -> bool {
    call(REGISTER_GLOBAL_EXPEDITED)
}

/// Executes a full barrier in each running thread of the registered processes before it returns.
/// False if the system refuses it.
pub fn issue() -> bool {
    call(GLOBAL_EXPEDITED)
}

fn call(command: c_int) -> bool {
    // SAFETY: no pointers.
    checked(unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }).is_ok()
}
