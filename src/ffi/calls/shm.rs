//! System V shared memory.

use crate::errno::or_errno;
use crate::sys;
use libc::{c_int, c_void, key_t, shmid_ds, size_t};
use std::ptr;

/// Gets the shared memory segment of a key, or creates it: shmget(2).
///
/// With the key IPC_PRIVATE, each call creates a segment without a key. size is in bytes; the
/// memory consists of whole pages. For an existing segment, size must not exceed the size of the
/// segment. shmflg combines IPC_CREAT, IPC_EXCL, SHM_HUGETLB, SHM_NORESERVE and the nine permission
/// bits; the umask does not apply. A new segment contains zeros. A segment stays until a process
/// removes it with ipc_shmctl(IPC_RMID), even if all processes that use it end.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns the identifier, which can be 0, or -1 with errno:
///   EACCES  the permissions of the segment do not allow the access that shmflg requests
///   EEXIST  IPC_CREAT and IPC_EXCL are set, and the key has a segment
///   EINVAL  for a new segment, size is 0 or exceeds SHMMAX; for an existing one, size exceeds its
///           size; or SHM_HUGETLB is set, and the system does not support the page size
///   ENFILE  the system has no open file left
///   ENOENT  the key has no segment, and IPC_CREAT is not set
///   ENOMEM  the kernel has no memory left
///   ENOSPC  SHMMNI segments exist, or the total would exceed SHMALL pages
///   EPERM   SHM_HUGETLB is set, and the process lacks the privilege
#[unsafe(no_mangle)]
pub extern "C" fn ipc_shmget(key: key_t, size: size_t, shmflg: c_int) -> c_int {
    or_errno(sys::shmget(key, size, shmflg), -1)
}

/// Attaches a shared memory segment to the memory of this process: shmat(2).
///
/// With shmaddr NULL the system chooses the address. shmflg combines SHM_RDONLY (a write then
/// raises SIGSEGV), SHM_RND, SHM_EXEC and SHM_REMAP. The segment stays attached until ipc_shmdt,
/// exec, or the end of the process; a child made by fork has it attached too.
///
/// Does not block. May be called from any thread and in the child after fork.
///
/// Returns the address, or (void *)-1 with errno:
///   EACCES  the permissions of the segment do not allow the access
///   EAGAIN  mlockall(MCL_FUTURE) is in effect, and the segment would exceed RLIMIT_MEMLOCK
///   EIDRM   the segment was removed during the call
///   EINVAL  shmid is not a segment; shmaddr is not aligned (without SHM_RND) or already in use; or
///           SHM_REMAP is set and shmaddr is NULL
///   ENFILE  the system has no open file left
///   ENOMEM  no address space or memory is left, or shmaddr is beyond the address space
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shmat(
    shmid: c_int,
    shmaddr: *const c_void,
    shmflg: c_int,
) -> *mut c_void {
    // SAFETY: the caller meets the requirements of shmat(2).
    or_errno(unsafe { sys::shmat(shmid, shmaddr, shmflg) }, SHMAT_FAILED)
}

/// The value that shmat(2) returns for an error.
const SHMAT_FAILED: *mut c_void = ptr::without_provenance_mut(usize::MAX);

/// Detaches the segment that ipc_shmat attached at shmaddr: shmdt(2).
///
/// The segment itself stays, unless it was removed and this was the last process that had it
/// attached.
///
/// Does not block. May be called from any thread and in the child after fork. No thread may use
/// the memory after that.
///
/// Returns 0, or -1 with errno:
///   EINVAL  no segment is attached at shmaddr
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shmdt(shmaddr: *const c_void) -> c_int {
    // SAFETY: the caller meets the requirements of shmdt(2).
    or_errno(unsafe { sys::shmdt(shmaddr) }, -1)
}

/// Reads, changes, locks or removes a shared memory segment: shmctl(2).
///
/// cmd is IPC_STAT or IPC_SET (with buf); IPC_RMID, SHM_LOCK or SHM_UNLOCK (buf is ignored); or one
/// of the commands that only Linux has: IPC_INFO (buf is a struct shminfo *), SHM_INFO (a struct
/// shm_info *), SHM_STAT and SHM_STAT_ANY (shmid is an index into the kernel's table). After
/// IPC_RMID the segment disappears when the last process has detached it.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns 0; for IPC_INFO and SHM_INFO the highest index in use; for SHM_STAT and SHM_STAT_ANY the
/// identifier; or -1 with errno:
///   EACCES     IPC_STAT or SHM_STAT: no read permission
///   EFAULT     buf is not memory of this process
///   EIDRM      the segment was removed during the call
///   EINVAL     shmid is not a segment, cmd is unknown, or IPC_SET gives an invalid owner
///   ENOMEM     SHM_LOCK: the segment exceeds RLIMIT_MEMLOCK
///   EOVERFLOW  IPC_STAT: an ID does not fit its member
///   EPERM      IPC_SET, IPC_RMID, SHM_LOCK or SHM_UNLOCK: the process is neither the owner, the
///              creator nor root; or SHM_LOCK with an RLIMIT_MEMLOCK of 0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shmctl(shmid: c_int, cmd: c_int, buf: *mut shmid_ds) -> c_int {
    // SAFETY: the caller meets the requirements of shmctl(2).
    or_errno(unsafe { sys::shmctl(shmid, cmd, buf) }, -1)
}
