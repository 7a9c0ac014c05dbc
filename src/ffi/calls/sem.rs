//! System V semaphores.

use crate::errno::or_errno;
use crate::sys::{self, Semun};
use libc::{c_int, key_t, sembuf, size_t, timespec};

/// Gets the semaphore set of a key, or creates it: semget(2).
///
/// With the key IPC_PRIVATE, each call creates a set without a key. nsems is the number of
/// semaphores of a new set; for an existing set it may be smaller, or 0. semflg combines IPC_CREAT,
/// IPC_EXCL and the nine permission bits (read and alter); the umask does not apply. On Linux the
/// semaphores of a new set are 0. A set stays until a process removes it with ipc_semctl(IPC_RMID),
/// even if all processes that use it end.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns the identifier, which can be 0, or -1 with errno:
///   EACCES  the permissions of the set do not allow the access that semflg requests
///   EEXIST  IPC_CREAT and IPC_EXCL are set, and the key has a set
///   EINVAL  nsems is negative or exceeds SEMMSL, is 0 for a new set, or exceeds the number of
///           semaphores of an existing set
///   ENOENT  the key has no set, and IPC_CREAT is not set
///   ENOMEM  the kernel has no memory left
///   ENOSPC  SEMMNI sets or SEMMNS semaphores exist
#[unsafe(no_mangle)]
pub extern "C" fn ipc_semget(key: key_t, nsems: c_int, semflg: c_int) -> c_int {
    or_errno(sys::semget(key, nsems, semflg), -1)
}

/// Performs operations on a semaphore set, all together or none: semop(2).
///
/// Each of the nsops operations adds sem_op to semaphore sem_num; if sem_op is 0, it waits for the
/// semaphore to be 0. The call waits until all operations can be performed at once. sem_flg
/// combines IPC_NOWAIT (fail with EAGAIN instead of waiting) and SEM_UNDO (the kernel reverts the
/// operation when the process ends, also when it is killed).
///
/// Blocks. A signal handler ends the wait with EINTR, even with SA_RESTART, and so does a stop of
/// the process that is followed by SIGCONT. The kernel uses only the low 32 bits of nsops. May be
/// called from any thread, from a signal handler, and in the child after fork; the child does not
/// inherit the operations to revert.
///
/// Returns 0, or -1 with errno and the semaphores unchanged:
///   E2BIG   nsops exceeds SEMOPM
///   EACCES  the permissions of the set do not allow it
///   EAGAIN  the call would have to wait, and IPC_NOWAIT is set
///   EFAULT  sops is not memory of this process
///   EFBIG   the set has no semaphore with the number sem_num
///   EIDRM   the set was removed during the call
///   EINTR   a signal handler ran, or the process was stopped, during the wait
///   EINVAL  semid is not a set, or nsops is 0
///   ENOMEM  no memory is left to record an operation with SEM_UNDO
///   ENOSPC  the system has no undo structure left
///   ERANGE  a value would exceed SEMVMX, or a value to revert would exceed SEMAEM
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_semop(semid: c_int, sops: *mut sembuf, nsops: size_t) -> c_int {
    // SAFETY: the caller meets the requirements of semop(2).
    or_errno(unsafe { sys::semop(semid, sops, nsops) }, -1)
}

/// Does the same as ipc_semop, with a limit to the wait: semtimedop(2).
///
/// timeout is relative; NULL means no limit. The call does not change it.
///
/// Blocks until the time-out expires at most. All else is as for ipc_semop.
///
/// Returns 0, or -1 with errno and the semaphores unchanged: ipc_semop's errors, and
///   EAGAIN  the time-out expired
///   EFAULT  timeout is not memory of this process
///   EINVAL  timeout is negative, or its tv_nsec is 1000000000 or more
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_semtimedop(
    semid: c_int,
    sops: *mut sembuf,
    nsops: size_t,
    timeout: *const timespec,
) -> c_int {
    // SAFETY: the caller meets the requirements of semtimedop(2).
    or_errno(unsafe { sys::semtimedop(semid, sops, nsops, timeout) }, -1)
}

#[cfg(cbindgen)]
unsafe extern "C" {
    /// Reads, changes or removes a semaphore set or one of its semaphores: semctl(2).
    ///
    /// cmd is IPC_RMID, GETPID, GETNCNT, GETZCNT, GETVAL (these take three arguments), SETVAL,
    /// GETALL, SETALL, IPC_STAT, IPC_SET, or one of the commands that only Linux has: IPC_INFO,
    /// SEM_INFO, SEM_STAT, SEM_STAT_ANY. The fourth argument, if there is one, is a union semun,
    /// which the caller defines, as for the system's semctl.
    ///
    /// SETVAL and SETALL erase what SEM_UNDO has recorded for all processes.
    ///
    /// Does not block. May be called from any thread, from a signal handler, and in the child after
    /// fork.
    ///
    /// Returns the requested number for GETVAL, GETPID, GETNCNT and GETZCNT; the highest index in
    /// use for IPC_INFO and SEM_INFO; the identifier for SEM_STAT and SEM_STAT_ANY; 0 for the
    /// others; or -1 with errno:
    ///   EACCES  the permissions of the set do not allow it
    ///   EFAULT  the fourth argument points to memory that is not this process's
    ///   EIDRM   the set was removed during the call
    ///   EINVAL  semid is not a set, semnum is not one of its semaphores, cmd is unknown, or
    ///           IPC_SET gives an invalid owner
    ///   ENOMEM  GETALL or SETALL: the kernel has no memory left
    ///   EPERM   IPC_SET or IPC_RMID: the process is neither the owner, the creator nor root
    ///   ERANGE  SETVAL or SETALL: a value is negative or exceeds SEMVMX
    pub fn ipc_semctl(semid: c_int, semnum: c_int, cmd: c_int, mut args: ...) -> c_int;
}

/// The definition of the function that the header declares as variadic.
///
/// On x86-64 (System V), AArch64 (Linux's AAPCS64), RISC-V (LP64) and LoongArch (LP64) the fourth
/// argument is in the same register for a variadic and a fixed function; lib.rs accepts only these
/// architectures. A call with three arguments leaves any value in that register. The union may
/// hold any value, and the kernel ignores it for the commands that take three arguments.
///
/// cbindgen:ignore
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_semctl(semid: c_int, semnum: c_int, cmd: c_int, arg: Semun) -> c_int {
    // SAFETY: the caller meets the requirements of semctl(2).
    or_errno(unsafe { sys::semctl(semid, semnum, cmd, arg) }, -1)
}
