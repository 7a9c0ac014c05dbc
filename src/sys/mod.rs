//! The raw system calls.
//!
//! The calls of layer 1 go through `syscall(2)` and not through the C library's
//! function of the same name. A program that is pointed at unixipc by renaming
//! (`semop` defined as `ipc_semop` in a preloaded object, or by the linker's
//! `--wrap`) would otherwise come back to itself for ever. On the supported
//! ABIs the C library adds nothing to these calls. Where it computes something
//! (`ftok`), or makes a system call of another name (`mkfifo`, `semop`), the same
//! is done here: a system call filter for the C library's call suits this one.

pub mod cache;
mod cleanup;
mod fs;
pub mod futex;
pub mod membarrier;
pub mod memory;
pub mod packet;
pub mod pipe;
mod process;
mod socket;
pub mod spawn;
mod sysv;
mod thread;
mod time;

pub use fs::{flock, ftok, mkfifo};
pub use memory::page_size;
pub use process::{ForkLocal, exec_random};
pub use socket::{
    disconnect, has_ended, is_listening, is_local, local_pair, peer_credentials, recv, recvmsg,
    send, sendmsg, sendto, socket_type, socketpair,
};
pub use sysv::{Semun, semctl, semget, semop, semtimedop, shmat, shmctl, shmdt, shmget};
pub use thread::{
    CancelGuard, is_process, is_single_threaded, is_thread_alive, processor, test_cancel,
    thread_id, thread_token,
};
pub use time::{coarse_ms, monotonic_ns, monotonic_time, real_time};

use crate::errno::{Errno, Result};
use libc::{c_int, c_long};

/// Splits what `syscall` returned into a value and an error.
fn checked(ret: c_long) -> Result<c_long> {
    if ret == -1 {
        Err(Errno::last())
    } else {
        Ok(ret)
    }
}

/// [`checked`], for the calls whose kernel side returns an `int`.
fn checked_int(ret: c_long) -> Result<c_int> {
    checked(ret).map(|value| value as c_int)
}

/// [`checked`], for the calls that return a length.
fn checked_len(ret: isize) -> Result<usize> {
    if ret < 0 {
        Err(Errno::last())
    } else {
        Ok(ret as usize)
    }
}
