//! System V shared memory and semaphores. The kernel checks all pointers, and fails with `EFAULT`.

use super::sem_types::{semid_ds, seminfo};
use super::{checked, checked_int};
use crate::errno::Result;
use core::ptr;
use libc::{c_int, c_ushort, c_void, key_t, sembuf, shmid_ds, size_t, timespec};

/// The fourth argument of `semctl(2)`.
///
/// A union, because it may contain any bytes: after a call with three arguments, the register of
/// the fourth one contains any value.
#[derive(Clone, Copy)]
#[repr(C)]
pub union Semun {
    /// `SETVAL`
    pub val: c_int,
    /// `IPC_STAT`, `IPC_SET`, `SEM_STAT`, `SEM_STAT_ANY`
    pub buf: *mut semid_ds,
    /// `GETALL`, `SETALL`
    pub array: *mut c_ushort,
    /// `IPC_INFO`, `SEM_INFO`
    pub info: *mut seminfo,
}

/// `shmget(2)`.
pub fn shmget(key: key_t, size: size_t, shmflg: c_int) -> Result<c_int> {
    // SAFETY: no pointers.
    checked_int(unsafe { libc::syscall(libc::SYS_shmget, key, size, shmflg) })
}

/// `shmat(2)`.
///
/// # Safety
///
/// With `SHM_REMAP`, the call replaces the mapping at `shmaddr`.
pub unsafe fn shmat(shmid: c_int, shmaddr: *const c_void, shmflg: c_int) -> Result<*mut c_void> {
    // SAFETY: the caller's promise; without SHM_REMAP the kernel replaces no mapping.
    let ret = checked(unsafe { libc::syscall(libc::SYS_shmat, shmid, shmaddr, shmflg) })?;
    Ok(ptr::with_exposed_provenance_mut(ret as usize))
}

/// `shmdt(2)`.
///
/// # Safety
///
/// The mapping at `shmaddr` is no longer used.
pub unsafe fn shmdt(shmaddr: *const c_void) -> Result<c_int> {
    // SAFETY: the caller's promise; the kernel unmaps only attached segments.
    checked_int(unsafe { libc::syscall(libc::SYS_shmdt, shmaddr) })
}

/// `shmctl(2)`.
///
/// # Safety
///
/// `buf` is writable for the result of `cmd`, or not memory of this process.
pub unsafe fn shmctl(shmid: c_int, cmd: c_int, buf: *mut shmid_ds) -> Result<c_int> {
    // SAFETY: the caller's promise.
    checked_int(unsafe { libc::syscall(libc::SYS_shmctl, shmid, cmd, buf) })
}

/// `semget(2)`.
pub fn semget(key: key_t, nsems: c_int, semflg: c_int) -> Result<c_int> {
    // SAFETY: no pointers.
    checked_int(unsafe { libc::syscall(libc::SYS_semget, key, nsems, semflg) })
}

/// `semop(3)`, by the same system call as the C library's: `semop(2)` in musl, and in glibc
/// `semtimedop(2)` without a time-out. A system call filter that was derived from a program with
/// the C library's function then accepts this one too.
///
/// # Safety
///
/// No requirements: the kernel only reads `sops`, and checks it.
pub unsafe fn semop(semid: c_int, sops: *mut sembuf, nsops: size_t) -> Result<c_int> {
    #[cfg(target_env = "musl")]
    // SAFETY: the kernel only reads `sops`, and checks it.
    return checked_int(unsafe { libc::syscall(libc::SYS_semop, semid, sops, nsops) });
    #[cfg(not(target_env = "musl"))]
    // SAFETY: the kernel only reads `sops`, and checks it.
    unsafe {
        semtimedop(semid, sops, nsops, ptr::null())
    }
}

/// `semtimedop(2)`.
///
/// # Safety
///
/// No requirements: the kernel only reads `sops` and `timeout`, and checks them.
pub unsafe fn semtimedop(
    semid: c_int,
    sops: *mut sembuf,
    nsops: size_t,
    timeout: *const timespec,
) -> Result<c_int> {
    // SAFETY: the kernel only reads `sops` and `timeout`, and checks them.
    checked_int(unsafe { libc::syscall(libc::SYS_semtimedop, semid, sops, nsops, timeout) })
}

/// `semctl(2)`.
///
/// # Safety
///
/// `arg` points to memory that is writable for the result of `cmd`, or not memory of this process.
pub unsafe fn semctl(semid: c_int, semnum: c_int, cmd: c_int, arg: Semun) -> Result<c_int> {
    // SAFETY: the caller's promise; the kernel ignores `arg` for commands without a fourth
    // argument.
    checked_int(unsafe { libc::syscall(libc::SYS_semctl, semid, semnum, cmd, arg) })
}
