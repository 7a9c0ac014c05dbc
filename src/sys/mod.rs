//! Raw system calls.
//!
//! The calls of layer 1 use `syscall(2)`, and not the C library's function of the same name. A
//! program can be redirected to unixipc by renaming: it defines `semop` as `ipc_semop` in a
//! preloaded object, or uses the linker's `--wrap`. A call of the C library's `semop` would then
//! recurse without end. On the supported ABIs the C library adds nothing to these calls. If it
//! computes something (`ftok`), or makes a system call of another name (`mkfifo`, `semop`), this
//! module does the same, so that a system call filter for the C library's function also accepts
//! this one.

pub mod cache;
pub mod child;
mod cleanup;
mod fs;
pub mod futex;
pub mod membarrier;
pub mod memory;
pub mod packet;
mod pidfd;
pub mod pipe;
mod process;
mod sem_types;
mod socket;
pub mod spawn;
mod sysv;
mod thread;
mod time;

pub use fs::{flock, ftok, has_lease, lease, mkfifo};
pub use memory::page_size;
pub use pidfd::{has_process_ended, open_pidfd, peer_pidfd};
pub use process::{ForkLocal, exec_random, is_known_process_id, pid_namespace, process_id, random};
pub use sem_types::semid_ds;
pub use socket::{
    disconnect, has_ended, is_hung_up, is_listening, is_local, local_pair, peer_credentials, recv,
    recvmsg, send, sendmsg, sendto, socket_type, socketpair,
};
pub use sysv::{Semun, semctl, semget, semop, semtimedop, shmat, shmctl, shmdt, shmget};
pub use thread::{
    CancelGuard, is_process, is_single_threaded, is_thread_alive, processor, test_cancel,
    thread_id, thread_token,
};
pub use time::{boot_time, coarse_ms, monotonic_ns, monotonic_time, real_time};

use crate::errno::{Errno, Result};
use libc::{c_int, c_long};

/// Converts the result of `syscall(2)`.
fn checked(ret: c_long) -> Result<c_long> {
    if ret == -1 {
        Err(Errno::last())
    } else {
        Ok(ret)
    }
}

/// [`checked`], for calls that return an `int`.
fn checked_int(ret: c_long) -> Result<c_int> {
    checked(ret).map(|value| value as c_int)
}

/// [`checked`], for calls that return a length.
fn checked_len(ret: isize) -> Result<usize> {
    if ret < 0 {
        Err(Errno::last())
    } else {
        Ok(ret as usize)
    }
}
