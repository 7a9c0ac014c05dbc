//! Layer 1: the system's own calls. No pointer is looked at: the kernel does that.

use crate::errno::or_errno;
use crate::sys::{self, Semun};
use core::ptr;
use libc::{c_char, c_int, c_void, key_t, mode_t, sembuf, shmid_ds, size_t, timespec};

/// cbindgen:ptrs-as-arrays=[[sv; 2]]
/// Creates a pair of connected sockets: socketpair(2).
///
/// domain is AF_UNIX; type is SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET, with
/// SOCK_CLOEXEC and SOCK_NONBLOCK or'ed in where wanted; protocol is 0. The two
/// descriptors are the caller's to close; after fork both processes have both.
///
/// Does not block. May be called from any thread, from a signal handler, and in
/// the child after fork.
///
/// Returns 0, or -1 with errno; the kernel may have written to sv then too:
///   EAFNOSUPPORT     the system does not have this domain
///   EFAULT           sv is not writable memory of this process
///   EINVAL           type is not a socket type, or has an unknown flag
///   EMFILE           the process has no descriptor left (RLIMIT_NOFILE)
///   ENFILE           the system has no open file left
///   ENOBUFS, ENOMEM  no memory is left
///   EOPNOTSUPP       this domain has no pairs
///   EPROTONOSUPPORT  the domain does not have this protocol
///   ESOCKTNOSUPPORT  the domain does not have this type
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_socketpair(
    domain: c_int,
    r#type: c_int,
    protocol: c_int,
    sv: *mut c_int,
) -> c_int {
    // SAFETY: the caller's promise is that of socketpair(2).
    or_errno(unsafe { sys::socketpair(domain, r#type, protocol, sv) }, -1)
}

/// Creates a FIFO: mkfifo(3).
///
/// Its permissions are mode less the bits of the process's umask. The name stays
/// until somebody unlinks it.
///
/// Does not block, except for the file system. May be called from any thread,
/// from a signal handler, and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EACCES        a folder of the path may not be searched, or the last one not written
///   EDQUOT        the quota of the file system is used up
///   EEXIST        path exists already, be it a FIFO or anything else, a dangling link too
///   EFAULT        path is not memory of this process
///   EINVAL        mode has the bits of another file type
///   ELOOP         too many symbolic links in the path
///   ENAMETOOLONG  the path or a part of it is too long
///   ENOENT        a folder of the path does not exist, or path is empty
///   ENOMEM        the kernel has no memory left
///   ENOSPC        the file system is full
///   ENOTDIR       a part of the path is not a folder
///   EPERM         the file system has no FIFOs
///   EROFS         the file system is read-only
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_mkfifo(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise is that of mkfifo(3).
    or_errno(unsafe { sys::mkfifo(path, mode) }, -1)
}

/// Makes a key for ipc_shmget and ipc_semget from an existing file: ftok(3).
///
/// The same file and the same lowest eight bits of proj_id give the same key as
/// the C library's ftok. Only some bits of the file's inode and device go into
/// it, so two files can have one key; a file that was removed and made anew has
/// another one.
///
/// Does not block, except for the file system. May be called from any thread,
/// from a signal handler, and in the child after fork.
///
/// Returns the key, or -1 with errno:
///   EACCES        a folder of the path may not be searched
///   EFAULT        path is not memory of this process
///   ELOOP         too many symbolic links in the path
///   ENAMETOOLONG  the path or a part of it is too long
///   ENOENT        path does not exist, or is empty
///   ENOMEM        the kernel has no memory left
///   ENOTDIR       a part of the path is not a folder
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_ftok(path: *const c_char, proj_id: c_int) -> key_t {
    // SAFETY: the caller's promise is that of ftok(3).
    or_errno(unsafe { sys::ftok(path, proj_id) }, -1)
}

/// Gets the shared memory segment of a key, or makes one: shmget(2).
///
/// key IPC_PRIVATE makes a new one without a key. size is in bytes, rounded up to
/// whole pages in memory; for an existing segment it may be less than, but not
/// more than, the segment's. shmflg is IPC_CREAT, IPC_EXCL, SHM_HUGETLB,
/// SHM_NORESERVE and the nine permission bits, which no umask changes. A new
/// segment is all zero bytes. It stays until somebody removes it with
/// ipc_shmctl(IPC_RMID), whoever dies.
///
/// Does not block. May be called from any thread, from a signal handler, and in
/// the child after fork.
///
/// Returns the identifier (0 is one), or -1 with errno:
///   EACCES  the segment's permissions do not grant what shmflg asks for
///   EEXIST  IPC_CREAT and IPC_EXCL, and the key has a segment
///   EINVAL  size is 0 or over SHMMAX for a new one, or more than an existing one's;
///           SHM_HUGETLB with a size of page that the system does not have
///   ENFILE  the system has no open file left
///   ENOENT  the key has no segment, and IPC_CREAT is not set
///   ENOMEM  the kernel has no memory left
///   ENOSPC  SHMMNI segments exist, or all would be more than SHMALL pages
///   EPERM   SHM_HUGETLB without the right to it
#[unsafe(no_mangle)]
pub extern "C" fn ipc_shmget(key: key_t, size: size_t, shmflg: c_int) -> c_int {
    or_errno(sys::shmget(key, size, shmflg), -1)
}

/// Attaches a shared memory segment to this process's memory: shmat(2).
///
/// shmaddr NULL lets the system choose where. shmflg is SHM_RDONLY (a write then
/// is a SIGSEGV), SHM_RND, SHM_EXEC, SHM_REMAP. The segment stays attached until
/// ipc_shmdt, exec or the process's end; a child made by fork has it too.
///
/// Does not block. May be called from any thread and in the child after fork.
///
/// Returns the address, or (void *)-1 with errno:
///   EACCES  the segment's permissions do not grant it
///   EAGAIN  mlockall(MCL_FUTURE) is in force, and it would be over RLIMIT_MEMLOCK
///   EIDRM   the segment was removed during the call
///   EINVAL  shmid is no segment; shmaddr is not aligned (and no SHM_RND) or taken;
///           SHM_REMAP with NULL
///   ENFILE  the system has no open file left
///   ENOMEM  no address space or memory left, or shmaddr is beyond the address space
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shmat(
    shmid: c_int,
    shmaddr: *const c_void,
    shmflg: c_int,
) -> *mut c_void {
    // SAFETY: the caller's promise is that of shmat(2).
    or_errno(unsafe { sys::shmat(shmid, shmaddr, shmflg) }, SHMAT_FAILED)
}

/// What shmat(2) returns for an error.
const SHMAT_FAILED: *mut c_void = ptr::without_provenance_mut(usize::MAX);

/// Detaches what ipc_shmat attached at shmaddr: shmdt(2).
///
/// The segment itself stays, unless it was removed and this was the last process
/// that had it.
///
/// Does not block. May be called from any thread and in the child after fork;
/// no other thread may still use the memory.
///
/// Returns 0, or -1 with errno:
///   EINVAL  no segment is attached at shmaddr
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shmdt(shmaddr: *const c_void) -> c_int {
    // SAFETY: the caller's promise is that of shmdt(2).
    or_errno(unsafe { sys::shmdt(shmaddr) }, -1)
}

/// Looks after a shared memory segment: shmctl(2).
///
/// cmd is IPC_STAT, IPC_SET (with buf), IPC_RMID, SHM_LOCK, SHM_UNLOCK (buf is not
/// looked at), or one of Linux's own: IPC_INFO (buf is a struct shminfo *),
/// SHM_INFO (a struct shm_info *), SHM_STAT, SHM_STAT_ANY (shmid is an index into
/// the kernel's table). IPC_RMID lets the segment go when the last process has
/// detached it.
///
/// Does not block. May be called from any thread, from a signal handler, and in
/// the child after fork.
///
/// Returns 0; for IPC_INFO and SHM_INFO the highest index in use, for SHM_STAT and
/// SHM_STAT_ANY the identifier; or -1 with errno:
///   EACCES     IPC_STAT or SHM_STAT without read permission
///   EFAULT     buf is not memory of this process
///   EIDRM      the segment was removed during the call
///   EINVAL     shmid is no segment, cmd is unknown, or IPC_SET with an invalid owner
///   ENOMEM     SHM_LOCK over RLIMIT_MEMLOCK
///   EOVERFLOW  IPC_STAT: an id does not fit its field
///   EPERM      IPC_SET, IPC_RMID, SHM_LOCK or SHM_UNLOCK by another than the owner,
///              the creator or root; SHM_LOCK with an RLIMIT_MEMLOCK of 0
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shmctl(shmid: c_int, cmd: c_int, buf: *mut shmid_ds) -> c_int {
    // SAFETY: the caller's promise is that of shmctl(2).
    or_errno(unsafe { sys::shmctl(shmid, cmd, buf) }, -1)
}

/// Gets the semaphore set of a key, or makes one: semget(2).
///
/// key IPC_PRIVATE makes a new one without a key. nsems is how many semaphores a
/// new set has; for an existing one it may be less, or 0. semflg is IPC_CREAT,
/// IPC_EXCL and the nine permission bits (read and alter), which no umask
/// changes. On Linux the semaphores of a new set are 0. It stays until somebody
/// removes it with ipc_semctl(IPC_RMID), whoever dies.
///
/// Does not block. May be called from any thread, from a signal handler, and in
/// the child after fork.
///
/// Returns the identifier (0 is one), or -1 with errno:
///   EACCES  the set's permissions do not grant what semflg asks for
///   EEXIST  IPC_CREAT and IPC_EXCL, and the key has a set
///   EINVAL  nsems is negative or over SEMMSL, 0 for a new set, or more than an
///           existing set has
///   ENOENT  the key has no set, and IPC_CREAT is not set
///   ENOMEM  the kernel has no memory left
///   ENOSPC  SEMMNI sets or SEMMNS semaphores exist
#[unsafe(no_mangle)]
pub extern "C" fn ipc_semget(key: key_t, nsems: c_int, semflg: c_int) -> c_int {
    or_errno(sys::semget(key, nsems, semflg), -1)
}

/// Does operations on a semaphore set, all at once or none: semop(2).
///
/// Each of the nsops operations adds sem_op to semaphore sem_num, or waits for it
/// to be 0 where sem_op is 0. The call waits until all can be done at once.
/// sem_flg is IPC_NOWAIT (EAGAIN instead of waiting) and SEM_UNDO (the kernel
/// takes the operation back when the process ends, however it ends).
///
/// Blocks. A signal handler that ran ends the wait with EINTR, with SA_RESTART
/// too, and so does a stop and continue. The kernel looks at the low 32 bits of
/// nsops only. May be called from any thread, from a signal handler, and in the child
/// after fork, which inherits no undo.
///
/// Returns 0, or -1 with errno and nothing done:
///   E2BIG   nsops is over SEMOPM
///   EACCES  the set's permissions do not grant it
///   EAGAIN  it would have to wait, and IPC_NOWAIT is set
///   EFAULT  sops is not memory of this process
///   EFBIG   a sem_num is not one of the set's
///   EIDRM   the set was removed during the call
///   EINTR   a signal handler ran, or the process was stopped, while waiting
///   EINVAL  semid is no set, or nsops is 0
///   ENOMEM  no memory left for an undo
///   ENOSPC  no undo structure left
///   ERANGE  a value would be over SEMVMX, or an undo value over SEMAEM
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_semop(semid: c_int, sops: *mut sembuf, nsops: size_t) -> c_int {
    // SAFETY: the caller's promise is that of semop(2).
    or_errno(unsafe { sys::semop(semid, sops, nsops) }, -1)
}

/// ipc_semop with a limit to the wait: semtimedop(2).
///
/// timeout is relative; NULL waits for ever. It is not changed.
///
/// Blocks. Otherwise as ipc_semop.
///
/// Returns 0, or -1 with errno and nothing done: ipc_semop's, and
///   EAGAIN  the time is over too
///   EFAULT  timeout is not memory of this process
///   EINVAL  timeout is negative, or its tv_nsec 1000000000 or more
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_semtimedop(
    semid: c_int,
    sops: *mut sembuf,
    nsops: size_t,
    timeout: *const timespec,
) -> c_int {
    // SAFETY: the caller's promise is that of semtimedop(2).
    or_errno(unsafe { sys::semtimedop(semid, sops, nsops, timeout) }, -1)
}

#[cfg(cbindgen)]
unsafe extern "C" {
    /// Looks after a semaphore set: semctl(2).
    ///
    /// cmd is IPC_RMID, GETPID, GETNCNT, GETZCNT, GETVAL (three arguments), SETVAL,
    /// GETALL, SETALL, IPC_STAT, IPC_SET, or one of Linux's own: IPC_INFO, SEM_INFO,
    /// SEM_STAT, SEM_STAT_ANY. Where there is a fourth argument it is a union semun,
    /// which the caller defines, as for the original.
    ///
    /// SETVAL and SETALL erase what SEM_UNDO has noted for every process.
    ///
    /// Does not block. May be called from any thread, from a signal handler, and in
    /// the child after fork.
    ///
    /// Returns what GETVAL, GETPID, GETNCNT and GETZCNT ask for; for IPC_INFO and
    /// SEM_INFO the highest index in use, for SEM_STAT and SEM_STAT_ANY the
    /// identifier; else 0; or -1 with errno:
    ///   EACCES  the set's permissions do not grant it
    ///   EFAULT  the fourth argument points to no memory of this process
    ///   EIDRM   the set was removed during the call
    ///   EINVAL  semid is no set, semnum none of its semaphores, cmd is unknown, or IPC_SET
    ///           with an invalid owner
    ///   ENOMEM  GETALL or SETALL: the kernel has no memory left
    ///   EPERM   IPC_SET or IPC_RMID by another than the owner, the creator or root
    ///   ERANGE  SETVAL or SETALL: a value below 0 or over SEMVMX
    pub fn ipc_semctl(semid: c_int, semnum: c_int, cmd: c_int, mut args: ...) -> c_int;
}

/// The definition behind the variadic prototype in the header.
///
/// On x86-64 (System V), AArch64 (AAPCS64 as Linux has it), RISC-V (LP64) and
/// LoongArch (LP64) the fourth argument is in the same register whether the
/// callee is variadic or not, and these are the ones that lib.rs lets through. A
/// call with three arguments leaves that register as it is, which the union may
/// carry, and the kernel does not look at it for the commands that take none.
///
/// cbindgen:ignore
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_semctl(semid: c_int, semnum: c_int, cmd: c_int, arg: Semun) -> c_int {
    // SAFETY: the caller's promise is that of semctl(2).
    or_errno(unsafe { sys::semctl(semid, semnum, cmd, arg) }, -1)
}
